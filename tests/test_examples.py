# SPDX-License-Identifier: Apache-2.0
"""The programs that the documentation shows do what it says."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/own_network.py"


def test_a_network_of_ones_own_reaches_the_verified_engine() -> None:
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"integer accuracy: ([\d.]+)", done.stdout)
    assert accuracy and float(accuracy[1]) > 0.7  # about 0.95
    assert re.search(r"cycles per image: [1-9]\d*", done.stdout)
    assert "bit-exact:" in done.stdout


def test_the_documentation_shows_lines_of_the_example() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/own-network.md").read_text(), re.DOTALL)
    [shown] = [block for block in blocks if "train_network" in block]
    missing = set(filter(None, shown.splitlines())) - set(EXAMPLE.read_text().splitlines())
    assert not missing
