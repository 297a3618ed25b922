# SPDX-License-Identifier: Apache-2.0
"""Planes, patterns, quantizers and training: from a float network to an integer network.

from intarsia.quantize import Scheme, freeze, quantize
result = quantize(model, dataset, Scheme.parse("superposition"), seed=0)
network = freeze(result.module, name="resnet8")

Names are loaded when they are first used: schemes need no PyTorch.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intarsia.quantize.calibrate import post_training
    from intarsia.quantize.checkpoint import EpochRecord, History
    from intarsia.quantize.freezing import freeze
    from intarsia.quantize.module import QuantizedNetwork, attach
    from intarsia.quantize.qat import QuantizedResult, quantize
    from intarsia.quantize.scheme import PRESETS, LayerScheme, Scheme
    from intarsia.quantize.training import train_network
    from intarsia.quantize.transforms.settings import Transforms

__all__ = [
    "PRESETS",
    "EpochRecord",
    "History",
    "LayerScheme",
    "QuantizedNetwork",
    "QuantizedResult",
    "Scheme",
    "Transforms",
    "attach",
    "freeze",
    "post_training",
    "quantize",
    "train_network",
]

_MODULES = MappingProxyType(
    {
        "calibrate": ("post_training",),
        "checkpoint": ("EpochRecord", "History"),
        "freezing": ("freeze",),
        "module": ("QuantizedNetwork", "attach"),
        "qat": ("QuantizedResult", "quantize"),
        "scheme": ("PRESETS", "LayerScheme", "Scheme"),
        "training": ("train_network",),
        "transforms.settings": ("Transforms",),
    }
)


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
