# SPDX-License-Identifier: Apache-2.0
"""Keeping the results of outside tools under a hash of everything they depend on."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from intarsia.cache import digest_of_json, tell_damaged
from intarsia.errors import IntarsiaError
from intarsia.files import read_json, sha256, write_json
from intarsia.packages import require_version
from intarsia.synthesize._worker import PLAIN_PATH

# Raised by hand when the meaning of a kept result changes without a change in commands or tool versions.
CACHE_VERSION = 2  # 2: with a checksum


_TMP = "/tmp"  # noqa: S108 (what is made in it has a name that nobody can foresee)


def tool_version(package: str) -> str:
    """Return the version of a Python package that a tool comes in.

    Raises:
        IntarsiaError: it is not installed.
    """
    return require_version(package, "synthesize")


def plain_folder(prefix: str) -> "tempfile.TemporaryDirectory[str]":
    """Return a temporary folder whose path means the same to every tool, whatever TMPDIR is."""
    usual = tempfile.gettempdir()
    return tempfile.TemporaryDirectory(prefix=prefix, dir=usual if PLAIN_PATH.fullmatch(usual) else _TMP)


def cached(cache: Path | None, key: Mapping[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result kept under `key` in the folder `cache`, or compute and keep it.

    Args:
        cache: folder of kept results, made when missing; None keeps nothing.
        key: everything the result depends on, JSON values only (sources enter by `fingerprint`).
        compute: makes the result, a JSON object.
    """
    if cache is None:
        return compute()
    path = cache / f"{digest(key)}.json"
    kept = _kept(path)
    if kept is not None:
        return kept
    result = compute()
    write_json(path, {"sum": digest_of_json(result), "result": result})
    return result


def _kept(path: Path) -> dict[str, Any] | None:
    """Return a kept result; None where there is none, or one that is damaged."""
    if not path.exists():
        return None
    try:
        content = read_json(path)
        result: dict[str, Any] = content["result"]
        if content["sum"] == digest_of_json(result):
            return result
    except (IntarsiaError, LookupError, TypeError):
        pass  # as damaged as a wrong sum
    tell_damaged(path)
    return None


def digest(key: Mapping[str, Any]) -> str:
    """Return 32 hexadecimal digits that stand for `key` (JSON values only)."""
    text = json.dumps({"version": CACHE_VERSION, **key}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def fingerprint(files: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 sums of files by their base names.

    Raises:
        IntarsiaError: a file is missing, or two have the same base name.
    """
    sums: dict[str, str] = {}
    for file in files:
        if file.name in sums:
            raise IntarsiaError(f"two input files are named {file.name}; rename one.")
        if not file.is_file():
            raise IntarsiaError(f"the input file {file} does not exist; check the list of sources.")
        sums[file.name] = sha256(file)
    return sums
