"""Addresses and messages for people: without the user and password that an address may hold."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit, urlunsplit

SECRET_PARAMETER = re.compile(r"\b(user|\w*pass\w*|\w*token\w*|\w*secret\w*|\w*key\w*|sig\w*)=[^&]*", re.IGNORECASE)
_CREDENTIALS = re.compile(r"://[^\s/@'\"]+@")  # of any address within a text


def without_credentials(uri: str) -> str:
    """Return the address with user and password replaced by ``***``, before the host and among its parameters."""
    if uri.startswith("sqlite:"):
        return uri
    parts = urlsplit(uri)
    if "@" in uri and "@" not in parts.netloc:  # a password with / ? or # in it, which databases understand
        return re.sub(r"://.*@", "://***@", uri)
    host = "***@" + parts.netloc.rpartition("@")[2] if "@" in parts.netloc else parts.netloc
    query = SECRET_PARAMETER.sub(r"\1=***", parts.query)
    return uri if (host, query) == (parts.netloc, parts.query) else urlunsplit(parts._replace(netloc=host, query=query))


def hide_credentials(text: str, uri: str = "") -> str:
    """Return what a library said, without the credentials in any address that it names.

    Args:
        text: an error's message, before it is cut.
        uri: the address that was used, where it is known: its password may also stand in other forms.
    """
    if uri:
        text = text.replace(uri, without_credentials(uri))
        password = urlsplit(uri).password or ""
        for form in {password, unquote(password)} - {""}:
            text = text.replace(f":{form}@", ":***@")
    return _CREDENTIALS.sub("://***@", text)
