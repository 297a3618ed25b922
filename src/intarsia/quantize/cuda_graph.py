# SPDX-License-Identifier: Apache-2.0
"""A step of training recorded once and then replayed.

On a GPU a small network's step takes its time not to compute but to launch a thousand small kernels, one by one; a
recording (a CUDA graph) launches all of them at once.
"""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch

#: Takes inputs (N, C, H, W), labels (N,) and a teacher's outputs (N, K), if there are any; trains on them, and returns
#: loss and merit, scalars.
Step = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], tuple[torch.Tensor, torch.Tensor]]

#: What has a recording of its own: the shape of inputs, and whether the teacher's outputs are not given.
_Kind = tuple[torch.Size, bool]

_WARM = 3  # steps that run as they are: libraries choose their algorithms, the optimizer makes its state


@dataclass(frozen=True, eq=False)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: torch.Tensor
    labels: torch.Tensor
    soft: torch.Tensor | None
    results: tuple[torch.Tensor, torch.Tensor]


class CudaGraphStep:
    """Takes steps, recording them once for each shape of inputs, after a few steps that run as they are.

    A replay does to the same memory what the recorded step did. So whatever changes between steps has to change in
    place: parameters, buffers, learning rates; and nothing in a step may wait for the GPU. All steps have to be of one
    training, on a CUDA device, with a `capturable` optimizer.
    """

    def __init__(self) -> None:
        self._runs: Counter[_Kind] = Counter()
        self._recordings: dict[_Kind, _Recording] = {}

    def __call__(
        self, step: Step, x: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a step; the results are overwritten by the next one."""
        kind = (x.shape, soft is None)
        with torch.cuda.device(x.device):
            if self._runs[kind] < _WARM:
                self._runs[kind] += 1
                return _aside(step, x, labels, soft)
            if kind not in self._recordings:
                self._recordings[kind] = _record(
                    step, x.clone(), labels.clone(), None if soft is None else soft.clone()
                )
            recording = self._recordings[kind]
            recording.inputs.copy_(x)
            recording.labels.copy_(labels)
            if recording.soft is not None and soft is not None:
                recording.soft.copy_(soft)
            recording.graph.replay()
            return recording.results


def _aside(
    step: Step, x: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take a step beside the current stream: what autograd keeps of it would else get into the recording."""
    current, aside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(current)
    with torch.cuda.stream(aside), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*capturable")  # it is not recorded yet, on purpose
        results = step(x, labels, soft)
    current.wait_stream(aside)
    return results


def _record(step: Step, x: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None) -> _Recording:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = step(x, labels, soft)
    return _Recording(graph, x, labels, soft, results)
