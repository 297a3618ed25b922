# SPDX-License-Identifier: Apache-2.0
"""MobileNetV1 (Howard et al., 2017), a quarter wide: visual wake words of MLPerf Tiny (Banbury et al., 2021)."""

import torch
from torch import nn

#: Output channels and stride of each separable block.
_BLOCKS = (
    *((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)),
    *((128, 1),) * 5,
    *((256, 2), (256, 1)),
)


class _Separable(nn.Module):
    """A 3×3 depthwise convolution of `stride` and a 1×1 convolution, each with normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.pad = nn.Identity() if stride == 1 else nn.ZeroPad2d((0, 1, 0, 1))
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1 if stride == 1 else 0, groups=inputs)
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu1(self.norm1(self.depthwise(self.pad(x))))
        out: torch.Tensor = self.relu2(self.norm2(self.pointwise(x)))
        return out


class MobileNetV1(nn.Module):
    """A 3×3 convolution of 8 channels, 13 separable blocks of 16 to 256 channels, global average, 2 classes.

    Input (N, 3, 96, 96), pixels as x / 255; output (N, 2) logits. 208,112 weights. Where the stride is 2,
    convolutions are padded as Keras pads an even size to SAME: below and right only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        inputs = (8, *(outputs for outputs, _ in _BLOCKS))
        self.blocks = nn.Sequential(
            *(_Separable(before, outputs, stride) for before, (outputs, stride) in zip(inputs, _BLOCKS, strict=False))
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(256, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of a batch."""
        x = self.blocks(self.relu(self.norm(self.stem(self.pad(x)))))
        out: torch.Tensor = self.fc(self.flatten(self.pool(x)))
        return out
