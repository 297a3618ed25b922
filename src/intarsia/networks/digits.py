# SPDX-License-Identifier: Apache-2.0
"""A small depthwise-separable network for 8×8 digits.

Its 4×4 depthwise kernels fill the accelerator's sliding window: a lane takes 16 taps of its own channel a cycle. It has
every operator of the engine: convolution, depthwise, residual add, average and max pooling, fully connected. It is
narrow, so that it shows what fewer bits cost: twice as wide, it has weights to spare.
"""

import torch
from torch import nn


class Separable(nn.Module):
    """A 4×4 depthwise (padding 1) and a 1×1 convolution, each with normalization and ReLU.

    With `shortcut`, the 1×1 convolution's input is added to its output.
    """

    def __init__(self, inputs: int, outputs: int, *, shortcut: bool = False) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.depthwise = nn.Conv2d(inputs, inputs, 4, padding=1, groups=inputs, bias=False)
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs of a batch."""
        x = self.relu1(self.norm1(self.depthwise(x)))
        out: torch.Tensor = self.relu2(self.norm2(self.pointwise(x)))
        return x + out if self.shortcut else out


class DigitsNet(nn.Module):
    """A stem and three separable blocks of 16 channels (the last with a shortcut), pooling, 10 classes.

    Input (N, 1, 8, 8), pixels 0 to 16 as pixel / 16; output (N, 10) logits. 1,840 weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.block1 = Separable(16, 16)
        self.block2 = Separable(16, 16)
        self.block3 = Separable(16, 16, shortcut=True)
        self.shrink = nn.MaxPool2d(2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch."""
        x = self.block2(self.block1(self.relu(self.norm(self.stem(x)))))
        x = self.shrink(self.block3(x))
        out: torch.Tensor = self.fc(self.flatten(self.pool(x)))
        return out
