# SPDX-License-Identifier: Apache-2.0
"""An engine fitted to a network."""

import math
from dataclasses import replace
from typing import Any

from intarsia.engine.config import EngineConfig
from intarsia.engine.cycles import predict
from intarsia.engine.sizing import Needs, compile_fixed, compile_roomy, forms_by_cycles
from intarsia.engine.units import units_for
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork

#: A narrower weight memory may cost so many cycles, as a factor.
_DEAREST_WEIGHTS = 1.05
#: Half the banks of activations may cost so many cycles, as a factor.
_DEAREST_BANKS = 1.01
#: Depths of a fitted engine's memories are multiples of this.
_DEPTH_UNIT = 64


def config_for(
    network: IntegerNetwork,
    config: EngineConfig | None = None,
    *,
    least: EngineConfig | None = None,
    keep_lanes: bool = False,
) -> EngineConfig:
    """Return an engine fitted to a network: its execution unit, widths and depths hold it and no more.

    The weight memory is as narrow, and the activation memory in as few banks, as costs the network few cycles.

    Args:
        network: as for `compile_network`.
        config: the engine to begin with: its unit, lanes, block, banks, and what else is not fitted.
        least: unit and widths that the engine has at least, so that it also holds networks of other weights.
        keep_lanes: whether the unit's parameters that layers are mapped for stay as they are (widths of mixed rows),
            because the engine was fitted to another network before.

    Raises:
        IntarsiaError: no engine holds the network; the message says what to change.
    """
    config = _for_network(network, config or EngineConfig(), keep_lanes=keep_lanes)
    found: EngineConfig | None = None
    fewest = math.inf
    refusals = []
    for parts in (1, 2, 4):
        try:
            fitted = _fitted(network, config, parts, least)
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


def _for_network(network: IntegerNetwork, config: EngineConfig, *, keep_lanes: bool) -> EngineConfig:
    """Return an engine, with weight blocks of one word, whose unit has the parameters that layers are mapped for."""
    unit = config.unit if keep_lanes else config.unit.for_network(network, config.block)
    acc_bits = max(config.acc_bits, unit.least_acc_bits(config.block))
    return replace(config, unit=unit, acc_bits=acc_bits, weight_parts=1)


def engine_for(network: IntegerNetwork, config: EngineConfig | None = None) -> EngineConfig:
    """Return an engine fitted to a network as by `config_for`, with the first kind of unit that takes it: for those who
    name none.

    Args:
        network: as for `compile_network`.
        config: the engine to begin with; its unit is without effect.

    Raises:
        IntarsiaError: no engine holds the network; the message is that of the first kind.
    """
    refusals = []
    for unit in units_for(network):
        try:
            return config_for(network, replace(config or EngineConfig(), unit=unit))
        except IntarsiaError as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _cycles(network: IntegerNetwork, config: EngineConfig) -> int:
    return sum(layer.cycles for layer in predict(compile_fixed(network, config)))


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
    for form in forms_by_cycles(network, config):
        try:
            _, widths = compile_roomy(network, form, config)
            exact = replace(config, **_at_least(widths, least, config.block), weight_parts=parts)
            _, needs = compile_roomy(network, form, exact)
        except IntarsiaError as refusal:
            refusals.append(refusal)
            continue
        depths: dict[str, Any] = {name: -(-need // _DEPTH_UNIT) * _DEPTH_UNIT for name, need in needs.depths.items()}
        fitted = replace(exact, **depths)
        if best is None or fitted.block_bits < best[0]:
            best = fitted.block_bits, fitted
        if config.unit.holds(widths.unit):
            break
    if best is None:
        raise refusals[0]
    return best[1]


def _at_least(needs: Needs, least: EngineConfig | None, block: int) -> dict[str, Any]:
    """Return the unit and the widths that a network needs, or those of another engine where they are greater."""
    if least is None:
        return {"unit": needs.unit, **needs.bits}
    bits = {name: max(need, getattr(least, name)) for name, need in needs.bits.items()}
    unit = least.unit.joined(needs.unit)
    return {"unit": unit, **bits, "acc_bits": max(bits["acc_bits"], unit.least_acc_bits(block))}
