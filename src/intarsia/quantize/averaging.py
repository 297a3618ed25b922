# SPDX-License-Identifier: Apache-2.0
"""The running average of weights along a training (Polyak and Juditsky, 1992; of networks, Izmailov et al., 2018).

Quantized weights jump between neighbouring values as long as they learn: a step of the optimizer moves those that are
close to a threshold across it and back. The average of the float weights behind them stays on one side, and the network
that it makes is better than that of any moment.
"""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn


class Average:
    """An exponential average of a model's parameters; buffers are as they are.

    Args:
        model: whose parameters are averaged, from now on.
        decay: part of the average that a step leaves, 0 to 1.
        values: an average to go on from, by names of parameters.
    """

    def __init__(self, model: nn.Module, decay: float, values: Mapping[str, torch.Tensor] | None = None) -> None:
        self._parameters = dict(model.named_parameters())
        self._decay = decay
        self.values = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        if values is not None:
            _copy(values, self.values)

    @torch.no_grad()
    def update(self) -> None:
        """Take the parameters of now into the average."""
        torch._foreach_lerp_(list(self.values.values()), list(self._parameters.values()), 1.0 - self._decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the average for the time of a block. It changes in place, as recorded steps need it."""
        before = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self.keep()
        try:
            yield
        finally:
            _copy(before, self._parameters)

    def keep(self) -> None:
        """Let the model have the average."""
        _copy(self.values, self._parameters)


@torch.no_grad()
def _copy(source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
