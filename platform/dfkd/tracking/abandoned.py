"""Runs that a killed command left open, or closed unheard. MLflow shows them as running until somebody ends them."""

from __future__ import annotations

import time
from pathlib import Path

from dfkd.tracking.connection import check_reachable
from dfkd.tracking.credentials import without_credentials
from dfkd.tracking.delivery import Delivery
from dfkd.tracking.journal import Journal, has_ended

SECONDS = 10.0  # for all journals together; the next command goes on


def end_abandoned_runs(home: Path, tracking_uri: str) -> list[str]:
    """End, as killed, the open runs of every journal in the home that no process holds, and deliver what it has left.

    A command that lives holds its journal: nothing of it is touched. A search that goes on opens its runs again.

    Args:
        home: the home folder.
        tracking_uri: of this command, known to answer; journals of other addresses are sent there.

    Returns:
        One line for every journal that cannot be read, for every address that cannot be had, and for events that could
        not be delivered.
    """
    deadline = time.monotonic() + SECONDS
    lines: list[str] = []
    silent: set[str] = set()  # addresses
    for events_file in sorted((home / "tracking").glob("*/journal.jsonl")):
        if time.monotonic() > deadline:
            break
        try:
            if has_ended(events_file):
                continue
            journal = Journal(events_file.parent)
        except BlockingIOError:  # somebody holds it
            continue
        except (OSError, ValueError, TypeError, KeyError) as error:
            lines.append(
                f"{events_file.parent}: this journal cannot be read ({_in_words(error)}), so that runs which its "
                "command left open stay open in MLflow. Move the folder away to read this no more."
            )
            continue
        address = journal.tracking_uri or without_credentials(tracking_uri)
        uri = tracking_uri if address == without_credentials(tracking_uri) else address
        if address in silent or (uri != tracking_uri and not _answers(uri)):
            if address not in silent:
                lines.append(
                    f"MLflow at {address} cannot be had: runs that a killed command left open there stay open for now "
                    f"({journal.folder})."
                )
            silent.add(address)
            journal.close()
            continue
        journal.end_open_runs()
        if left := Delivery(journal, uri).stop(timeout_seconds=max(1.0, deadline - time.monotonic())):
            lines.append(left)
    return lines


def _in_words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _answers(uri: str) -> bool:
    if "***" in uri:  # its password is known to the command alone that used it
        return False
    if uri.startswith("sqlite:") and not Path(uri.removeprefix("sqlite:///")).exists():  # else it would be made
        return False
    try:
        check_reachable(uri)
    except ConnectionError:
        return False
    return True
