"""What the cloud says about this machine's end. Standard library only: it knows no Ray."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime

METADATA_ADDRESS = "http://169.254.169.254"  # the same on every AWS instance, reached from that instance alone
TOKEN_PATH = "/latest/api/token"
NOTICE_PATH = "/latest/meta-data/spot/instance-action"
TOKEN_SECONDS = 21600  # the longest that the service grants
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the address means something here alone


@dataclass(frozen=True, kw_only=True)
class SpotNotice:
    """The cloud takes this machine back.

    Attributes:
        action: ``terminate``, ``stop`` or ``hibernate``.
        time: when, with its time zone.
    """

    action: str
    time: datetime


class MetadataService:
    """AWS's instance metadata in its second version, where a session token is fetched before anything is read.

    Source: AWS, Amazon EC2 User Guide, "Use the Instance Metadata Service" and "Spot Instance interruption notices".

    Args:
        address: ``http://host``, without a path.
        timeout_seconds: of each request.
    """

    def __init__(self, address: str = METADATA_ADDRESS, *, timeout_seconds: float = 2.0) -> None:
        self.address, self.timeout_seconds = address.rstrip("/"), timeout_seconds
        self._token: str | None = None

    def spot_notice(self) -> SpotNotice | None:
        """Return the notice, or None as long as there is none, which is the usual answer (404).

        Raises:
            OSError: the service does not answer, grants no token, or answers with an error or not in HTTP.
            ValueError: there is a notice, but not in the form that AWS documents.
        """
        text = self._read(NOTICE_PATH)
        return None if text is None else _parse(text)

    def _read(self, path: str) -> str | None:
        """Return what stands at a path, None if nothing does; a token that is no longer taken is replaced once."""
        if self._token is not None:
            try:
                return self._get(path, self._token)
            except urllib.error.HTTPError as error:
                if error.code != 401:
                    raise
        self._token = self._new_token()
        return self._get(path, self._token)

    def _new_token(self) -> str:
        try:
            return self._ask("PUT", TOKEN_PATH, {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)})
        except urllib.error.HTTPError as error:  # 404 as well: whatever answers there is no metadata service
            raise OSError(
                f"metadata service: expected a token from {self.address}{TOKEN_PATH}, got '{error.code} "
                f"{error.reason}'. Is the address right (--metadata)?"
            ) from error

    def _get(self, path: str, token: str) -> str | None:
        try:
            return self._ask("GET", path, {"X-aws-ec2-metadata-token": token})
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(self.address + path, method=method, headers=headers)
        try:
            with _NO_PROXY.open(request, timeout=self.timeout_seconds) as answer:
                content: bytes = answer.read(10_000)
        except http.client.HTTPException as error:  # no OSError, unlike all else that a network does
            raise OSError(f"{self.address}{path}: expected an answer in HTTP, got {error!r}.") from error
        return content.decode("utf-8", errors="replace").strip()


def _parse(text: str) -> SpotNotice:
    try:
        notice = json.loads(text)
        time = datetime.fromisoformat(notice["time"])
        if time.tzinfo is None:
            raise ValueError("a time without its zone")
        return SpotNotice(action=str(notice["action"]), time=time)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'spot notice: expected {{"action": "terminate", "time": "2026-01-31T12:00:00Z"}}, got {text[:200]!r}.'
        ) from error
