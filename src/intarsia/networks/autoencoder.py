# SPDX-License-Identifier: Apache-2.0
"""FC-AutoEncoder: anomaly detection of MLPerf Tiny (Banbury et al., 2021), the baseline of DCASE 2020 task 2."""

import torch
from torch import nn

#: Outputs of each layer but the last.
_HIDDEN = (128, 128, 128, 128, 8, 128, 128, 128, 128)


class AutoEncoder(nn.Module):
    """Fully connected layers 640-128-128-128-128-8-128-128-128-128-640, normalization and ReLU after all but the last.

    Input (N, 640, 1, 1), five frames of 128 log-mel energies, frame by frame; output (N, 640), the same reconstructed.
    264,192 weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((640, *_HIDDEN), _HIDDEN, strict=False):
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.fc = nn.Linear(_HIDDEN[-1], 640)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the reconstruction of a batch."""
        out: torch.Tensor = self.fc(self.hidden(self.flatten(x)))
        return out
