# SPDX-License-Identifier: Apache-2.0
"""Downloads from a real server on the loopback interface, one that breaks off when told to."""

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from intarsia.download import FetchError, download
from intarsia.errors import IntarsiaError

CONTENT = bytes(range(256)) * 4096
SUM = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at any path; `break_after` bytes of each answer, if set; `ranges` as configured."""

    break_after: int | None = None
    honours_ranges = True
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/archive.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        start = 0
        if asked and self.server.honours_ranges:
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            assert match
            start = int(match[1])
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        body = CONTENT[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_file_arrives_whole_and_leaves_no_part(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "archive.bin"
    download(server.url, target, SUM)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.break_after = len(CONTENT) // 3 + 1
    download(server.url, tmp_path / "a", SUM)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={server.break_after}-", f"bytes={2 * server.break_after}-"]


def test_what_arrived_serves_the_next_call(server: Server, tmp_path: Path) -> None:
    server.break_after = 1000
    with pytest.raises(FetchError, match=r"cannot download .* check the network"):
        download(server.url, tmp_path / "a", SUM)
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:4000]
    server.break_after = None
    download(server.url, tmp_path / "a", SUM)
    assert server.asked[-1] == "bytes=4000-"
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_without_ranges_is_read_from_the_start(server: Server, tmp_path: Path) -> None:
    server.honours_ranges = False
    (tmp_path / "a.part").write_bytes(b"other bytes")
    download(server.url, tmp_path / "a", SUM)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_complete_part_only_needs_its_checksum(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT)
    download(server.url, tmp_path / "a", SUM)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"wrong beginning")
    with pytest.raises(FetchError, match="SHA-256"):
        download(server.url, tmp_path / "a", SUM)
    assert list(tmp_path.iterdir()) == []
    download(server.url, tmp_path / "a", SUM)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_refusal_is_named(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(FetchError, match="answers 404"):
        download(server.url, tmp_path / "a", SUM)


def test_no_server_is_one_clear_sentence(tmp_path: Path) -> None:
    with Server() as closed:
        url = closed.url
    with pytest.raises(FetchError, match=r"cannot download .*refused.*check the network"):
        download(url, tmp_path / "a", SUM)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_no_reason_to_try_another_source(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(IntarsiaError, match="cannot write") as caught:
        download(server.url, tmp_path / "file" / "a", SUM)
    assert not isinstance(caught.value, FetchError)
