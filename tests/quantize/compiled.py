# SPDX-License-Identifier: Apache-2.0
"""Two trainings in one process, each compiled, against one that is not; ends with an error where they differ.

Run by test_training.py.
"""

from dataclasses import replace

import torch
from torch import nn

from intarsia.datasets import load_dataset
from intarsia.networks import build
from intarsia.quantize.module import attach
from intarsia.quantize.qat import FloatNetwork, parameter_groups
from intarsia.quantize.scheme import Scheme
from intarsia.quantize.training import train_network
from intarsia.recipes import Phase, Recipe

RECIPE = Recipe(
    phases=(Phase(2, 8, 1),),
    batch=32,
    optimizer="adam",
    peak_rate=1e-3,
    mixup=0.3,
    teacher_weight=1.0,
    match=1.0,
    threads=1,
)


def main() -> None:
    plain, loss = trained(compiled=False)
    with torch._dynamo.config.patch(recompile_limit=1):  # eight, in earnest
        for _ in range(2):
            before = graphs()
            moved, found = trained(compiled=True)
            assert graphs() > before, "the second training was not compiled"
            # Compiled sums round otherwise, and Adam moves a weight without a gradient by the sign of such errors: on
            # three kinds of processor, 4 % of all movement and 1e-7 of the loss. Another gradient moves other weights.
            assert abs(found - loss) < 0.01 * loss, (found, loss)
            assert float((moved - plain).norm()) < 0.25 * float(plain.norm())


def trained(*, compiled: bool) -> tuple[torch.Tensor, float]:
    """Return how far training moved every parameter, and the last epoch's loss."""
    digits = load_dataset("digits")
    data = replace(digits, train=digits.train.take(200), validation=digits.validation.take(50))
    teacher, shape = build("digits", 3).eval(), (1, 8, 8)
    scheme = Scheme.parse("ternary+1:4xint4, first=digits2, last=digits2")
    model = attach(teacher, scheme, shape, data.scaling.unit)
    theirs = FloatNetwork(attach(teacher, scheme, shape, data.scaling.unit))
    before = flat(model)
    history = train_network(model, data, RECIPE, teacher=theirs, compiled=compiled, groups=parameter_groups)
    return flat(model) - before, history.epochs[-1].loss


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def graphs() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


if __name__ == "__main__":
    main()
