"""A small depthwise-separable network for 8×8 digits.

Its depthwise kernels are 5×5 because a lane of the accelerator takes 16 taps of its own channel a cycle: 25
taps fill two blocks to 12.5 of 16 inputs, where 3×3 would leave 7 of 16 idle in every one.
"""

import torch
from torch import nn


class _Separable(nn.Module):
    """A 5×5 depthwise and a 1×1 convolution, each with normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 5, stride=stride, padding=2, groups=inputs, bias=False)
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu1(self.norm1(self.depthwise(x)))
        out: torch.Tensor = self.relu2(self.norm2(self.pointwise(x)))
        return out


class DigitsNet(nn.Module):
    """Stem of 16 channels, two separable blocks to 32 channels, global average, 10 classes.

    Input (N, 1, 8, 8), pixels 0 to 16 as pixel / 16; output (N, 10) logits. 3,200 weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.block1 = _Separable(16, 32, stride=1)
        self.block2 = _Separable(32, 32, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch."""
        x = self.relu(self.norm(self.stem(x)))
        x = self.block2(self.block1(x))
        out: torch.Tensor = self.fc(self.flatten(self.pool(x)))
        return out
