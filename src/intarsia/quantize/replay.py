"""A step of training recorded once and then replayed.

On a GPU a small network's step takes its time not to compute but to launch a thousand small kernels, one by one; a
recording (a CUDA graph) launches all of them at once.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch

#: Takes inputs (N, C, H, W), labels (N,) and a teacher's outputs (N, K), if there are any; trains on them, and returns
#: loss and merit, scalars.
Step = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], tuple[torch.Tensor, torch.Tensor]]

_WARM = 3  # steps that run as they are: libraries choose their algorithms, the optimizer makes its state


@dataclass(frozen=True, eq=False)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: torch.Tensor
    labels: torch.Tensor
    soft: torch.Tensor | None
    results: tuple[torch.Tensor, torch.Tensor]


class ReplayedStep:
    """A step that records itself, once for each shape of inputs, after a few steps that run as they are.

    A replay does to the same memory what the recorded step did. So whatever changes between steps has to change in
    place: parameters, buffers, learning rates; and nothing in the step may wait for the GPU.

    Args:
        step: on a CUDA device; its optimizer must be `capturable`.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._runs: Counter[torch.Size] = Counter()
        self._recordings: dict[torch.Size, _Recording] = {}

    def __call__(
        self, x: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the step; the results are overwritten by the next one."""
        if self._runs[x.shape] < _WARM:
            self._runs[x.shape] += 1
            return self._run(x, labels, soft)
        if x.shape not in self._recordings:
            self._recordings[x.shape] = self._record(x.clone(), labels.clone(), None if soft is None else soft.clone())
        recording = self._recordings[x.shape]
        recording.inputs.copy_(x)
        recording.labels.copy_(labels)
        if recording.soft is not None and soft is not None:
            recording.soft.copy_(soft)
        recording.graph.replay()
        return recording.results

    def _run(
        self, x: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a step beside the current stream: what autograd keeps of it would else get into the recording."""
        current, aside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            results = self._step(x, labels, soft)
        current.wait_stream(aside)
        return results

    def _record(self, x: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None) -> _Recording:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = self._step(x, labels, soft)
        return _Recording(graph, x, labels, soft, results)
