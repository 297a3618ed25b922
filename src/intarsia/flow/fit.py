# SPDX-License-Identifier: Apache-2.0
"""The stage that asks, before anything is trained, whether the engine takes the network, and which engine holds it.

Shapes, planes, formats and patterns decide that, and all are known before training. So the network is frozen as it is,
neither calibrated nor trained, and compiled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intarsia.engine import EngineConfig, config_for
from intarsia.engine.units import Planes
from intarsia.errors import IntarsiaError
from intarsia.flow.float_networks import learning
from intarsia.flow.results import FittedEngine
from intarsia.flow.settings import Settings
from intarsia.flow.task import Job
from intarsia.integer import Conv2d, IntegerNetwork, Layer, Linear, Plane
from intarsia.integer.formats import greatest_tie
from intarsia.quantize.scheme import LayerScheme, Scheme

if TYPE_CHECKING:
    from torch import nn

    from intarsia.quantize.transforms.settings import Transforms

#: With rounding and offsets, a trained bias of a network of 8-bit activations needs no more on any network seen. For
#: one that does, the engine is fitted again.
_BIAS_BITS = 32
_ACCURACY_ONLY = "or measure only accuracy with intarsia execute"


@dataclass(frozen=True)
class Untrained:
    """What decides about the engine before training: a scheme, and transforms that widen layers, as texts."""

    scheme: str
    widen: str


def fit_engine(job: Job, network: Untrained) -> FittedEngine:
    """Fit the engine to a network.

    Raises:
        IntarsiaError: the engine does not take it; the sentence names the layer and says what to change.
    """
    with learning(job):
        return FittedEngine(_fitted(job.settings, network.scheme, network.widen))


def _fitted(settings: Settings, scheme: str, widen: str) -> EngineConfig:
    from intarsia.quantize.transforms.settings import Transforms  # noqa: PLC0415 (needs PyTorch)

    network = _with_greatest_weights(_untrained(settings, Scheme.parse(scheme), Transforms.parse(widen)))
    try:
        return config_for(network, settings.engine, least=_least(network, settings.engine))
    except IntarsiaError as error:
        reason = str(error).rstrip(".")
        raise IntarsiaError(f"{settings.network} with the scheme {scheme}: {reason}; {_ACCURACY_ONLY}.") from error


def _with_greatest_weights(network: IntegerNetwork) -> IntegerNetwork:
    """Return a network whose sums are the greatest that its planes can have: the trained one's are no greater."""

    def greatest(layer: Layer) -> Layer:
        if not isinstance(layer, Conv2d | Linear):
            return layer
        sparse = [plane.format for plane in layer.planes if plane.pattern.kind != "dense"]
        tie = max((greatest_tie(form) for form in sparse), default=0) if len(layer.planes) > 1 else 0
        planes = (
            replace(plane, weights=_greatest(plane), shift=tie if plane.pattern.kind == "dense" else plane.shift)
            for plane in layer.planes
        )
        return replace(layer, planes=tuple(planes))

    return replace(network, layers=tuple(map(greatest, network.layers)))


def _greatest(plane: Plane) -> NDArray[np.integer]:
    """Return the greatest weights of a plane; where positions are free, the first of each group."""
    limit, pattern = plane.format.limit, plane.pattern
    if pattern.kind == "dense":
        return np.full_like(plane.weights, limit)
    if pattern.kind not in ("n:m", "fixed"):
        return np.where(plane.weights != 0, limit, plane.weights).astype(plane.weights.dtype)
    inputs = plane.weights.shape[1]
    first = np.arange(inputs) % min(pattern.m, inputs) < pattern.n
    return np.broadcast_to(first.reshape(1, -1, 1, 1) * limit, plane.weights.shape).astype(plane.weights.dtype)


def _least(network: IntegerNetwork, engine: EngineConfig) -> EngineConfig:
    """Return the unit and the widths that hold a network's planes whatever their weights and scales will be."""
    planes = [Planes.of(layer) for layer in network.weight_layers()]
    unit = engine.unit.for_planes(planes, engine.lanes, engine.block)
    return replace(
        engine,
        unit=unit,
        scale_bits=max(2, network.scale_bits),
        bias_bits=_BIAS_BITS,
        residual_bits=network.scale_bits if any(len(layer.inputs) > 1 for layer in network.layers) else 0,
        residual_shift_bits=4,
        acc_bits=unit.least_acc_bits(engine.block),
    )


def _untrained(settings: Settings, scheme: Scheme, transforms: "Transforms") -> IntegerNetwork:
    from intarsia.quantize.freezing import freeze_untrained  # noqa: PLC0415 (needs PyTorch)

    model, shape = _architecture(settings)
    return freeze_untrained(model, scheme, shape, name=settings.network, transforms=transforms)


def _architecture(settings: Settings) -> "tuple[nn.Module, tuple[int, int, int]]":
    """Return the float network of a run, trained or not, and the shape of its input."""
    if settings.imported is not None:
        from intarsia.networks.importers import import_float  # noqa: PLC0415 (needs PyTorch)

        imported = import_float(settings.imported)
        return imported.module, imported.shape
    from intarsia.networks import build, network_spec  # noqa: PLC0415 (needs PyTorch)

    return build(settings.network), network_spec(settings.network).shape


def require_planes(engine: EngineConfig, layers: Mapping[str, LayerScheme]) -> None:
    """Refuse layers whose planes the engine cannot run, whatever the network.

    Args:
        engine: of the run.
        layers: by what the user calls them; the empty name is the scheme's default.

    Raises:
        IntarsiaError: the execution unit takes no planes of some layer, or activations are too wide.
    """
    for name, layer in layers.items():
        try:
            _require_planes(engine, layer)
        except IntarsiaError as error:
            raise IntarsiaError(f"{name}: {error}" if name else str(error)) from error


def _require_planes(engine: EngineConfig, layer: LayerScheme) -> None:
    most = engine.unit.most_activation_bits
    if layer.activation_bits > most:
        raise IntarsiaError(
            f"the engine's activations have at most {most} bits, not {layer.activation_bits}; choose fewer, or the "
            f"unit sum_together, {_ACCURACY_ONLY}."
        )
    planes = Planes(layer.dense, layer.sparse, layer.pattern, str(layer.mix or ""))
    refusal = engine.unit.refusal(planes, engine.block)
    if refusal is not None:
        raise IntarsiaError(f"{refusal}, {_ACCURACY_ONLY}.")
