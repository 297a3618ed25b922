# SPDX-License-Identifier: Apache-2.0
"""A network of your own, from a PyTorch module to cycles on verified hardware."""

import numpy as np
from torch import nn

from intarsia.datasets import load_dataset
from intarsia.engine import compile_network
from intarsia.integer.executor import Executor
from intarsia.quantize import Scheme, freeze, quantize, train_network
from intarsia.recipes import float_recipe_of
from intarsia.simulate import SimulatedEngine

data = load_dataset("digits")
model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(64, 10))
train_network(model, data, float_recipe_of("digits"), seed=0)
trained = quantize(model, data, Scheme.parse("superposition"), seed=0, epochs=10)
network = freeze(trained.module, name="mine")

images = data.scaling.integers(data.test.images)
print("integer accuracy:", np.mean(Executor(network).run(images).argmax(axis=1) == data.test.labels))
with SimulatedEngine(compile_network(network)) as engine:
    run = engine.run(images[0], trace=True)
print("cycles per image:", run.cycles, {layer.name: layer.cycles for layer in run.counts})
expected = Executor(network).trace(images[:1])
assert all(np.array_equal(values, expected[name][0]) for name, values in run.values.items())  # noqa: S101
print("bit-exact:", ", ".join(run.values))
