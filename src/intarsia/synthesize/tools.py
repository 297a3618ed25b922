"""Keeping the results of outside tools under a hash of everything they depend on."""

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from intarsia.errors import IntarsiaError
from intarsia.files import read_json, sha256, write_json

# Raised by hand when the meaning of a kept result changes without a change in commands or tool versions.
CACHE_VERSION = 1


def require_package(package: str) -> str:
    """Return the version of an installed Python package of the `synthesize` extra.

    Raises:
        IntarsiaError: it is not installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise IntarsiaError(
            f"the Python package {package} is missing; install it with `pip install intarsia[synthesize]`."
        ) from None


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
    if path.exists():
        try:
            result = read_json(path)
        except IntarsiaError:
            result = None  # a damaged file is only a kept result: compute it anew
        if isinstance(result, dict):
            return result
    result = compute()
    write_json(path, result)
    return result


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
