# SPDX-License-Identifier: Apache-2.0
"""From a `Graph` to a PyTorch module that computes it in floating point.

A quantizer of activations is a rounding and a clip. The rounding is left out, the clip stays: where a ReLU or a
saturation lives only in the range of a quantizer, it is part of the network's function.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._graph import (
    Addition,
    Clip,
    Convolution,
    Dense,
    Flatten,
    Four,
    Graph,
    Normalization,
    Op,
    Pad,
    Pool,
    Quantization,
    Requantize,
    Shape,
    Sign,
)
from intarsia.text import counted


@dataclass(frozen=True)
class InputQuantization:
    """How the integers of the file's own input stand for real values: real = (q − zero_point) · scale.

    `dtype` is the type of q: `int8`, `uint8`, …
    """

    scale: float
    zero_point: int
    dtype: str


@dataclass(frozen=True, eq=False)
class ImportedModel:
    """A network from a file, as PyTorch trains it.

    Attributes:
        name: of the file, without its ending.
        module: a traced module of `nn` layers in evaluation mode, its parameters trainable; input (N, C, H, W) in real
            units, output (N, features) or (N, C, H, W), without softmax.
        shape: (channels, height, width) of the input; features of a file without images are (features, 1, 1).
        input: how the file quantizes its input, None if it takes floats.
        dropped: what the file has and the module has not, one clause each.
    """

    name: str
    module: nn.Module
    shape: Shape
    input: InputQuantization | None
    dropped: tuple[str, ...]


def imported_model(graph: Graph, name: str, *, fold: bool = False) -> ImportedModel:
    """Return the module of a graph; with `fold`, normalization is folded into the layers before it."""
    builder = _Modules(graph, fold)
    module = builder.build()
    dropped = graph.dropped
    found = input_quantization(graph)
    if found is not None and graph.quantization is None:
        dropped += (f"the clipping of the input to {found.range[0]:g} … {found.range[1]:g}",)
    if builder.rounded:
        dropped += (f"the rounding of {counted(builder.rounded, 'activation quantizer')} (not their clipping)",)
    given = None if found is None else InputQuantization(found.scale, found.zero_point, found.dtype)
    return ImportedModel(name, module, graph.shape, given, dropped)


def input_quantization(graph: Graph) -> Quantization | None:
    """Return the quantization of the input: its own, or that of a quantizer that alone reads it, flattened or not."""
    name = "input"
    while graph.quantization is None and graph.readers(name) == 1:
        op = next(op for op in graph.ops if name in op.inputs)
        if isinstance(op, Requantize | Sign):
            return op.quantization
        if not isinstance(op, Flatten):
            break
        name = op.name
    return graph.quantization


_ALL = (-math.inf, math.inf)


class _Modules:
    """Makes a module for each operator and the FX graph that calls them.

    `ranges` holds what values a tensor can have, so that a clip which changes nothing makes no module.
    """

    def __init__(self, graph: Graph, fold: bool) -> None:
        self.graph, self.fold = graph, fold
        self.calls = fx.Graph()
        self.modules: dict[str, nn.Module] = {}
        self.nodes: dict[str, fx.Node] = {}
        given = input_quantization(graph)  # data come in this range: its quantizer clips nothing
        self.ranges: dict[str, tuple[float, float]] = {"input": _ALL if given is None else given.range}
        self.rounded = 0

    def build(self) -> fx.GraphModule:
        self.nodes["input"] = self.calls.placeholder("x")
        for op in self.graph.ops:
            self._add(op)
        self.calls.output(self.nodes[self.graph.ops[-1].name])
        module = fx.GraphModule(dict(self.modules), self.calls, "Imported")
        for parameter in module.parameters():
            parameter.requires_grad_(True)
        return module.eval()

    def _add(self, op: Op) -> None:
        sources = [self.nodes[name] for name in op.inputs]
        self.ranges[op.name] = self._range(op)
        match op:
            case Sign():
                raise IntarsiaError(
                    f"{self.graph.name}: {op.name!r} leaves only the signs of its input, which no float network does; "
                    "take the file's own integers, with intarsia.networks.importers.import_integer."
                )
            case Requantize():
                self.nodes[op.name] = sources[0]
            case Clip():
                self.nodes[op.name] = sources[0]
                self._clip(op, (op.lo, op.hi), op.name)
            case Addition():
                terms = (sources[0], sources[1])
                self.nodes[op.name] = self.calls.create_node("call_function", torch.add, terms, name=op.name)
            case Normalization() if self._folded(op):
                self.nodes[op.name] = sources[0]
            case _:
                self._call(op, sources[0])
        if op.quantization is not None and not isinstance(op, Flatten | Pad):
            self.rounded += not isinstance(op, Pool)
            half = op.quantization.scale / 2
            name = op.inputs[0] if isinstance(op, Requantize) else op.name
            self._clip(op, op.quantization.range, f"{name}_range", half)

    def _range(self, op: Op) -> tuple[float, float]:
        """Return between what values an operator's result lies, before any clip of its own."""
        lo, hi = self.ranges[op.inputs[0]]
        if isinstance(op, Pad | Pool):  # padding counts as zeros
            return min(lo, 0.0), max(hi, 0.0)
        return (lo, hi) if isinstance(op, Clip | Flatten | Requantize) else _ALL

    def _clip(self, op: Op, limits: tuple[float, float], name: str, tolerance: float = 0.0) -> None:
        """Clip what an operator made, if it can lie more than `tolerance` beyond the limits."""
        lo, hi = self.ranges[op.name]
        below, above = lo < limits[0] - tolerance, hi > limits[1] + tolerance
        if not (below or above):
            return
        self.ranges[op.name] = (max(lo, limits[0]), min(hi, limits[1]))
        limits = (limits[0] if below else -math.inf, limits[1] if above else math.inf)
        self.nodes[op.name] = self._node(name, _clip(*limits), self.nodes[op.name])

    def _call(self, op: Op, source: fx.Node) -> None:
        match op:
            case Convolution():
                before, module = _convolution(op)
            case Pool():
                before, module = _pool(op)
            case _:
                before, module = None, _simple(op)
        if before is not None:
            source = self._node(f"{op.name}_pad", before, source)
        self.nodes[op.name] = self._node(op.name, module, source)

    def _node(self, name: str, module: nn.Module, source: fx.Node) -> fx.Node:
        while name in self.modules:
            name += "_"
        self.modules[name] = module
        return self.calls.call_module(name, (source,))

    def _folded(self, op: Normalization) -> bool:
        """Fold a normalization into the layer that alone feeds it."""
        if not self.fold or self.graph.readers(op.inputs[0]) != 1:
            return False
        source = str(self.nodes[op.inputs[0]].target)  # the layer, also if another normalization is between
        layer = self.modules.get(source)
        norm = _simple(op).eval()
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            self.modules[source] = fuse_conv_bn_eval(layer.eval(), norm)
        elif isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
            self.modules[source] = fuse_linear_bn_eval(layer.eval(), norm)
        else:
            return False
        return True


def _convolution(op: Convolution) -> tuple[nn.Module | None, nn.Module]:
    """Return the convolution, and the padding before it if that is not the same on opposite sides."""
    outputs, per_group, *kernel = op.weights.values.shape
    before, own = _split(op.padding)
    module = nn.Conv2d(
        per_group * op.groups,
        outputs,
        (kernel[0], kernel[1]),
        stride=op.stride,
        padding=own,
        dilation=op.dilation,
        groups=op.groups,
        bias=op.bias is not None,
    )
    _fill(module, weight=op.weights.values, bias=op.bias)
    return None if before is None else nn.ZeroPad2d(before), module


def _pool(op: Pool) -> tuple[nn.Module | None, nn.Module]:
    before, own = _split(op.padding)
    if any(pad > size // 2 for pad, size in zip(own, op.kernel, strict=True)):  # more than PyTorch's pools take
        before, own = _sides(op.padding), (0, 0)
    if op.maximum:
        pad: nn.Module | None = None if before is None else nn.ConstantPad2d(before, -float("inf"))
        return pad, nn.MaxPool2d(op.kernel, op.stride, own)
    return None if before is None else nn.ZeroPad2d(before), nn.AvgPool2d(op.kernel, op.stride, own)


def _simple(op: Op) -> nn.Module:
    match op:
        case Dense():
            outputs, features = op.weights.values.shape
            module = nn.Linear(features, outputs, bias=op.bias is not None)
            _fill(module, weight=op.weights.values, bias=op.bias)
            return module
        case Normalization():
            kind = nn.BatchNorm1d if op.flat else nn.BatchNorm2d
            norm = kind(op.shape[0], eps=op.epsilon)
            _fill(norm, weight=op.gamma, bias=op.beta, running_mean=op.mean, running_var=op.variance)
            return norm
        case Pad():
            return nn.ZeroPad2d(_sides(op.padding))
        case Flatten():
            return nn.Flatten()
        case _:
            raise AssertionError(f"no module for {type(op).__name__}")


def _clip(lo: float, hi: float) -> nn.Module:
    if lo == 0.0:
        known = {math.inf: nn.ReLU, 6.0: nn.ReLU6}
        return known[hi]() if hi in known else nn.Hardtanh(0.0, hi)
    return nn.Hardtanh(lo, hi)


def _fill(module: nn.Module, **arrays: NDArray[np.float32] | None) -> None:
    for name, values in arrays.items():
        if values is not None:
            target = getattr(module, name)
            with torch.no_grad():
                target.copy_(torch.from_numpy(np.array(values, np.float32)))


def _split(padding: Four) -> tuple[Four | None, tuple[int, int]]:
    """Return padding as a layer before (in PyTorch's order of sides) and as (height, width) of the window's own."""
    if padding[:2] == padding[2:]:
        return None, padding[:2]
    return _sides(padding), (0, 0)


def _sides(padding: Four) -> Four:
    top, left, bottom, right = padding
    return left, right, top, bottom
