# SPDX-License-Identifier: Apache-2.0
"""Optional Python packages: what is missing is said in one sentence, the same everywhere."""

import importlib
import importlib.metadata
from importlib.util import find_spec
from types import ModuleType

from intarsia.errors import IntarsiaError


def require(package: str, extra: str) -> None:
    """Refuse to go on without an optional package.

    Args:
        package: as it is imported.
        extra: of Intarsia, that brings it.

    Raises:
        IntarsiaError: it is not installed.
    """
    if find_spec(package) is None:
        raise missing(package, extra)


def load_package(package: str, extra: str) -> ModuleType:
    """Import an optional package; arguments as of `require`.

    Raises:
        IntarsiaError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise missing(package, extra) from error


def require_version(distribution: str, extra: str) -> str:
    """Return the version of an installed package by the name under which it is installed.

    Raises:
        IntarsiaError: it is not installed.
    """
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise missing(distribution, extra) from None


def missing(package: str, extra: str) -> IntarsiaError:
    """Return the error that names a package and how to install it."""
    return IntarsiaError(f"the Python package {package} is missing; install it with: pip install 'intarsia[{extra}]'.")
