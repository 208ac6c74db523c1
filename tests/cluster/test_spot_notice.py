"""The cloud's notice, from a stand-in that asks for a token as AWS does."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from dfkd.cluster.spot_notice import MetadataService, SpotNotice


def test_no_notice_is_none(metadata: Any) -> None:
    assert MetadataService(metadata.address).spot_notice() is None
    assert metadata.tokens == ["token-0"]


def test_a_notice_says_what_happens_and_when(metadata: Any) -> None:
    metadata.notice = '{"action": "terminate", "time": "2017-09-18T08:22:00Z"}'
    expected = SpotNotice(action="terminate", time=datetime(2017, 9, 18, 8, 22, tzinfo=UTC))
    assert MetadataService(metadata.address + "/").spot_notice() == expected


def test_one_token_serves_many_looks(metadata: Any) -> None:
    service = MetadataService(metadata.address)
    for _ in range(3):
        service.spot_notice()
    assert (len(metadata.tokens), metadata.reads) == (1, 3)


def test_a_token_that_has_run_out_is_replaced(metadata: Any) -> None:
    service = MetadataService(metadata.address)
    service.spot_notice()
    metadata.tokens.append("given to somebody else since")
    assert service.spot_notice() is None
    assert len(metadata.tokens) == 3


@pytest.mark.parametrize("text", ["", "soon", "[]", '{"action": "stop"}', '{"action": "stop", "time": "2017-09-18"}'])
def test_a_notice_that_cannot_be_read_is_told_as_it_came(metadata: Any, text: str) -> None:
    metadata.notice = text
    with pytest.raises(ValueError, match="spot notice: expected") as error:
        MetadataService(metadata.address).spot_notice()
    assert repr(text) in str(error.value)


def test_a_place_that_knows_no_tokens_is_no_notice_but_an_error(metadata: Any) -> None:
    metadata.grants_tokens = False
    with pytest.raises(OSError, match=r"expected a token from http://127.*/latest/api/token, got '404 .*--metadata"):
        MetadataService(metadata.address).spot_notice()


@pytest.mark.parametrize(
    "answer", [b"garbled\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"]
)
def test_an_answer_that_is_garbled_or_cut_off_is_an_os_error(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:

        def serve() -> None:
            connection, _ = service.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(OSError, match="expected an answer in HTTP, got (BadStatusLine|IncompleteRead)"):
            MetadataService(f"http://127.0.0.1:{service.getsockname()[1]}").spot_notice()
        thread.join()


def test_no_service_is_an_os_error() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: refused
        with pytest.raises(OSError, match="refused"):
            MetadataService(f"http://127.0.0.1:{nobody.getsockname()[1]}").spot_notice()


def test_a_service_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(OSError, match="timed out"):
        MetadataService(f"http://127.0.0.1:{mute.getsockname()[1]}", timeout_seconds=0.1).spot_notice()


def test_a_proxy_is_never_asked(metadata: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert MetadataService(metadata.address).spot_notice() is None
