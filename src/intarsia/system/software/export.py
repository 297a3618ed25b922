# SPDX-License-Identifier: Apache-2.0
"""Writing a network as a folder of C files."""

import os
import re
import secrets
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from intarsia.errors import IntarsiaError, unreadable
from intarsia.files import flush_folder, require_replaceable, require_writable
from intarsia.integer.network import IntegerNetwork
from intarsia.system.software.library import Library, build_library
from intarsia.system.software.source import MARK, example_text, header_text, makefile_text, source_text

_COMMON = "intarsia_kernels.h"
_INCLUDE = re.compile(r'^#include "(intarsia_\w+\.h)"$', re.MULTILINE)


def kernel_folder() -> Path:
    """The folder of the hand-written kernels."""
    return Path(str(files("intarsia.system.software") / "c"))


def export(network: IntegerNetwork, folder: Path, *, kernels: str = "int8", name: str | None = None) -> Library:
    """Write a network as a C library into a folder; return what was written.

    Files that an earlier export wrote for a network are replaced; any other file keeps its content. Either all files
    are written or none.

    Args:
        network: any.
        folder: made where it is missing.
        kernels: family of kernels, one of `KERNELS`.
        name: C identifier; that of the network if None.

    Raises:
        IntarsiaError: the name is not a C identifier, the folder cannot be written, or a file there is another's.
    """
    require_writable(folder, "choose another --output")
    library = build_library(network, kernels, name)
    texts = library_files(library)
    for file, text in texts.items():
        _require_ours(folder / file, text)
    _write_all(folder, texts)
    return library


def library_files(library: Library) -> dict[str, str]:
    """Return the content of each file by its name."""
    texts: dict[str, str] = {}
    missing = [_COMMON, *(kernel.header for kernel in library.instances)]
    while missing:
        name = missing.pop(0)
        if name not in texts:
            texts[name] = (kernel_folder() / name).read_text(encoding="utf-8")
            missing += _INCLUDE.findall(texts[name])
    return texts | {
        f"{library.name}.h": header_text(library),
        f"{library.name}.c": source_text(library),
        f"{library.name}_test.c": example_text(library),
        "Makefile": makefile_text(library),
    }


def _require_ours(path: Path, text: str) -> None:
    """Refuse to replace a file that an export did not write.

    Raises:
        IntarsiaError: names the file.
    """
    require_replaceable(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(path, error, "choose another folder") from error
    ours = (MARK.encode(), MARK.replace("//", "#").encode())
    if content != text.encode() and not content.startswith(ours):
        raise IntarsiaError(f"{path} is there with other content; move it away or choose another --output.")


def _write_all(folder: Path, texts: Mapping[str, str]) -> None:
    """Write all files, or none where that is interrupted or finds no space.

    Raises:
        IntarsiaError: the folder cannot be written, or the disk is full.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            _replace(folder, texts)
            return
        # A new folder appears with all its files.
        part = folder.with_name(f".{folder.name[:48]}.{secrets.token_hex(4)}.part")
        try:
            part.mkdir()
            _replace(part, texts)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        flush_folder(folder.parent)
    except OSError as error:
        raise IntarsiaError(f"cannot write {folder}: {error.strerror or error}; choose another --output.") from error


def _replace(folder: Path, texts: Mapping[str, str]) -> None:
    """Write all files under temporary names first, so that only renaming is left when the first one changes."""
    parts: dict[Path, Path] = {}
    try:
        for name, text in texts.items():
            part = folder / f".{name}.{secrets.token_hex(4)}.part"
            parts[part] = folder / name
            with part.open("x", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
        try:
            _rename(parts)
        except KeyboardInterrupt:
            _rename(parts)  # to the end: the files belong together
            raise
        flush_folder(folder)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _rename(parts: Mapping[Path, Path]) -> None:
    for part, path in parts.items():
        if part.exists():
            part.replace(path)
