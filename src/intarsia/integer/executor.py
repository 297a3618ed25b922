# SPDX-License-Identifier: Apache-2.0
"""Executes an integer network on batches of images: exact, and fast enough for whole test sets."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from intarsia.errors import IntarsiaError
from intarsia.integer.kernels import Kernel, Scratch, build_kernel, storage
from intarsia.integer.layers import Ints
from intarsia.integer.network import IntegerNetwork

#: Elements of the largest tensor of a chunk of images that one thread takes at a time.
_CHUNK = 1 << 19
_MAX_IMAGES = 256


class Executor:
    """Runs a network on the CPU with NumPy alone; every value equals the network's definition, bit for bit.

    `threads` is the number of worker threads (all cores of this process if None); they share the images, and BLAS is
    held to one thread in each while a call runs. An executor holds no state between calls.

    Example:
        >>> logits = Executor(network).run(images)          # doctest: +SKIP
        >>> accuracy = (logits.argmax(1) == labels).mean()  # doctest: +SKIP

    Raises:
        IntarsiaError: `threads` is below 1, or a layer's sums could pass 2^52.
    """

    def __init__(self, network: IntegerNetwork, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise IntarsiaError(f"an executor needs at least 1 thread, not {threads}.")
        self.network = network
        self.threads = threads or _cores()
        tensors = network.tensors
        self._kernels: list[tuple[Kernel, tuple[str, ...], str]] = [
            (build_kernel(layer, [tensors[name] for name in layer.inputs]), layer.inputs, layer.output.name)
            for layer in network.layers
        ]
        last = {name: step for step, layer in enumerate(network.layers) for name in layer.inputs}
        self._unused_after = [[n for n, at in last.items() if at == step] for step in range(len(network.layers))]
        largest = max(int(np.prod(tensor.shape)) for tensor in tensors.values())
        self._images = max(1, min(_MAX_IMAGES, _CHUNK // largest))

    def run(self, images: Ints, progress: Callable[[int], object] | None = None) -> Ints:
        """Return the output for `images` (N, C, H, W) as (N, features), flattened in (channel, row, column) order.

        The output is of the smallest integer type that holds its format. `progress` is called, from this thread,
        with the number of images that were finished since the last call; `tqdm.update` fits.

        Raises:
            IntarsiaError: the images have another shape, are not integers, or pass the range of the input's format.
        """
        images = self._checked(images)
        output = self.network.output
        result = np.empty((len(images), int(np.prod(output.shape))), storage(output.format))
        scratch = Scratch()

        def work(part: slice) -> int:
            result[part] = _flat(self._forward(scratch, images[part], keep=False)[output.name])
            return int(part.stop - part.start)

        self._parallel(work, len(images), progress)
        return result

    def trace(self, images: Ints, progress: Callable[[int], object] | None = None) -> dict[str, Ints]:
        """Return every tensor of the network by name, the input first, as (N, C, H, W); all are held in memory.

        Raises:
            IntarsiaError: as for `run`.
        """
        images = self._checked(images)
        tensors = self.network.tensors
        result: dict[str, Ints] = {
            name: np.empty((len(images), *tensor.shape), storage(tensor.format)) for name, tensor in tensors.items()
        }
        scratch = Scratch()

        def work(part: slice) -> int:
            for name, values in self._forward(scratch, images[part], keep=True).items():
                result[name][part] = values.transpose(1, 3, 0, 2)
            return int(part.stop - part.start)

        self._parallel(work, len(images), progress)
        return result

    def _forward(self, scratch: Scratch, images: Ints, *, keep: bool) -> dict[str, Ints]:
        """Return the tensors (H, N, W, C) of one chunk; without `keep` only those that no layer reads."""
        tensors = {self.network.input.name: np.ascontiguousarray(images.transpose(2, 0, 3, 1))}
        for (kernel, inputs, output), unused in zip(self._kernels, self._unused_after, strict=True):
            tensors[output] = kernel(scratch, *(tensors[name] for name in inputs))
            if not keep:
                for name in unused:
                    del tensors[name]
        return tensors

    def _parallel(self, work: Callable[[slice], int], count: int, progress: Callable[[int], object] | None) -> None:
        # At least one chunk for each thread, so that few images of a small network still use every core.
        images = max(1, min(self._images, -(-count // self.threads)))
        parts = [slice(start, min(count, start + images)) for start in range(0, count, images)]
        with threadpool_limits(1, "blas"):
            for done in _results(work, parts, self.threads):
                if progress is not None:
                    progress(done)

    def _checked(self, images: Ints) -> Ints:
        tensor = self.network.input
        where = f"network {self.network.name} expects images of shape (N, {', '.join(map(str, tensor.shape))})"
        if not isinstance(images, np.ndarray) or not np.issubdtype(images.dtype, np.integer):
            given = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
            raise IntarsiaError(f"{where} of integers ({tensor.format}), but is given {given}; quantize them first.")
        if images.shape[1:] != tensor.shape or images.ndim != 4:
            raise IntarsiaError(f"{where}, but is given {images.shape}.")
        if images.size and (int(images.min()) < tensor.format.lo or int(images.max()) > tensor.format.hi):
            raise IntarsiaError(
                f"{where} with values {tensor.format.lo} … {tensor.format.hi} ({tensor.format}), "
                f"but is given values {images.min()} … {images.max()}."
            )
        return images.astype(storage(tensor.format), copy=False)


def _cores() -> int:
    # Not every system knows which cores a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _results(work: Callable[[slice], int], parts: list[slice], threads: int) -> Iterator[int]:
    if min(threads, len(parts)) <= 1:
        yield from map(work, parts)
        return
    with ThreadPoolExecutor(threads) as pool:
        futures: list[Future[int]] = [pool.submit(work, part) for part in parts]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def _flat(values: Ints) -> Ints:
    return values.transpose(1, 3, 0, 2).reshape(values.shape[1], -1)
