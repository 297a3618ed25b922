# SPDX-License-Identifier: Apache-2.0
"""What a network of one output, the logit of class 1, is trained for."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from intarsia.datasets import Dataset, InputScaling, Split
from intarsia.quantize import Scheme, attach
from intarsia.quantize.calibrate import weight_gradients
from intarsia.quantize.data import labelled
from intarsia.quantize.objectives import Classification
from intarsia.recipes import Phase, Recipe

LOGITS = st.lists(st.floats(-20, 20), min_size=4, max_size=4)


def recipe(teacher: float, temperature: float) -> Recipe:
    return Recipe((Phase(1, None, 0),), teacher_weight=teacher, temperature=temperature)


@given(LOGITS, LOGITS, st.sampled_from([0.3, 1.0]), st.sampled_from([1.0, 2.0]))
def test_its_loss_is_that_of_the_sigmoid(ours: list[float], theirs: list[float], weight: float, t: float) -> None:
    outputs, soft = (torch.tensor(values, dtype=torch.float64)[:, None] for values in (ours, theirs))
    labels, objective = torch.tensor([0, 1, 1, 0]), Classification()
    entropy = functional.binary_cross_entropy_with_logits(outputs[:, 0], labels.double())
    found = objective.loss(outputs, outputs, labels, None, recipe(weight, t))
    torch.testing.assert_close(found, entropy)
    p, q = torch.sigmoid(soft / t), torch.sigmoid(outputs / t)
    divergence = torch.zeros((), dtype=torch.float64)
    for theirs_, ours_ in ((p, q), (1 - p, 1 - q)):
        divergence += (theirs_ * (theirs_ / ours_).log()).sum() / len(labels)
    found = objective.loss(outputs, outputs, labels, soft, recipe(weight, t))
    torch.testing.assert_close(found, (1 - weight) * entropy + weight * t * t * divergence, rtol=1e-4, atol=1e-6)
    right = [(value > 0) == bool(label) for value, label in zip(ours, labels, strict=True)]
    assert float(objective.merit(outputs, outputs, labels)) == sum(right) / 4


def test_unknown_labels_are_what_the_teacher_says_of_two_classes() -> None:
    x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None, None, None]
    split = Split(x, np.full(20, -1, np.int64))
    data = Dataset("mine", split, split, split, ("0", "1"), InputScaling(0, 1 / 128, unit=1.0))
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 1))
    with torch.no_grad():
        model[1].weight.fill_(1.0)
        model[1].bias.zero_()
    assert np.array_equal(labelled(data, model).train.labels, (x > 0).ravel())
    network = attach(model, Scheme.parse("int8"), (1, 1, 1), 1 / 128)
    labels = torch.from_numpy((x < 0).ravel().astype(np.int64))
    gradients = weight_gradients(network, torch.from_numpy(x), labels, "gradient")
    assert float(gradients["1"].abs().min()) > 0.01
