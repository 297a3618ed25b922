"""From a program of `torch.export` to a `Graph`."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._builder import GraphBuilder
from intarsia.networks.importers._graph import Floats, Four, Graph, Pair, Weights
from intarsia.networks.importers._layout import same_padding
from intarsia.networks.importers._names import from_parameters, from_tensors

_ENDS = {"softmax": "Softmax", "_softmax": "Softmax", "log_softmax": "LogSoftmax", "sigmoid": "Sigmoid"}


def read_exported(program: ExportedProgram, name: str) -> Graph:
    """Read an exported program.

    Raises:
        IntarsiaError: it has several inputs or outputs, a dynamic size, or an operator that is not supported.
    """
    return _Importer(program, name).graph()


class _Importer:
    def __init__(self, program: ExportedProgram, name: str) -> None:
        self.program, self.source = program, name
        self.builder = GraphBuilder(name)
        self.stored: dict[fx.Node, tuple[str, Floats]] = {}
        self.handlers: dict[str, Callable[[fx.Node], None]] = {
            "conv2d": self._convolution,
            "convolution": self._convolution,
            "linear": self._linear,
            "addmm": self._addmm,
            "batch_norm": self._normalization,
            "_native_batch_norm_legit_no_training": self._normalization,
            "relu": lambda node: self._rectify(node, 0.0, None),
            "relu6": lambda node: self._rectify(node, 0.0, 6.0),
            "hardtanh": lambda node: self._rectify(node, *_numbers(node, -1.0, 1.0)),
            "clamp": lambda node: self._rectify(node, *_numbers(node, None, None)),
            "clamp_min": lambda node: self._rectify(node, _numbers(node, None, None)[0], None),
            "add": self._add,
            "mean": self._mean,
            "adaptive_avg_pool2d": self._adaptive,
            "avg_pool2d": self._pool,
            "max_pool2d": self._pool,
            "max_pool2d_with_indices": self._pool,
            "pad": self._pad,
            "constant_pad_nd": self._pad,
            "flatten": self._flatten,
            "view": self._flatten,
            "reshape": self._flatten,
            "squeeze": self._flatten,
        }
        same = ("dropout", "clone", "contiguous", "alias", "detach", "getitem")
        self.handlers.update(dict.fromkeys(same, self._pass))
        self.handlers.update(dict.fromkeys(_ENDS, self._end))

    def graph(self) -> Graph:
        placeholders = {node.name: node for node in self.program.graph.nodes if node.op == "placeholder"}
        for spec in self.program.graph_signature.input_specs:
            node = placeholders[str(getattr(spec.arg, "name", ""))]
            if spec.kind == InputKind.USER_INPUT:
                self._input(node)
            else:
                value = self._state(str(spec.target))
                self.stored[node] = (str(spec.target), value)
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                kind = _kind(node)
                self.builder.enter(kind, node.name)
                if kind in ("permute", "t", "transpose", "numpy_T") and node.args[0] in self.stored:
                    name, values = self.stored[_node(node.args[0])]
                    self.stored[node] = (name, values.T)
                elif kind == "sym_size" or not any(self.builder.knows(n) for n in node.all_input_nodes):
                    continue  # a size, or a counter of batches: whoever needs another result than these will say so
                elif kind in self.handlers:
                    self._check(node)
                    self.handlers[kind](node)
                else:
                    raise self.builder.fail(f"is not supported; supported are {', '.join(sorted(self.handlers))}")
        result = next(node for node in self.program.graph.nodes if node.op == "output").args[0]
        if not isinstance(result, tuple | list) or len(result) != 1:
            raise IntarsiaError(f"{self.source} returns several values; let it return one tensor.")
        return self.builder.finish(result[0])

    def _state(self, target: str) -> Floats:
        found = self.program.state_dict.get(target, self.program.constants.get(target))
        if not isinstance(found, torch.Tensor):
            raise IntarsiaError(f"{self.source}: constant {target!r} is no tensor.")
        return found.detach().to(torch.float32).cpu().numpy()

    def _input(self, node: fx.Node) -> None:
        self.builder.enter("input", node.name)
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            raise self.builder.fail("is no tensor")
        sizes = list(value.shape[1:])
        if not all(isinstance(size, int) for size in sizes):
            raise self.builder.fail(f"has the dynamic shape {tuple(value.shape)}; only the batch may be open")
        if len(sizes) == 3:
            self.builder.input(node, (sizes[0], sizes[1], sizes[2]))
        elif len(sizes) == 1:
            self.builder.input((node, "as an image"), (sizes[0], 1, 1))
            self.builder.flatten((node, "as an image"), node)
        else:
            raise self.builder.fail(f"has the shape {tuple(value.shape)}; 2 or 4 axes are supported")

    def _check(self, node: fx.Node) -> None:
        if not node.args or not isinstance(node.args[0], fx.Node):
            raise self.builder.fail("does not read a tensor")

    def _constant(self, argument: Any, what: str) -> Floats:
        if not isinstance(argument, fx.Node) or argument not in self.stored:
            raise self.builder.fail(f"takes its {what} from another operator, not from a parameter")
        return self.stored[argument][1]

    def _optional(self, argument: Any, what: str) -> Floats | None:
        return None if argument is None else self._constant(argument, what)

    def _name(self, node: fx.Node) -> str:
        roots = [self.stored[n][0] for n in node.all_input_nodes if n in self.stored]
        stack = node.meta.get("nn_module_stack") or {}
        scopes = [str(entry[0]).removeprefix("L['self'].") for entry in stack.values()]
        return from_parameters(roots) or (scopes[-1] if scopes else "") or from_tensors([node.name], (), _kind(node))

    def _convolution(self, node: fx.Node) -> None:
        a = _arguments(node)
        weights = self._constant(a["weight"], "weights")
        if weights.ndim != 4 or a.get("transposed"):
            raise self.builder.fail("is no plain 2-D convolution")
        channels, groups = self.builder.shape(_source(node))[0], int(a.get("groups", 1))
        if _pair(a.get("dilation", 1)) != (1, 1):
            raise self.builder.fail("has a dilation")
        if groups not in (1, channels) or (groups > 1 and weights.shape[0] != channels):
            raise self.builder.fail(f"has {groups} groups for {channels} channels (1 or depthwise only)")
        self.builder.convolution(
            _source(node),
            node,
            self._name(node),
            Weights(weights),
            self._optional(a.get("bias"), "bias"),
            stride=_pair(a.get("stride", 1)),
            padding=_padding(a.get("padding", 0), (weights.shape[2], weights.shape[3])),
            groups=groups,
        )

    def _linear(self, node: fx.Node) -> None:
        a = _arguments(node)
        weights, bias = self._constant(a["weight"], "weights"), self._optional(a.get("bias"), "bias")
        self.builder.dense(_source(node), node, self._name(node), Weights(weights), bias)

    def _addmm(self, node: fx.Node) -> None:
        bias, source, weights = node.args[:3]
        values = self._constant(weights, "weights").T
        self.builder.dense(_node(source), node, self._name(node), Weights(values), self._constant(bias, "bias"))

    def _normalization(self, node: fx.Node) -> None:
        a = _arguments(node)
        if a.get("training"):
            raise self.builder.fail("is in training mode; export the network after .eval()")
        mean, variance = self._constant(a["running_mean"], "mean"), self._constant(a["running_var"], "variance")
        gamma, beta = self._optional(a.get("weight"), "weight"), self._optional(a.get("bias"), "bias")
        arrays = (
            mean,
            variance,
            np.ones_like(mean) if gamma is None else gamma,
            np.zeros_like(mean) if beta is None else beta,
        )
        self.builder.normalization(_source(node), node, self._name(node), arrays, float(a["eps"]))

    def _rectify(self, node: fx.Node, low: float | None, ceiling: float | None) -> None:
        self.builder.clip(_source(node), node, self._name(node), low, ceiling)

    def _add(self, node: fx.Node) -> None:
        first, second = node.args[:2]
        if not isinstance(second, fx.Node) or node.kwargs.get("alpha", 1) != 1:
            raise self.builder.fail("adds something else than two tensors")
        self.builder.addition(_node(first), second, node, self._name(node))

    def _mean(self, node: fx.Node) -> None:
        a = _arguments(node)
        axes = a.get("dim")
        source = _source(node)
        if not isinstance(axes, list | tuple) or {int(d) % 4 for d in axes} != {2, 3} or self.builder.flat(source):
            raise self.builder.fail(f"has the axes {axes}; only height and width (2, 3) are supported")
        size, pooled = self.builder.shape(source)[1:], (node, "pooled")
        self._average(node, pooled, size, size, (0, 0, 0, 0))
        if a.get("keepdim"):
            self.builder.alias(pooled, node)
        else:
            self.builder.flatten(pooled, node)

    def _average(self, node: fx.Node, result: Any, kernel: Pair, stride: Pair, padding: Four) -> None:
        self.builder.pool(
            _source(node), result, self._name(node), maximum=False, kernel=kernel, stride=stride, padding=padding
        )

    def _adaptive(self, node: fx.Node) -> None:
        height, width = self.builder.shape(_source(node))[1:]
        wanted = _pair(_arguments(node)["output_size"])
        if min(wanted) < 1 or height % wanted[0] or width % wanted[1]:
            raise self.builder.fail(f"makes {wanted} of {(height, width)}, which are no whole windows")
        kernel = (height // wanted[0], width // wanted[1])
        self._average(node, node, kernel, kernel, (0, 0, 0, 0))

    def _pool(self, node: fx.Node) -> None:
        a, maximum = _arguments(node), _kind(node).startswith("max")
        kernel, own = _pair(a["kernel_size"]), _pair(a.get("padding", 0))
        stride = _pair(a.get("stride") or kernel)
        if a.get("ceil_mode") or _pair(a.get("dilation", 1)) != (1, 1) or a.get("divisor_override") is not None:
            raise self.builder.fail("has ceil_mode, a dilation or a divisor of its own")
        if not maximum and any(own) and not a.get("count_include_pad", True):
            raise self.builder.fail("has padding that does not count")
        self.builder.pool(
            _source(node),
            node,
            self._name(node),
            maximum=maximum,
            kernel=kernel,
            stride=stride,
            padding=(*own, *own),
        )

    def _pad(self, node: fx.Node) -> None:
        a = _arguments(node)
        sizes = [int(size) for size in a["pad"]]
        if a.get("mode", "constant") != "constant" or (a.get("value") or 0) != 0 or len(sizes) not in (2, 4):
            raise self.builder.fail("pads with anything but zeros, or other axes than height and width")
        left, right, top, bottom = (*sizes, 0, 0)[:4]
        self.builder.pad(_source(node), node, "pad", (top, left, bottom, right))

    def _flatten(self, node: fx.Node) -> None:
        made = node.meta["val"].shape
        if len(made) != 2 or made[1] != math.prod(self.builder.shape(_source(node))):
            raise self.builder.fail(f"makes the shape {tuple(made)}; only a flatten to (N, features) is supported")
        self.builder.flatten(_source(node), node)

    def _pass(self, node: fx.Node) -> None:
        if _kind(node) == "getitem" and node.args[1] != 0:
            raise self.builder.fail("takes another than the first result")
        self.builder.alias(_source(node), node)

    def _end(self, node: fx.Node) -> None:
        self.builder.end(_source(node), node, _ENDS[_kind(node)])


def _kind(node: fx.Node) -> str:
    """Return an operator's name without its overload; in-place variants are their plain ones."""
    packet = getattr(node.target, "overloadpacket", node.target)
    name = str(getattr(packet, "__name__", packet))
    return name.rstrip("_") if not name.startswith("__") else name


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Return an operator's arguments by the names that its schema gives them."""
    schema = node.target._schema  # type: ignore[union-attr]
    names = [argument.name for argument in schema.arguments]
    return dict(zip(names, node.args, strict=False)) | dict(node.kwargs)


def _numbers(node: fx.Node, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """Return the lower and upper limit of a clip."""
    given = list(_arguments(node).values())[1:]
    limits = [None if v is None else float(v) for v in given] + [low, high][len(given) :]
    return limits[0], limits[1]


def _node(value: Any) -> fx.Node:
    assert isinstance(value, fx.Node)  # noqa: S101 (for the type checker)
    return value


def _source(node: fx.Node) -> fx.Node:
    return _node(node.args[0])


def _pair(value: Any) -> Pair:
    values = [int(value)] if isinstance(value, int) else [int(v) for v in value]
    return values[0], values[-1]


def _padding(value: Any, kernel: Pair) -> Four:
    """Return a convolution's padding; of `same`, PyTorch puts the odd row and column at the bottom and the right."""
    if value == "valid":
        return (0, 0, 0, 0)
    if value == "same":
        return same_padding(kernel, kernel, (1, 1))
    return (*_pair(value), *_pair(value))
