# SPDX-License-Identifier: Apache-2.0
"""The tensors of a file whose operators reshape and transpose, over the images of a `GraphBuilder`.

A reshape or a transpose computes nothing: it gives the axes of an image other names. A `View` says which axes of the
image (channels, height, width) each axis of the file's tensor holds, and only an operator that computes asks whether
they are as it needs them. So a tensor may be flattened in either order, squeezed and restored, and read in several
forms at once.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from intarsia.errors import IntarsiaError
from intarsia.networks.importers._axes import Axes, Order, Sizes, View, axes_of, regrouped, shown
from intarsia.networks.importers._builder import REORDERED, GraphBuilder
from intarsia.networks.importers._graph import Floats, Four, Pair, Shape, Weights

#: What the arguments of an operator in a damaged file raise.
IMPOSSIBLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError)


class Views:
    """Reads and makes tensors by the names that a file gives them."""

    def __init__(self, builder: GraphBuilder, order: Order) -> None:
        self.builder, self.order = builder, order
        self._views: dict[str, View] = {}
        self._ended: set[Hashable] = set()

    def input(self, name: str, image: Shape, axes: Axes) -> None:
        """Declare the network's input."""
        self.builder.input(name, image)
        self._views[name] = View(name, image, axes)
        if axes != axes_of(image, len(axes), self.order):
            self.builder.dropped.append(f"a reshape of the input, which is now {image}")

    def knows(self, name: str) -> bool:
        """Whether a tensor depends on the input."""
        return name in self._views

    def sizes(self, name: str) -> Sizes:
        """Return a tensor's shape without the batch."""
        return self._view(name).sizes

    def image(self, name: str) -> Shape:
        """Return (channels, height, width) of a tensor that is read as an image."""
        return self._as_image(name).image

    def alias(self, name: str, result: str) -> None:
        """Let a tensor stand for another."""
        self._views[result] = self._view(name)

    def reshape(self, name: str, result: str, sizes: Sizes) -> None:
        """Give a tensor another shape."""
        view = self._view(name)
        axes = regrouped(view.image, view.axes, sizes)
        if axes is None:
            raise self.builder.fail(f"makes the shape {shown(sizes)} of {shown(view.sizes)}, which is not supported")
        self._views[result] = replace(view, axes=axes)

    def transpose(self, name: str, result: str, order: Sequence[int]) -> None:
        """Let axis i of the result be axis `order[i]`; the batch is not among them."""
        view = self._view(name)
        if sorted(order) != list(range(len(view.axes))):
            raise self.builder.fail(f"transposes {shown(view.sizes)} in a way that is not supported")
        self._views[result] = replace(view, axes=tuple(view.axes[axis] for axis in order))

    def convolution(
        self,
        name: str,
        result: str,
        layer: str,
        weights: Weights,
        bias: Floats | None,
        *,
        stride: Pair,
        padding: Four,
        groups: int = 1,
        dilation: Pair = (1, 1),
    ) -> None:
        """Add a convolution, see `GraphBuilder.convolution`."""
        view = self._as_image(name)
        self.builder.convolution(
            view.key, result, layer, weights, bias, stride=stride, padding=padding, groups=groups, dilation=dilation
        )
        self._made(result, len(view.axes))

    def dense(self, name: str, result: str, layer: str, weights: Floats, bias: Floats | None) -> None:
        """Add a layer that is fully connected along the last axis; `weights` are (O, I)."""
        view = self._view(name)
        if weights.ndim != 2 or view.sizes[-1:] != weights.shape[1:]:
            raise self.builder.fail(f"has weights of shape {weights.shape} for {shown(view.sizes)}")
        if len(view.axes) == 1:
            places = view.in_image_order(np.arange(weights.shape[1])).ravel()
            self.builder.dense(self._flat(view).key, result, layer, Weights(weights[:, places]), bias)
            self._made(result, 1)
            return
        if view.axes[-1] not in ((0,), ()) or (view.axes[-1] == () and view.image[0] != 1):
            raise self.builder.fail(
                f"reads {shown(view.sizes)}; only features or the last axis's channels are supported"
            )
        self.builder.convolution(
            view.key, result, layer, Weights(weights[:, :, None, None]), bias, stride=(1, 1), padding=(0, 0, 0, 0)
        )
        image = self.builder.shape(result)
        self._views[result] = View(result, image, (*view.axes[:-1], (0,) if image[0] > 1 else ()))

    def pool(
        self,
        name: str,
        result: str,
        layer: str,
        *,
        maximum: bool,
        kernel: Pair,
        stride: Pair,
        padding: Four = (0, 0, 0, 0),
        ceil: bool = False,
    ) -> None:
        """Add a pool, see `GraphBuilder.pool`."""
        view = self._as_image(name)
        self.builder.pool(
            view.key, result, layer, maximum=maximum, kernel=kernel, stride=stride, padding=padding, ceil=ceil
        )
        self._made(result, len(view.axes))

    def reduce(self, name: str, result: str, layer: str, axes: Sequence[int], *, keep: bool, maximum: bool) -> None:
        """Add a pool over whole axes (0 is the first after the batch)."""
        view = self._view(name)
        over = {atom for axis in axes for atom in view.axes[axis]}
        if 0 in over or not axes:
            raise self.builder.fail(
                "takes a mean or maximum over the channels; only over height and width is supported"
            )
        if over:
            kernel = (view.image[1] if 1 in over else 1, view.image[2] if 2 in over else 1)
            self.builder.pool(
                view.key, result, layer, maximum=maximum, kernel=kernel, stride=kernel, padding=(0, 0, 0, 0)
            )
            view = View(result, self.builder.shape(result), view.axes)
        groups = [() if axis in axes else group for axis, group in enumerate(view.axes)]
        self._views[result] = replace(
            view, axes=tuple(group for axis, group in enumerate(groups) if keep or axis not in axes)
        )

    def pad(self, name: str, result: str, padding: Four) -> None:
        """Add explicit padding with zeros."""
        view = self._as_image(name)
        self.builder.pad(view.key, result, "pad", padding)
        self._made(result, len(view.axes))

    def clip(self, name: str, result: str, layer: str, lo: float | None, hi: float | None) -> None:
        """Add a clip, see `GraphBuilder.clip`."""
        view = self._view(name)
        self.builder.clip(view.key, result, layer, lo, hi)
        self._views[result] = replace(view, key=result)

    def affine(
        self,
        name: str,
        result: str,
        layer: str,
        factor: Floats | None,
        term: Floats | None,
        *,
        only: bool = False,
    ) -> None:
        """Add x · factor + term.

        Args:
            name: of x.
            result: of what is made.
            layer: its name.
            factor: that x's shape (1, …) can be broadcast with; None is 1.
            term: as `factor`; None is 0.
            only: whether nothing else reads x.
        """
        view, arrays = self._by_channel(self._view(name), [array for array in (factor, term) if array is not None])
        given = iter(arrays)
        of = [None if array is None else next(given) for array in (factor, term)]
        self.builder.affine(view.key, result, layer, of[0], of[1], only=only)
        self._views[result] = replace(view, key=result)

    def normalization(
        self, name: str, result: str, layer: str, arrays: Sequence[Floats], *, epsilon: float, axis: int = 0
    ) -> None:
        """Add a normalization of an axis; `arrays` are mean, variance, gamma and beta of its elements."""
        view = self._view(name)
        if not all(0 <= axis < len(view.axes) and array.shape == (view.sizes[axis],) for array in arrays):
            raise self.builder.fail(f"has parameters that do not fit {shown(view.sizes)}")
        spread = [array.reshape([-1 if i == axis else 1 for i in range(len(view.axes))]) for array in arrays]
        view, spread = self._by_channel(view, spread)
        self.builder.normalization(view.key, result, layer, spread, epsilon)
        self._views[result] = replace(view, key=result)

    def addition(self, first: str, second: str, result: str, layer: str) -> None:
        """Add the sum of two tensors."""
        views = [self._view(first), self._view(second)]
        if views[0].sizes != views[1].sizes:
            shapes = " and ".join(shown(view.sizes) for view in views)
            raise self.builder.fail(f"reads tensors of the shapes {shapes} (broadcasting is not supported)")
        if any(self.builder.flat(view.key) for view in views):
            views = [self._plain(self._flat(view)) for view in views]
        if (views[0].image, views[0].axes) != (views[1].image, views[1].axes):
            raise self.builder.fail("reads tensors whose axes are permuted in different ways")
        self.builder.addition(views[0].key, views[1].key, result, layer)
        self._views[result] = replace(views[0], key=result)

    def end(self, name: str, result: str, what: str, axis: int | None = None) -> None:
        """Leave out an operator that only shapes the network's result, along `axis` if it has one."""
        view = self._presented(self._view(name))
        if axis is not None and not (0 <= axis < len(view.axes) and (len(view.axes) == 1 or view.axes[axis] == (0,))):
            raise self.builder.fail("has another axis than that of the classes")
        self.builder.end(view.key, result, what)
        self._ended.add(result)
        self._views[result] = replace(view, key=result)

    def result(self, name: str) -> Hashable:
        """Return the builder's key of the network's result."""
        return self._presented(self._view(name)).key if self.knows(name) else name

    def _view(self, name: str) -> View:
        if name not in self._views:
            raise self.builder.fail("reads a tensor that nothing before it makes from the input")
        return self._views[name]

    def _made(self, result: str, count: int) -> None:
        image = self.builder.shape(result)
        self._views[result] = View(result, image, axes_of(image, count, self.order))

    def _as_image(self, name: str) -> View:
        view = self._view(name)
        count = len(view.axes)
        if count not in self.order or count < 2 or axes_of(view.image, count, self.order) != view.axes:
            raise self.builder.fail(f"reads a tensor {shown(view.sizes)} whose axes are not those of an image")
        return view

    def _flat(self, view: View) -> View:
        """Return a view of the flattened tensor."""
        if self.builder.flat(view.key):
            return view
        key = (view.key, "flattened")
        if not self.builder.knows(key):
            self.builder.flatten(view.key, key)
        return replace(view, key=key)

    def _plain(self, view: View) -> View:
        """Return a view of features that are stored in the order of the image as one of features."""
        if len(view.axes) == 1 and list(view.atoms) == sorted(view.atoms):
            features = view.sizes[0]
            return View(view.key, (features, 1, 1), ((0,),) if features > 1 else ((),))
        return view

    def _by_channel(self, view: View, arrays: Sequence[Floats]) -> tuple[View, list[Floats]]:
        """Return arrays that can be broadcast with a view as one value per channel, flattened if need be."""
        spread = [self._spread(view, array) for array in arrays]
        if self.builder.flat(view.key) or not all((array == array[:, :1, :1]).all() for array in spread):
            return self._flat(view), [array.ravel() for array in spread]
        return view, [array[:, 0, 0] for array in spread]

    def _spread(self, view: View, array: Floats) -> Floats:
        try:
            [values] = np.broadcast_to(array, (1, *view.sizes))
        except ValueError:
            raise self.builder.fail(f"has a constant of shape {array.shape} for {shown(view.sizes)}") from None
        return view.in_image_order(values).astype(np.float32)

    def _presented(self, view: View) -> View:
        """Return a view of the network's result: flat if it has one axis, else an image."""
        if view.key in self._ended:
            return view
        if len(view.axes) > 1:
            if view.axes != axes_of(view.image, len(view.axes), self.order):
                self.builder.dropped.append("a reshape of the result, which is now (channels, height, width)")
            return view
        if list(view.atoms) != sorted(view.atoms):
            raise IntarsiaError(f"{self.builder.source} {REORDERED}")
        return self._flat(view)
