# SPDX-License-Identifier: Apache-2.0
"""Digests of the files of a data set that no checksum pins: a changed file makes other data."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from intarsia.files import sha256


def of_files(files: Iterable[Path]) -> list[str]:
    """Return name and SHA-256 sum of each file that is there."""
    return [f"{path.name} {sha256(path)}" for path in files if path.is_file()]


def of_folder(root: Path) -> str:
    """Return the name of a folder with a digest of the names and sizes of all files in it.

    Cheap enough for a hundred thousand files; a file that changes and keeps its size goes unnoticed.
    """
    lines = []
    for folder, _, names in os.walk(root):
        relative = Path(folder).relative_to(root).as_posix()
        lines += [f"{relative}/{name}\0{Path(folder, name).stat().st_size}\n" for name in names]
    content = "".join(sorted(lines)).encode("utf-8", "surrogateescape")  # names of files need not be text
    return f"{root.name} {hashlib.sha256(content).hexdigest()}"
