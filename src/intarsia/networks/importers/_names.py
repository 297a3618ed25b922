# SPDX-License-Identifier: Apache-2.0
"""Names of layers: from what converters call tensors to short names that PyTorch accepts."""

import keyword
import re
from collections.abc import Iterable, Sequence

from torch import fx, nn

#: Last components of tensor names that say what made the tensor, not where.
_KINDS = ("conv2d", "convolution", "depthwise", "matmul", "biasadd", "relu", "relu6", "add", "avgpool", "maxpool")
_LONGEST = 60


class Names:
    """Hands out names that are unique, also where dots become underscores."""

    def __init__(self) -> None:
        self._taken = {"input"}

    def unique(self, wish: str) -> str:
        """Return `wish`, cleaned, with a number after it if it is taken."""
        base = clean(wish)
        name, number = base, 1
        while name.replace(".", "_") in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name.replace(".", "_"))
        return name


def clean(text: str) -> str:
    """Return a dotted name of letters, digits and underscores that no attribute of a module has."""
    parts = [re.sub(r"[^A-Za-z0-9]+", "_", part).strip("_") for part in text[:400].split(".")]
    name = "_".join(part for part in parts if part) if len(text) > _LONGEST else ".".join(p for p in parts if p)
    name = name[:_LONGEST].strip("._") or "layer"
    first = name.split(".", maxsplit=1)[0]
    if any(keyword.iskeyword(part) for part in name.split(".")) or hasattr(_MODULE, first) or first in _RESERVED:
        name = "layer_" + name.replace(".", "_")
    return name


def shortened(text: str) -> str:
    """Return a tensor's name as a message can show it."""
    return text if len(text) <= 80 else text[:77] + "..."


def from_tensors(names: Sequence[str], endings: Iterable[str], fallback: str) -> str:
    """Return a layer's name from the names of its tensors, as TensorFlow's converter makes them.

    It joins the names of all fused operators with semicolons: `model/relu/Relu;model/conv2d/Conv2D`.
    The first part with one of `endings` says where the operator stood: `conv2d`.

    Args:
        names: of the tensors, the most telling first.
        endings: of the operator's own part, in lower case.
        fallback: taken where no tensor says anything.
    """
    wanted = tuple(endings)
    for name in names:
        for part in name.split(";"):
            path = part.split("/")
            last = re.sub(r"\d+$|_\d+$", "", path[-1].lower())
            if len(path) > 1 and last.startswith(wanted):
                scope = path[1:-1] if len(path) > 2 else path[:1]
                return "_".join(scope)
    for name in filter(None, names):
        first = name.split(";", maxsplit=1)[0]
        path = [part for part in re.split(r"[/.]", first) if part and part.lower().rstrip("0123456789_") not in _KINDS]
        if path and not re.match(r"(StatefulPartitionedCall|PartitionedCall|Identity|tfl|arith)", first):
            return "_".join(path[1:] or path)
    return fallback


def from_parameters(names: Iterable[str]) -> str:
    """Return the module's name from those of its parameters, as PyTorch's exporters make them; empty if none tells.

    `block.conv.weight` and Brevitas' `block.conv.weight_quant.…` are both of `block.conv`.
    """
    for name in names:
        found = re.match(r"(.+?)\.(weight|bias|weight_quant|bias_quant)(\.|$)", name)
        if found:
            return found[1]
    return ""


_MODULE = nn.Module()
_RESERVED = frozenset(name for name in dir(fx.GraphModule) if not name.startswith("__"))
