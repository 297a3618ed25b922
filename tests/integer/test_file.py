# SPDX-License-Identifier: Apache-2.0
import json
import struct
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from hostile import NAMES
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork, file
from intarsia.integer.file import load, save
from intarsia.integer.formats import ActivationFormat
from intarsia.integer.layers import AveragePool, Conv2d, MaxPool, Tensor
from intarsia.integer.validation import window_output
from intarsia.text import is_printable
from random_networks import random_network, resnet8_like

SEEDS = st.integers(0, 2**32 - 1)
TEXTS = st.dictionaries(st.text(), st.text(), max_size=3)


def assert_same(a: Any, b: Any) -> None:
    if isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b)
    elif is_dataclass(a):
        assert type(a) is type(b)
        for field in fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b


def any_network(seed: int) -> IntegerNetwork:
    return random_network(np.random.default_rng(seed), 4, free=seed % 2 == 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@settings(max_examples=60)
@given(
    seed=SEEDS, extreme=st.booleans(), free=st.booleans(), metadata=st.dictionaries(st.text(), st.text(), max_size=3)
)
def test_what_is_saved_is_loaded(folder: Path, seed: int, extreme: bool, free: bool, metadata: dict[str, str]) -> None:
    network = random_network(np.random.default_rng(seed), 5, extreme=extreme, free=free)
    network = replace(network, metadata=metadata)
    path = folder / "network.safetensors"
    save(network, path)
    loaded = load(path)
    assert_same(network, loaded)
    content = path.read_bytes()
    save(loaded, path)
    assert path.read_bytes() == content


def test_a_file_is_not_much_larger_than_its_arrays(tmp_path: Path) -> None:
    network = resnet8_like(np.random.default_rng(0))
    save(network, tmp_path / "network")
    assert_same(network, load(tmp_path / "network"))
    assert (tmp_path / "network").stat().st_size < 2 * 77_360 + 20_000


@settings(max_examples=150)
@given(seed=st.integers(0, 3), share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(folder: Path, seed: int, share: float) -> None:
    path = folder / "whole"
    save(any_network(seed), path)
    content = path.read_bytes()
    cut = folder / "cut"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(IntarsiaError, match="cut"):
        load(cut)


@settings(max_examples=300)
@given(data=st.data(), seed=st.integers(0, 3))
def test_flipped_bytes_are_refused_or_make_another_valid_network(folder: Path, seed: int, data: st.DataObject) -> None:
    path = folder / "whole"
    save(any_network(seed), path)
    content = bytearray(path.read_bytes())
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(data.draw(st.integers(1, 3))):
        # Most of a file is arrays; half of the flips go where the structure is.
        end = data.draw(st.sampled_from([8, header, header, len(content)]))
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    flipped = folder / "flipped"
    flipped.write_bytes(content)
    try:
        network = load(flipped)
    except IntarsiaError as error:
        assert "flipped" in str(error)
    else:
        save(network, flipped)
        assert_same(network, load(flipped))


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the JSON header of a file and leave its arrays as they are."""
    content = path.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    outer = json.loads(content[8:end])
    inner = json.loads(outer["__metadata__"]["intarsia"])
    change(inner)
    outer["__metadata__"]["intarsia"] = json.dumps(inner)
    text = json.dumps(outer).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[end:])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h: h.pop("sha256"), "sha256"),
        (lambda h: h.update(version=2), "it has version 2, which computed otherwise; freeze or run the network again"),
        (lambda h: h.update(version=4), "field version is 4, but only 3 is known"),
        (lambda h: h["layers"][0]["planes"][0].update(shift=8), "shift must be an integer of 0 … 7"),
        (lambda h: h["layers"][0].update(residual={"input": "input"}), "residual.multiplier is missing"),
        (
            lambda h: h["layers"][0].update(residual={"input": "nowhere", "multiplier": 1, "shift": 0}),
            "reads tensor 'nowhere', which no layer before it writes",
        ),
        (lambda h: h.update(format="tree"), "field format is 'tree'"),
        (lambda h: h.update(colour="red"), "field header.colour is unknown"),
        (lambda h: h.update(sha256="0" * 64), "SHA-256 sum is another"),
        (lambda h: h.update(sha256=None), "sha256 must be a text"),
        (lambda h: h["layers"][0].update(groups=1), r"field header.layers\[0\].groups is unknown"),
        (lambda h: h["layers"][0]["output"].update(zero_point=3), "output.zero_point is unknown"),
        (lambda h: h["layers"][0]["planes"][0].update(bits=3), r"planes\[0\].bits is unknown"),
        (lambda h: h["layers"][0].pop("stride"), "stride is missing"),
        (lambda h: h["layers"][0].update(kind="lstm"), r"layers\[0\].kind is 'lstm'; known are conv2d"),
        (lambda h: h["layers"][0].update(stride=[1, True]), "stride must be an integer"),
        (lambda h: h["layers"][0].update(stride=[1]), "stride must be a list of 2"),
        (lambda h: h["layers"][0].update(padding=[1 << 40] * 4), "padding must be an integer of 0"),
        (lambda h: h["layers"][0].update(depthwise=1), "depthwise must be true or false"),
        (lambda h: h["layers"][0]["planes"][0].update(pattern="2:1"), "pattern n:m needs"),
        (lambda h: h["layers"][0]["planes"][0].update(pattern="1:999999999"), "against its pattern"),
        (lambda h: h["layers"][0]["planes"][0].update(pattern="stripes"), "cannot read pattern 'stripes'; write dense"),
        (lambda h: h["layers"][0]["planes"][0].update(pattern="rest-inputs"), "needs a plane before it"),
        (lambda h: h["layers"][0]["planes"][0].update(format="float8"), "unknown weight format 'float8'"),
        (lambda h: h["layers"][0]["planes"].pop(), "belongs to no layer"),
        (
            lambda h: h["layers"][0]["planes"].append({"format": "int8", "pattern": "dense", "shift": 0}),
            "weights' is missing",
        ),
        (lambda h: h["layers"].pop(), "belongs to no layer"),
        (lambda h: h["input"].update(scale=float("nan")), "a number in its header is NaN"),
        (lambda h: h["input"].update(scale=float("inf")), "a number in its header is Infinity"),
        (lambda h: h["input"].update(scale=0), "scale must be a finite number above 0"),
        (lambda h: h["input"].update(bits=7), "2, 4, 8 or 16 bits, not 7"),
        (lambda h: h["input"].update(shape=[16, 0, 9]), "shape must be an integer of 1"),
        (lambda h: h["layers"][0].update(input="nothing"), "reads tensor 'nothing'"),
        (lambda h: h["layers"][0].update(hi=256), "its format"),
        (lambda h: h.update(metadata={"a": 1}), "metadata.a must be a text"),
        (lambda h: h.update(layers={}), "layers must be a list"),
        (lambda h: h.update(input=[]), "input must be an object"),
    ],
)
def test_what_a_reader_does_not_know_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    path = tmp_path / "network.safetensors"
    network = resnet8_like(np.random.default_rng(0))
    save(replace(network, input=network.layers[0].output, layers=network.layers[1:3]), path)
    load(path)
    rewrite(path, change)
    before = path.read_bytes()
    with pytest.raises(IntarsiaError, match=f"network.safetensors .*{sentence}"):
        load(path)
    assert path.read_bytes() == before


@settings(max_examples=100)
@given(seed=st.integers(0, 3), data=st.data())
def test_a_changed_value_of_an_array_is_always_noticed(folder: Path, seed: int, data: st.DataObject) -> None:
    path = folder / "whole"
    save(any_network(seed), path)
    content = bytearray(path.read_bytes())
    arrays = 8 + struct.unpack("<Q", content[:8])[0]
    content[data.draw(st.integers(arrays, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    flipped = folder / "flipped"
    flipped.write_bytes(content)
    with pytest.raises(IntarsiaError, match="flipped"):
        load(flipped)


JUNK = [
    None,
    True,
    -1,
    0,
    1,
    2,
    65536,
    10**30,
    0.5,
    1e300,
    "",
    "input",
    "1:1",
    "n:m",
    "rest-taps",
    "int8",
    [],
    [1, 1],
    [1] * 4,
    {},
]


@settings(max_examples=300)
@given(seed=st.integers(0, 5), data=st.data())
def test_any_junk_in_the_header_is_refused_or_makes_another_valid_network(
    folder: Path, seed: int, data: st.DataObject
) -> None:
    path = folder / "junk"
    save(any_network(seed), path)

    def spoil(header: dict[str, Any]) -> None:
        place: Any = header
        while True:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.integers(0, 4)) == 0:
                place[key] = data.draw(st.sampled_from(JUNK))
                return
            place = place[key]

    rewrite(path, spoil)
    try:
        network = load(path)
    except IntarsiaError as error:
        assert "junk" in str(error)
    else:
        save(network, path)
        assert_same(network, load(path))


def test_a_weight_layer_without_planes_is_refused(tmp_path: Path) -> None:
    network = resnet8_like(np.random.default_rng(0))
    path = tmp_path / "network"
    save(replace(network, layers=network.layers[:1]), path)
    content = path.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    outer = json.loads(content[8:end])
    header = json.loads(outer["__metadata__"]["intarsia"])
    header["layers"][0]["planes"] = []
    arrays = {"0.bias": np.zeros(16, np.int32), "0.shift": np.zeros(16, np.uint8)}
    arrays["0.multiplier"] = np.zeros(16, np.uint16)
    header["sha256"] = file._sum(arrays)  # type: ignore[arg-type]
    save_file(arrays, path, metadata={"intarsia": json.dumps(header)})
    with pytest.raises(IntarsiaError, match="stem: has no planes"):
        load(path)


def test_an_array_of_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network"
    save(any_network(1), path)
    path.write_bytes(path.read_bytes().replace(b'"I32"', b'"F32"', 1))
    with pytest.raises(IntarsiaError, match="bias' is F32 instead of I32"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"PK\x03\x04" * 9, b'{"a": 1}' * 9, b"\xff" * 64])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(IntarsiaError, match="foreign"):
        load(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=r"there is no file .*nothing"):
        load(tmp_path / "nothing")
    with pytest.raises(IntarsiaError, match=r"cannot read .*: Is a directory"):
        load(tmp_path)


def test_weights_of_a_model_zoo_are_no_network(tmp_path: Path) -> None:
    path = tmp_path / "zoo"
    save_file({"a": np.zeros(3, np.float32)}, path, metadata={"format": "intarsia-float-weights"})
    with pytest.raises(IntarsiaError, match=r"zoo .*no header of an integer network"):
        load(path)


def test_a_network_with_a_scale_that_is_no_number_is_not_saved(tmp_path: Path) -> None:
    network = any_network(0)
    network = replace(network, input=replace(network.input, scale=float("nan")))
    with pytest.raises(IntarsiaError, match="a number in its header is NaN"):
        save(network, tmp_path / "network")
    assert not list(tmp_path.iterdir())


EXTREME = [0, -1, 1, 2, 1 << 15, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 1 << 31, 1 << 63, 10**30]
NUMBERS = st.sampled_from([*EXTREME, np.int64(1), np.uint16(7), np.int8(-1)])
SCALES = st.one_of(
    st.floats(), st.sampled_from([5e-324, 1.7e308, 10**400, 3, np.float32(0.5), np.float64("inf"), "1", None, True])
)
ANY_NAMES = st.one_of(
    st.text(), st.sampled_from(["\x00", "\ud800", "a\nb", "__metadata__", "0.bias", "x" * 70_000, 3, None])
)
PADDINGS = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)


def changed_network(data: st.DataObject, network: IntegerNetwork) -> IntegerNetwork:
    """The network with one thing changed to something extreme, or of another type."""
    what = data.draw(st.sampled_from(["name", "scale_bits", "metadata", "input", "layer"]))
    if what == "name":
        return replace(network, name=data.draw(ANY_NAMES))
    if what == "scale_bits":
        return replace(network, scale_bits=data.draw(NUMBERS))
    if what == "metadata":
        return replace(network, metadata=data.draw(st.dictionaries(ANY_NAMES, ANY_NAMES, max_size=3)))
    if what == "input":
        name, scale = network.input.name, data.draw(SCALES)
        shape = data.draw(st.sampled_from([network.input.shape, tuple(map(np.int64, network.input.shape))]))
        return replace(network, input=replace(network.input, name=name, scale=scale, shape=shape))
    number = data.draw(st.integers(0, len(network.layers) - 1))
    layer = network.layers[number]
    choices: dict[str, st.SearchStrategy[Any]] = {
        "stride": st.tuples(NUMBERS, NUMBERS),
        "padding": PADDINGS,
        "kernel": st.tuples(NUMBERS, NUMBERS),
        "depthwise": st.sampled_from([np.bool_(False), np.bool_(True), 0, 1, None]),
        "multipliers": st.tuples(NUMBERS, NUMBERS),
        "multiplier": NUMBERS,
        "shift": NUMBERS,
        "lo": NUMBERS,
        "hi": NUMBERS,
    }
    known = [field.name for field in fields(layer) if field.name in choices]
    if not known or data.draw(st.booleans()):
        output = replace(layer.output, scale=data.draw(SCALES))
        return replace(
            network, layers=(*network.layers[:number], replace(layer, output=output), *network.layers[number + 1 :])
        )
    name = data.draw(st.sampled_from(known))
    layer = replace(layer, **{name: data.draw(choices[name])})
    if isinstance(layer, Conv2d | AveragePool | MaxPool):
        source = network.tensors[layer.input].shape
        height, width = window_output(source[1], source[2], layer.kernel, layer.stride, layer.padding)
        layer = replace(layer, output=replace(layer.output, shape=(layer.output.shape[0], height, width)))
    return replace(network, layers=(*network.layers[:number], layer))


@settings(max_examples=500)
@given(seed=st.integers(0, 5), data=st.data())
def test_whatever_is_saved_is_loaded(folder: Path, seed: int, data: st.DataObject) -> None:
    try:
        network = changed_network(data, any_network(seed))
    except (IntarsiaError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        assume(False)  # no network: only its own check refuses it
    path = folder / "extreme"
    path.unlink(missing_ok=True)
    try:
        save(network, path)
    except IntarsiaError as error:
        assert "cannot be saved" in str(error)
        assert not path.exists()
    else:
        assert_same(network, load(path))


def test_a_window_that_no_reader_takes_is_not_written(tmp_path: Path) -> None:
    # Each was written before, and refused by every reader: a stride, a padding and an axis beyond 2^16.
    source = Tensor("x", (1, 1, 1), ActivationFormat(8, signed=True), 1.0)
    far = (1 << 16) + 1

    def pool(stride: int, padding: int) -> IntegerNetwork:
        width = padding // stride + 1
        output = replace(source, name="y", shape=(1, 1, width))
        layer = AveragePool("x", output, (1, 1), (1, stride), (0, 0, 0, padding), 1, 0, -128, 127)
        return IntegerNetwork("far", source, (layer,), 8)

    path = tmp_path / "network"
    for network in (pool(far, 0), pool(far, far), pool(1, far)):
        with pytest.raises(IntarsiaError, match=r"the network far cannot be saved: field .* must be an integer"):
            save(network, path)
    assert not path.exists()
    save(pool(far - 1, 0), path)
    assert_same(pool(far - 1, 0), load(path))


def test_more_metadata_than_a_reader_takes_is_not_written(tmp_path: Path) -> None:
    network = replace(any_network(0), metadata={"log": "\ud800" * 17_000_000})
    with pytest.raises(IntarsiaError, match="header too large; use less metadata"):
        save(network, tmp_path / "network")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("place", ["network", "input", "layer"])
def test_a_name_that_is_no_printable_line_is_refused(tmp_path: Path, place: str, name: str) -> None:
    path = tmp_path / "network.safetensors"
    save(any_network(3), path)

    def rename(header: dict[str, Any]) -> None:
        old = {"network": header, "input": header["input"], "layer": header["layers"][-1]["output"]}[place]
        old["name"] = name

    rewrite(path, rename)
    with pytest.raises(IntarsiaError, match="holds a character that does not print") as caught:
        load(path)
    assert is_printable(str(caught.value))


def test_a_network_is_not_made_with_a_name_that_no_file_could_hold() -> None:
    with pytest.raises(IntarsiaError, match="holds a character that does not print"):
        replace(any_network(3), name="a\nb")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h: h["input"].update(shape=[1, 20_000, 20_000]), "has more than 16,777,216 elements"),
        (lambda h: h["input"].update(shape=[65_536, 65_536, 65_536]), "has more than 16,777,216 elements"),
        (lambda h: h["layers"][0].update(padding=[60_000] * 4), "has more than 16,777,216 elements"),
        (lambda h: h["input"].update(scale=10**400), "field header.input.scale must be a finite number above 0"),
        (lambda h: h.update(scale_bits=10**400), "field header.scale_bits must be an integer"),
        (lambda h: h["layers"][0]["output"].update(shape=[10**400, 1, 1]), "shape must be an integer"),
    ],
)
def test_sizes_and_numbers_without_bounds_are_refused(
    change: Callable[[dict[str, Any]], object], sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "network.safetensors"
    save(any_network(0), path)
    rewrite(path, change)
    with pytest.raises(IntarsiaError, match=sentence):
        load(path)
