# SPDX-License-Identifier: Apache-2.0
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from digits_study import SPACE, Server
from intarsia.explore.source import ready, settings_of
from patience import DEADLINE


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs that holds the trained float network of the digits."""
    folder = tmp_path_factory.mktemp("runs")
    ready(settings_of("digits", folder, None))
    return folder


@pytest.fixture
def runs(prepared: Path, tmp_path: Path) -> Path:
    """A folder of runs of one's own, with the float network and the space."""
    shutil.copytree(prepared, tmp_path / "runs")
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    tools = _postgres()
    if tools is None:
        pytest.skip("PostgreSQL's server is not installed")
    # Not in pytest's folder, which each session that begins closes to other users: the server refuses to run as root.
    with tempfile.TemporaryDirectory(prefix="intarsia-postgres-") as home:
        Path(home).chmod(0o755)
        yield from _running(tools, Path(home) / "data")


def _running(tools: Path, folder: Path) -> Iterator[Server]:
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    folder.mkdir()
    if os.getuid() == 0:
        shutil.chown(folder, user)
    command = [str(tools / "initdb"), "-D", str(folder), "-A", "trust", "-U", user, "-E", "UTF8", "--no-sync"]
    subprocess.run(command, check=True, user=user, capture_output=True, timeout=DEADLINE, cwd="/")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])  # last, before somebody else gets it
    (folder / "postgresql.conf").open("a").write(
        f"\nport = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"
    )
    made = Server(tools, folder, port, user)
    made.control("start")
    yield made
    made.control("stop", "-m", "immediate")


def _postgres() -> Path | None:
    for folder in (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *map(Path, os.get_exec_path())):
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    return None
