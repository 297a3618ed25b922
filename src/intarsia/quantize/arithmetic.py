# SPDX-License-Identifier: Apache-2.0
"""What nodes do to each value by itself: clips, normalization and arithmetic with constants."""

import math
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from intarsia.quantize.operators import Target, arguments, name_of, operator_of, unsupported
from intarsia.quantize.step import Range
from intarsia.quantize.tracing import Traced

#: A factor and an offset, which broadcast to the tensor.
Constants = tuple[torch.Tensor, torch.Tensor]

_NOUNS = {"add": "an addition", "subtract": "a subtraction", "multiply": "a product", "divide": "a quotient"}


def clip_of(node: fx.Node, traced: Traced) -> Range:
    """Return the range that a node clips to.

    Raises:
        IntarsiaError: it is not one that holds 0 and more, or differs from value to value.
    """
    low, high = _limits(node, traced.target(node), traced)
    if not (low <= 0.0 <= high and low < high):
        raise unsupported(node, f"a clip to {low:g} … {high:g}", "its range must hold 0 and more")
    return low, high


def _limits(node: fx.Node, what: Target | nn.Module, traced: Traced) -> Range:
    if isinstance(what, nn.Hardtanh):
        return float(what.min_val), float(what.max_val)
    name = name_of(what).removesuffix("_")
    if name in ("relu", "ReLU"):
        return 0.0, math.inf
    if what is functional.relu6:
        return 0.0, 6.0
    names = {"hardtanh": ("min_val", "max_val"), "clamp_min": ("min",), "clamp_max": ("max",)}.get(name, ("min", "max"))
    defaults = (-1.0, 1.0) if name == "hardtanh" else (-math.inf, math.inf)
    given = arguments(node, *names)
    low, high = (
        default if given.get(which) is None else traced.number(given[which])
        for which, default in zip(
            ("min_val", "max_val") if name == "hardtanh" else ("min", "max"), defaults, strict=True
        )
    )
    if low is None or high is None:
        raise unsupported(node, f"{name} to anything but numbers")
    return low, high


def normalization_of(node: fx.Node, traced: Traced) -> Constants:
    """Return what a normalization multiplies each channel by and adds to it.

    Raises:
        IntarsiaError: it takes its statistics from its input.
    """
    what = traced.target(node)
    names = ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given: dict[str, Any]
    if isinstance(what, nn.Module):
        given = {name: getattr(what, name) for name in ("running_mean", "running_var", "weight", "bias", "eps")}
    else:
        given = arguments(node, *names)
        given |= {name: traced.constant(given.get(name)) for name in names[:4]}
    if given["running_mean"] is None or given["running_var"] is None or given.get("training", False):
        raise unsupported(node, f"{name_of(what)} without running statistics")
    mean, variance = given["running_mean"].double(), given["running_var"].double()
    factor = (variance + given.get("eps", 1e-5)).rsqrt()
    if given["weight"] is not None:
        factor = factor * given["weight"].double()
    offset = -mean * factor
    if given["bias"] is not None:
        offset = offset + given["bias"].double()
    axes = (-1, *[1] * (len(traced.shapes[node]) - 2))
    return factor.detach().reshape(axes), offset.detach().reshape(axes)


def constant_affine(node: fx.Node, traced: Traced) -> Constants:
    """Return what arithmetic of one tensor and a constant multiplies that tensor by and adds to it.

    Raises:
        IntarsiaError: there is no constant, or the tensor is the divisor.
    """
    what = traced.target(node)
    entry = operator_of(what)
    assert entry is not None  # noqa: S101 (whoever calls has looked)
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    if entry.reading == "negate":
        return -one, zero
    names = ("other", "alpha") if entry.reading in ("add", "subtract") else ("other", "rounding_mode")
    given = arguments(node, *names)
    left, right = traced.constant(node.args[0]), traced.constant(given.get("other"))
    constant = left if right is None else right
    alpha = traced.number(given.get("alpha", 1.0))
    if constant is None or alpha is None or given.get("rounding_mode") is not None:
        raise unsupported(node, f"{_NOUNS[entry.reading]} of anything but a tensor and a constant")
    constant, first = constant.double(), right is None
    if entry.reading == "divide" and first:
        raise unsupported(node, "a division by a tensor that depends on the input")
    match entry.reading:
        case "multiply":
            return constant, zero
        case "divide":
            return 1.0 / constant, zero
        case _:  # the second term is what alpha multiplies and a subtraction negates
            sign = -alpha if entry.reading == "subtract" else alpha
            return (sign * one, constant) if first else (one, sign * constant)


def ends_by_order(node: fx.Node, traced: Traced) -> bool:
    """Whether a softmax or a sigmoid at the end keeps the order of every input's outputs."""
    what, axes = traced.target(node), len(traced.shapes[node])
    if name_of(what).lower() == "sigmoid":
        return True
    dim = what.dim if isinstance(what, nn.Module) else arguments(node, "dim").get("dim")
    if dim is None:  # PyTorch's rule of old
        return axes != 3
    return int(str(dim)) % axes == 1
