# SPDX-License-Identifier: Apache-2.0
"""Single steps on one integer-network file: for people who have a frozen network and no training stack."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from intarsia.array_files import read_npy
from intarsia.datasets.metrics import classes_of, classes_told
from intarsia.engine import EngineConfig, Program, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.errors import IntarsiaError
from intarsia.files import replacing, require_replaceable, require_writable, write_json
from intarsia.flow.comparison import require_equal, verify_on_engine
from intarsia.flow.hardware import IMAGES_FILE, PROGRAM_FILE, is_program, write_program
from intarsia.flow.inputs import Images, random_images
from intarsia.flow.scheduler import Say
from intarsia.flow.system import SystemOptions, measure_system, system_table
from intarsia.integer import IntegerNetwork, file
from intarsia.integer.executor import Executor
from intarsia.packages import require
from intarsia.system import software
from intarsia.text import counted
from intarsia.typed_json import to_json

_MOST_IMAGES = 1_000_000  # all of them are in memory at once


def execute(network_file: Path, images_file: Path, labels_file: Path | None, output: Path | None) -> str:
    """Run a network on images from a NumPy file; write its outputs (N, features), and say how accurate it is.

    Raises:
        IntarsiaError: a file is missing or damaged, or the images do not fit the network.
    """
    if output is not None:
        _require_output(output, network_file, images_file, labels_file)
    network = file.load(network_file)
    images = read_array(images_file)
    labels = None if labels_file is None else read_array(labels_file)
    if labels is not None and labels.shape != images.shape[:1]:
        raise IntarsiaError(f"{labels_file} has the shape {labels.shape}, but there are {len(images)} images.")
    if labels is not None and len(labels):
        _require_classes(labels_file, labels, math.prod(network.output.shape))
    result = Executor(network).run(images)
    if output is not None:
        with replacing(output) as temporary, temporary.open("wb") as stream:
            np.save(stream, result, allow_pickle=False)
    text = f"{network.name}: {counted(len(images), 'image')}"
    if labels is not None and len(images):
        text += f", {float((classes_of(result) == labels).mean()):.2%} right"
    return text + (f"; outputs in {output}" if output else "")


def _require_classes(path: Path | None, labels: Images, outputs: int) -> None:
    if labels.min() < 0 or labels.max() >= classes_told(outputs):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise IntarsiaError(
            f"{path} holds the class {wrong}, but the network tells {classes_told(outputs)} classes apart, from 0."
        )


def _require_output(output: Path, *inputs: Path | None) -> None:
    """Refuse, before any work, to write where that is impossible or over what is read.

    Raises:
        IntarsiaError: says which it is.
    """
    require_replaceable(output)
    require_writable(output.parent, "choose another --output")
    for path in inputs:
        if path is not None and output.exists() and path.exists() and output.samefile(path):
            raise IntarsiaError(f"{output} is read here and would be written over; choose another --output.")


def _require_unused(path: Path, ours: Callable[[Path], bool]) -> None:
    """Refuse to write over another's file, where nobody gave its path.

    Raises:
        IntarsiaError: names it.
    """
    if os.path.lexists(path) and not ours(path):
        raise IntarsiaError(f"{path} is there and not of this program; give a path with --output, this one or another.")


def compile_file(network_file: Path, output: Path | None, config: EngineConfig) -> str:
    """Compile a network and write its program and memory images into a folder, by default next to its file.

    Raises:
        IntarsiaError: the file is damaged, the network does not fit the engine, or the default folder holds files of
            these names that are another's.
    """
    if output is None and (network_file.suffix == "" or not network_file.stem.strip(".")):
        raise IntarsiaError(f"{network_file} has no name for a folder next to it; give one with --output.")
    folder = output or network_file.with_suffix("")
    require_writable(folder, "choose another --output")
    network = file.load(network_file)
    program = compile_network(network, config_for(network, config))
    files = (folder / PROGRAM_FILE, folder / IMAGES_FILE)
    for path in files:
        if output is None:
            _require_unused(path, lambda path: is_program(path.with_name(PROGRAM_FILE)))
        else:
            _require_output(path, network_file)
    write_program(program, *files)
    cycles = sum(layer.cycles for layer in predict(program))
    return f"{program.name}: {counted(len(program.layers), 'layer')}, {cycles:,} cycles per image; written to {folder}"


def simulate(
    network_file: Path, images_file: Path | None, count: int | None, config: EngineConfig, *, progress: bool
) -> str:
    """Run images from a file, or random ones, on the simulated engine and compare everything with the executor.

    `count` is how many; None takes all images of the file, or 10 random ones.

    Raises:
        IntarsiaError: a file is damaged, the network or the images do not fit, a tool is missing, or a layer differs.
    """
    _require_count("images", count)
    network = file.load(network_file)
    images = _images(network, images_file, count)
    program = compile_network(network, config_for(network, config))
    return f"{network.name}: {verify_on_engine(network, program, images, progress=progress).summary}"


def program_of(network_file: Path, config: EngineConfig) -> Program:
    """Return a network's program, for the engine that is fitted to it.

    Raises:
        IntarsiaError: the file is damaged, or the network does not fit.
    """
    network = file.load(network_file)
    return compile_network(network, config_for(network, config))


def images_of(network_file: Path, images_file: Path | None, count: int | None) -> Images:
    """Return images for a network: `count` or all of a file, or `count` or 10 random ones.

    Raises:
        IntarsiaError: a file is damaged, or the count is not a number of images.
    """
    _require_count("images", count)
    return _images(file.load(network_file), images_file, count)


def _images(network: IntegerNetwork, images_file: Path | None, count: int | None) -> Images:
    if images_file is None:
        return random_images(network, 10 if count is None else count)
    return read_array(images_file)[:count]


def system(
    network_file: Path, images: Images, config: EngineConfig, options: SystemOptions, to: Path | None, *, say: Say
) -> str:
    """Run a network from firmware in a RISC-V system and in software; return a table, and write it as JSON.

    Raises:
        IntarsiaError: as `intarsia.flow.system.measure_system`, or a file cannot be read or written.
    """
    costs = measure_system(file.load(network_file), images, config, options, say=say)
    if to is not None:
        write_json(to, to_json(costs))
    return system_table(costs)


def require_json(path: Path | None) -> Path | None:
    """Return the file for results, if one is asked for.

    Raises:
        IntarsiaError: it cannot be written.
    """
    if path is not None:
        require_replaceable(path)
        require_writable(path.parent, "choose another --json")
    return path


def export_onnx(network_file: Path, output: Path | None, count: int) -> str:
    """Export a network to ONNX, by default next to its file, and compare its results in onnxruntime on random images.

    Raises:
        IntarsiaError: the file is damaged, a package is missing, the results differ, or at the default path there is a
            file that is another's.
    """
    _require_count("onnx images", count)
    require("onnx", "onnx")
    require("onnxruntime", "onnx")
    from intarsia.integer import onnx  # noqa: PLC0415 (an optional part)

    path = output or network_file.with_suffix(".onnx")
    _require_output(path, network_file)
    network = file.load(network_file)
    if output is None:
        _require_unused(path, onnx.is_export)
    onnx.export(network, path)
    images = random_images(network, count)
    found = onnx.execute(path, images)[network.output.name].reshape(count, -1)
    require_equal("the exported graph", network.output.name, found, Executor(network).run(images), 0)
    return f"{network.name}: written to {path}; equal in onnxruntime on {counted(count, 'random image')}"


def require_c_output(folder: Path | None) -> Path:
    """Return the folder for a C library.

    Raises:
        IntarsiaError: there is none, or it cannot be written.
    """
    if folder is None:
        raise IntarsiaError("export-c needs a folder to write to; give one with --output FOLDER.")
    require_writable(folder, "choose another --output")
    return folder


def export_c(network_file: Path, folder: Path, kernels: str, name: str | None) -> str:
    """Write a network as a C99 library.

    Raises:
        IntarsiaError: the file is damaged, the name is not a C identifier, the folder cannot be written, or a file of
            another is in the way.
    """
    library = software.export(file.load(network_file), folder, kernels=kernels, name=name)
    return (
        f"{library.name}: {counted(len(library.layers), 'layer')} with {kernels} kernels written to {folder}; "
        f"{library.ram_bytes:,} bytes of RAM, {library.constant_bytes:,} bytes of constants"
    )


def _require_count(name: str, count: int | None) -> None:
    if count is not None and count < 1:
        raise IntarsiaError(f"{name} must be 1 or more, not {count}.")
    if count is not None and count > _MOST_IMAGES:
        raise IntarsiaError(f"{name} must be at most {_MOST_IMAGES:,}, not {count}.")


def read_array(path: Path) -> Images:
    """Read a NumPy array of integers from a .npy file; nothing in it is executed.

    Raises:
        IntarsiaError: the file is missing, damaged, or holds no integers.
    """
    array = read_npy(path)
    if not (array.ndim and np.issubdtype(array.dtype, np.integer)):
        raise IntarsiaError(f"{path} must hold one array of integers, such as images; save it with numpy.save.")
    return array
