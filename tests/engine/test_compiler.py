# SPDX-License-Identifier: Apache-2.0
"""The compiler: descriptors, memory allocation, and networks that the engine must refuse."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.accesses import PADDING, loads_of, output_words, values_of
from intarsia.engine.allocation import Plan, allocate, lifetimes
from intarsia.engine.bits import Ints, balanced_digits
from intarsia.engine.cycles import predict
from intarsia.engine.layout import FIELD_BITS, Descriptor, field_limits, systemverilog_package
from intarsia.engine.storage import stored_tensors
from intarsia.engine.units import Dense, ExecutionUnit, SumTogether, Superposition
from intarsia.errors import IntarsiaError
from intarsia.integer import (
    ActivationFormat,
    Conv2d,
    IntegerNetwork,
    Linear,
    Pattern,
    Plane,
    Requantization,
    Tensor,
    WeightFormat,
)
from intarsia.integer.effective import effective_bits
from intarsia.integer.formats import DIGIT_LIMITS, trit_bits
from mlperf_tiny_networks import Digits, autoencoder_like, dscnn_like, mobilenet_like
from random_networks import KINDS, random_layer_network, random_network, resnet8_like
from random_planes import ends, random_plane


def test_importing_the_engine_needs_no_torch() -> None:
    code = "import sys, intarsia.engine, intarsia.simulate, intarsia.integer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.randoms(use_true_random=False))
def test_descriptor_words_hold_every_field(random: object) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    values = {name: int(rng.integers(*field_limits(name), endpoint=True)) for name in FIELD_BITS}
    packed = sum(word << 32 * i for i, word in enumerate(Descriptor(**values).words()))
    for field in reversed(fields(Descriptor)):
        assert packed & ((1 << FIELD_BITS[field.name]) - 1) == values[field.name] % (1 << FIELD_BITS[field.name])
        packed >>= FIELD_BITS[field.name]
    assert packed == 0


def test_package_declares_the_fields_in_order() -> None:
    text = systemverilog_package()
    places = [text.index(f" {field.name};") for field in fields(Descriptor)]
    assert places == sorted(places)


@given(st.integers(0, 10_000))
def test_live_tensors_never_overlap(seed: int) -> None:
    """But for what a layer writes over what it reads for the last time."""
    network = random_network(np.random.default_rng(seed), depth=8)
    stored = stored_tensors(network, EngineConfig())
    bases = allocate(network, stored, [Plan(1 << 20)] * len(network.layers), 65536)
    spans = [(life, bases[life.name]) for life in lifetimes(network, stored)]
    for i, (one, a) in enumerate(spans):
        for two, b in spans[i + 1 :]:
            over_residual = two.first == one.last and a == b and one.words == two.words
            if two.first <= one.last and not over_residual:
                assert a + one.words <= b or b + two.words <= a, (one, two)


@settings(max_examples=60)
@given(st.integers(0, 100_000), st.sampled_from((Superposition(), SumTogether(), SumTogether(16))))
def test_no_word_is_written_before_its_last_read(seed: int, unit: Superposition | SumTogether) -> None:
    """Follow every program word by word, in the order of loads and writes, with the tensor that each holds."""
    engine = EngineConfig(unit=unit)
    network = random_network(np.random.default_rng(seed), depth=6)
    program = compile_network(network, replace(config_for(network, engine), act_banks=1))
    holds = {}
    for word in range(program.input.words):
        holds[program.input.base + word] = (network.input.name, word)
    by_name = {network.input.name: program.input} | {layer.name: layer.output for layer in program.layers}
    for layer, own in zip(program.layers, network.layers, strict=True):
        d, loads = layer.descriptor, loads_of(layer.descriptor)
        written = output_words(values_of(d)).reshape(-1, 1 + d.out_two)
        done = 0
        for number, needed in enumerate([*loads.needed.tolist(), len(loads.addresses) - 1]):
            for address in loads.addresses[done : needed + 1].tolist():
                base = by_name[own.inputs[0]].base
                assert address == PADDING or holds[base + address] == (own.inputs[0], address)
            done = max(done, needed + 1)
            if number < len(written):
                for word in written[number].tolist():
                    if d.residual and word % d.out_col_pitch < layer.output.stored.blocks:
                        # Of a word that several tiles share, each reads and writes its own part.
                        before = [(own.inputs[1], word), (layer.name, word)][: 1 + (d.out_tile_shift > 0)]
                        assert holds[d.residual_base + word] in before
                    holds[d.out_base + word] = (layer.name, word)


def test_an_output_lies_over_the_input_that_it_uses_up() -> None:
    """ResNet-8: the unfolded image under the first layer's output, each sum over its residual."""
    program = compile_network(resnet8_like(np.random.default_rng(0)))
    assert program.used_words()["act_depth"] == program.input.words == 2048
    base = {layer.name: layer.output.base for layer in program.layers}
    assert base["stem"] < program.input.words
    assert base["stack1.conv2"] == base["stem"]


@pytest.mark.parametrize(
    ("build", "most"),
    [
        (resnet8_like, 60_000),
        (lambda rng: dscnn_like(rng, Digits(first=2, depthwise=2)), 18_500),
        (lambda rng: mobilenet_like(rng, Digits(first=2, depthwise=2)), 66_000),
        (autoencoder_like, 8_000),
    ],
    ids=["resnet8", "dscnn", "mobilenet", "autoencoder"],
)
def test_mlperf_tiny_fits_and_is_fast(build: Callable[[np.random.Generator], IntegerNetwork], most: int) -> None:
    network = build(np.random.default_rng(0))
    config = config_for(network)
    program = compile_network(network, config)
    assert sum(layer.cycles for layer in predict(program)) <= most
    for name, words in program.used_words().items():
        assert 0 <= getattr(config, name) - words < 64


def _refused(network: object, config: EngineConfig, *words: str) -> None:
    with pytest.raises(IntarsiaError) as refusal:
        compile_network(network, config)  # type: ignore[arg-type]
    for word in words:
        assert word in str(refusal.value)


def _one_plane(weights: Ints, form: str) -> IntegerNetwork:
    """A 1×1 convolution whose dense plane has the given weights (O, I)."""
    network = _weight_network(weights.shape[1], 2, (*weights.shape, 1, 1), "ternary")
    [layer] = network.weight_layers()
    plane = replace(layer.planes[0], weights=weights[:, :, None, None].astype(np.int8), format=WeightFormat(form))
    return replace(network, layers=(replace(layer, planes=(plane,)),))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["binary", *(f"int{bits}" for bits in range(2, 9))]))
def test_a_dense_plane_becomes_the_fewest_digits_that_hold_its_weights(seed: int, form: str) -> None:
    rng, limit = np.random.default_rng(seed), min(WeightFormat(form).limit, 121)
    greatest = int(rng.integers(1, limit, endpoint=True))
    weights = ends(rng, -1, 1, (5, 20)) if form == "binary" else rng.integers(-greatest, greatest + 1, (5, 20))
    digits = next(count for count, most in DIGIT_LIMITS.items() if np.abs(weights).max() <= most)
    found = compile_network(_one_plane(weights, form))
    same = compile_network(_one_plane(weights, "ternary" if digits == 1 else f"digits{digits}"))
    assert found.layers[0].descriptor.digits == digits
    assert found.layers[0].descriptor == same.layers[0].descriptor
    assert np.array_equal(found.weights, same.weights)


def test_a_dense_weight_that_no_digits_hold_is_refused_with_its_layer() -> None:
    weights = np.full((3, 16), -121)
    compile_network(_one_plane(weights, "int8"))
    weights[1, 2] = 122
    _refused(_one_plane(weights, "int8"), EngineConfig(), "layer layer", "reach 122", "121 at most", "to 7 bits")


def program_layer(network: IntegerNetwork, planes: tuple[Plane, ...]) -> Conv2d | Linear:
    [layer] = network.weight_layers()
    return replace(layer, planes=planes)


def test_of_two_planes_of_integers_the_pattern_says_which_is_dense() -> None:
    network = _weight_network(32, 4, (20, 32, 3, 3), "ternary", sparse=True)
    [layer] = network.weight_layers()
    dense, sparse = layer.planes
    dense = replace(dense, weights=dense.weights * 7, format=WeightFormat("int4"))
    program = compile_network(replace(network, layers=(replace(layer, planes=(sparse, dense)),)))
    assert program.layers[0].descriptor.digits == 3
    digits = balanced_digits(dense.weights, 3)
    operands = program.config.unit.operands(program_layer(network, (sparse, dense)))
    assert np.array_equal(operands.passes, digits)
    assert np.array_equal(operands.slots, sparse.weights)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("planes", "words"),
    [
        ((("binary", "outputs"), ("ternary", "rest-outputs")), ("no binary planes", "ternary")),
        ((("ternary", "dense"), ("int8", "outputs")), ("holds 16 sparse weights", "regular pattern")),
        ((("int8", "outputs"), ("int4", "outputs"), ("int2", "rest-outputs")), ("at most one dense and one sparse",)),
    ],
)
def test_planes_that_the_engine_lacks_are_refused_by_name(
    planes: tuple[tuple[str, str], ...], words: tuple[str, ...]
) -> None:
    rng, shape = np.random.default_rng(0), (16, 32, 1, 1)
    owner = np.arange(16).reshape(-1, 1, 1, 1) % len(planes)
    drawn = [random_plane(rng, shape, form, Pattern(), extreme=True) for form, _ in planes]
    kept = [
        replace(plane, weights=plane.weights * (owner == number) if "outputs" in text else plane.weights)
        for number, (plane, (_, text)) in enumerate(zip(drawn, planes, strict=True))
    ]
    kept = [replace(plane, pattern=Pattern.parse(text)) for plane, (_, text) in zip(kept, planes, strict=True)]
    ones = np.ones(16, np.int64)
    source, output = (
        Tensor(name, (size, 2, 3), ActivationFormat(8, signed=True), 1.0) for name, size in (("in", 32), ("out", 16))
    )
    layer = Conv2d("in", output, tuple(kept), Requantization(ones, 0 * ones, 9 * ones, -128, 127))
    network = IntegerNetwork("odd", source, (layer,), 6)
    _refused(network, EngineConfig(), "layer out", *words)
    with pytest.raises(IntarsiaError, match=words[0]):
        config_for(network)


def test_a_network_too_large_says_which_memory_to_raise() -> None:
    network = resnet8_like(np.random.default_rng(0))
    used = compile_network(network, config_for(network)).used_words()
    for name in ("act_depth", "weight_depth", "program_depth"):
        _refused(network, replace(config_for(network), **{name: 16}), f"needs {name} {used[name]:,} (not 16)", "raise")


def test_all_parameters_that_are_too_small_are_named_at_once_with_what_they_must_be() -> None:
    network = _weight_network(32, 16, (32, 32, 3, 3), "ternary", sparse=True)
    [layer] = network.weight_layers()
    dense, sparse = layer.planes
    twice = np.roll(sparse.weights, 1, axis=1) + sparse.weights  # two in a block of 16
    twice = replace(sparse, weights=twice, pattern=Pattern.parse("2:16"))
    network = replace(network, layers=(replace(layer, planes=(dense, twice)),), scale_bits=9)
    small = EngineConfig(unit=Superposition(1, 5, 0), acc_bits=16, act_depth=64, weight_depth=16)
    fitted = config_for(network, small)
    named = (
        "slots 2 (not 1)",
        "slot_bits 8 (not 5)",
        "scale_bits 9 (not 6)",
        "acc_bits ",
        "act_depth ",
        "weight_depth ",
    )
    _refused(network, small, *named, "raise these")
    assert (fitted.unit, fitted.scale_bits) == (Superposition(2, 8, 0), 9)
    assert fitted.acc_bits > 16
    compile_network(network, fitted)
    _refused(
        network, replace(fitted, acc_bits=fitted.acc_bits - 1), f"it needs acc_bits {fitted.acc_bits}", "raise this"
    )
    program = compile_network(network)
    assert program.config == config_for(network)
    assert program.config.lanes == 16


@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_of_a_network_holds_it(kind: str) -> None:
    """Where one engine holds a network, the one that is fitted to it does, from any engine to begin with."""
    for seed in range(8):
        network = random_layer_network(np.random.default_rng([41, seed]), kind, channels=(1, 60), size=(1, 20))
        try:
            config = config_for(network, EngineConfig(act_depth=16, weight_depth=16, acc_bits=16, scale_bits=2))
        except IntarsiaError as refusal:
            assert "sparse weights" in str(refusal)
            continue
        used = compile_network(network, config).used_words()
        assert used == compile_network(network).used_words()
        assert all(getattr(config, name) - words < 64 for name, words in used.items())


def _weight_network(
    channels: int,
    size: int,
    shape: tuple[int, ...],
    dense: str,
    *,
    sparse: bool = False,
    depthwise: bool = False,
    linear: bool = False,
) -> IntegerNetwork:
    """One convolution or linear layer whose planes have random weights, the sparse one 1:16 int8."""
    rng = np.random.default_rng(0)
    outputs, ones = shape[0], np.ones(shape[0], np.int64)
    limit = WeightFormat(dense).limit
    planes = [Plane(rng.integers(-limit, limit + 1, shape), WeightFormat(dense), Pattern())]
    if sparse:
        # In each block anywhere but at its end, as each channel and tap likes.
        blocks = (outputs, -(-shape[1] // 16), 16, *shape[2:])
        here = rng.integers(0, 15, (*blocks[:2], 1, *shape[2:])) == np.arange(16).reshape(1, 1, 16, 1, 1)
        weights = (here * rng.integers(1, 127, blocks)).reshape(outputs, -1, *shape[2:])[:, : shape[1]]
        planes.append(Plane(weights, WeightFormat("int8"), Pattern("n:m", 1, 16)))
    requantization = Requantization(ones, 0 * ones, 0 * ones, -128, 127)
    int8 = ActivationFormat(8, signed=True)
    if linear:
        layer: Conv2d | Linear = Linear(
            "input", Tensor("layer", (outputs, 1, 1), int8, 1.0), tuple(planes), requantization
        )
    else:
        output = Tensor("layer", (outputs, size - shape[2] + 1, size - shape[3] + 1), int8, 1.0)
        layer = Conv2d("input", output, tuple(planes), requantization, depthwise=depthwise)
    return IntegerNetwork(
        "one layer", Tensor("input", (channels, size, size), int8, 1.0), (layer,), EngineConfig().scale_bits
    )


@pytest.mark.parametrize(
    "network",
    [
        _weight_network(20, 6, (10, 20, 3, 3), "ternary", sparse=True),
        _weight_network(16, 6, (32, 16, 4, 4), "digits2", sparse=True),
        _weight_network(32, 3, (20, 32, 1, 1), "ternary", sparse=True),
        _weight_network(1, 12, (10, 1, 10, 4), "digits4"),
        _weight_network(20, 6, (20, 1, 3, 3), "digits3", depthwise=True),
        _weight_network(5, 6, (5, 1, 4, 4), "ternary", depthwise=True),
        _weight_network(70, 1, (10, 70, 1, 1), "digits4", linear=True),
        _weight_network(70, 1, (10, 70, 1, 1), "ternary", sparse=True, linear=True),
        _weight_network(20, 5, (10, 20, 5, 5), "ternary", sparse=True, linear=True),
    ],
)
def test_blocks_hold_what_effective_bits_count(network: IntegerNetwork) -> None:
    [counted] = effective_bits(network).layers
    program, [layer] = compile_network(network), network.weight_layers()
    d, config = program.layers[0].descriptor, program.config
    blocks = d.tiles * d.tile_blocks * config.block_bits
    filled = d.tiles * d.tile_blocks * (config.block_bits - 16 * trit_bits(16))  # bits of slots
    blocks -= filled if len(layer.planes) == 1 else filled * (d.digits - 1) // d.digits  # those that stay empty
    scales = -network.output.shape[0] % 16 * (config.scale_bits + 5)
    assert counted.planes + counted.indices + counted.padding - scales == blocks
    assert len(program.weights) == d.tiles * (config.param_words + d.tile_blocks * config.weight_parts)


@pytest.mark.parametrize(("form", "scale_bits"), [("int5", 4), ("int2", 2), ("int8", 6), ("int8", 9)])
def test_an_engine_fitted_to_a_network_stores_words_as_wide_as_it_needs(form: str, scale_bits: int) -> None:
    network = _weight_network(32, 8, (32, 32, 3, 3), "ternary", sparse=True)
    [layer] = network.layers
    assert isinstance(layer, Conv2d)
    dense, sparse = layer.planes
    limit = WeightFormat(form).limit
    sparse = replace(sparse, weights=np.sign(sparse.weights) * limit, format=WeightFormat(form))
    requantization = replace(layer.requantization, multiplier=np.ones(32, np.int32))
    layer = replace(layer, planes=(replace(dense, shift=1), sparse), requantization=requantization)
    config = config_for(replace(network, layers=(layer,), scale_bits=scale_bits))
    assert config.unit == Superposition(1, sparse.format.stored_bits(1), 1)
    assert config.scale_bits == scale_bits
    assert (config.residual_bits, config.bias_bits) == (0, 16)
    assert config_for(network, EngineConfig(lanes=8, block=8)).lanes == 8


def test_a_narrow_weight_memory_is_taken_where_it_costs_few_cycles() -> None:
    """A block of a convolution serves four pixels, one of a fully connected layer a single one."""
    assert config_for(resnet8_like(np.random.default_rng(0))).weight_parts == 4
    assert config_for(autoencoder_like(np.random.default_rng(0))).weight_parts == 1


def test_an_unfolded_input_takes_fewer_weight_words_than_one_channel_after_another() -> None:
    network = _weight_network(3, 8, (10, 3, 3, 3), "digits4")
    assert compile_network(network).layers[0].descriptor.tile_blocks == 2 * 4  # 27 taps in blocks of 16


def _one_large_sum(bias: int = 0) -> tuple[IntegerNetwork, EngineConfig]:
    """1024 inputs of an unsigned byte, the greatest weights and multipliers: 2^38 < sum x multiplier < 2^40."""
    source = Tensor("input", (1024, 1, 1), ActivationFormat(8, signed=False), 1.0)
    plane = Plane(np.full((1, 1024, 1, 1), 121), WeightFormat("digits5"), Pattern())
    output = Tensor("classes", (1, 1, 1), source.format, 1.0)
    requantization = Requantization(np.array([65535]), np.array([bias]), np.array([31]), 0, 255)
    layer = Linear("input", output, (plane,), requantization)
    return IntegerNetwork("large", source, (layer,), 16), EngineConfig(scale_bits=16, acc_bits=25)


def test_a_bias_that_outgrows_the_engine_is_refused() -> None:
    _refused(*_one_large_sum(), "it needs bias_bits 41 (not 40)")
    network, config = _one_large_sum()
    signed = replace(network, input=replace(network.input, format=ActivationFormat(8, signed=True)))
    compile_network(signed, config)


@pytest.mark.parametrize("kind", ["conv", "depthwise", "linear"])
def test_the_least_accumulators_hold_the_worst_sum(kind: str) -> None:
    """One bit less than the least that compiles is refused; the least holds every partial sum of the worst input."""
    roomy = EngineConfig(weight_depth=32768, acc_bits=32)
    for seed in range(40):
        rng = np.random.default_rng([19, seed])
        network = random_layer_network(rng, kind=kind, extreme=seed % 2 == 0)
        try:
            compile_network(network, roomy)
        except IntarsiaError as refusal:
            assert "slot" in str(refusal)
            continue
        least = 32
        while least > 16 and _compiles(network, replace(roomy, acc_bits=least - 1)):
            least -= 1
        form = network.input.format
        magnitude = 128 if form.bits == 8 else max(-form.lo, form.hi)  # of what is stored
        for layer in network.weight_layers():
            assert _worst_sum(layer, magnitude) < 1 << (least - 1), (seed, layer.output.name)


def _compiles(network: IntegerNetwork, config: EngineConfig) -> bool:
    try:
        compile_network(network, config)
    except IntarsiaError as refusal:
        assert "acc_bits" in str(refusal)
        return False
    return True


def _worst_sum(layer: Conv2d | Linear, magnitude: int) -> int:
    """Greatest accumulator of any channel for inputs up to `magnitude`, after any block of any pass."""
    operands = Superposition().operands(layer)
    count = len(operands.passes[0])
    total = np.zeros(count, np.int64)
    for number, digit in enumerate(operands.passes.reshape(len(operands.passes), count, -1)):
        total = 3 * total + (np.abs(digit).sum(axis=1) << operands.shift)
        if number == len(operands.passes) - 1 and operands.slots is not None:
            total = total + np.abs(operands.slots.reshape(count, -1)).sum(axis=1)
    return int(magnitude * total.max())


def test_a_field_too_small_for_a_layer_is_named() -> None:
    network = _weight_network(16 * 257, 1, (10, 16 * 257, 1, 1), "ternary", linear=True)
    [layer] = network.weight_layers()
    [plane] = layer.planes
    layer = replace(layer, planes=(replace(plane, weights=plane.weights.reshape(10, 16, 257, 1)),))
    tall = replace(network, input=replace(network.input, shape=(16, 257, 1)), layers=(layer,))
    _refused(tall, EngineConfig(), "layer layer has 257 kernel rows", "255")


def test_accumulators_too_narrow() -> None:
    _refused(resnet8_like(np.random.default_rng(0)), EngineConfig(acc_bits=16), "acc_bits")


@pytest.mark.parametrize(
    "change",
    [
        {"lanes": 12},
        {"block": 8},
        {"act_banks": 3},
        {"weight_parts": 3},
        {"bias_bits": 49},
        {"requant_lanes": 3},
        {"tile_pixels": 9},
        {"act_depth": 65537},
        {"weight_depth": 65536, "unit": Superposition(4, 8, 3)},
    ],
)
def test_illegal_parameters_are_named(change: dict[str, Any]) -> None:
    with pytest.raises(IntarsiaError, match=next(iter(change))):
        EngineConfig(**change)


@pytest.mark.parametrize(
    ("unit", "name"),
    [(Superposition(-1), "slots"), (Superposition(5), "slots"), (Superposition(1, 9), "slot_bits"), (Dense(1), "bits")],
)
def test_illegal_parameters_of_units_are_named(unit: ExecutionUnit, name: str) -> None:
    with pytest.raises(IntarsiaError, match=f"engine parameter {name} is"):
        EngineConfig(unit=unit)


def test_memories_may_be_as_deep_as_the_host_can_address() -> None:
    EngineConfig(act_depth=65536, weight_depth=32768, program_depth=65536)


def test_padding_costs_the_window_nothing_when_the_mapping_is_chosen() -> None:
    weights = np.ones((16, 1, 1, 4), np.int64)
    signed = ActivationFormat(8, signed=True)
    plane = Plane(weights, WeightFormat("ternary"), Pattern())
    nothing = np.zeros(16, np.int64)
    layer = Conv2d(
        "input",
        Tensor("out", (16, 6, 4), signed, 1.0),
        (plane,),
        Requantization(nothing + 1, nothing, nothing, -128, 127),
        stride=(2, 4),
        padding=(3, 3, 2, 3),
        depthwise=True,
    )
    network = IntegerNetwork("padded", Tensor("input", (16, 6, 11), signed, 1.0), (layer,), scale_bits=6)
    (only,) = compile_network(network, EngineConfig()).layers
    assert only.descriptor.window == 1  # 120 cycles; 182 word by word
