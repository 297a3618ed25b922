# SPDX-License-Identifier: Apache-2.0
"""What PyTorch operators the quantizer takes: one table, which also the documentation shows."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import fx, nn
from torch.nn import functional

from intarsia.errors import IntarsiaError

#: How operators are read; `layout` computes nothing, `ending` may only be the last.
Reading = Literal[
    "conv", "linear", "norm", "clip", "add", "subtract", "multiply", "divide", "negate",
    "pool", "reduce", "pad", "layout", "ending",
]  # fmt: skip

#: A function, or the name of a tensor's method.
Target = Callable[..., Any] | str


@dataclass(frozen=True)
class Operator:
    """Operators that are read alike.

    Attributes:
        reading: how.
        title: in the list of what is supported; empty where the one before says it.
        note: what holds for them.
        modules: types of layers.
        calls: functions, and names of methods.
    """

    reading: Reading
    title: str
    note: str
    modules: tuple[type[nn.Module], ...] = ()
    calls: tuple[Callable[..., Any] | str, ...] = ()


_ONE_DIMENSION = "1-D as an image of height 1: put nn.Flatten(2) before it"
_CONSTANTS = "with constants only (numbers, one value per channel); folded into a neighbour, else a layer of its own"

OPERATORS: tuple[Operator, ...] = (
    Operator(
        "conv",
        "convolution (Conv1d, Conv2d)",
        f"padding with zeros; groups and dilation make a kernel with zeros that training may change; {_ONE_DIMENSION}",
        (nn.Conv2d, nn.Conv1d),
        (functional.conv2d, functional.conv1d),
    ),
    Operator("linear", "Linear", "over a flattened tensor", (nn.Linear,), (functional.linear,)),
    Operator(
        "norm",
        "BatchNorm",
        "with running statistics; folded into a neighbour, else a layer of its own",
        (nn.BatchNorm2d, nn.BatchNorm1d),
        (functional.batch_norm,),
    ),
    Operator(
        "clip",
        "ReLU and clips around 0",
        "to any range that holds 0",
        (nn.ReLU, nn.ReLU6, nn.Hardtanh),
        (
            *(functional.relu, functional.relu_, torch.relu, "relu", "relu_", functional.relu6),
            *(functional.hardtanh, functional.hardtanh_, torch.clamp, "clamp", "clamp_", torch.clip, "clip", "clip_"),
            *(torch.clamp_min, "clamp_min", "clamp_min_", torch.clamp_max, "clamp_max", "clamp_max_"),
        ),
    ),
    Operator(
        "add",
        "+",
        "two tensors of one shape, or a constant; part of the convolution before it unless that is clipped",
        calls=(operator.add, operator.iadd, torch.add, "add", "add_"),
    ),
    Operator(
        "subtract",
        "-, * and / with constants",
        _CONSTANTS,
        calls=(operator.sub, operator.isub, torch.sub, torch.subtract, "sub", "sub_", "subtract"),
    ),
    Operator(
        "multiply",
        "",
        _CONSTANTS,
        calls=(operator.mul, operator.imul, torch.mul, torch.multiply, "mul", "mul_", "multiply"),
    ),
    Operator(
        "divide",
        "",
        _CONSTANTS,
        calls=(
            *(operator.truediv, operator.itruediv, torch.div, torch.divide, torch.true_divide),
            *("div", "div_", "divide", "true_divide"),
        ),
    ),
    Operator("negate", "", _CONSTANTS, calls=(operator.neg, torch.neg, "neg", "neg_")),
    Operator(
        "pool",
        "average and max pools",
        f"padding with zeros or, of a max pool, its own; whole windows; {_ONE_DIMENSION}",
        (
            *(nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
            *(nn.AvgPool1d, nn.MaxPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d),
        ),
        (
            *(functional.avg_pool2d, functional.max_pool2d, torch.max_pool2d),
            *(functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d),
            *(functional.avg_pool1d, functional.max_pool1d, torch.max_pool1d),
            *(functional.adaptive_avg_pool1d, functional.adaptive_max_pool1d),
        ),
    ),
    Operator("reduce", "mean", "over height, width or both", calls=("mean", torch.mean, "amax", torch.amax)),
    Operator(
        "pad",
        "padding",
        "with zeros before a convolution or a pool; with -inf before a max pool",
        (nn.ConstantPad2d, nn.ConstantPad1d, nn.ZeroPad2d, nn.ZeroPad1d),
        (functional.pad,),
    ),
    Operator(
        "layout",
        "Flatten and Dropout",
        "flattens all of an image, or its height and width; nothing is computed",
        (nn.Flatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.Identity),
        (
            *(torch.flatten, "flatten", "view", "reshape", torch.reshape, "squeeze", torch.squeeze, "unsqueeze"),
            *(torch.unsqueeze, operator.getitem, "contiguous", "clone", "detach"),
            *(functional.dropout, functional.dropout1d, functional.dropout2d),
        ),
    ),
    Operator(
        "ending",
        "a final softmax or sigmoid",
        "at the end only, where it is left out: the greatest output stays the greatest",
        (nn.Softmax, nn.LogSoftmax, nn.Sigmoid),
        (
            *(functional.softmax, torch.softmax, "softmax", functional.log_softmax, torch.log_softmax, "log_softmax"),
            *(functional.sigmoid, torch.sigmoid, "sigmoid"),
        ),
    ),
)

_REASONS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        ("cat", "concat", "concatenate"),
        "the integer network has no concatenation; a layer for each part and an addition compute the same",
    )
)


def operator_of(what: Target | nn.Module) -> Operator | None:
    """Return how a module, a function or a method is read, None if it is not supported."""
    if isinstance(what, nn.Module):
        # Modules of torch.ao round or observe, whatever they derive from.
        foreign = type(what).__module__.startswith("torch.ao")
        return None if foreign else next((entry for entry in OPERATORS if isinstance(what, entry.modules)), None)
    return next((entry for entry in OPERATORS if what in entry.calls), None)


def name_of(what: Target | nn.Module | type[nn.Module]) -> str:
    """Return how people call an operator."""
    if isinstance(what, nn.Module):
        return type(what).__name__
    return what if isinstance(what, str) else str(getattr(what, "__name__", what))


def _quantizable() -> dict[str, str]:
    every = [(what, entry.note) for entry in OPERATORS for what in (*entry.modules, *entry.calls)]
    return {name_of(what): note for what, note in every if _is_public(what)}


def _is_public(what: Target | type[nn.Module]) -> bool:
    """Whether people know an operator by this name, not by a sign (`+`, `/`) or by what it does out of place."""
    signs = operator.add.__module__
    return not name_of(what).endswith("_") and (isinstance(what, str) or getattr(what, "__module__", None) != signs)


#: What the quantizer takes: an operator's name in PyTorch (a module, a function or a method) and what holds for it.
QUANTIZABLE: Mapping[str, str] = MappingProxyType(_quantizable())

SUPPORTED = ", ".join(entry.title for entry in OPERATORS if entry.title)


def layer_name(node: fx.Node) -> str:
    """Return the name of a module that is called, or of a function after the module in whose forward it stands."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack") or {}
    scope = next(reversed(stack), "") if stack else ""
    own = node.name.rstrip("0123456789").rstrip("_") if scope else node.name
    return f"{scope}.{own}" if scope else own


def unsupported(layer: fx.Node | str, what: str, advice: str = "") -> IntarsiaError:
    """Return the error that names a layer and what it asks for in vain."""
    name = layer if isinstance(layer, str) else layer_name(layer)
    return IntarsiaError(f"layer {name}: {what} is not supported{advice and f'; {advice}'}.")


def refused(layer: fx.Node | str, what: Target | nn.Module) -> IntarsiaError:
    """Return the error about an operator that is not in the table."""
    name = name_of(what)
    if name in _REASONS:
        return unsupported(layer, name, _REASONS[name])
    return unsupported(layer, name, f"supported are {SUPPORTED}")


def arguments(node: fx.Node, *names: str) -> dict[str, Any]:
    """Return the arguments of a call after its tensor, by name."""
    return dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
