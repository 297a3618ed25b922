"""What the operators of an FX graph are: their arguments, shapes and names, read from a node."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from intarsia.errors import IntarsiaError

Pair = tuple[int, int]
Four = tuple[int, int, int, int]

SUPPORTED = (
    "Conv2d (groups 1 or depthwise), Linear, BatchNorm after them, ReLU, ReLU6, +, ZeroPad2d, AvgPool2d, MaxPool2d, "
    "mean over (2, 3), Flatten"
)


class Shapes(fx.Interpreter):
    """Runs the graph once and notes the shape of every tensor."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.extra_traceback = False  # FX would append pages to the one sentence that an IntarsiaError is
        self.seen: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and note the shape of its tensor."""
        try:
            value = super().run_node(n)
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            raise IntarsiaError(f"the network does not accept this input at node {n.name}: {first}") from error
        if isinstance(value, torch.Tensor):
            self.seen[n] = tuple(value.shape)
            n.meta["shape"] = tuple(value.shape)
        return value


#: Functions that are a pooling module with these arguments after the tensor.
POOLS: dict[Any, tuple[Any, tuple[str, ...]]] = {
    functional.adaptive_avg_pool2d: (nn.AdaptiveAvgPool2d, ("output_size",)),
    functional.avg_pool2d: (
        nn.AvgPool2d,
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    functional.max_pool2d: (
        nn.MaxPool2d,
        ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    ),
}


def symmetric(padding: Four) -> bool:
    """Whether the padding (top, left, bottom, right) is the same on opposite sides."""
    return padding[:2] == padding[2:]


def conv_padding(conv: nn.Conv2d) -> Four:
    """Return a convolution's padding; of `same`, PyTorch puts the odd row and column at the bottom and the right."""
    if not isinstance(conv.padding, str):
        pad = pair(conv.padding)
        return (*pad, *pad)
    if conv.padding == "valid":
        return (0, 0, 0, 0)
    height, width = (size - 1 for size in pair(conv.kernel_size))
    return height // 2, width // 2, height - height // 2, width - width // 2


def clip_ceiling(node: fx.Node, what: Any) -> float | None:
    """Return the upper limit of a clip whose lower limit is 0."""
    if isinstance(what, nn.Hardtanh):
        lo, hi = float(what.min_val), float(what.max_val)
    elif what is functional.relu6:
        lo, hi = 0.0, 6.0
    else:
        names, default = (("min", "max"), None) if what in (torch.clamp, "clamp") else (("min_val", "max_val"), 1.0)
        given: dict[str, Any] = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
        lower, upper = given.get(names[0], None if default is None else -1.0), given.get(names[1], default)
        if upper is None and lower == 0:
            return None
        lo, hi = (float(v) if isinstance(v, int | float) else -1.0 for v in (lower, upper))
    if lo != 0.0 or hi <= 0.0:
        raise unsupported(node, f"a clip to {lo:g} … {hi:g} (only from 0 up)")
    return hi


def sum_padding(first: Four, second: Four) -> Four:
    """Add two paddings."""
    top, left, bottom, right = (a + b for a, b in zip(first, second, strict=True))
    return top, left, bottom, right


def three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (channels, height, width) of a tensor's shape (N, ...), missing sizes as 1."""
    sizes = [int(size) for size in shape[1:4]]
    sizes += [1] * (3 - len(sizes))
    return sizes[0], sizes[1], sizes[2]


def pair(value: Any) -> Pair:
    """Return (height, width) of an argument that may be one number for both."""
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def scoped(node: fx.Node) -> str:
    """Name a node after the module whose forward it stands in."""
    stack = node.meta.get("nn_module_stack") or {}
    if node.op == "call_module":
        return str(node.target)
    scope = next(reversed(stack), "") if stack else ""
    own = node.name.rstrip("0123456789").rstrip("_") if scope else node.name
    return f"{scope}.{own}" if scope else own


def name_of(target: str | Callable[..., Any]) -> str:
    """Return how people call an operator."""
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def unsupported(node: fx.Node, what: str) -> IntarsiaError:
    """Return the error that names a node and what it asks for in vain."""
    return IntarsiaError(f"node {node.name}: {what} is not supported; supported are {SUPPORTED}.")
