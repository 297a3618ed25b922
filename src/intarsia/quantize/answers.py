"""What a teacher answered, kept: trainings with one seed see the same augmented inputs, whatever they train."""

from collections.abc import Callable, Hashable

import torch


class Answers:
    """The answers of one teacher to the inputs of one data set, for all trainings that distil from it.

    A step of training takes a quarter of its time to ask the teacher. Answers stay in memory, (N, K) for each step of
    each epoch: some megabytes where K is a number of classes.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, torch.Tensor] = {}

    def of(self, inputs: Hashable, ask: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the answers to inputs; `ask` gives them where they are not known.

        Args:
            inputs: everything that these inputs follow from.
            ask: asks the teacher.
        """
        if inputs not in self._known:
            self._known[inputs] = ask()
        return self._known[inputs]
