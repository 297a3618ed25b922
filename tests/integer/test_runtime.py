# SPDX-License-Identifier: Apache-2.0
"""onnxruntime collects and sends nothing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from intarsia.integer import file
from random_networks import random_layer_network

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

#: Where onnxruntime kept a device identifier, a database of events and the key of a session.
PLACES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR")


def test_an_export_leaves_nothing_in_the_users_folders(tmp_path: Path) -> None:
    network = tmp_path / "network.safetensors"
    file.save(random_layer_network(np.random.default_rng(0)), network)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    for name in PLACES:
        (tmp_path / name).mkdir()
        environment[name] = str(tmp_path / name)
    command = [sys.executable, "-m", "intarsia.cli", "export-onnx", str(network), "--onnx-images", "2"]
    subprocess.run(command, env=environment, check=True)
    assert [path for name in PLACES for path in (tmp_path / name).iterdir()] == []
