"""Reading a float module: from its FX graph to the steps that the integer network will have.

Normalization is folded into the convolution before it, ReLU into the step that feeds it, and what does nothing
in inference (dropout, identity) disappears. What is left is one step a layer of the integer network.
"""

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from intarsia.errors import IntarsiaError

Kind = Literal["conv", "linear", "add", "average", "maximum"]
Pair = tuple[int, int]

SUPPORTED = "Conv2d (groups 1 or depthwise), BatchNorm2d after it, Linear, ReLU, +, AvgPool2d, MaxPool2d, Flatten"


@dataclass(frozen=True)
class Step:
    """One layer of the network to be.

    Attributes:
        name: of the layer and of the tensor that it makes.
        kind: what it does; `average` with a 1×1 kernel is how a ReLU stands alone.
        inputs: names of the tensors that it reads.
        module: the weight layer's own module, else None.
        relu: whether negative results become 0.
        kernel, stride: of a window.
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
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    shape: tuple[int, int, int] = (0, 0, 0)


class _Reader:
    """Walks the graph once; `_alias` says which tensor stands for a node's value."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        self.modules = dict(graph.named_modules())
        self.steps: dict[str, Step] = {}
        self.alias: dict[fx.Node, str] = {}
        self.origin: dict[str, fx.Node] = {}
        self.flat: set[str] = set()

    def read(self, shape: tuple[int, int, int]) -> list[Step]:
        shapes = _Shapes(self.graph)
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
                self._operation(node, _three(shapes.seen.get(node, ())))
        if not any(step.module is not None for step in self.steps.values()):
            raise IntarsiaError("the network has no convolution and no linear layer; there is nothing to quantize.")
        return list(self.steps.values())

    def _check_result(self, name: str) -> None:
        if not self.steps or name != next(reversed(self.steps)):
            raise IntarsiaError(f"the network returns {name!r}, which is not the last that it computes.")

    def _operation(self, node: fx.Node, shape: tuple[int, int, int]) -> None:
        what = self.modules[str(node.target)] if node.op == "call_module" else node.target
        if isinstance(what, nn.Dropout | nn.Dropout2d | nn.Identity):
            self.alias[node] = self._input(node)
        elif isinstance(what, nn.Flatten) or what in (torch.flatten, "flatten"):
            self._flatten(node, what)
        elif isinstance(what, nn.BatchNorm2d):
            self._normalize(node, what)
        elif isinstance(what, nn.ReLU) or what in (torch.relu, functional.relu, "relu", "relu_"):
            self._relu(node, shape)
        elif what in (operator.add, operator.iadd, torch.add, "add", "add_"):
            self._add(node, shape)
        elif isinstance(what, nn.Conv2d):
            self._convolve(node, what, shape)
        elif isinstance(what, nn.Linear):
            if self._input(node) not in self.flat:
                raise _unsupported(node, "Linear over anything but a flattened tensor")
            self._new(node, Step(str(node.target), "linear", (self._input(node),), what, shape=shape))
        elif isinstance(what, nn.AvgPool2d | nn.AdaptiveAvgPool2d | nn.MaxPool2d):
            self._pool(node, what, shape)
        else:
            raise _unsupported(node, type(what).__name__ if isinstance(what, nn.Module) else _name_of(what))

    def _input(self, node: fx.Node) -> str:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node):
            raise _unsupported(node, "an operator without a tensor as its first argument")
        return self.alias[source]

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
            raise _unsupported(node, f"{step.kind} after Flatten")
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
            raise _unsupported(node, f"Flatten from dimension {first} to {last}; flatten from 1")
        self.alias[node] = self._input(node)
        self.flat.add(self.alias[node])

    def _normalize(self, node: fx.Node, norm: nn.BatchNorm2d) -> None:
        name = self._input(node)
        step = self.steps.get(name)
        if step is None or not isinstance(step.module, nn.Conv2d) or step.relu:
            raise _unsupported(node, "BatchNorm2d that does not follow a Conv2d")
        if not self._only_reader(node):
            raise _unsupported(node, "BatchNorm2d after a Conv2d whose result is used elsewhere too")
        if norm.running_mean is None:
            raise _unsupported(node, "BatchNorm2d without running statistics")
        self.steps[name] = replace(step, module=fuse_conv_bn_eval(step.module.eval(), norm.eval()))
        self.alias[node] = name

    def _relu(self, node: fx.Node, shape: tuple[int, int, int]) -> None:
        name = self._input(node)
        step = self.steps.get(name)
        if step is not None and step.kind != "maximum" and self._only_reader(node):
            self.steps[name] = replace(step, relu=True)
            self.alias[node] = name
        else:
            self._new(node, Step(_scoped(node), "average", (name,), relu=True, shape=shape))

    def _add(self, node: fx.Node, shape: tuple[int, int, int]) -> None:
        terms = node.args[:2]
        if len(terms) != 2 or not all(isinstance(term, fx.Node) for term in terms) or "alpha" in node.kwargs:
            raise _unsupported(node, "an addition of anything but two tensors")
        first, second = (self.alias[term] for term in terms if isinstance(term, fx.Node))
        self._new(node, Step(_scoped(node), "add", (first, second), shape=shape))

    def _convolve(self, node: fx.Node, conv: nn.Conv2d, shape: tuple[int, int, int]) -> None:
        depthwise = conv.groups > 1 and conv.groups == conv.in_channels == conv.out_channels
        if conv.groups != 1 and not depthwise:
            raise _unsupported(node, f"Conv2d with {conv.groups} groups (1 or depthwise only)")
        if _pair(conv.dilation) != (1, 1):
            raise _unsupported(node, f"Conv2d with dilation {conv.dilation}")
        if conv.padding_mode != "zeros":
            raise _unsupported(node, f"Conv2d with padding mode {conv.padding_mode!r}")
        kernel, stride = _pair(conv.kernel_size), _pair(conv.stride)
        if isinstance(conv.padding, str):
            if conv.padding == "same" and not (kernel[0] % 2 and kernel[1] % 2):
                raise _unsupported(node, "Conv2d with an even kernel and padding 'same'")
            pad = (0, 0) if conv.padding == "valid" else (kernel[0] // 2, kernel[1] // 2)
        else:
            pad = _pair(conv.padding)
        source = (self._input(node),)
        self._new(node, Step(str(node.target), "conv", source, conv, False, kernel, stride, pad * 2, shape))

    def _pool(self, node: fx.Node, pool: nn.Module, shape: tuple[int, int, int]) -> None:
        name = self._input(node)
        if isinstance(pool, nn.AdaptiveAvgPool2d):
            source = _three(node.args[0].meta.get("shape", ())) if isinstance(node.args[0], fx.Node) else (0, 0, 0)
            if source[1] % shape[1] or source[2] % shape[2]:
                raise _unsupported(node, f"AdaptiveAvgPool2d from {source[1:]} to {shape[1:]} (no whole windows)")
            kernel = (source[1] // shape[1], source[2] // shape[2])
            self._new(node, Step(str(node.target), "average", (name,), None, False, kernel, kernel, shape=shape))
            return
        assert isinstance(pool, nn.AvgPool2d | nn.MaxPool2d)  # noqa: S101 (for the type checker)
        kernel = _pair(pool.kernel_size)
        stride = kernel if pool.stride is None else _pair(pool.stride)
        pad = _pair(pool.padding)
        if pool.ceil_mode or (isinstance(pool, nn.MaxPool2d) and _pair(pool.dilation) != (1, 1)):
            raise _unsupported(node, f"{type(pool).__name__} with ceil_mode or dilation")
        if isinstance(pool, nn.AvgPool2d) and (
            pool.divisor_override is not None or (not pool.count_include_pad and pad != (0, 0))
        ):
            raise _unsupported(node, "AvgPool2d with a divisor of its own or padding that does not count")
        kind: Kind = "maximum" if isinstance(pool, nn.MaxPool2d) else "average"
        self._new(node, Step(str(node.target), kind, (name,), None, False, kernel, stride, pad * 2, shape))


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
        graph = fx.symbolic_trace(own)
    except Exception as error:  # FX raises many kinds, from inside the user's forward
        raise IntarsiaError(
            f"cannot trace {type(model).__name__} ({error}); write its forward without branches on tensors."
        ) from error
    return _Reader(graph).read(shape)


class _Shapes(fx.Interpreter):
    """Runs the graph once and notes the shape of every tensor."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.extra_traceback = False  # FX would append pages to the one sentence that an IntarsiaError is
        self.seen: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        try:
            value = super().run_node(n)
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            raise IntarsiaError(f"the network does not accept this input at node {n.name}: {first}") from error
        if isinstance(value, torch.Tensor):
            self.seen[n] = tuple(value.shape)
            n.meta["shape"] = tuple(value.shape)
        return value


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    sizes = [int(size) for size in shape[1:4]]
    sizes += [1] * (3 - len(sizes))
    return sizes[0], sizes[1], sizes[2]


def _pair(value: Any) -> Pair:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _shared(step: Step, steps: dict[str, Step]) -> bool:
    return any(other.module is step.module for other in steps.values())


def _scoped(node: fx.Node) -> str:
    """Name a node after the module whose forward it stands in."""
    stack = node.meta.get("nn_module_stack") or {}
    if node.op == "call_module":
        return str(node.target)
    scope = next(reversed(stack), "") if stack else ""
    own = node.name.rstrip("0123456789").rstrip("_") if scope else node.name
    return f"{scope}.{own}" if scope else own


def _name_of(target: str | Callable[..., Any]) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _unsupported(node: fx.Node, what: str) -> IntarsiaError:
    return IntarsiaError(f"node {node.name}: {what} is not supported; supported are {SUPPORTED}.")
