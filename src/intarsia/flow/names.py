# SPDX-License-Identifier: Apache-2.0
"""Names of networks as users give them: that of a built-in one, or the path of a file to import."""

import os
import re
from pathlib import Path

from intarsia.errors import IntarsiaError
from intarsia.recipes import BENCHMARKS

#: The folder of all studies, among those of runs.
STUDIES = "studies"

#: Suffixes of files of float networks to import.
MODELS = (".tflite", ".onnx", ".pt2", ".keras", ".h5")
MODEL_FILE = f"a {', '.join(MODELS[:-1])} or {MODELS[-1]} file"


def named(network: str, *, own_folder: bool = False) -> tuple[str, Path | None]:
    """Return the name of a network's run, and the file that the network is imported from, if it is.

    Args:
        network: a name, or the path of a file that ends in one of `MODELS`.
        own_folder: whether the user chose the run's folder, where it cannot meet a built-in network.

    Raises:
        IntarsiaError: it is another kind of file, has the name of a built-in network, or its name cannot be that of a
            folder.
    """
    path = Path(network)
    if not network.strip("."):
        raise IntarsiaError(f"{network!r} is not a network; give one that `intarsia networks` lists, or {MODEL_FILE}.")
    if path.suffix.lower() not in MODELS:
        if network not in BENCHMARKS and (path.suffix or os.sep in network):
            raise IntarsiaError(
                f"{network} is not a float network; give one that `intarsia networks` lists, or {MODEL_FILE} (execute, "
                "export-onnx, export-c, compile, simulate and system also take the .safetensors file of an integer "
                "network)."
            )
        return network, None
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)
    if not name.strip("."):
        raise IntarsiaError(f"{path} has no name that a folder could have; rename the file.")
    taken = {STUDIES: "the folder of all studies"}
    taken |= {built_in: f"the folder of the built-in network {built_in}" for built_in in BENCHMARKS}
    if name in taken and not own_folder:
        raise IntarsiaError(
            f"{path} would share {taken[name]}; rename the file (or, for a run, choose another folder with --out)."
        )
    return name, path
