# SPDX-License-Identifier: Apache-2.0
"""From mapped layers to a program: addresses, words of the weight memory, descriptors."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from intarsia.engine.accesses import overlap_distance
from intarsia.engine.allocation import Plan, allocate
from intarsia.engine.config import EngineConfig
from intarsia.engine.forms import Form
from intarsia.engine.layout import Descriptor, field_limits
from intarsia.engine.mapping import Mapping, map_layer
from intarsia.engine.packing import Words, block_words, param_words
from intarsia.engine.program import Placement, Program, ProgramLayer
from intarsia.engine.requantization import Channels, channels_of
from intarsia.engine.storage import stored_tensors
from intarsia.errors import IntarsiaError
from intarsia.integer import Add, AveragePool, Conv2d, IntegerNetwork, Layer, Linear, MaxPool


@dataclass(frozen=True, eq=False)
class MappedLayer:
    """A layer that is mapped and requantized, without addresses."""

    layer: Layer
    mapping: Mapping
    channels: Channels


def mapped_layers(network: IntegerNetwork, config: EngineConfig) -> list[MappedLayer]:
    """Map every layer of a network, in order.

    Raises:
        IntarsiaError: the engine's execution unit does not take one.
    """
    stored = stored_tensors(network, config)
    result = []
    for layer in network.layers:
        sources, output = [stored[name] for name in layer.inputs], stored[layer.output.name]
        mapping = map_layer(layer, sources[0], output, config)
        result.append(MappedLayer(layer, mapping, channels_of(layer, sources, output)))
    return result


def emit(original: IntegerNetwork, form: Form, layers: Sequence[MappedLayer], config: EngineConfig) -> Program:
    """Return the program of a network in one of its forms.

    Args:
        original: the network itself, by whose layers and tensors users know it.
        form: its form, whose layers are mapped.
        layers: those of the form, mapped for the engine.
        config: the engine; deep and wide enough.

    Raises:
        IntarsiaError: a descriptor's field or a memory is too small for it.
    """
    network, stored = form.network, stored_tensors(form.network, config)
    plans = [
        Plan(overlap_distance(m.mapping.fields, stored[m.layer.inputs[0]], stored[m.layer.output.name])) for m in layers
    ]
    bases = allocate(network, stored, plans, config.act_depth)
    placements = {
        name: Placement(
            tensor,
            bases[name],
            stored[name],
            form.transposed,
            form.patches if name == network.input.name else None,
            form.orders.get(name),
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


def _tile_words(mapping: Mapping, config: EngineConfig) -> int:
    return config.param_words + mapping.fields["tile_blocks"] * config.weight_parts


def _weights(mapped: MappedLayer, config: EngineConfig) -> Words:
    """Return the words of a layer: for each tile its requantization, then its blocks."""
    mapping, channels = mapped.mapping, mapped.channels
    tiles = mapping.fields["tiles"]
    own = mapping.tile_channels
    rest = tiles * own - len(channels.scale)
    scale, shift, bias = (
        np.pad(np.pad(values, (0, rest)).reshape(tiles, own), ((0, 0), (0, config.lanes - own)))
        for values in (channels.scale, channels.shift, channels.bias)
    )
    params = param_words(scale, shift, bias, config)
    blocks = block_words(config.unit.packed(mapping.dense, mapping.slots, config.block), config.weight_parts)
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
    mapped: MappedLayer, sources: list[Placement], output: Placement, addresses: dict[str, int], *, is_last: bool
) -> Descriptor:
    layer, source, channels = mapped.layer, sources[0], mapped.channels
    stored, written = source.stored, output.stored
    residual = sources[1] if len(sources) > 1 else None
    values = {
        **mapped.mapping.fields,
        **addresses,
        "in_base": source.base,
        "in_col_pitch": stored.pitch,
        "in_row_pitch": stored.shape[2] * stored.pitch,
        "out_base": output.base,
        "out_col_pitch": written.pitch,
        "out_row_pitch": written.shape[2] * written.pitch,
        "residual": int(residual is not None),
        "residual_base": 0 if residual is None else residual.base,
        "residual_scale": channels.residual_scale,
        "residual_shift": channels.residual_shift,
        "last": int(is_last),
        "maximum": int(isinstance(layer, MaxPool)),
        "pad_lowest": int(isinstance(layer, MaxPool) or stored.offset != 0),
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
