# SPDX-License-Identifier: Apache-2.0
"""An ordinary training script: writes a network in ONNX and its data as .npz files. It does not use Intarsia.

python examples/own_file.py && intarsia run mine.onnx --data mine
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
pixels, labels = load_digits(return_X_y=True)
x = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
y = labels.astype(np.int64)
order = torch.randperm(len(x))
train, test = order[:1400], order[1400:]

model = nn.Sequential(
    nn.Conv2d(1, 24, 3, padding=1),
    nn.BatchNorm2d(24),
    nn.ReLU6(),
    nn.Conv2d(24, 24, 3, stride=2, padding=1, groups=24),
    nn.ReLU6(),
    nn.Conv2d(24, 48, 1),
    nn.ReLU6(),
    nn.AvgPool2d(2),
    nn.Flatten(),
    nn.Linear(192, 10),
)
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for _ in range(15):
    for index in train.split(64):
        loss = nn.functional.cross_entropy(model(torch.from_numpy(x)[index]), torch.from_numpy(y)[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
torch.onnx.export(model.eval(), (torch.zeros(1, 1, 8, 8),), "mine.onnx")
Path("mine").mkdir(exist_ok=True)
np.savez("mine/train.npz", x=x[train], y=y[train])
np.savez("mine/test.npz", x=x[test], y=y[test])
