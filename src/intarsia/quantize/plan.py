"""Reading a float module: from its FX graph to the steps that the integer network will have.

Normalization is folded into the convolution before it, ReLU into the step that feeds it, explicit padding into the
window that reads it, and what does nothing in inference (dropout, identity) disappears. What is left is one step a
layer of the integer network.
"""

import copy
import operator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeGuard

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from intarsia.errors import IntarsiaError
from intarsia.quantize.operators import (
    POOLS,
    Four,
    Pair,
    Shapes,
    clip_ceiling,
    conv_padding,
    name_of,
    pair,
    scoped,
    sum_padding,
    symmetric,
    three,
    unsupported,
)

Kind = Literal["conv", "linear", "add", "average", "maximum"]


@dataclass(frozen=True)
class Step:
    """One layer of the network to be.

    Attributes:
        name: of the layer and of the tensor that it makes.
        kind: what it does; `average` with a 1×1 kernel is how a ReLU stands alone.
        inputs: names of the tensors that it reads.
        module: the weight layer's own module, else None.
        relu: whether negative results become 0.
        ceiling: real value that greater results become (6 for ReLU6), or None.
        kernel, stride: of a window; a linear layer's kernel is all pixels of its input.
        padding: top, left, bottom, right.
        shape: (channels, height, width) of the output.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    module: nn.Conv2d | nn.Linear | None = None
    relu: bool = False
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Four = (0, 0, 0, 0)
    shape: tuple[int, int, int] = (0, 0, 0)
    ceiling: float | None = None


@dataclass(frozen=True)
class _Pad:
    """Explicit padding that waits for the window that it belongs to: (top, left, bottom, right) of one value."""

    sizes: Four
    value: float


class _Reader:
    """Walks the graph once; `_alias` says which tensor stands for a node's value."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        self.modules = dict(graph.named_modules())
        self.shape = (0, 0, 0)
        self.steps: dict[str, Step] = {}
        self.alias: dict[fx.Node, str] = {}
        self.origin: dict[str, fx.Node] = {}
        self.flat: set[str] = set()
        self.pads: dict[fx.Node, _Pad] = {}
        self.sizes: set[fx.Node] = set()  # nodes that are no tensors, but sizes of one

    def read(self, shape: tuple[int, int, int]) -> list[Step]:
        self.shape, shapes = shape, Shapes(self.graph)
        with torch.no_grad():
            shapes.run(torch.zeros(1, *shape))
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                if self.alias:
                    raise IntarsiaError("the network has several inputs; give it one.")
                self.alias[node] = "input"
            elif node.op == "output":
                if not (len(node.args) == 1 and isinstance(node.args[0], fx.Node)):
                    raise IntarsiaError("the network returns several values; let it return one tensor.")
                self._check_result(self.alias[node.args[0]])
            else:
                self._operation(node, three(shapes.seen.get(node, ())))
        if not any(step.module is not None for step in self.steps.values()):
            raise IntarsiaError("the network has no convolution and no linear layer; there is nothing to quantize.")
        return list(self.steps.values())

    def _check_result(self, name: str) -> None:
        if not self.steps or name != next(reversed(self.steps)):
            raise IntarsiaError(f"the network returns {name!r}, which is not the last that it computes.")

    def _operation(self, node: fx.Node, shape: tuple[int, int, int]) -> None:
        what = self.modules[str(node.target)] if node.op == "call_module" else node.target
        if self._rearrange(node, what):
            return
        if isinstance(what, nn.BatchNorm2d | nn.BatchNorm1d):
            self._normalize(node, what)
        elif isinstance(what, nn.ReLU) or what in (torch.relu, functional.relu, "relu", "relu_"):
            self._relu(node, shape)
        elif isinstance(what, nn.Hardtanh) or what in (functional.relu6, functional.hardtanh, torch.clamp, "clamp"):
            self._relu(node, shape, clip_ceiling(node, what))
        elif what in (operator.add, operator.iadd, torch.add, "add", "add_"):
            self._add(node, shape)
        elif isinstance(what, nn.Conv2d):
            self._convolve(node, what, shape)
        elif isinstance(what, nn.Linear):
            if self._input(node) not in self.flat:
                raise unsupported(node, "Linear over anything but a flattened tensor")
            name = self._input(node)
            kernel = (self.steps[name].shape if name in self.steps else self.shape)[1:]
            self._new(node, Step(str(node.target), "linear", (name,), what, kernel=kernel, shape=shape))
        elif isinstance(what, nn.AvgPool2d | nn.AdaptiveAvgPool2d | nn.MaxPool2d):
            self._pool(node, what, shape)
        elif what in POOLS:
            module, names = POOLS[what]
            self._pool(node, module(**dict(zip(names, node.args[1:], strict=False)), **dict(node.kwargs)), shape)
        elif what in ("mean", torch.mean):
            self._mean(node)
        else:
            raise unsupported(node, type(what).__name__ if isinstance(what, nn.Module) else name_of(what))

    def _rearrange(self, node: fx.Node, what: Any) -> bool:
        """Read what computes nothing; return whether the node is such."""
        if self._is_size(node, what):
            self.sizes.add(node)
        elif isinstance(what, nn.Dropout | nn.Dropout2d | nn.Identity) or what is functional.dropout:
            self._pass(node)
        elif isinstance(what, nn.Flatten) or what in (torch.flatten, "flatten"):
            self._flatten(node, what)
        elif what in ("view", "reshape", torch.reshape):
            self._reshape(node)
        elif isinstance(what, nn.ConstantPad2d) or what is functional.pad:
            self._pad(node, what)
        else:
            return False
        return True

    def _is_size(self, node: fx.Node, what: Any) -> bool:
        if what == "size" or (what is getattr and node.args[1] == "shape"):
            return True
        return what is operator.getitem and node.args[0] in self.sizes

    def _source(self, node: fx.Node) -> fx.Node:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or source not in self.alias:
            raise unsupported(node, "an operator without a tensor as its first argument")
        return source

    def _input(self, node: fx.Node) -> str:
        source = self._source(node)
        if source in self.pads:
            raise unsupported(node, "padding that a convolution or a pool does not follow")
        return self.alias[source]

    def _padded_input(self, node: fx.Node, own: Four) -> tuple[str, Four]:
        """Return what a window reads, and its padding with the explicit padding before it."""
        source = self._source(node)
        pad = self.pads.get(source, _Pad((0, 0, 0, 0), 0.0))
        return self.alias[source], sum_padding(pad.sizes, own)

    def _pass(self, node: fx.Node) -> None:
        source = self._source(node)
        self.alias[node] = self.alias[source]
        if source in self.pads:
            self.pads[node] = self.pads[source]

    def _pad(self, node: fx.Node, what: Any) -> None:
        if isinstance(what, nn.ConstantPad2d):
            sizes, value = what.padding, float(what.value)
        else:
            given = dict(zip(("pad", "mode", "value"), node.args[1:], strict=False)) | dict(node.kwargs)
            if given.get("mode", "constant") != "constant":
                raise unsupported(node, f"pad with mode {given['mode']!r}")
            sizes, value = tuple(given["pad"]), float(given.get("value") or 0.0)  # type: ignore[arg-type]
        if len(sizes) not in (2, 4) or min(sizes) < 0 or value not in (0.0, -float("inf")):
            raise unsupported(node, f"padding by {tuple(sizes)} with {value} (height and width, with zeros, only)")
        left, right, top, bottom = (*sizes, 0, 0)[:4]
        source = self._source(node)
        before = self.pads.get(source, _Pad((0, 0, 0, 0), value))
        if before.value != value:
            raise unsupported(node, "padding with one value after padding with another")
        self.alias[node] = self.alias[source]
        self.pads[node] = _Pad(sum_padding(before.sizes, (top, left, bottom, right)), value)

    def _only_reader(self, node: fx.Node) -> bool:
        """Whether nothing but `node` sees the result of the step before it, on the whole way to it."""
        source = node.args[0]
        while isinstance(source, fx.Node):
            if len(source.users) > 1:
                return False
            if source is self.origin.get(self.alias[source]):
                return True
            source = source.args[0]
        return False

    def _new(self, node: fx.Node, step: Step) -> None:
        if step.name in self.steps or (step.module is not None and _shared(step, self.steps)):
            raise IntarsiaError(f"node {node.name}: {step.name!r} is used twice; give each use a layer of its own.")
        if step.inputs[0] in self.flat and step.kind != "linear":
            raise unsupported(node, f"{step.kind} after Flatten")
        self.steps[step.name] = step
        self.alias[node] = step.name
        self.origin[step.name] = node
        if step.kind == "linear":
            self.flat.add(step.name)

    def _flatten(self, node: fx.Node, what: Any) -> None:
        first, last = 0, -1
        if isinstance(what, nn.Flatten):
            first, last = what.start_dim, what.end_dim
        else:
            given = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | dict(node.kwargs)
            first, last = int(str(given.get("start_dim", first))), int(str(given.get("end_dim", last)))
        if first != 1 or last not in (-1, 3):
            raise unsupported(node, f"Flatten from dimension {first} to {last}; flatten from 1")
        self.alias[node] = self._input(node)
        self.flat.add(self.alias[node])

    def _reshape(self, node: fx.Node) -> None:
        """Take a view as (N, features) for a flatten; sizes are known for a batch of one image."""
        target = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], tuple | list) else node.args[1:]
        found, source = node.meta.get("shape", ()), self._source(node).meta.get("shape", ())
        keeps = isinstance(target, tuple | list) and len(target) == 2 and (target[0] == -1 or target[0] in self.sizes)
        if not keeps or len(found) != 2 or found[0] != 1 or source[:1] != (1,):
            raise unsupported(node, "view or reshape to anything but (N, -1)")
        self.alias[node] = self._input(node)
        self.flat.add(self.alias[node])

    def _normalize(self, node: fx.Node, norm: nn.BatchNorm2d | nn.BatchNorm1d) -> None:
        name, kind = self._input(node), type(norm).__name__
        step = self.steps.get(name)
        if step is None or step.module is None or step.relu:
            raise unsupported(node, f"{kind} that does not follow a Conv2d or Linear")
        if not self._only_reader(node):
            raise unsupported(node, f"{kind} after a layer whose result is used elsewhere too")
        if norm.running_mean is None:
            raise unsupported(node, f"{kind} without running statistics")
        if isinstance(step.module, nn.Conv2d):
            folded: nn.Conv2d | nn.Linear = fuse_conv_bn_eval(step.module.eval(), norm.eval())
        else:
            folded = fuse_linear_bn_eval(step.module.eval(), norm.eval())
        self.steps[name] = replace(step, module=folded)
        self.alias[node] = name

    def _relu(self, node: fx.Node, shape: tuple[int, int, int], ceiling: float | None = None) -> None:
        name = self._input(node)
        step = self.steps.get(name)
        if step is not None and step.kind != "maximum" and self._only_reader(node):
            least = min((c for c in (step.ceiling, ceiling) if c is not None), default=None)
            self.steps[name] = replace(step, relu=True, ceiling=least)
            self.alias[node] = name
        else:
            self._new(node, Step(scoped(node), "average", (name,), relu=True, shape=shape, ceiling=ceiling))

    def _add(self, node: fx.Node, shape: tuple[int, int, int]) -> None:
        terms = node.args[:2]
        if len(terms) != 2 or not all(isinstance(term, fx.Node) for term in terms) or "alpha" in node.kwargs:
            raise unsupported(node, "an addition of anything but two tensors")
        first, second = (self.alias[term] for term in terms if isinstance(term, fx.Node))
        self._new(node, Step(scoped(node), "add", (first, second), shape=shape))

    def _convolve(self, node: fx.Node, conv: nn.Conv2d, shape: tuple[int, int, int]) -> None:
        depthwise = conv.groups > 1 and conv.groups == conv.in_channels == conv.out_channels
        if conv.groups != 1 and not depthwise:
            raise unsupported(node, f"Conv2d with {conv.groups} groups (1 or depthwise only)")
        if pair(conv.dilation) != (1, 1):
            raise unsupported(node, f"Conv2d with dilation {conv.dilation}")
        if conv.padding_mode != "zeros":
            raise unsupported(node, f"Conv2d with padding mode {conv.padding_mode!r}")
        kernel, stride = pair(conv.kernel_size), pair(conv.stride)
        name, padding = self._padded_input(node, conv_padding(conv))
        if self.pads.get(self._source(node), _Pad(padding, 0.0)).value != 0.0:
            raise unsupported(node, "Conv2d after padding with anything but zeros")
        # The copy of the module pads what it can, that is the same on both sides; `QuantizedNetwork` pads the rest.
        conv.padding = padding[:2] if symmetric(padding) else (0, 0)
        self._new(node, Step(str(node.target), "conv", (name,), conv, False, kernel, stride, padding, shape))

    def _pool(self, node: fx.Node, pool: nn.Module, shape: tuple[int, int, int]) -> None:
        label = str(node.target) if node.op == "call_module" else scoped(node)
        if isinstance(pool, nn.AdaptiveAvgPool2d):
            name, source = self._input(node), three(self._source(node).meta.get("shape", ()))
            if source[1] % shape[1] or source[2] % shape[2]:
                raise unsupported(node, f"AdaptiveAvgPool2d from {source[1:]} to {shape[1:]} (no whole windows)")
            kernel = (source[1] // shape[1], source[2] // shape[2])
            self._new(node, Step(label, "average", (name,), None, False, kernel, kernel, shape=shape))
            return
        assert isinstance(pool, nn.AvgPool2d | nn.MaxPool2d)  # noqa: S101 (for the type checker)
        kernel = pair(pool.kernel_size)
        stride = kernel if pool.stride is None else pair(pool.stride)
        pad = pair(pool.padding)
        if pool.ceil_mode or (isinstance(pool, nn.MaxPool2d) and pair(pool.dilation) != (1, 1)):
            raise unsupported(node, f"{type(pool).__name__} with ceil_mode or dilation")
        if isinstance(pool, nn.AvgPool2d) and (
            pool.divisor_override is not None or (not pool.count_include_pad and pad != (0, 0))
        ):
            raise unsupported(node, "AvgPool2d with a divisor of its own or padding that does not count")
        kind: Kind = "maximum" if isinstance(pool, nn.MaxPool2d) else "average"
        name, padding = self._padded_input(node, (*pad, *pad))
        explicit = self.pads.get(self._source(node))
        # Zeros never win against what a ReLU made, so that there they are a max pool's own padding.
        accepted = {-float("inf"), 0.0 if self._nonnegative(name) else None} if kind == "maximum" else {0.0}
        if explicit is not None and explicit.value not in accepted:
            raise unsupported(node, f"{type(pool).__name__} after padding with {explicit.value}")
        self._new(node, Step(label, kind, (name,), None, False, kernel, stride, padding, shape))

    def _nonnegative(self, name: str) -> bool:
        step = self.steps.get(name)
        if step is None or step.relu or step.module is not None:
            return step is not None and step.relu
        return all(self._nonnegative(source) for source in step.inputs)

    def _mean(self, node: fx.Node) -> None:
        given = dict(zip(("dim", "keepdim"), node.args[1:], strict=False)) | dict(node.kwargs)
        dims, size = given.get("dim"), self._source(node).meta.get("shape", ())
        if not isinstance(dims, tuple | list) or len(size) != 4 or {int(str(d)) % 4 for d in dims} != {2, 3}:
            raise unsupported(node, f"mean over {dims} (only over height and width)")
        kernel, shape = (size[2], size[3]), (size[1], 1, 1)
        self._new(node, Step(scoped(node), "average", (self._input(node),), None, False, kernel, kernel, shape=shape))
        if not given.get("keepdim", False):
            self.flat.add(self.alias[node])


def read_plan(model: nn.Module, shape: tuple[int, int, int]) -> list[Step]:
    """Return the steps of a float network, its normalization folded; `model` is not changed.

    Args:
        model: a network whose forward FX can trace, of supported layers only.
        shape: (channels, height, width) of its input.

    Raises:
        IntarsiaError: an operator is not supported; the message names it and its node.
    """
    own = copy.deepcopy(model).cpu().eval()
    for parameter in own.parameters():
        parameter.requires_grad_(True)
    try:
        graph = own if _is_traced(own) else fx.symbolic_trace(own)
    except Exception as error:  # FX raises many kinds, from inside the user's forward
        raise IntarsiaError(
            f"cannot trace {type(model).__name__} ({error}); write its forward without branches on tensors."
        ) from error
    return _Reader(graph).read(shape)


def _is_traced(model: nn.Module) -> TypeGuard[fx.GraphModule]:
    """Whether a module is a graph of layers already, as an import is; tracing it again would lose its names."""
    if not isinstance(model, fx.GraphModule):
        return False
    called = [model.get_submodule(str(n.target)) for n in model.graph.nodes if n.op == "call_module"]
    return all(fx.Tracer().is_leaf_module(module, "") for module in called)


def _shared(step: Step, steps: dict[str, Step]) -> bool:
    return any(other.module is step.module for other in steps.values())
