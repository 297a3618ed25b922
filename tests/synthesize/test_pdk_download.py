# SPDX-License-Identifier: Apache-2.0
"""The PDK's libraries come from a real server on the loopback interface, all together or not at all."""

import hashlib
import http.server
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from intarsia.download import FetchError
from intarsia.errors import IntarsiaError
from intarsia.files import sha256
from intarsia.synthesize.pdk import NAME, SRAMS, STANDARD_CELLS, Pdk, default_root, installed_pdk, load_pdk, pdk_root
from intarsia.synthesize.pdk_download import LIBRARIES, fetch_pdk

FILES = {STANDARD_CELLS: b"cells", f"{SRAMS}/one.lib": b"one", f"{SRAMS}/two.lib": b"two"}
SUMS = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; calls what the server has as `on_file` before each answer."""

    def do_GET(self) -> None:
        self.server.on_file(self.path)  # type: ignore[attr-defined]
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        self.on_file: Callable[[str], None] = lambda _: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


def serving(root: Path) -> Iterator[Server]:
    with Server(root) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    for name, content in FILES.items():
        path = tmp_path / "server" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    yield from serving(tmp_path / "server")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache, in which nothing is yet."""
    monkeypatch.delenv("PDK_ROOT", raising=False)
    monkeypatch.setenv("INTARSIA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_all_files_arrive_and_nothing_else(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "deep" / "pdk"
    fetch_pdk(root, source=server.url, libraries=SUMS)
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert found == FILES
    assert list(root.iterdir()) == [root / NAME]


def test_what_is_there_is_checked_and_not_fetched_again(server: Server, tmp_path: Path) -> None:
    asked: list[str] = []
    server.on_file = asked.append
    for _ in range(2):
        fetch_pdk(tmp_path / "pdk", source=server.url, libraries=SUMS)
    assert len(asked) == len(FILES)


@pytest.mark.parametrize(("change", "what"), [(b"own", "is another version"), (None, "is missing")])
def test_other_libraries_are_left_alone(server: Server, tmp_path: Path, change: bytes | None, what: str) -> None:
    fetch_pdk(tmp_path / "pdk", source=server.url, libraries=SUMS)
    changed = tmp_path / "pdk" / SRAMS / "one.lib"
    changed.unlink()
    if change is not None:
        changed.write_bytes(change)
    with pytest.raises(IntarsiaError, match=f"one.lib in it {what}; move it away or choose another folder"):
        fetch_pdk(tmp_path / "pdk", source=server.url, libraries=SUMS)
    assert change is None or changed.read_bytes() == change


def test_a_wrong_file_is_refused_and_nothing_stays(server: Server, tmp_path: Path) -> None:
    wrong = SUMS | {f"{SRAMS}/two.lib": "0" * 64}
    with pytest.raises(FetchError, match=r"two.lib sent a file with SHA-256 .* try again with a network, or give"):
        fetch_pdk(tmp_path / "pdk", source=server.url, libraries=wrong)
    assert not (tmp_path / "pdk").exists()


def test_a_missing_file_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"three.lib answers 404"):
        fetch_pdk(tmp_path, source=server.url, libraries=SUMS | {f"{SRAMS}/three.lib": "0" * 64})
    assert not (tmp_path / NAME).exists()


def test_without_a_network_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with Server(tmp_path) as closed:
        url = closed.url
    with pytest.raises(FetchError, match=r"^the libraries cannot be fetched: cannot download .*refused.* PDK_ROOT\.$"):
        fetch_pdk(tmp_path / "mine" / "deep" / "pdk", source=url, libraries=SUMS)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(IntarsiaError, match=r"cannot write .*choose another folder"):
        fetch_pdk(tmp_path / "file" / "pdk", source=server.url, libraries=SUMS)


def test_an_interrupted_call_leaves_nothing_and_the_next_starts_again(server: Server, tmp_path: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def stop(path: str) -> None:
        if path.endswith("two.lib"):
            reached.set()
            go_on.wait()

    server.on_file = stop
    code = f"""
import signal
from pathlib import Path
from intarsia.synthesize.pdk_download import fetch_pdk
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
fetch_pdk(Path({str(tmp_path / "pdk")!r}), source={server.url!r}, libraries={SUMS!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    reached.wait()
    assert not (tmp_path / "pdk" / NAME).exists()
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate()[1]
    go_on.set()
    assert not (tmp_path / "pdk").exists()
    fetch_pdk(tmp_path / "pdk", source=server.url, libraries=SUMS)
    assert (tmp_path / "pdk" / NAME).is_dir()


def test_pdk_root_has_precedence_over_what_was_fetched(
    server: Server, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_root() == home / "pdk"
    assert pdk_root() is None
    with pytest.raises(IntarsiaError, match="fetch them with `intarsia pdk` or set PDK_ROOT"):
        installed_pdk()
    fetch_pdk(default_root(), source=server.url, libraries=SUMS)
    assert pdk_root() == default_root()
    monkeypatch.setenv("PDK_ROOT", str(tmp_path / "own"))
    assert pdk_root() == tmp_path / "own"
    monkeypatch.setenv("PDK_ROOT", "")
    assert pdk_root() == default_root()


@pytest.mark.pdk
def test_the_pinned_files_make_the_pdk(pdk: Pdk, tmp_path: Path) -> None:
    root = pdk.cells.path.parents[4]
    if any(sha256(root / name) != checksum for name, checksum in LIBRARIES.items()):
        pytest.skip("PDK_ROOT is another version")
    for server in serving(root):
        fetch_pdk(tmp_path / "pdk", source=server.url)
    fetched = load_pdk(tmp_path / "pdk")
    assert fetched.srams == pdk.srams
    assert fetched.cells.areas_um2 == pdk.cells.areas_um2
