# SPDX-License-Identifier: Apache-2.0
"""A small study of the digits network, and a database server of a test's own."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from patience import DEADLINE

SPACE = """\
network: digits
layers:
  default: {dense: ternary, sparse: [none, int2, int4], pattern: ["1:16", "1:16/16"]}
objectives: [accuracy, bits, cycles, area]
calibration: 64
rungs:
  - {epochs: 0}
  - {epochs: 1, keep: 0.4, seeds: [0, 1]}
"""
#: Evaluations of that space: five designs, two of them (0.4) with two seeds.
FIRST, SECOND = 5, 2 * 2


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server of the test's own."""

    tools: Path
    folder: Path
    port: int
    user: str

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{self.user}@127.0.0.1:{self.port}/postgres"

    def control(self, *arguments: str) -> None:
        command = [str(self.tools / "pg_ctl"), "-D", str(self.folder), "-l", str(self.folder / "log"), "-w", *arguments]
        subprocess.run(command, check=True, user=self.user, capture_output=True, timeout=DEADLINE, cwd="/")
