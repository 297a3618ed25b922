# SPDX-License-Identifier: Apache-2.0
"""Unpacking a downloaded archive so that a hostile or broken one does no harm."""

import contextlib
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from intarsia.datasets import identity
from intarsia.download import download
from intarsia.errors import IntarsiaError, unreadable
from intarsia.files import STALE, sha256, sweep, unpacked_limit

_CHUNK = 1 << 20


def require_checksum(path: Path, checksum: str) -> None:
    """Refuse a file whose SHA-256 sum is another.

    Raises:
        IntarsiaError: it is, or the file cannot be read.
    """
    try:
        found = sha256(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if found != checksum:
        raise IntarsiaError(
            f"{path} is damaged (SHA-256 {found[:16]}… instead of {checksum[:16]}…); delete it and fetch it again."
        )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive into `folder`, which appears with everything in it or not at all.

    Where the archive holds one folder of that name, its content is taken. Only files and folders are made, never
    links or devices, and nothing outside of `folder`.

    Args:
        archive: tar, of any compression.
        folder: must not exist.

    Raises:
        IntarsiaError: the archive is broken or holds something else, or the disk cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent.glob(f".{folder.name}.*.part"), older_than=STALE)
        with _scratch(folder) as scratch:
            content = scratch / "content"
            content.mkdir()  # `scratch` itself is the user's alone, whatever the umask says
            _unpack(archive, content)
            inner = content / folder.name
            (inner if inner.is_dir() else content).rename(folder)
    except IntarsiaError:
        raise
    except OSError as error:
        raise IntarsiaError(f"cannot unpack {archive} into {folder}: {error.strerror or error}.") from error
    except Exception as error:  # tarfile and its decompressors raise a dozen kinds of their own
        raise IntarsiaError(f"{archive} cannot be unpacked ({error}); delete it and fetch it again.") from error


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack(archive: Path, folder: Path) -> None:
    left = unpacked_limit(archive.stat().st_size)
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            left -= member.size
            if left < 0:
                raise IntarsiaError(f"{archive} unpacks to far more than its size justifies; do not use it.")
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts or "\\" in member.name:
                raise IntarsiaError(f"{archive} holds {member.name!r}, which lies outside of it; do not use it.")
            if not (member.isfile() or member.isdir()):
                raise IntarsiaError(f"{archive} holds {member.name!r}, neither file nor folder; do not use it.")
            target = folder / name
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            source = tar.extractfile(member)
            if source is not None:
                with source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, _CHUNK)


@dataclass(frozen=True)
class Distribution:
    """An official distribution: one .tar.gz archive that unpacks to one folder.

    Attributes:
        folder: where it lies in a folder of data sets.
        name: of the unpacked folder; the archive is `<name>.tar.gz`.
        url: where the archive is fetched from.
        checksum: SHA-256 of the archive.
    """

    folder: str
    name: str
    url: str
    checksum: str

    def identity(self, data_dir: Path | None) -> str:
        """Return what stands for this distribution: an unpacked folder of the user's, or else the archive's sum, which
        is looked at before it is unpacked into the cache.
        """
        root = None if data_dir is None else data_dir / self.folder / self.name
        return identity.of_folder(root) if root is not None and root.is_dir() else f"{self.name} {self.checksum}"

    def is_at_hand(self, data_dir: Path | None, cache: Path) -> bool:
        """Return whether `find` finds it."""
        bases = [base / self.folder for base in (data_dir, cache) if base is not None]
        return any((base / self.name).is_dir() or (base / f"{self.name}.tar.gz").is_file() for base in bases)

    def find(self, data_dir: Path | None, cache: Path) -> Path | None:
        """Return the unpacked folder, unpacking an archive that is there into the cache; None if neither is.

        Raises:
            IntarsiaError: the archive is damaged, or cannot be unpacked.
        """
        bases = [base / self.folder for base in (data_dir, cache) if base is not None]
        for base in bases:
            if (base / self.name).is_dir():
                return base / self.name
        for base in bases:
            archive = base / f"{self.name}.tar.gz"
            if archive.is_file():
                require_checksum(archive, self.checksum)
                return self._unpack(archive, cache)
        return None

    def fetch(self, cache: Path, *, progress: bool = False) -> Path:
        """Fetch the archive into the cache and unpack it there; the archive is not kept.

        Raises:
            IntarsiaError: it cannot be fetched, or unpacked.
        """
        archive = cache / self.folder / f"{self.name}.tar.gz"
        download(self.url, archive, self.checksum, progress=progress)
        root = self._unpack(archive, cache)
        archive.unlink()
        return root

    def _unpack(self, archive: Path, cache: Path) -> Path:
        root = cache / self.folder / self.name
        unpack(archive, root)
        return root
