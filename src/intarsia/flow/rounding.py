# SPDX-License-Identifier: Apache-2.0
"""What the 8-bit input of a user's own data loses: reported once per run, with a warning where it is much."""

from typing import TYPE_CHECKING

import numpy as np

from intarsia.datasets import Dataset
from intarsia.datasets.rounding import COARSE, InputRounding, input_rounding
from intarsia.flow.results import InputLoss
from intarsia.flow.task import Job
from intarsia.text import counted

if TYPE_CHECKING:
    from torch import nn

#: Training inputs that the float network is asked about, as they are and as integers hold them.
_ASKED = 500
#: Part of them that may get another class without a warning: a few lie between two classes in any data.
_OTHERS = 0.02


def report_rounding(job: Job, model: "nn.Module", data: Dataset) -> InputLoss | None:
    """Measure what rounding the input loses, say it, and return it for the record of the first quantized network.

    None for the data of built-in networks, for inputs that are integers already, and for networks after the first.
    """
    first = not any(name.startswith("quantize/") for name in job.records)
    if job.settings.model is None or not first:
        return None
    loss = input_rounding(data.train.images, data.scaling)
    if loss.worst == 0.0:
        return None
    others, asked = _answered_otherwise(model, data)
    text = f"{_lost(loss, data)}; of {counted(asked, 'training input')} the float network gives {others} another class"
    job.say(f"{job.task.stage:<10} input rounding: {text}")
    coarse = loss.worst >= COARSE or others > _OTHERS * asked
    if coarse:
        job.say(
            f"{job.task.stage:<10} warning: 8 bits hold this input coarsely, and every quantized network starts from "
            "that; give the network inputs of similar ranges, without values far from all others."
        )
    return InputLoss(text, coarse, loss.overall, loss.worst, loss.channel, others, asked)


def _lost(loss: InputRounding, data: Dataset) -> str:
    channels, height, width = data.shape
    grid = "a step of its own for each" if data.scaling.grid is not None else "one step for all"
    text = f"{loss.overall:.2%} of the inputs' spread"
    if channels == 1:
        return text
    noun = "feature" if height == width == 1 else "channel"
    return f"{text}, {loss.worst:.2%} of that of {noun} {loss.channel} ({grid})"


def _answered_otherwise(model: "nn.Module", data: Dataset) -> tuple[int, int]:
    """Return for how many inputs the float network says another class once they are rounded, and of how many."""
    from intarsia.quantize.data import outputs_of  # noqa: PLC0415 (it brings PyTorch)
    from intarsia.quantize.objectives import class_logits  # noqa: PLC0415

    images = data.train.images
    some = images[np.linspace(0, len(images) - 1, min(_ASKED, len(images))).astype(int)]
    before, after = (class_logits(outputs_of(model, some, data.scaling, held=held)).argmax(1) for held in (False, True))
    return int((before != after).sum()), len(some)
