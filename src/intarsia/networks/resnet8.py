# SPDX-License-Identifier: Apache-2.0
"""ResNet-8, the image classification network of MLPerf Tiny (Banbury et al., 2021; He et al., 2016)."""

import torch
from torch import nn


class Residual(nn.Module):
    """Two 3×3 convolutions beside an identity, or a strided 1×1 convolution where the shape changes; ReLU
    after the sum.

    Input (N, inputs, H, W), output (N, outputs, H / stride, W / stride).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(outputs)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride) if changes else nn.Identity()
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ReLU(shortcut(x) + body(x))."""
        body = self.relu1(self.norm1(self.conv1(x)))
        body = self.norm2(self.conv2(body))
        out: torch.Tensor = self.relu2(self.shortcut(x) + body)
        return out


class ResNet8(nn.Module):
    """Stem of 16 channels, three residual stacks of 16, 32 and 64 channels, global average, 10 classes.

    Input (N, 3, 32, 32), pixels as (x − 128) / 128; output (N, 10) logits. 77,360 weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.stack1 = Residual(16, 16, stride=1)
        self.stack2 = Residual(16, 32, stride=2)
        self.stack3 = Residual(32, 64, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch."""
        x = self.relu(self.norm(self.stem(x)))
        x = self.stack3(self.stack2(self.stack1(x)))
        out: torch.Tensor = self.fc(self.flatten(self.pool(x)))
        return out
