"""Planes, patterns, quantizers and training: from a float network to an integer network.

from intarsia.quantize import Scheme, freeze, quantize
result = quantize(model, dataset, Scheme.parse("superposition"), seed=0)
network = freeze(result.module, name="resnet8")
"""

from intarsia.quantize.calibrate import post_training
from intarsia.quantize.checkpoint import EpochRecord, History
from intarsia.quantize.freeze import freeze
from intarsia.quantize.module import QuantizedNetwork, attach
from intarsia.quantize.qat import QUANTIZATION_RECIPES, QuantizationRecipe, QuantizedResult, quantize
from intarsia.quantize.scheme import PRESETS, LayerScheme, Scheme

__all__ = [
    "PRESETS",
    "QUANTIZATION_RECIPES",
    "EpochRecord",
    "History",
    "LayerScheme",
    "QuantizationRecipe",
    "QuantizedNetwork",
    "QuantizedResult",
    "Scheme",
    "attach",
    "freeze",
    "post_training",
    "quantize",
]
