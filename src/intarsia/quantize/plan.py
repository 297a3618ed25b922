# SPDX-License-Identifier: Apache-2.0
"""Reading a float module: from its FX graph to the steps that the integer network will have.

Normalization and arithmetic with constants go into the layers before or after them (`affine`), clips such as ReLU into
the step that feeds them, explicit padding into the window that reads it. What does nothing in inference (dropout,
identity, views) and a final softmax disappear. What is left is one step per layer of the integer network.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import fx, nn

from intarsia.errors import IntarsiaError
from intarsia.quantize.affine import Affine, fold_back, settled
from intarsia.quantize.arithmetic import clip_of, constant_affine, ends_by_order, normalization_of
from intarsia.quantize.operators import (
    Reading,
    Target,
    arguments,
    layer_name,
    name_of,
    operator_of,
    refused,
    unsupported,
)
from intarsia.quantize.step import ANY, Kind, Pair, Shape, Step, convolution, key, linear, value_ranges
from intarsia.quantize.tracing import BATCH, Traced, trace
from intarsia.quantize.windows import (
    Padding,
    Window,
    is_row,
    kernel_of,
    padding_of,
    pool_of,
    reduction_of,
    sum_padding,
)


def read_plan(model: nn.Module, shape: Shape) -> list[Step]:
    """Return the steps of a float network, its normalization folded; `model` is not changed.

    Every tensor is an image (C, H, W) here, whatever views the network takes of it: a row is one of height 1, what is
    flattened keeps its shape, and the features of a linear layer are channels of one pixel.

    Args:
        model: a network whose forward FX can trace, of supported layers only (`operators.QUANTIZABLE`).
        shape: (channels, height, width) of its input.

    Raises:
        IntarsiaError: an operator is not supported; the message names it and its layer.
    """
    traced = trace(model, shape)
    steps = _Reader(traced, shape).read()
    if not traced.faithful:
        raise IntarsiaError(
            "the network computes something else than torch.fx reads from it; write it without random numbers, and "
            "without changes in place (y += x) to tensors that have a second name."
        )
    return steps


class _Reader:
    """Walks the graph once; `tensors` says which tensor a node's value is, or a view of."""

    def __init__(self, traced: Traced, shape: Shape) -> None:
        self.traced, self.shape = traced, shape
        self.steps: dict[str, Step] = {}
        self.affines: dict[str, Affine] = {}
        self.tensors: dict[fx.Node, str] = {}
        self.origins: dict[str, fx.Node] = {}
        self.pads: dict[fx.Node, Padding] = {}
        self.readings: Mapping[Reading, Callable[[fx.Node], None]] = {
            "conv": self._convolve,
            "linear": self._linear,
            "norm": self._normalize,
            "clip": self._clip,
            "add": self._add,
            "subtract": self._combine,
            "multiply": self._combine,
            "divide": self._combine,
            "negate": self._combine,
            "pool": self._pool,
            "reduce": self._reduce,
            "pad": self._pad,
            "layout": self._lay_out,
            "ending": self._end,
        }

    def read(self) -> list[Step]:
        for node in self.traced.nodes:
            if node.op == "placeholder":
                self.tensors[node] = "input"
            elif node.op == "output":
                self._check_result(node.args[0])
            elif node not in self.traced.constants and node not in self.traced.plain:
                self._operation(node)
        steps = settled(list(self.steps.values()), self.affines)
        if all(step.module is None or step.kind == "affine" for step in steps):
            raise IntarsiaError("the network has no convolution and no linear layer; there is nothing to quantize.")
        return steps

    def _check_result(self, result: object) -> None:
        if not isinstance(result, fx.Node) or result not in self.tensors:
            raise IntarsiaError("the network returns several values; let it return one tensor.")
        name = self._input(result)
        if not self.steps or name != next(reversed(self.steps)):
            raise IntarsiaError(f"the network returns {name!r}, which is not the last that it computes.")

    def _operation(self, node: fx.Node) -> None:
        what = self.traced.target(node)
        entry = operator_of(what)
        if entry is None:
            raise refused(node, what)
        if node not in self.traced.shapes or "out" in node.kwargs:
            raise unsupported(node, f"{name_of(what)} with several results or into a given tensor")
        if not any(source in self.tensors for source in node.all_input_nodes):
            raise unsupported(node, f"{name_of(what)} of sizes")
        self.readings[entry.reading](node)

    def _source(self, node: fx.Node) -> fx.Node:
        """Return the tensor that a node reads, explicit padding before it included."""
        return next(source for source in node.all_input_nodes if source in self.tensors)

    def _input(self, node: fx.Node) -> str:
        """Return the tensor that a node is; padding has to be followed by a window."""
        if node in self.pads:
            raise unsupported(node, "padding that a convolution or a pool does not follow")
        return self.tensors[node]

    def _shape_of(self, name: str) -> Shape:
        return self.shape if name == "input" else self.steps[name].shape

    def _is_flat(self, node: fx.Node) -> bool:
        return len(self.traced.shapes[node]) == 2

    def _only_reader(self, node: fx.Node) -> bool:
        """Whether nothing but `node` sees the result of the step before it, on the whole way to it."""
        source = self._source(node)
        origin = self.origins.get(self.tensors[source])
        while len(source.users.keys() - self.traced.plain) == 1:  # who asks for a size reads no values
            if source is origin:
                return True
            if source.op == "placeholder":
                return False
            source = self._source(source)
        return False

    def _free_name(self, wanted: str) -> str:
        """Return a name that no step has, nor one that is the same as a module's name."""
        taken = {key(name) for name in ("input", *self.steps)}
        names = (wanted if number == 0 else f"{wanted}_{number}" for number in range(len(taken) + 1))
        return next(name for name in names if key(name) not in taken)

    def _new(self, node: fx.Node, step: Step) -> None:
        """Add a step for a node, under its layer's name."""
        step = replace(step, name=self._free_name(layer_name(node)))
        self.steps[step.name] = step
        self.tensors[node], self.origins[step.name] = step.name, node

    def _lay_out(self, node: fx.Node) -> None:
        """Take a view, which keeps the order of values; whoever slides a window over it asks for its axes."""
        source, label = self._source(node), name_of(self.traced.target(node))
        before, after = self.traced.shapes[source], self.traced.shapes[node]
        if label.startswith("dropout") and arguments(node, "p", "training").get("training", True):
            raise unsupported(node, "dropout outside training", "pass training=self.training")
        if _picks(node) or math.prod(after) != math.prod(before):
            raise unsupported(node, f"{label} that picks from a tensor")
        if after[:1] != (BATCH,):
            raise unsupported(node, f"{label} that joins the inputs of a batch")
        self.tensors[node] = self.tensors[source] if after == before else self._input(source)
        if source in self.pads:
            self.pads[node] = self.pads[source]

    def _end(self, node: fx.Node) -> None:
        reader = node
        while reader.op != "output":
            entry = operator_of(self.traced.target(reader))
            if len(reader.users) != 1 or entry is None or entry.reading != ("ending" if reader is node else "layout"):
                raise unsupported(node, f"{name_of(self.traced.target(node))} before other operators")
            reader = next(iter(reader.users))
        if self.traced.shapes[node][1] == 1 and "softmax" in name_of(self.traced.target(node)).lower():
            raise unsupported(node, "a softmax over a single output, which is always 1", "train with a sigmoid instead")
        if not ends_by_order(node, self.traced):
            raise unsupported(node, f"{name_of(self.traced.target(node))} over another axis than the classes")
        self.tensors[node] = self._input(self._source(node))

    def _pad(self, node: fx.Node) -> None:
        source = self._source(node)
        pad = padding_of(node, self.traced.target(node))
        self.tensors[node] = self.tensors[source]
        before = self.pads.get(source)
        if not any(pad.sizes):
            self.pads |= {} if before is None else {node: before}
            return
        if self._is_flat(source):
            raise unsupported(node, "padding of a flattened tensor")
        if before is not None and before.value != pad.value:
            raise unsupported(node, "padding with one value after padding with another")
        self.pads[node] = pad if before is None else replace(pad, sizes=sum_padding(before.sizes, pad.sizes))

    def _normalize(self, node: fx.Node) -> None:
        factor, offset = normalization_of(node, self.traced)
        self._affine(node, factor, offset)

    def _combine(self, node: fx.Node) -> None:
        self._affine(node, *constant_affine(node, self.traced))

    def _affine(self, node: fx.Node, factor: torch.Tensor, offset: torch.Tensor) -> None:
        """Multiply and shift by constants, which broadcast to the view that the node reads."""
        source = self._source(node)
        name, seen = self._input(source), self.traced.shapes[source]
        label = name_of(self.traced.target(node))
        if self.traced.shapes[node] != seen:
            raise unsupported(node, f"{label} that repeats a tensor over the shape of a constant")
        if any(value.dim() == len(seen) and value.shape[0] != 1 for value in (factor, offset)):
            raise unsupported(node, f"{label} with values of its own for each input of a batch")
        shape = self._shape_of(name)
        affine = Affine.of(shape, *(value.broadcast_to((1, *seen[1:])).reshape(shape) for value in (factor, offset)))
        step = self.steps.get(name)
        self.tensors[node] = name
        if affine.does_nothing:
            return
        if step is not None and not step.clipped and self._only_reader(node):
            if name in self.affines:
                self.affines[name] = affine.after(self.affines[name])
                return
            if folded := fold_back(step, affine):
                self.steps[name] = folded
                return
        self._new(node, Step("", "affine", (name,), shape=shape))
        self.affines[self.tensors[node]] = affine

    def _clip(self, node: fx.Node) -> None:
        low, high = clip_of(node, self.traced)
        name = self._input(self._source(node))
        least, most = value_ranges(self.steps.values(), ANY)[name]
        if low <= least and high >= most:
            self.tensors[node] = name
            return
        clipping, self.tensors[node] = self._clipping(node), name
        if clipping is None:
            self._new(node, Step("", "average", (name,), shape=self._shape_of(name)))
            clipping = self.tensors[node]
        step = self.steps[clipping]
        self.steps[clipping] = replace(step, floor=max(step.floor, low), ceiling=min(step.ceiling, high))

    def _clipping(self, node: fx.Node) -> str | None:
        """Return the step that can clip its result for a node: the one before it or, as maxima of what is clipped are
        clipped maxima, the one before a max pool. None if another node reads that.
        """
        step = self.steps.get(self.tensors[self._source(node)])
        if step is None or not self._only_reader(node):
            return None
        return self._clipping(self.origins[step.name]) if step.kind == "maximum" else step.name

    def _add(self, node: fx.Node) -> None:
        values = (*node.args, *node.kwargs.values())
        terms = [value for value in values if isinstance(value, fx.Node) and value in self.tensors]
        if len(terms) != 2:
            self._combine(node)
            return
        if node.kwargs.get("alpha", 1) != 1:
            raise unsupported(node, "an addition with a factor (alpha)")
        first, second = (self._input(term) for term in terms)
        shape, other = self._shape_of(first), self._shape_of(second)
        if shape != other or self.traced.shapes[terms[0]] != self.traced.shapes[terms[1]]:
            raise unsupported(node, f"an addition of different shapes, {shape} and {other}")
        self._new(node, Step("", "add", (first, second), shape=shape))

    def _linear(self, node: fx.Node) -> None:
        source, what = self._source(node), self.traced.target(node)
        if not self._is_flat(source):
            raise unsupported(node, "Linear over anything but a flattened tensor")
        weight: torch.Tensor
        bias: torch.Tensor | None
        if isinstance(what, nn.Linear):
            weight, bias = what.weight, what.bias
        else:
            weight, bias = self.traced.weights(node, arguments(node, "weight", "bias"))
        name = self._input(source)
        kernel = self._shape_of(name)[1:]
        self._new(node, Step("", "linear", (name,), linear(weight, bias), kernel=kernel, shape=(len(weight), 1, 1)))

    def _convolve(self, node: fx.Node) -> None:
        self._check_image(node)
        made = kernel_of(node, self.traced)
        if self._padding_before(node).value != 0.0:
            raise unsupported(node, "a convolution after padding with anything but zeros")
        window = Window(False, (made.weight.shape[2], made.weight.shape[3]), made.stride, made.padding)
        step = self._slid(node, "conv", window)
        module = convolution(made.weight, made.bias, step.stride, step.padding, depthwise=made.depthwise)
        shape = (len(made.weight), *step.shape[1:])
        self._new(node, replace(step, module=module, shape=shape, filled=made.filled))

    def _pool(self, node: fx.Node) -> None:
        self._check_image(node)
        self._window(node, pool_of(node, self.traced, self._size_before(node)))

    def _reduce(self, node: fx.Node) -> None:
        self._check_image(node)
        self._window(node, reduction_of(node, self.traced, self._size_before(node)))

    def _window(self, node: fx.Node, window: Window) -> None:
        step = self._slid(node, "maximum" if window.maximum else "average", window)
        label, before = name_of(self.traced.target(node)), self._padding_before(node)
        if window.maximum:
            # Zeros never win against what a ReLU made, so that there they are a max pool's own padding.
            positive = value_ranges(self.steps.values(), ANY)[step.inputs[0]][0] >= 0.0
            accepted = {-float("inf"), 0.0} if positive or not any(before.sizes) else {-float("inf")}
            if any(pad >= size for pad, size in zip(step.padding, step.kernel * 2, strict=True)):
                raise unsupported(node, f"{label} with windows of padding alone")
        else:
            accepted = {0.0}
        if before.value not in accepted:
            raise unsupported(node, f"{label} after padding with {before.value}")
        self._new(node, step)

    def _check_image(self, node: fx.Node) -> None:
        """Refuse a window over other axes than (N, C, H, W) or, for rows, (N, C, L)."""
        source, what = self._source(node), self.traced.target(node)
        (channels, *_), (height, width) = self._shape_of(self.tensors[source]), self._size_before(node)
        axes = len(self.traced.shapes[source])
        image, row = (BATCH, channels, height, width), (BATCH, channels, height * width)
        if self.traced.shapes[source] != (image if axes == 4 else row):
            seen = f"a view of {(channels, height, width)} as {self.traced.shapes[source][1:]}"
            raise unsupported(node, f"{name_of(what)} over {seen}")
        if not _reduces(what) and (is_row(what) != (axes == 3) or (axes == 3 and height != 1)):
            kind = "rows (N, C, L), which are images of height 1" if is_row(what) else "images (N, C, H, W)"
            raise unsupported(node, f"{name_of(what)} over anything but {kind}")

    def _padding_before(self, node: fx.Node) -> Padding:
        return self.pads.get(self._source(node), Padding((0, 0, 0, 0), 0.0))

    def _size_before(self, node: fx.Node) -> Pair:
        """Return height and width of what a node reads, with explicit padding."""
        _, height, width = self._shape_of(self.tensors[self._source(node)])
        top, left, bottom, right = self._padding_before(node).sizes
        return height + top + bottom, width + left + right

    def _slid(self, node: fx.Node, kind: Kind, window: Window) -> Step:
        """Return the step that slides a window over what a node reads, as many channels as that has."""
        name, size = self.tensors[self._source(node)], self._size_before(node)
        top, left, bottom, right = window.padding
        full = (size[0] + top + bottom, size[1] + left + right)
        places = [
            (length - long) // by + 1 for length, long, by in zip(full, window.kernel, window.stride, strict=True)
        ]
        padding = sum_padding(self._padding_before(node).sizes, window.padding)
        shape = (self._shape_of(name)[0], places[0], places[1])
        return Step("", kind, (name,), None, window.kernel, window.stride, padding, shape)


def _reduces(what: Target | nn.Module) -> bool:
    entry = operator_of(what)
    return entry is not None and entry.reading == "reduce"


def _picks(node: fx.Node) -> bool:
    """Whether an index may change the order of values: anything but whole axes, single entries and new axes."""
    if node.target is not operator.getitem:
        return False
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    return not all(entry is None or entry is Ellipsis or isinstance(entry, int | slice) for entry in index)
