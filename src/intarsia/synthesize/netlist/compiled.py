# SPDX-License-Identifier: Apache-2.0
"""The simulator of netlists, compiled once and kept in the user's cache."""

import ctypes
import hashlib
import platform
import shutil
import tempfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from intarsia.cache import default_cache, is_whole, keep, seal
from intarsia.errors import IntarsiaError
from intarsia.processes import run_tool

_LIBRARY, _COMPILE_S = "libnetsim.so", 300.0


def compiled(cache: Path | None = None) -> Path:
    """Return the compiled simulator, compiling it if it is not in the cache.

    Raises:
        IntarsiaError: there is no compiler, or the cache cannot be written.
    """
    source = Path(str(files("intarsia.synthesize.netlist") / "simulator.cpp"))
    flags = ["-O3", "-std=c++17", "-shared", "-fPIC"]
    key = hashlib.sha256(source.read_bytes() + f"{flags}{platform.machine()}".encode()).hexdigest()[:24]
    folder = (cache or default_cache()) / "netlist" / key
    if is_whole(folder):
        return folder / _LIBRARY
    if shutil.which("g++") is None:
        raise IntarsiaError(
            "g++ is missing, the simulation of netlists needs it; install it with your system's package manager."
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".build-", dir=folder.parent))
    except OSError as error:
        raise IntarsiaError(
            f"cannot write {folder.parent}: {error.strerror}; set INTARSIA_CACHE to a writable folder."
        ) from error
    try:
        made = work / "out"
        made.mkdir()
        shutil.copy(source, work / "simulator.cpp")
        command = ["g++", *flags, "-o", f"out/{_LIBRARY}", "simulator.cpp"]
        status, log = run_tool("g++", command, folder=work, timeout_s=_COMPILE_S)
        if status:
            raise IntarsiaError(
                f"compiling the simulator of netlists failed: {(log.splitlines() or ['no output'])[0]}."
            )
        seal(made)
        with suppress(OSError):  # another process has kept its own just now
            keep(made, folder)
        return folder / _LIBRARY
    finally:
        shutil.rmtree(work, ignore_errors=True)


def load(path: Path) -> ctypes.CDLL:
    """Open the compiled simulator."""
    library = ctypes.CDLL(str(path))
    handle, number, long = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
    library.netsim_create.argtypes = [number, *[handle] * 4, number, *[handle] * 7, number, number, number]
    library.netsim_create.restype = handle
    library.netsim_destroy.argtypes = [handle]
    library.netsim_memory.argtypes = [handle, *[number] * 5, *[handle] * 7, number]
    library.netsim_count.argtypes = [handle, number]
    library.netsim_value.argtypes = [handle, number]
    library.netsim_value.restype = number
    library.netsim_drive.argtypes = [handle, number, ctypes.c_uint8]
    library.netsim_run.argtypes = [handle, long, number, ctypes.POINTER(number)]
    library.netsim_run.restype = long
    for name in ("counters", "pulses"):
        getattr(library, f"netsim_{name}").argtypes = [handle]
        getattr(library, f"netsim_{name}").restype = ctypes.POINTER(number)
    return library
