# SPDX-License-Identifier: Apache-2.0
"""The compiler: from an integer network to a program and its images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from intarsia.engine.accesses import overlap_distance
from intarsia.engine.allocation import Plan, allocate, stored_words
from intarsia.engine.config import (
    MOST_ACTIVATION_BITS,
    WIDEST_ACCUMULATOR,
    WIDEST_BIAS,
    EngineConfig,
    bus_words,
)
from intarsia.engine.cycles import predict
from intarsia.engine.forms import Form, forms
from intarsia.engine.layout import Descriptor, field_limits
from intarsia.engine.mapping import Mapping, estimated_cycles, map_layer
from intarsia.engine.packing import Words, block_words, param_words
from intarsia.engine.program import Placement, Program, ProgramLayer, storage_offset
from intarsia.engine.requantization import Channels, bits_of_bias, channels_of
from intarsia.engine.units import Unit
from intarsia.errors import IntarsiaError
from intarsia.integer import Add, AveragePool, Conv2d, IntegerNetwork, Layer, Linear, MaxPool

#: A narrower weight memory may cost so many cycles, as a factor.
_DEAREST_WEIGHTS = 1.05
#: Half the banks of activations may cost so many cycles, as a factor.
_DEAREST_BANKS = 1.01
#: Depths of a fitted engine's memories are multiples of this.
_DEPTH_UNIT = 64


@dataclass(frozen=True, eq=False)
class _Mapped:
    """A layer that is mapped and requantized, without addresses."""

    layer: Layer
    mapping: Mapping
    channels: Channels


def compile_network(network: IntegerNetwork, config: EngineConfig | None = None) -> Program:
    """Compile a network for an engine, in the form (`intarsia.engine.forms`) that takes the fewest cycles.

    Args:
        network: any whose layers the engine's execution unit takes.
        config: the engine, taken as it is; by default the one that `config_for` fits to the network.

    Raises:
        IntarsiaError: a layer or the network as a whole does not fit the engine; the message names all parameters that
            are too small, with what they must be, or says what to change in the network.
    """
    config = config_for(network) if config is None else config
    refusals: list[IntarsiaError] = []
    too_small: list[IntarsiaError] = []
    for form in _by_cycles(network, config):
        try:
            program, needs = _roomy(network, form, config)
            lacking = _lacking(needs, config)
            if not lacking:
                return replace(program, config=config)
            too_small.append(_too_small(network, lacking))
        except IntarsiaError as refusal:
            refusals.append(refusal)
    raise (too_small or refusals)[0]


def config_for(
    network: IntegerNetwork, config: EngineConfig | None = None, *, least: EngineConfig | None = None
) -> EngineConfig:
    """Return an engine fitted to a network: its execution unit, widths and depths hold it and no more.

    The weight memory is as narrow, and the activation memory in as few banks, as costs the network few cycles.

    Args:
        network: as for `compile_network`.
        config: the engine to begin with: its unit, lanes, block, banks, and what else is not fitted.
        least: unit and widths that the engine has at least, so that it also holds networks of other weights.

    Raises:
        IntarsiaError: no engine holds the network; the message says what to change.
    """
    config = config or EngineConfig()
    found: EngineConfig | None = None
    fewest = math.inf
    refusals = []
    for parts in (1, 2, 4):
        try:
            fitted = _fitted(network, replace(config, weight_parts=1), parts, least)
        except IntarsiaError as refusal:
            refusals.append(refusal)
            continue
        cycles = _cycles(network, fitted)
        if cycles <= _DEAREST_WEIGHTS * fewest:
            found = fitted
        fewest = min(fewest, cycles)
    if found is None:
        raise refusals[0]
    return _with_fewest_banks(network, found)


def _cycles(network: IntegerNetwork, config: EngineConfig) -> int:
    return sum(layer.cycles for layer in predict(compile_network(network, config)))


def _with_fewest_banks(network: IntegerNetwork, config: EngineConfig) -> EngineConfig:
    """Return an engine with half the banks of activations if the network takes hardly more cycles with it."""
    if config.act_banks == 1:
        return config
    fewer = replace(config, act_banks=config.act_banks // 2)
    return fewer if _cycles(network, fewer) <= _DEAREST_BANKS * _cycles(network, config) else config


def _fitted(network: IntegerNetwork, config: EngineConfig, parts: int, least: EngineConfig | None) -> EngineConfig:
    """Return an engine fitted to a network, with a weight memory of so many words per block."""
    best: tuple[int, EngineConfig] | None = None
    refusals = []
    for form in _by_cycles(network, config):
        try:
            _, widths = _roomy(network, form, config)
            exact = replace(config, **_at_least(widths, least), weight_parts=parts)
            _, needs = _roomy(network, form, exact)
        except IntarsiaError as refusal:
            refusals.append(refusal)
            continue
        depths: dict[str, Any] = {name: -(-need // _DEPTH_UNIT) * _DEPTH_UNIT for name, need in needs.depths.items()}
        fitted = replace(exact, **depths)
        size = fitted.unit.block_bits(fitted.block)
        if best is None or size < best[0]:
            best = size, fitted
        if config.unit.holds(widths.unit):
            break
    if best is None:
        raise refusals[0]
    return best[1]


def _at_least(needs: "_Needs", least: EngineConfig | None) -> dict[str, Any]:
    """Return the unit and the widths that a network needs, or those of another engine where they are greater."""
    if least is None:
        return {"unit": needs.unit, **needs.bits}
    bits = {name: max(need, getattr(least, name)) for name, need in needs.bits.items()}
    return {"unit": least.unit if least.unit.holds(needs.unit) else needs.unit, **bits}


@dataclass(frozen=True)
class _Needs:
    """What of an engine a network needs: a unit, least widths and least depths, by the names in `EngineConfig`."""

    unit: Unit
    bits: dict[str, Any]
    depths: dict[str, int]


def _lacking(needs: _Needs, config: EngineConfig) -> dict[str, tuple[int, int]]:
    """Return what an engine has too little of: what it needs and what it has, by name."""
    wanted = {**needs.bits, **needs.depths}
    lacking = {name: (need, getattr(config, name)) for name, need in wanted.items() if need > getattr(config, name)}
    if not config.unit.holds(needs.unit):
        own = vars(config.unit)
        lacking |= {name: (need, own[name]) for name, need in vars(needs.unit).items() if need > own[name]}
    return lacking


def _too_small(network: IntegerNetwork, lacking: dict[str, tuple[int, int]]) -> IntarsiaError:
    wanted = ", ".join(f"{name} {need:,} (not {has:,})" for name, (need, has) in lacking.items())
    return IntarsiaError(
        f"network {network.name} does not fit this engine, it needs {wanted}; raise "
        f"{'this' if len(lacking) == 1 else 'these'}, or let config_for(network) choose."
    )


def _by_cycles(network: IntegerNetwork, config: EngineConfig) -> list[Form]:
    """Return the forms of a network, the fastest first.

    Raises:
        IntarsiaError: a tensor is too wide for any engine.
    """
    for tensor in network.tensors.values():
        if tensor.format.bits > MOST_ACTIVATION_BITS:
            raise IntarsiaError(
                f"tensor {tensor.name} has {tensor.format.bits} bits, the engine takes at most {MOST_ACTIVATION_BITS}; "
                f"end its layer with a quantizer of {MOST_ACTIVATION_BITS} bits."
            )
    return sorted(forms(network, config.block), key=lambda form: _cost(form, config))


def _roomy(network: IntegerNetwork, form: Form, config: EngineConfig) -> tuple[Program, _Needs]:
    """Compile a form for an engine as `config` that is wide and deep enough, and return what of each it needs.

    Raises:
        IntarsiaError: no engine is.
    """
    layers = _mapped(form.network, config)
    unit = _needed_unit(layers, config)
    bits = _needed_bits(form.network, layers, config)
    grown = replace(
        config,
        unit=config.unit if config.unit.holds(unit) else unit,
        **{name: max(need, getattr(config, name)) for name, need in bits.items()},
    ).deepest()
    program = _emit(network, form, layers, grown)
    return program, _Needs(unit, bits, program.used_words())


def _mapped(network: IntegerNetwork, config: EngineConfig) -> list[_Mapped]:
    tensors = network.tensors
    result = []
    for layer in network.layers:
        sources = [tensors[name] for name in layer.inputs]
        result.append(_Mapped(layer, map_layer(layer, sources[0], config), channels_of(layer, sources)))
    return result


def _needed_unit(layers: Sequence[_Mapped], config: EngineConfig) -> Unit:
    return config.unit.fitted(
        (mapped.layer.output.name, config.unit.operands(mapped.layer), mapped.mapping.sparse_weights)
        for mapped in layers
        if isinstance(mapped.layer, Conv2d | Linear)
    )


def _needed_bits(network: IntegerNetwork, layers: Sequence[_Mapped], config: EngineConfig) -> dict[str, Any]:
    """Return the least widths that hold a network's multipliers, biases and sums.

    Raises:
        IntarsiaError: some layer needs more than there can be.
    """
    residuals = [m.channels for m in layers if len(m.layer.inputs) > 1]
    needs = {
        "scale_bits": max(2, network.scale_bits),
        "bias_bits": max(16, *(bits_of_bias(m.channels) for m in layers)),
        "residual_bits": max((max(1, c.residual_scale.bit_length()) for c in residuals), default=0),
        "residual_shift_bits": 5 if any(c.residual_shift > 15 for c in residuals) else 4,
        "acc_bits": max(16, *(_accumulator_bits(m.layer, network, config) for m in layers)),
    }
    if needs["bias_bits"] > WIDEST_BIAS:
        widest = max(layers, key=lambda m: bits_of_bias(m.channels))
        raise IntarsiaError(
            f"layer {widest.layer.output.name}: its bias with the offset of its input folded in takes more than "
            f"{WIDEST_BIAS} bits; use a signed input, smaller multipliers (with a smaller shift), or fewer inputs."
        )
    return needs


def _accumulator_bits(layer: Layer, network: IntegerNetwork, config: EngineConfig) -> int:
    """Return bits in which no accumulator of a layer overflows, whatever the input, in any pass."""
    source = network.tensors[layer.inputs[0]]
    offset = storage_offset(source)
    magnitude = max(offset - source.format.lo, source.format.hi - offset)
    match layer:
        case Conv2d() | Linear():
            bound = config.unit.operands(layer).greatest_sum * magnitude
        case AveragePool() | MaxPool():
            bound = layer.kernel[0] * layer.kernel[1] * magnitude
        case Add():
            bound = magnitude
    bits = bound.bit_length() + 1
    if bits > WIDEST_ACCUMULATOR:
        raise IntarsiaError(
            f"layer {layer.output.name}: a sum may reach {bound}, more than accumulators of {WIDEST_ACCUMULATOR} bits "
            "hold; use fewer inputs or narrower weights."
        )
    return bits


def _cost(form: Form, config: EngineConfig) -> float:
    """Cycles of a form, nearly, the host's writing of the input with it; infinite if a layer cannot be mapped."""
    tensors = form.network.tensors
    cycles: float = stored_words(form.network.input, config.block) * bus_words(config.act_bits)
    try:
        for layer in form.network.layers:
            cycles += estimated_cycles(map_layer(layer, tensors[layer.inputs[0]], config), config)
    except IntarsiaError:
        return math.inf
    return cycles


class _Image:
    """The weight memory being filled; layers whose words are equal share them."""

    def __init__(self) -> None:
        self._parts: list[Words] = []
        self._known: dict[bytes, int] = {}
        self._length = 0

    def append(self, words: Words) -> int:
        """Store words and return the address of the first."""
        key = words.tobytes()
        if key not in self._known:
            self._known[key] = self._length
            self._parts.append(words)
            self._length += len(words)
        return self._known[key]

    def words(self, width: int) -> Words:
        """All words so far, (words, parts)."""
        return np.concatenate([np.zeros((0, -(-width // 32)), np.uint32), *self._parts])


def _emit(original: IntegerNetwork, form: Form, layers: Sequence[_Mapped], config: EngineConfig) -> Program:
    network = form.network
    plans = [Plan(overlap_distance(m.mapping.fields, m.layer, network, config)) for m in layers]
    bases = allocate(network, plans, config.block, config.act_depth)
    placements = {
        name: Placement(
            tensor,
            bases[name],
            -(-network.tensors[name].shape[0] // config.block),
            form.transposed,
            form.patches if name == network.input.name else None,
        )
        for name, tensor in original.tensors.items()
    }
    image = _Image()
    program_layers = []
    for mapped, own in zip(layers, original.layers, strict=True):
        layer, output = mapped.layer, placements[mapped.layer.output.name]
        base = image.append(_weights(mapped, config))
        descriptor = _descriptor(
            mapped,
            [placements[name] for name in layer.inputs],
            output,
            {"weight_base": base, "tile_words": _tile_words(mapped.mapping, config)},
            is_last=layer is network.layers[-1],
        )
        busy = mapped.mapping.busy_inputs
        program_layers.append(ProgramLayer(layer.output.name, _kind(own), descriptor, output, _macs(layer), busy))
    program = Program(
        network.name,
        config,
        placements[network.input.name],
        tuple(program_layers),
        image.words(config.weight_bits),
    )
    _check_memories(program)
    return program


def _tile_words(mapping: Mapping, config: EngineConfig) -> int:
    return config.param_words + mapping.fields["tile_blocks"] * config.weight_parts


def _weights(mapped: _Mapped, config: EngineConfig) -> Words:
    """Return the words of a layer: for each tile its requantization, then its blocks."""
    mapping, channels = mapped.mapping, mapped.channels
    tiles = mapping.fields["tiles"]
    rest = tiles * config.lanes - len(channels.scale)
    scale, shift, bias = (
        np.pad(values, (0, rest)).reshape(tiles, config.lanes)
        for values in (channels.scale, channels.shift, channels.bias)
    )
    params = param_words(scale, shift, bias, config)
    blocks = block_words(config.unit.packed(mapping.dense, mapping.slots), config.weight_parts)
    by_tile = [words.reshape(tiles, -1, words.shape[1]) for words in (params, blocks)]
    return np.concatenate(by_tile, axis=1).reshape(-1, params.shape[1])


def _kind(layer: Layer) -> str:
    if isinstance(layer, Conv2d):
        return "depthwise" if layer.depthwise else "conv"
    return {Linear: "linear", Add: "add", AveragePool: "average pool", MaxPool: "max pool"}[type(layer)]


def _macs(layer: Layer) -> int:
    if isinstance(layer, Conv2d | Linear):
        _, height, width = layer.output.shape
        return int(layer.planes[0].weights.size) * height * width
    return 0


def _descriptor(
    mapped: _Mapped, sources: list[Placement], output: Placement, addresses: dict[str, int], *, is_last: bool
) -> Descriptor:
    layer, source, channels = mapped.layer, sources[0], mapped.channels
    residual = sources[1] if len(sources) > 1 else None
    values = {
        **mapped.mapping.fields,
        **addresses,
        "in_base": source.base,
        "in_col_pitch": source.blocks,
        "in_row_pitch": source.stored.shape[2] * source.blocks,
        "out_base": output.base,
        "out_col_pitch": output.blocks,
        "out_row_pitch": output.stored.shape[2] * output.blocks,
        "residual": int(residual is not None),
        "residual_base": 0 if residual is None else residual.base,
        "residual_scale": channels.residual_scale,
        "residual_shift": channels.residual_shift,
        "last": int(is_last),
        "maximum": int(isinstance(layer, MaxPool)),
        "pad_lowest": int(isinstance(layer, MaxPool) or source.offset != 0),
        "lo": channels.lo,
        "hi": channels.hi,
    }
    for field in fields(Descriptor):
        value, (low, high) = values[field.name], field_limits(field.name)
        if not low <= value <= high:
            what = f"{value:,} {_COUNTED.get(field.name, field.name)}"
            raise IntarsiaError(
                f"layer {layer.output.name} has {what}, the engine takes {low} to {high:,}; use a smaller kernel, "
                "stride, padding or input, fewer channels or fewer digits."
            )
    return Descriptor(**values)


#: What descriptor fields count that a large layer may exceed, for people.
_COUNTED = {
    "kernel_y": "kernel rows",
    "chunks": "parts of a kernel row",
    "kernel_x": "kernel columns",
    "blocks": "blocks of input channels",
    "tiles": "tiles of output channels",
    "x_tiles": "pixel tiles of a row",
    "pixel_tiles": "pixel tiles",
    "tile_blocks": "weight blocks of an output channel",
    "tile_words": "words of weights of a tile",
    "in_col_pitch": "words per input pixel",
    "out_col_pitch": "words per output pixel",
    "stride_y": "rows of stride",
    "stride_x": "columns of stride",
    "pad_y": "rows of padding",
    "pad_x": "columns of padding",
    "in_height": "input rows",
    "in_width": "input columns",
    "weight_base": "words of weights before its own",
}


def _check_memories(program: Program) -> None:
    for name, used in program.used_words().items():
        depth = getattr(program.config, name)
        if used > depth:
            raise IntarsiaError(
                f"network {program.name} needs a {name} of {used:,} words, the engine can have {depth:,}; "
                "use fewer digits or fewer layers."
            )
