# SPDX-License-Identifier: Apache-2.0
"""What of an engine a network needs, and compiling it for an engine of given size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from intarsia.engine.config import (
    WIDEST_ACCUMULATOR,
    WIDEST_BIAS,
    EngineConfig,
    bus_words,
)
from intarsia.engine.emission import MappedLayer, emit, mapped_layers
from intarsia.engine.forms import Form, forms
from intarsia.engine.mapping import estimated_cycles, map_layer
from intarsia.engine.program import Program
from intarsia.engine.requantization import bits_of_bias
from intarsia.engine.storage import Stored, stored_tensors
from intarsia.engine.units import Unit
from intarsia.errors import IntarsiaError
from intarsia.integer import Add, AveragePool, Conv2d, IntegerNetwork, Layer, Linear, MaxPool


@dataclass(frozen=True)
class Needs:
    """What of an engine a network needs: a unit, least widths and least depths, by the names in `EngineConfig`."""

    unit: Unit
    bits: dict[str, Any]
    depths: dict[str, int]


def compile_fixed(network: IntegerNetwork, config: EngineConfig) -> Program:
    """Compile a network for an engine as it is, in the form that takes the fewest cycles of those that fit.

    Raises:
        IntarsiaError: as for `intarsia.engine.compile_network`.
    """
    refusals: list[IntarsiaError] = []
    too_small: list[IntarsiaError] = []
    for form in forms_by_cycles(network, config):
        try:
            program, needs = compile_roomy(network, form, config)
            lacking = _lacking(needs, config)
            if not lacking:
                return replace(program, config=config)
            too_small.append(_too_small(network, lacking))
        except IntarsiaError as refusal:
            refusals.append(refusal)
    raise (too_small or refusals)[0]


def compile_roomy(network: IntegerNetwork, form: Form, config: EngineConfig) -> tuple[Program, Needs]:
    """Compile a form for an engine as `config` that is wide and deep enough, and return what of each it needs.

    Raises:
        IntarsiaError: no engine is.
    """
    layers = mapped_layers(form.network, config)
    unit = _needed_unit(layers, config)
    bits = _needed_bits(form.network, layers, config, unit)
    grown = replace(
        config,
        unit=config.unit.joined(unit),
        **{name: max(need, getattr(config, name)) for name, need in bits.items()},
    ).deepest()
    program = emit(network, form, layers, grown)
    return program, Needs(unit, bits, program.used_words())


def forms_by_cycles(network: IntegerNetwork, config: EngineConfig) -> list[Form]:
    """Return the forms of a network, the fastest first.

    Raises:
        IntarsiaError: a tensor is too wide for any engine.
    """
    config.unit.stored_bits(network)
    arranged = config.unit.arranged(network, config.block)
    found = [replace(form, orders=arranged.orders) for form in forms(arranged.network, config.block)]
    return sorted(found, key=lambda form: _cost(form, config))


def _lacking(needs: Needs, config: EngineConfig) -> dict[str, tuple[object, object]]:
    """Return what an engine has too little of: what it needs and what it has, by name."""
    wanted = {**needs.bits, **needs.depths}
    lacking: dict[str, tuple[object, object]] = {
        name: (need, getattr(config, name)) for name, need in wanted.items() if need > getattr(config, name)
    }
    return lacking | config.unit.lacks(needs.unit)


def _too_small(network: IntegerNetwork, lacking: dict[str, tuple[object, object]]) -> IntarsiaError:
    def shown(value: object) -> str:
        return f"{value:,}" if isinstance(value, int) else str(value)

    wanted = ", ".join(f"{name} {shown(need)} (not {shown(has)})" for name, (need, has) in lacking.items())
    return IntarsiaError(
        f"network {network.name} does not fit this engine, it needs {wanted}; raise "
        f"{'this' if len(lacking) == 1 else 'these'}, or let config_for(network) choose."
    )


def _needed_unit(layers: Sequence[MappedLayer], config: EngineConfig) -> Unit:
    return config.unit.fitted(
        (mapped.layer.output.name, config.unit.operands(mapped.layer), mapped.mapping.occupied)
        for mapped in layers
        if isinstance(mapped.layer, Conv2d | Linear)
    )


def _needed_bits(
    network: IntegerNetwork, layers: Sequence[MappedLayer], config: EngineConfig, unit: Unit
) -> dict[str, Any]:
    """Return the least widths that hold a network's multipliers, biases and sums, and that a unit takes.

    Raises:
        IntarsiaError: some layer needs more than there can be.
    """
    stored = stored_tensors(network, config)
    residuals = [m.channels for m in layers if len(m.layer.inputs) > 1]
    needs = {
        "scale_bits": max(2, network.scale_bits),
        "bias_bits": max(16, *(bits_of_bias(m.channels) for m in layers)),
        "residual_bits": max((max(1, c.residual_scale.bit_length()) for c in residuals), default=0),
        "residual_shift_bits": 5 if any(c.residual_shift > 15 for c in residuals) else 4,
        "acc_bits": max(
            unit.least_acc_bits(config.block),
            *(_accumulator_bits(m.layer, stored[m.layer.inputs[0]], config) for m in layers),
        ),
    }
    if needs["bias_bits"] > WIDEST_BIAS:
        widest = max(layers, key=lambda m: bits_of_bias(m.channels))
        raise IntarsiaError(
            f"layer {widest.layer.output.name}: its bias with the offset of its input folded in takes more than "
            f"{WIDEST_BIAS} bits; use a signed input, smaller multipliers (with a smaller shift), or fewer inputs."
        )
    return needs


def _accumulator_bits(layer: Layer, source: Stored, config: EngineConfig) -> int:
    """Return bits in which no accumulator of a layer overflows, whatever the input, in any pass."""
    form = source.tensor.format
    magnitude = max(source.offset - form.lo, form.hi - source.offset)
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
    stored = stored_tensors(form.network, config)
    cycles: float = stored[form.network.input.name].words * bus_words(config.act_bits)
    try:
        for layer in form.network.layers:
            mapping = map_layer(layer, stored[layer.inputs[0]], stored[layer.output.name], config)
            cycles += estimated_cycles(mapping, config)
    except IntarsiaError:
        return math.inf
    return cycles
