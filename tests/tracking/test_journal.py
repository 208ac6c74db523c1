from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dfkd.tracking.journal import Journal, MlflowRun


def test_events_come_back_in_order_with_their_first_times(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    told = [journal.append("a", "metrics", {"values": {"loss": value}, "step": 1}) for value in (0.1, float("inf"))]
    told.append(journal.append("b", "tags", {"x": "ü\n"}, time_ms=5))
    assert list(journal.events()) == told
    assert told[2].time_ms == 5


def test_the_delivered_offset_survives_a_new_process(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    for number in range(5):
        first.append("a", "tags", {"number": str(number)})
    events, offset = first.pending(2)
    first.mark_delivered(events, offset, keep=set())
    first.close()
    second = Journal(tmp_path)
    assert [event.content["number"] for event in second.pending(10)[0]] == ["2", "3", "4"]
    assert second.num_pending() == 3


def test_a_payload_is_copied_kept_until_delivered_and_then_removed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    journal = Journal(tmp_path / "journal")
    for content in (source, b"abc"):
        file = journal.store_payload("table.parquet", content)
        journal.append("a", "artifact", {"name": "deep/table.parquet", "file": file})
    source.unlink()
    events, offset = journal.pending(10)
    files = [journal.folder / str(event.payload) for event in events]
    assert [file.read_bytes() for file in files] == [b"abc", b"abc"]
    assert {file.name for file in files} == {"table.parquet"}
    journal.mark_delivered(events, offset, keep={str(events[1].payload)})
    assert [file.exists() for file in files] == [False, True]


def test_payloads_of_a_new_process_do_not_overwrite_older_ones(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    old = first.store_payload("x", b"old")
    first.close()
    second = Journal(tmp_path)
    second.store_payload("x", b"new")
    assert (tmp_path / old).read_bytes() == b"old"


def test_the_number_of_a_delivered_payload_is_not_given_again(tmp_path: Path) -> None:
    """Else another file would pass for it where everything is sent once more."""
    first = Journal(tmp_path)
    told = first.append("a", "artifact", {"name": "x", "file": first.store_payload("x", b"old")})
    events, offset = first.pending(10)
    first.mark_delivered(events, offset, keep=set())
    first.close()
    second = Journal(tmp_path)
    assert second.store_payload("x", b"new") != told.payload
    second.bind("http://elsewhere")
    assert second.is_elsewhere(told)


def test_without_the_file_of_what_was_delivered_files_that_are_gone_are_taken_for_delivered(tmp_path: Path) -> None:
    """That a damaged one may be removed is what its message says."""
    first = Journal(tmp_path)
    first.bind("http://a")
    told = first.append("a", "artifact", {"name": "x", "file": first.store_payload("x", b"old")})
    events, offset = first.pending(10)
    first.mark_delivered(events, offset, keep=set())
    first.close()
    (tmp_path / "delivered.json").unlink()
    second = Journal(tmp_path)
    second.bind("http://a")
    assert second.pending(10)[0] == [told] and second.is_elsewhere(told)


def test_refused_events_are_all_sent_again_though_the_first_attempt_was_cut_short(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(2):
        journal.set_aside(journal.append("a", "tags", {"number": str(number)}), "refused")
        if number == 0:
            journal.set_aside_file.rename(tmp_path / "refused.requeued")
    journal.requeue_refused()
    assert [event.content["number"] for event in journal.events()] == ["0", "1", "0", "1"]
    assert not list(tmp_path.glob("refused*"))


def test_a_line_cut_off_by_a_crash_is_dropped_and_the_rest_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path)
    whole = journal.append("a", "tags", {"x": "1"})
    journal.close()
    with (tmp_path / "journal.jsonl").open("ab") as lines:
        lines.write(b'{"run_key": "a", "kind": "ta')
    again = Journal(tmp_path)
    new = again.append("a", "tags", {"x": "2"})
    assert list(again.events()) == [whole, new]
    assert "cut off" in caplog.text


def test_a_second_process_may_not_use_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    code = f"from dfkd.tracking.journal import Journal; from pathlib import Path; Journal(Path({str(tmp_path)!r}))"
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "another process is using" in refused.stderr
    assert f"It is process {os.getpid()} on {socket.gethostname()}, since 20" in refused.stderr
    journal.close()
    subprocess.run([sys.executable, "-c", code], check=True)


def test_open_runs_are_those_not_closed_since_they_were_opened(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for run_key, kind in (("p", "open"), ("a", "open"), ("b", "open"), ("a", "close"), ("b", "close"), ("b", "open")):
        journal.append(run_key, kind, {})  # type: ignore[arg-type]
    assert journal.open_runs() == ["p", "b"]


def test_runs_are_looked_up_again_at_another_address(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.bind("http://a")
    journal.note_run("k", MlflowRun("1", "0"))
    journal.bind("http://a")
    assert journal.run("k") == MlflowRun("1", "0")
    journal.bind("http://b")
    assert journal.run("k") is None


def test_a_full_disk_leaves_no_torn_line(tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from dfkd.tracking.journal import Journal\n"
        f"journal = Journal(Path({str(tmp_path)!r}))\n"
        "journal.append('a', 'tags', {'x': '1'})\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"  # a file of more than 200 bytes: as a full disk
        "try: journal.append('a', 'tags', {'x': 'y' * 500})\n"
        "except OSError as error: print(error)\n"
        "journal.append('a', 'tags', {'x': '2'})\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "no space" in finished.stdout
    assert [event.content["x"] for event in Journal(tmp_path).events()] == ["1", "2"]
