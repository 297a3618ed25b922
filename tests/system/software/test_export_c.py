# SPDX-License-Identifier: Apache-2.0
"""`intarsia export-c`: what it writes, and that it never leaves a part or takes another's file."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c_libraries import COMPILER, FLAGS
from hostile import NAMES
from intarsia import cli
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork, file
from intarsia.integer.executor import Executor
from intarsia.system.software import build_library, export, library_files
from intarsia.system.software.memory import Alive, allocate
from random_networks import random_images, random_layer_network, random_network


@pytest.fixture
def network() -> IntegerNetwork:
    return replace(random_layer_network(np.random.default_rng(3), kind="conv"), name="net")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_command_writes_a_library_and_an_example_that_builds(
    network: IntegerNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.save(network, tmp_path / "net.safetensors")
    folder = tmp_path / "a" / "c"
    arguments = ["export-c", str(tmp_path / "net.safetensors"), "--output", str(folder), "--name", "mine"]
    assert cli.main(arguments) == 0
    assert "bytes of RAM" in capsys.readouterr().out
    assert {"mine.c", "mine.h", "mine_test.c", "Makefile", "intarsia_kernels.h"} <= set(contents(folder))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "net.safetensors"]
    before = contents(folder)
    assert cli.main(arguments) == 0  # its own files are replaced
    assert contents(folder) == before
    if COMPILER is None:
        return
    sources = [folder / "mine_test.c", folder / "mine.c"]
    subprocess.run([COMPILER, *FLAGS, "-o", folder / "mine_test", *sources], check=True)
    images = random_images(np.random.default_rng(0), network, 3)
    raw = images.transpose(0, 2, 3, 1).tobytes()
    printed = subprocess.run([folder / "mine_test"], input=raw, capture_output=True, check=True).stdout.decode()
    channels, height, width = network.output.shape
    found = np.array([line.split() for line in printed.splitlines()], int).reshape(3, height, width, channels)
    assert np.array_equal(found.transpose(0, 3, 1, 2).reshape(3, -1), Executor(network, 1).run(images))


def test_the_public_header_is_cpp(network: IntegerNetwork, tmp_path: Path) -> None:
    if COMPILER is None:
        pytest.skip("no C compiler")
    export(network, tmp_path / "c")
    (tmp_path / "use.cpp").write_text('#include "net.h"\nint main() { return NET_INPUT_SIZE == 0; }\n')
    command = [COMPILER, "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-x", "c++"]
    subprocess.run([*command, "-I", tmp_path / "c", tmp_path / "use.cpp"], check=True)


@pytest.mark.parametrize("name", ["stdint", "Math"])
def test_a_library_does_not_take_the_place_of_a_standard_header(
    network: IntegerNetwork, tmp_path: Path, name: str
) -> None:
    with pytest.raises(IntarsiaError, match=f"{name}.h is a header of the C library; give another name"):
        export(network, tmp_path / "c", name=name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "1net", "my-net", "a b", "int", "class", "é", "x" * 41, "intarsia_net", *NAMES])
def test_a_name_that_is_not_an_identifier_is_refused(network: IntegerNetwork, tmp_path: Path, name: str) -> None:
    with pytest.raises(IntarsiaError, match="--name"):
        export(network, tmp_path / "c", name=name)
    assert list(tmp_path.iterdir()) == []


def test_names_of_layers_cannot_leave_their_comment(network: IntegerNetwork) -> None:
    named = replace(
        network, layers=(replace(network.layers[0], output=replace(network.output, name="a\\ */ #if 0 ??/")),)
    )
    text = library_files(build_library(named))["net.c"]
    assert "// Layer 0: Conv2d a? ?? ?if 0 ???, " in text


def test_anothers_file_is_kept(network: IntegerNetwork, tmp_path: Path) -> None:
    (tmp_path / "net.c").write_text("int mine;")
    with pytest.raises(IntarsiaError, match=r"net\.c is there with other content"):
        export(network, tmp_path)
    assert contents(tmp_path) == {"net.c": b"int mine;"}


def test_a_changed_kernel_is_kept(network: IntegerNetwork, tmp_path: Path) -> None:
    export(network, tmp_path / "c")
    kernel = tmp_path / "c" / "intarsia_conv.h"
    kernel.write_text("// changed by hand")
    with pytest.raises(IntarsiaError, match=r"intarsia_conv\.h is there with other content"):
        export(network, tmp_path / "c")


def test_a_missing_folder_is_asked_for(
    network: IntegerNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.save(network, tmp_path / "net.safetensors")
    assert cli.main(["export-c", str(tmp_path / "net.safetensors")]) == 2
    assert "give one with --output" in capsys.readouterr().err
    assert cli.main(["export-c", str(tmp_path / "net.safetensors"), "--output", str(tmp_path / "net.safetensors")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert cli.main(["export-c", "digits", "--out", str(tmp_path / "runs")]) == 2
    assert "give one with --output" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_an_unwritable_folder_is_refused(network: IntegerNetwork, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IntarsiaError, match="Not a directory"):
        export(network, tmp_path / "file" / "c")


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_what_is_interrupted_leaves_no_part(
    network: IntegerNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, failing: str
) -> None:
    folder = tmp_path / "c"
    if there:
        export(network, folder, kernels="int8")
        (folder / "net.h").write_text("// Written by `intarsia export-c`: before")
    before = contents(folder) if there else None
    calls = 0

    def interrupt(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", interrupt)
    else:
        original = Path.replace

        def replaced(self: Path, target: Path) -> Path:
            interrupt()
            return original(self, target)

        monkeypatch.setattr(Path, "replace", replaced)
    with pytest.raises(KeyboardInterrupt):
        export(network, folder)
    monkeypatch.undo()
    if failing == "fsync" or not there:
        assert (contents(folder) if there else None) == before
    else:  # what was begun is brought to its end
        assert contents(folder) == {name: text.encode() for name, text in library_files(build_library(network)).items()}
    assert list(tmp_path.rglob(".*")) == []


def test_blocks_that_are_alive_together_never_overlap() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        starts = rng.integers(0, 10, 12).tolist()
        blocks = [
            Alive(str(n), int(rng.integers(1, 100)), start, start + int(rng.integers(4)))
            for n, start in enumerate(starts)
        ]
        offsets, size = allocate(blocks)
        for one in blocks:
            assert offsets[one.name] % 4 == 0
            assert offsets[one.name] + one.size <= size
            for other in blocks:
                apart = one.last < other.first or other.last < one.first
                below = offsets[one.name] + one.size <= offsets[other.name]
                assert one is other or apart or below or offsets[other.name] + other.size <= offsets[one.name]


def test_an_arena_is_no_larger_than_all_tensors() -> None:
    for seed in range(10):
        network = replace(random_network(np.random.default_rng(seed)), name="net")
        sizes = [int(np.prod(tensor.shape)) + 4 for tensor in network.tensors.values()]
        assert build_library(network).ram_bytes <= sum(sizes)


@pytest.mark.parametrize(
    ("kernels", "expected"),
    [
        ("int8", {"conv", "pool"}),
        ("packed", {"packed", "pool", "conv"}),
        ("ternary", {"packed", "ternary", "pool", "conv"}),
        ("sum-together", {"sum_together", "pool"}),
    ],
)
def test_a_family_is_used_where_it_pays(kernels: str, expected: set[str]) -> None:
    network = file.load(Path(__file__).parents[3] / "studies" / "networks" / "resnet8-seed0.safetensors")
    library = build_library(network, kernels)
    assert {kernel.template for kernel in library.instances} == expected
    assert all(dict(kernel.parameters)["SUM"] == "32" for kernel in library.instances)  # 64 bits are slow
    assert library.ram_bytes <= 57_344  # three tensors of 16 KiB, and inputs of some pixels side by side


def test_an_unknown_family_is_refused(network: IntegerNetwork) -> None:
    with pytest.raises(IntarsiaError, match="choose one of int8, packed"):
        build_library(network, "fast")
