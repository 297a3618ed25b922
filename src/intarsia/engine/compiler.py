# SPDX-License-Identifier: Apache-2.0
"""The compiler: from an integer network to a program and its images."""

import math
from dataclasses import dataclass, fields, replace

import numpy as np

from intarsia.engine.allocation import allocate, stored_words
from intarsia.engine.config import BIAS_BITS, MOST_ACTIVATION_BITS, EngineConfig, bus_words
from intarsia.engine.forms import Form, forms, in_digits
from intarsia.engine.layout import Descriptor, field_limits
from intarsia.engine.mapping import Mapping, estimated_cycles, map_add, map_layer
from intarsia.engine.needs import needed_widths
from intarsia.engine.packing import Ints, Words, dense_words, param_words, sparse_words
from intarsia.engine.program import Placement, Program, ProgramLayer, storage_offset
from intarsia.errors import IntarsiaError
from intarsia.integer import Add, AveragePool, Conv2d, IntegerNetwork, Layer, Linear, MaxPool, Tensor


@dataclass(frozen=True, eq=False)
class _Channels:
    """Requantization of a layer's output channels as the engine stores it."""

    scales: Ints
    shift: Ints
    bias: Ints


class _Image:
    """A weight memory being filled; equal blocks that several layers share are stored once."""

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


def compile_network(network: IntegerNetwork, config: EngineConfig | None = None) -> Program:
    """Compile a network for an engine, in the form (`intarsia.engine.forms`) that takes the fewest cycles.

    Args:
        network: any whose layers have at most one dense and one sparse plane; dense planes become digits.
        config: the engine, taken as it is; by default the one that `config_for` fits to the network.

    Raises:
        IntarsiaError: a layer or the network as a whole does not fit the engine; the message names all parameters that
            are too small, with what they must be, or says what to change in the network.
    """
    config = config_for(network) if config is None else config
    refusals = []
    for form in _by_cycles(network, config):
        try:
            program, needs = _roomy(network, form, config)
            lacking = {name: need for name, need in needs.items() if need > getattr(config, name)}
            if not lacking:
                return replace(program, config=config)
            refusals.append(_too_small(network, lacking, config))
        except IntarsiaError as refusal:
            refusals.append(refusal)
    raise refusals[0]


def config_for(network: IntegerNetwork, config: EngineConfig | None = None) -> EngineConfig:
    """Return an engine fitted to a network: multipliers and sparse weights exactly as wide as the network's, and more
    slots, wider accumulators and deeper memories (in multiples of 256 words) where the network needs them.

    Args:
        network: as for `compile_network`.
        config: the engine to begin with.

    Raises:
        IntarsiaError: no engine holds the network; the message says what to change.
    """
    config = config or EngineConfig()
    found: dict[str, int] | None = None
    refusals = []
    for form in _by_cycles(network, config):
        try:
            _, needs = _roomy(network, form, config)
        except IntarsiaError as refusal:
            refusals.append(refusal)
            continue
        if found is None or needs.get("slots", 0) < found["slots"]:
            found = needs
        if found.get("slots", 0) <= config.slots:
            break
    if found is None:
        raise refusals[0]
    more = {
        name: -(-need // 256) * 256 if name.endswith("_depth") else need
        for name, need in found.items()
        if need > getattr(config, name)
    }
    exact = {name: found[name] for name in ("scale_bits", "slot_bits") if name in found}
    return replace(config, **more | exact)


def _too_small(network: IntegerNetwork, lacking: dict[str, int], config: EngineConfig) -> IntarsiaError:
    wanted = ", ".join(f"{name} {need:,} (not {getattr(config, name):,})" for name, need in lacking.items())
    return IntarsiaError(
        f"network {network.name} does not fit this engine, it needs {wanted}; raise "
        f"{'this' if len(lacking) == 1 else 'these'}, or let config_for(network) choose."
    )


def _by_cycles(network: IntegerNetwork, config: EngineConfig) -> list[Form]:
    """Return the forms of a network, the fastest first.

    Raises:
        IntarsiaError: a tensor or a dense plane is too wide for any engine.
    """
    for tensor in network.tensors.values():
        if tensor.format.bits > MOST_ACTIVATION_BITS:
            raise IntarsiaError(
                f"tensor {tensor.name} has {tensor.format.bits} bits, the engine takes at most {MOST_ACTIVATION_BITS}; "
                f"end its layer with a quantizer of {MOST_ACTIVATION_BITS} bits."
            )
    return sorted(forms(in_digits(network), config.lanes), key=lambda form: _cost(form, config))


def _roomy(network: IntegerNetwork, form: Form, config: EngineConfig) -> tuple[Program, dict[str, int]]:
    """Compile a form for an engine as `config` that is wide and deep enough, and return what of each it needs.

    Raises:
        IntarsiaError: no engine is.
    """
    widths = needed_widths(form.network, config)
    grown = replace(config, **{name: max(need, getattr(config, name)) for name, need in widths.items()}).deepest()
    program = _compile(network, form, grown)
    return program, widths | program.used_words()


def _cost(form: Form, config: EngineConfig) -> float:
    """Cycles of a form, nearly, the host's writing of the input with it; infinite if a layer cannot be mapped."""
    tensors = form.network.tensors
    cycles: float = stored_words(form.network.input, config.lanes) * bus_words(config.act_bits)
    try:
        for layer in form.network.layers:
            if isinstance(layer, Add):
                cycles += 2 * stored_words(layer.output, config.lanes)
            else:
                cycles += estimated_cycles(map_layer(layer, tensors[layer.inputs[0]], config), config)
    except IntarsiaError:
        return math.inf
    return cycles


def _compile(original: IntegerNetwork, form: Form, config: EngineConfig) -> Program:
    network = form.network
    bases = allocate(network, config.lanes, config.act_depth)
    placements = {
        name: Placement(
            tensor,
            bases[name],
            -(-network.tensors[name].shape[0] // config.lanes),
            form.transposed,
            form.patches if name == network.input.name else None,
        )
        for name, tensor in original.tensors.items()
    }
    dense, sparse, params = _Image(), _Image(), _Image()
    layers = []
    for number, layer in enumerate(network.layers):
        sources = [placements[name] for name in layer.inputs]
        output = placements[layer.output.name]
        mapping = _map(layer, sources, config)
        channels = _channels(layer, [p.stored for p in sources])
        _check_bias(layer, channels)
        addresses = {
            "dense_base": dense.append(dense_words(mapping.trits, config)),
            "sparse_base": 0 if mapping.sparse is None else sparse.append(sparse_words(mapping.sparse, config)),
            "param_base": params.append(_pack_channels(channels, config)),
        }
        is_last = number == len(network.layers) - 1
        descriptor = _descriptor(layer, mapping, sources, output, addresses, is_last=is_last)
        own = original.layers[number]
        layers.append(
            ProgramLayer(layer.output.name, _kind(own), descriptor, output, _macs(layer), mapping.busy_inputs)
        )
    program = Program(
        network.name,
        config,
        placements[network.input.name],
        tuple(layers),
        dense.words(config.dense_bits),
        sparse.words(config.sparse_bits),
        params.words(config.param_bits),
    )
    _check_memories(program)
    return program


def _map(layer: Layer, sources: list[Placement], config: EngineConfig) -> Mapping:
    if isinstance(layer, Add):
        return map_add(sources[0].words, sources[1].base - sources[0].base, config)
    return map_layer(layer, sources[0].stored, config)


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
    layer: Layer,
    mapping: Mapping,
    sources: list[Placement],
    output: Placement,
    addresses: dict[str, int],
    *,
    is_last: bool,
) -> Descriptor:
    source = sources[0]
    lo, hi = _clip(layer)
    offset = storage_offset(layer.output)
    pitches = {
        "in_base": source.base,
        "in_col_pitch": 1 if isinstance(layer, Add) else source.blocks,
        "in_row_pitch": source.stored.shape[2] * source.blocks,
        "out_base": output.base,
        "out_col_pitch": 1 if isinstance(layer, Add) else output.blocks,
        "out_row_pitch": output.stored.shape[2] * output.blocks,
    }
    values = {
        **pitches,
        **mapping.fields,
        **addresses,
        "last": int(is_last),
        "maximum": int(isinstance(layer, MaxPool)),
        "pad_lowest": int(isinstance(layer, MaxPool) or source.offset != 0),
        "lo": lo - offset,
        "hi": hi - offset,
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
    "inner_tiles": "tiles of output channels",
    "outer_tiles": "tiles of channels",
    "in_col_pitch": "words per input pixel",
    "out_col_pitch": "words per output pixel",
    "stride_y": "rows of stride",
    "stride_x": "columns of stride",
    "pad_y": "rows of padding",
    "pad_x": "columns of padding",
    "in_height": "input rows",
    "in_width": "input columns",
    "dense_base": "words of dense weights before its own",
    "sparse_base": "words of sparse weights before its own",
    "param_base": "words of scales before its own",
}


def _clip(layer: Layer) -> tuple[int, int]:
    match layer:
        case Conv2d() | Linear():
            return layer.requantization.lo, layer.requantization.hi
        case Add() | AveragePool():
            return layer.lo, layer.hi
        case MaxPool():
            return layer.output.format.lo, layer.output.format.hi


def _channels(layer: Layer, sources: list[Tensor]) -> _Channels:
    """Fold rounding and the storage offsets of inputs and output into the bias."""
    count = layer.output.shape[0]
    ones = np.ones(count, np.int64)
    offsets = [storage_offset(source) for source in sources]
    scales = np.zeros((count, 2), np.int64)
    match layer:
        case Conv2d() | Linear():
            shift, bias = layer.requantization.shift.astype(np.int64), layer.requantization.bias.astype(np.int64)
            for plane in layer.planes:
                multiplier = plane.multiplier.astype(np.int64)
                scales[:, 0 if plane.format.digits else 1] = multiplier
                bias = bias + offsets[0] * multiplier * plane.weights.astype(np.int64).reshape(count, -1).sum(axis=1)
        case Add():
            scales[:] = layer.multipliers
            shift = layer.shift * ones
            bias = ones * sum(m * offset for m, offset in zip(layer.multipliers, offsets, strict=True))
        case AveragePool():
            scales[:, 0] = layer.multiplier
            shift = layer.shift * ones
            bias = ones * layer.multiplier * offsets[0] * layer.kernel[0] * layer.kernel[1]
        case MaxPool():
            scales[:, 0] = 1
            shift, bias = 0 * ones, offsets[0] * ones
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    return _Channels(scales, shift, bias + half - (np.int64(storage_offset(layer.output)) << shift))


def _pack_channels(channels: _Channels, config: EngineConfig) -> Words:
    rest = -len(channels.shift) % config.lanes
    return param_words(
        np.pad(channels.scales, ((0, rest), (0, 0))),
        np.pad(channels.shift, (0, rest)),
        np.pad(channels.bias, (0, rest)),
        config,
    )


def _check_bias(layer: Layer, channels: _Channels) -> None:
    """Refuse a bias that, with rounding and storage offsets, is wider than the requantizer's."""
    limit = 1 << (BIAS_BITS - 1)
    if channels.bias.min() < -limit or channels.bias.max() >= limit:
        raise IntarsiaError(
            f"layer {layer.output.name}: its bias with the offset of its input folded in takes more than {BIAS_BITS} "
            "bits; use a signed input, smaller multipliers (with a smaller shift), or fewer inputs."
        )


def _check_memories(program: Program) -> None:
    for name, used in program.used_words().items():
        depth = getattr(program.config, name)
        if used > depth:
            raise IntarsiaError(
                f"network {program.name} needs a {name} of {used:,} words, the engine can have {depth:,}; "
                "use fewer digits or fewer layers."
            )
