# SPDX-License-Identifier: Apache-2.0
"""Convolutions, pools and padding: what window a node slides over an image, however it is written.

A row (C, L) is an image of height 1. A convolution in groups becomes an ordinary one whose kernel is 0 between groups,
and a dilated one becomes a larger one with zeros between its taps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from intarsia.quantize.operators import Target, arguments, name_of, unsupported
from intarsia.quantize.step import Four, Pair
from intarsia.quantize.tracing import Traced


@dataclass(frozen=True, eq=False)
class Kernel:
    """A convolution: weights (O, I, KH, KW), I = 1 if depthwise, and a bias (O,).

    `filled` says whether there are zeros between groups or taps.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    stride: Pair
    padding: Four
    depthwise: bool
    filled: bool


@dataclass(frozen=True)
class Window:
    """A pool."""

    maximum: bool
    kernel: Pair
    stride: Pair
    padding: Four = (0, 0, 0, 0)


@dataclass(frozen=True)
class Padding:
    """Explicit padding that waits for the window that it belongs to: (top, left, bottom, right) of one value."""

    sizes: Four
    value: float


def is_row(what: Target | nn.Module) -> bool:
    """Whether an operator slides along rows (N, C, L)."""
    return name_of(what).endswith("1d")


@torch.no_grad()
def kernel_of(node: fx.Node, traced: Traced) -> Kernel:
    """Return the convolution that a node computes.

    Raises:
        IntarsiaError: its padding is not with zeros, or its weights depend on the input.
    """
    what = traced.target(node)
    rows = is_row(what)
    bias: torch.Tensor | None
    if isinstance(what, nn.Conv2d | nn.Conv1d):
        if what.padding_mode != "zeros":
            raise unsupported(node, f"{name_of(what)} with padding mode {what.padding_mode!r}")
        given: dict[str, Any] = {name: getattr(what, name) for name in _CONVOLUTION}
        weight, bias = what.weight, what.bias
    else:
        given = arguments(node, *_CONVOLUTION)
        weight, bias = traced.weights(node, given)
    groups, dilation = int(given.get("groups", 1)), _pair(given.get("dilation", 1), rows, 1)
    depthwise = groups > 1 and groups == weight.shape[0] and weight.shape[1] == 1
    whole = _dilated(weight[:, :, None] if rows else weight, dilation)
    whole = whole if depthwise else _one_group(whole, groups)
    padding = _conv_padding(given.get("padding", 0), (whole.shape[2], whole.shape[3]), rows)
    filled = whole.numel() > weight.numel()
    return Kernel(whole, bias, _pair(given.get("stride", 1), rows, 1), padding, depthwise, filled)


_CONVOLUTION = ("weight", "bias", "stride", "padding", "dilation", "groups")


def _dilated(weight: torch.Tensor, dilation: Pair) -> torch.Tensor:
    if dilation == (1, 1):
        return weight
    height, width = (step * (size - 1) + 1 for step, size in zip(dilation, weight.shape[2:], strict=True))
    spread = weight.new_zeros(*weight.shape[:2], height, width)
    spread[:, :, :: dilation[0], :: dilation[1]] = weight
    return spread


def _one_group(weight: torch.Tensor, groups: int) -> torch.Tensor:
    outputs, inputs = weight.shape[:2]
    blocks = weight.new_zeros(groups, outputs // groups, groups, inputs, *weight.shape[2:])
    for group, block in enumerate(weight.reshape(groups, outputs // groups, inputs, *weight.shape[2:])):
        blocks[group, :, group] = block
    return blocks.reshape(outputs, groups * inputs, *weight.shape[2:])


def _conv_padding(padding: Any, kernel: Pair, rows: bool) -> Four:
    """Return a convolution's padding; of `same`, PyTorch puts the odd row and column at the bottom and the right."""
    if not isinstance(padding, str):
        pad = _pair(padding, rows, 0)
        return (*pad, *pad)
    if padding == "valid":
        return (0, 0, 0, 0)
    height, width = (size - 1 for size in kernel)
    return height // 2, width // 2, height - height // 2, width - width // 2


def pool_of(node: fx.Node, traced: Traced, size: Pair) -> Window:
    """Return the pool that a node computes over an image of `size`, explicit padding before it included.

    Raises:
        IntarsiaError: its windows are not all alike.
    """
    what = traced.target(node)
    module = what if isinstance(what, nn.Module) else _as_module(node, what)
    rows, maximum, label = is_row(module), "MaxPool" in name_of(module), name_of(module)
    result = _spatial(traced.shapes[node])
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d | nn.AdaptiveAvgPool1d | nn.AdaptiveMaxPool1d):
        if size[0] % result[0] or size[1] % result[1]:
            raise unsupported(node, f"{label} from {size} to {result}", "windows must be whole and alike")
        kernel = (size[0] // result[0], size[1] // result[1])
        return Window(maximum, kernel, kernel)
    assert isinstance(module, nn.AvgPool2d | nn.MaxPool2d | nn.AvgPool1d | nn.MaxPool1d)  # noqa: S101 (the table's pools)
    kernel = _pair(module.kernel_size, rows, 1)
    stride = kernel if module.stride is None else _pair(module.stride, rows, 1)
    pad = _pair(module.padding, rows, 0)
    _check_pool(node, module, pad, kernel)
    # Rows and columns of windows that begin inside, but end outside (ceil_mode).
    beyond = [
        max(0, (count - 1) * step + window - length - 2 * before)
        for count, step, window, length, before in zip(result, stride, kernel, size, pad, strict=True)
    ]
    if any(beyond) and not maximum:
        raise unsupported(node, f"{label} with ceil_mode where windows reach beyond the image")
    return Window(maximum, kernel, stride, (*pad, pad[0] + beyond[0], pad[1] + beyond[1]))


def _check_pool(node: fx.Node, module: nn.Module, pad: Pair, kernel: Pair) -> None:
    label = name_of(module)
    if isinstance(module, nn.MaxPool2d | nn.MaxPool1d):
        if module.return_indices or _pair(module.dilation, is_row(module), 1) != (1, 1):
            raise unsupported(node, f"{label} with dilation or indices")
        return
    divisor = getattr(module, "divisor_override", None)
    if divisor not in (None, kernel[0] * kernel[1]):
        raise unsupported(node, f"{label} with a divisor of its own")
    if pad != (0, 0) and not module.count_include_pad:
        raise unsupported(node, f"{label} with padding that does not count")


def _as_module(node: fx.Node, what: Target) -> nn.Module:
    """Return the module that does what a function does."""
    module, names = _POOLS[what]
    given = {name: value for name, value in arguments(node, *names).items() if name in names}
    made: nn.Module = module(**given)
    return made


_AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
_MAXIMUM = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_ADAPTIVE = ("output_size",)

#: Functions that are a pooling module with these arguments after the tensor.
_POOLS: Mapping[Any, tuple[Callable[..., nn.Module], tuple[str, ...]]] = MappingProxyType(
    {
        functional.adaptive_avg_pool2d: (nn.AdaptiveAvgPool2d, _ADAPTIVE),
        functional.adaptive_avg_pool1d: (nn.AdaptiveAvgPool1d, _ADAPTIVE),
        functional.adaptive_max_pool2d: (nn.AdaptiveMaxPool2d, _ADAPTIVE),
        functional.adaptive_max_pool1d: (nn.AdaptiveMaxPool1d, _ADAPTIVE),
        functional.avg_pool2d: (nn.AvgPool2d, _AVERAGE),
        functional.avg_pool1d: (nn.AvgPool1d, _AVERAGE[:-1]),
        functional.max_pool2d: (nn.MaxPool2d, _MAXIMUM),
        torch.max_pool2d: (nn.MaxPool2d, _MAXIMUM[:-1]),
        functional.max_pool1d: (nn.MaxPool1d, _MAXIMUM),
        torch.max_pool1d: (nn.MaxPool1d, _MAXIMUM[:-1]),
    }
)


def reduction_of(node: fx.Node, traced: Traced, size: Pair) -> Window:
    """Return the pool that a mean or a maximum over whole axes is, for an image of `size`.

    Raises:
        IntarsiaError: it is over something else than height and width.
    """
    what, source = traced.target(node), traced.shapes[node.all_input_nodes[0]]
    dims = arguments(node, "dim").get("dim", arguments(node).get("axis"))
    dims = (dims,) if isinstance(dims, int) else dims
    label = name_of(what)
    axes = {dim % len(source) for dim in dims} if isinstance(dims, tuple | list) else set()
    if not axes or not axes <= {2, 3}:
        shown = f"axes {tuple(sorted(axes))}" if axes else "all values"
        raise unsupported(node, f"{label} over {shown}", "take it over height and width")
    over = {2, 3} if len(source) == 3 else axes
    kernel = (size[0] if 2 in over else 1, size[1] if 3 in over else 1)
    return Window(label == "amax", kernel, kernel)


def padding_of(node: fx.Node, what: Target | nn.Module) -> Padding:
    """Return the explicit padding that a node adds.

    Raises:
        IntarsiaError: it is not a constant around height and width.
    """
    if isinstance(what, nn.ConstantPad2d | nn.ConstantPad1d):
        sizes, value = tuple(what.padding), float(what.value)
    else:
        given = arguments(node, "pad", "mode", "value")
        if given.get("mode", "constant") != "constant":
            raise unsupported(node, f"pad with mode {given['mode']!r}")
        sizes, value = tuple(given["pad"]), float(given.get("value") or 0.0)
    if len(sizes) not in (2, 4) or min(sizes) < 0 or value not in (0.0, -float("inf")):
        raise unsupported(node, f"padding by {sizes} with {value}", "pad height and width with zeros")
    left, right, top, bottom = (*sizes, 0, 0)[:4]
    return Padding((top, left, bottom, right), value)


def sum_padding(first: Four, second: Four) -> Four:
    """Add two paddings."""
    top, left, bottom, right = (a + b for a, b in zip(first, second, strict=True))
    return top, left, bottom, right


def _spatial(shape: tuple[int, ...]) -> Pair:
    """Return height and width of a tensor (N, C, L) or (N, C, H, W)."""
    return (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])


def _pair(value: Any, rows: bool, height: int) -> Pair:
    """Return (height, width) of an argument that may be one number for both, or for the width of a row alone."""
    both = (value, value) if isinstance(value, int) else tuple(value)
    return (height, int(both[-1])) if rows else (int(both[0]), int(both[-1]))
