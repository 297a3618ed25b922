# SPDX-License-Identifier: Apache-2.0
import hashlib
import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.datasets import identity
from intarsia.datasets.archives import Distribution, require_checksum, unpack
from intarsia.datasets.prepared import prepared
from intarsia.download import FetchError
from intarsia.errors import IntarsiaError


def archive_of(path: Path, members: list[tarfile.TarInfo | tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("prefix", ["", "./", "set/"])
def test_an_archive_unpacks_to_its_content(prefix: str, tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "set.tar.gz", [(f"{prefix}a/b.txt", b"one"), (f"{prefix}c.txt", b"")])
    unpack(archive, tmp_path / "out" / "set")
    assert content_of(tmp_path / "out") == {"set/a/b.txt": b"one", "set/c.txt": b""}


@pytest.mark.parametrize("prefix", ["", "set/"])
def test_what_is_unpacked_has_the_mode_that_the_umask_leaves(prefix: str, tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "set.tar.gz", [(f"{prefix}a.txt", b"one")])
    before = os.umask(0o022)
    try:
        unpack(archive, tmp_path / "set")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "set").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "set" / "a.txt").stat().st_mode) == 0o644


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        ("../evil.txt", b"x"),
        ("a/../../evil.txt", b"x"),
        ("/tmp/evil.txt", b"x"),  # noqa: S108 (it must not be written)
        ("..\\evil.txt", b"x"),
        link("a", "/etc"),
        link("a", "b", tarfile.LNKTYPE),
        link("a", "", tarfile.FIFOTYPE),
    ],
)
def test_an_archive_that_reaches_outside_leaves_nothing(
    member: tarfile.TarInfo | tuple[str, bytes], tmp_path: Path
) -> None:
    archive = archive_of(tmp_path / "in" / "set.tar.gz", [("fine.txt", b"x"), member])
    with pytest.raises(IntarsiaError, match="do not use it"):
        unpack(archive, tmp_path / "out" / "set")
    assert content_of(tmp_path / "out") == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert list((tmp_path / "out").iterdir()) == []


@given(st.integers(0, 10_000), st.data())
def test_a_broken_archive_leaves_nothing(seed: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise = np.random.default_rng(seed).bytes(3000)
        archive = archive_of(folder / "set.tar.gz", [("a", noise)])
        whole = archive.read_bytes()
        archive.write_bytes(whole[: data.draw(st.integers(0, 2900))])
        with pytest.raises(IntarsiaError, match=r"set\.tar\.gz cannot be unpacked"):
            unpack(archive, folder / "out")
        assert not (folder / "out").exists()


def distribution(content: bytes) -> Distribution:
    return Distribution("kws", "set", "http://127.0.0.1:9/set.tar.gz", hashlib.sha256(content).hexdigest())


def test_a_sparse_archive_leaves_nothing(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("content/zeros")
    entry.size = 1 << 40  # holes take no room in the archive
    entry.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0"}
    entry.pax_headers["GNU.sparse.size"] = str(1 << 40)
    (tmp_path / "a.tar").write_bytes(entry.tobuf(tarfile.PAX_FORMAT) + bytes(10_240))
    with pytest.raises(IntarsiaError, match="unpacks to far more than its size justifies"):
        unpack(tmp_path / "a.tar", tmp_path / "content")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_an_unpacked_folder_comes_before_an_archive_and_is_made_once(tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    archive = archive_of(data / "kws" / "set.tar.gz", [("set/a", b"packed")])
    source = distribution(archive.read_bytes())
    assert source.find(tmp_path / "none", cache) is None
    assert source.find(data, cache) == cache / "kws" / "set"
    archive.write_bytes(b"damaged")
    assert source.find(data, cache) == cache / "kws" / "set"
    (data / "kws" / "set").mkdir()
    assert source.find(data, cache) == data / "kws" / "set"


def test_a_damaged_archive_is_not_unpacked(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "kws" / "set.tar.gz", [("set/a", b"packed")])
    with pytest.raises(IntarsiaError, match=r"set\.tar\.gz is damaged \(SHA-256 .*; delete it"):
        distribution(b"another").find(tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    require_checksum(archive, hashlib.sha256(archive.read_bytes()).hexdigest())


def test_a_fetched_archive_is_unpacked_and_not_kept(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "set.tar.gz", [("set/a", b"packed")])
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    root = Distribution("kws", "set", archive.as_uri(), checksum).fetch(tmp_path / "cache")
    assert content_of(tmp_path / "cache") == {"kws/set/a": b"packed"}
    assert root == tmp_path / "cache" / "kws" / "set"


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"cannot download http://127\.0\.0\.1:9"):
        distribution(b"").fetch(tmp_path)


def test_inputs_are_prepared_once_and_anew_for_other_files(tmp_path: Path) -> None:
    calls = []

    def make(path: Path, start: int) -> np.ndarray:
        calls.append((path.name, start))
        return np.array([path.stat().st_size, start])

    files = [tmp_path / "a", tmp_path / "b"]
    for size, path in enumerate(files):
        path.write_bytes(b"x" * size)
    items = [(files[0], 0), (files[1], 0), (files[1], 7)]
    for _ in range(2):
        found = prepared(tmp_path / "cache" / "stem1", items, (2,), np.int8, make)
        assert found.tolist() == [[0, 0], [1, 0], [1, 7]]
        found[0, 0] = 5  # stays in memory
    assert len(calls) == 3
    files[0].write_bytes(b"xxx")
    assert prepared(tmp_path / "cache" / "stem1", items, (2,), np.int8, make)[0].tolist() == [3, 0]
    assert prepared(tmp_path / "cache" / "stem1", [], (2,), np.int8, make).shape == (0, 2)


def test_a_source_that_cannot_be_read_leaves_no_prepared_file(tmp_path: Path) -> None:
    def make(path: Path, start: int) -> np.ndarray:
        raise IntarsiaError(f"{path} is broken.")

    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(IntarsiaError, match="broken"):
        prepared(tmp_path / "cache" / "stem", [(tmp_path / "a", 0)], (2,), np.int8, make)
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(IntarsiaError, match="there is no file"):
        prepared(tmp_path / "cache" / "stem", [(tmp_path / "gone", 0)], (2,), np.int8, make)


@pytest.mark.parametrize("content", [b"", b"half", "last byte", "another type"], ids=str)
def test_a_damaged_prepared_file_is_made_again(
    tmp_path: Path, content: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    items = [(tmp_path / "a", 0)]
    items[0][0].write_bytes(b"x")

    def make() -> list[list[int]]:
        values: list[list[int]] = prepared(tmp_path / "stem", items, (2,), np.int8, lambda *_: np.ones(2)).tolist()
        return values

    make()
    path = next(tmp_path.glob("stem-*.npy"))
    if content == "another type":
        np.save(path, np.ones((1, 2), np.int16))
    else:
        path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:-1])
    assert make() == [[1, 1]]
    assert caplog.messages == [f"{path} is damaged and is made again."]
    assert make() == [[1, 1]]
    assert len(caplog.messages) == 1


def test_files_whose_names_are_not_text_have_an_identity(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff")
    path.write_bytes(b"x")
    assert identity.of_folder(tmp_path) == identity.of_folder(tmp_path)
    assert prepared(tmp_path / "stem", [(path, 0)], (2,), np.int8, lambda *_: np.ones(2)).tolist() == [[1, 1]]
