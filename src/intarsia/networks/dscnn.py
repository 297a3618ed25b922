# SPDX-License-Identifier: Apache-2.0
"""DS-CNN: keyword spotting of MLPerf Tiny (Banbury et al., 2021), after Zhang et al., "Hello Edge" (2017)."""

import torch
from torch import nn


class _Separable(nn.Module):
    """A 3×3 depthwise and a 1×1 convolution, each with normalization and ReLU; the shape stays as it is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu1(self.norm1(self.depthwise(x)))
        out: torch.Tensor = self.relu2(self.norm2(self.pointwise(x)))
        return out


class DSCNN(nn.Module):
    """A 10×4 convolution of stride 2, four separable blocks of 64 channels, global average, 12 classes.

    Input (N, 1, 49, 10), 10 MFCC of 49 frames; output (N, 12) logits. 22,016 weights. The first convolution is padded
    as Keras pads to SAME: 4 rows above and 5 below.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((1, 1, 4, 5))
        self.stem = nn.Conv2d(1, 64, (10, 4), stride=2)
        self.norm = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.block1 = _Separable(64)
        self.block2 = _Separable(64)
        self.block3 = _Separable(64)
        self.block4 = _Separable(64)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch."""
        x = self.relu(self.norm(self.stem(self.pad(x))))
        x = self.block4(self.block3(self.block2(self.block1(x))))
        out: torch.Tensor = self.fc(self.flatten(self.pool(x)))
        return out
