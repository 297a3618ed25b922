# SPDX-License-Identifier: Apache-2.0
"""The quantized network: the steps of a float network with planes on its weights and quantizers on its tensors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from intarsia.errors import IntarsiaError
from intarsia.integer.formats import ActivationFormat, WeightFormat
from intarsia.quantize.activations import ActivationQuantizer
from intarsia.quantize.inputs import Grid, InputQuantizer, folded
from intarsia.quantize.mixed import weight_quantizer
from intarsia.quantize.plan import read_plan
from intarsia.quantize.planes import PlanedWeight, fit_multipliers
from intarsia.quantize.residuals import fuse_residuals
from intarsia.quantize.scheme import LayerScheme, Scheme
from intarsia.quantize.step import Shape, Step, key, value_ranges
from intarsia.quantize.transforms.apply import apply
from intarsia.quantize.transforms.settings import NO_TRANSFORMS, Transforms

#: Of a residual: a greater one has no use, because its multiplier is about as long as the shift.
_LARGEST_RESIDUAL_SHIFT = 15


class QuantizedNetwork(nn.Module):
    """Computes what the integer network will, in floating point and with gradients.

    Input (N, C, H, W) in real units, output (N, classes) logits in real units. `snap` fixes all scales to those
    that integers express; before it they are free.

    Attributes:
        scheme: that was asked for.
        steps: one for each layer of the integer network.
        input_scale: what the first layers take one unit of the input for; without a grid its real value.
        signed: whether the input's integers are −128 … 127, or 0 … 255.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        scheme: Scheme,
        shape: Shape,
        input_scale: float,
        *,
        signed: bool = True,
        grid: Grid | None = None,
    ) -> None:
        super().__init__()
        self.scheme, self.steps, self.shape, self.input_scale = scheme, tuple(steps), shape, input_scale
        self.signed = signed
        self.source = InputQuantizer(input_scale, signed=signed, grid=grid)
        self.ranges = value_ranges(self.steps, (-math.inf if signed else 0.0, math.inf))
        self.layers, self.quantizers = nn.ModuleDict(), nn.ModuleDict()
        self.layer_schemes = _layer_schemes(self.steps, scheme)
        for step in self.steps:
            if step.module is not None:
                weight = weight_quantizer(
                    step.module.weight,
                    self.layer_schemes[step.name],
                    scheme.scale_bits,
                    depthwise=step.depthwise,
                    kernel=step.kernel,
                )
                if step.module.bias is None:
                    step.module.bias = nn.Parameter(torch.zeros(step.module.weight.shape[0]))
                parametrize.register_parametrization(step.module, "weight", weight, unsafe=True)
                self.layers[key(step.name)] = step.module
            if step.kind != "maximum":
                self.quantizers[key(step.name)] = ActivationQuantizer(self._format(step))
            if step.kind in ("add", "average") or step.residual is not None:
                self.register_buffer(f"gain_{key(step.name)}", torch.ones(1 if step.module else len(step.inputs)))

    def forward(self, x: torch.Tensor, *, every: bool = False) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return the outputs (N, K) of a batch, or every layer's by name, the last one's being these."""
        return outputs_or_every(self.tensors(x), self.steps[-1].name, every=every)

    def tensors(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return every quantized tensor by name, in real units."""
        values = {"input": self.quantized_input(x)}
        for step in self.steps:
            values[step.name] = self.quantized(step, [values[name] for name in step.inputs])
        return values

    def quantized_input(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input as the integer network reads it: whole multiples of `input_scale`."""
        found: torch.Tensor = self.source(x)
        return found

    def quantized(self, step: Step, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the tensor that one step makes, (N, C, H, W): computed, clipped and quantized."""
        return self.finish(step, self.compute(step, inputs))

    def finish(self, step: Step, total: torch.Tensor) -> torch.Tensor:
        """Return what a step computed, (N, C, H, W), clipped and quantized."""
        if step.kind == "maximum":
            return total
        if step.floor == 0.0:  # its quantizer has no sign and clips there anyway
            step = replace(step, floor=-math.inf)
        quantized: torch.Tensor = self.quantizers[key(step.name)](step.clip(total))
        return quantized

    def compute(self, step: Step, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return what one step computes, (N, C, H, W), before its output is clipped and quantized."""
        x = inputs[0]
        if step.module is not None:
            layer = self.layers[key(step.name)]
            result: torch.Tensor = (
                layer(x.flatten(1))[:, :, None, None] if step.kind == "linear" else layer(padded(step, x))
            )
            return result if step.residual is None else result + inputs[1] * self.gain(step)[0]
        whole = self._whole(step)  # whatever the size of a training crop
        if step.kind == "maximum":
            if whole:
                return x.amax(dim=(2, 3), keepdim=True)
            return functional.max_pool2d(padded(step, x), step.kernel, step.stride, own_padding(step))
        gain = self.gain(step)
        if step.kind == "add":
            return x * gain[0] + inputs[1] * gain[1]
        if whole:
            return x.mean(dim=(2, 3), keepdim=True) * gain[0]
        return functional.avg_pool2d(padded(step, x), step.kernel, step.stride, own_padding(step)) * gain[0]

    def _whole(self, step: Step) -> bool:
        """Whether a pool's window is all of its input."""
        source = step.inputs[0]
        size = self.shape if source == "input" else self.step(source).shape
        return step.kernel == size[1:] and step.padding == (0, 0, 0, 0)

    def gain(self, step: Step) -> torch.Tensor:
        """Return what rounding a step's multipliers to integers multiplies its inputs by; (inputs,)."""
        return self.get_buffer(f"gain_{key(step.name)}")

    def weight_of(self, step: Step) -> tuple[torch.Tensor, PlanedWeight]:
        """Return the float weight behind a layer and its quantizer."""
        parametrizations = self.layers[key(step.name)].parametrizations
        assert isinstance(parametrizations, nn.ModuleDict)  # noqa: S101 (for the type checker)
        chain = parametrizations["weight"]
        assert isinstance(chain, parametrize.ParametrizationList)  # noqa: S101 (for the type checker)
        planes = chain[0]
        assert isinstance(planes, PlanedWeight)  # noqa: S101 (for the type checker)
        assert isinstance(chain.original, torch.Tensor)  # noqa: S101 (for the type checker)
        return chain.original, planes

    def scale_of(self, name: str) -> float:
        """Return the real value of one unit of a tensor."""
        if name == "input":
            return self.input_scale
        step = self.step(name)
        if step.kind == "maximum":
            return self.scale_of(step.inputs[0])
        return float(self.quantizers[key(name)].scale().detach())  # type: ignore[operator]

    def format_of(self, name: str) -> ActivationFormat:
        """Return the number format of a tensor."""
        if name == "input":
            return ActivationFormat(8, signed=self.signed)
        return self._format(self.step(name))

    def step(self, name: str) -> Step:
        """Return a step by name."""
        return next(step for step in self.steps if step.name == name)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all weight layers for one input."""
        steps = [step for step in self.steps if step.module is not None]
        return sum(self.weight_of(step)[0].numel() * math.prod(step.shape[1:]) for step in steps)

    @property
    def weights(self) -> int:
        """How many weights all layers have together."""
        return sum(self.weight_of(step)[0].numel() for step in self.steps if step.module is not None)

    @property
    def snapped(self) -> bool:
        """Whether the scales are fixed to those that integers express."""
        return all(float(self.weight_of(step)[1].ratio) > 0 for step in self.steps if step.module is not None)

    @torch.no_grad()
    def snap(self) -> None:
        """Fix every activation step, and restrict all multipliers to those that integers express."""
        if self.snapped:
            return
        for quantizer in self.quantizers.values():
            quantizer.fix()  # type: ignore[operator]
        for step in self.steps:
            if step.module is not None:
                self._snap_weights(step)
            elif step.kind != "maximum":
                gains = self.float_gains(step)
                multipliers, shift = fit_multipliers(gains[:, None], self.scheme.scale_bits)
                exact = multipliers[:, 0] * torch.exp2(-shift) / gains
                self.gain(step).copy_(exact)

    def _snap_weights(self, step: Step) -> None:
        """Fix the scales of a weight layer and its residual's multiplier, whose shift is a channel's least."""
        planes, ratio = self.weight_of(step)[1], self.scale_of(step.inputs[0]) / self.scale_of(step.name)
        planes.snap(ratio)
        if step.residual is not None:
            gains = self.float_gains(step)
            shift = fit_multipliers(gains[:, None], self.scheme.scale_bits)[1]
            least = torch.minimum(shift, planes.requantization_shift().min()).clamp_max(_LARGEST_RESIDUAL_SHIFT)
            planes.snap(ratio, least_shift=float(least))
            multiplier, own = self.residual_multiplier(step)
            self.gain(step).copy_(multiplier * 2.0**-own / gains)

    @torch.no_grad()
    def residual_multiplier(self, step: Step) -> tuple[int, int]:
        """Return multiplier and shift by which a weight layer adds its residual (after `snap`)."""
        largest = float(self.weight_of(step)[1].least_shift)
        multiplier, shift = fit_multipliers(
            self.float_gains(step)[:, None], self.scheme.scale_bits, largest_shift=largest
        )
        return int(multiplier), int(shift)

    @torch.no_grad()
    def release(self) -> None:
        """Let all scales learn again, from where they are; undoes `snap`, to which nothing is lost."""
        for quantizer in self.quantizers.values():
            quantizer.release()  # type: ignore[operator]
        for step in self.steps:
            if step.module is not None:
                self.weight_of(step)[1].release()
            if step.residual is not None or step.kind in ("add", "average"):
                self.gain(step).fill_(1.0)

    def float_gains(self, step: Step) -> torch.Tensor:
        """Return input step / output step of each input of an add, of a residual, or (over the window's area) of an
        average.
        """
        area = step.kernel[0] * step.kernel[1] if step.kind == "average" else 1
        names = step.inputs if step.module is None else step.inputs[1:]
        ratios = [self.scale_of(name) / self.scale_of(step.name) / area for name in names]
        return torch.tensor(ratios, device=self.gain(step).device)

    def _format(self, step: Step) -> ActivationFormat:
        if step.kind == "maximum":
            return self.format_of(step.inputs[0])
        if step is self.steps[-1]:
            return ActivationFormat(8, signed=self._has_sign(step))
        source = step
        while source.module is None and source.inputs[0] != "input":
            source = self.step(source.inputs[0])
        layer = self.layer_schemes.get(source.name, self.scheme.default)
        return ActivationFormat(layer.activation_bits, signed=self._has_sign(step))

    def _has_sign(self, step: Step) -> bool:
        return self.ranges[step.name][0] < 0.0


def outputs_or_every(
    tensors: dict[str, torch.Tensor], last: str, *, every: bool
) -> torch.Tensor | dict[str, torch.Tensor]:
    """Return what a network answers of all its tensors: the outputs (N, K), or, if `every`, all layers' outputs."""
    outputs = tensors[last].flatten(1)
    if not every:
        return outputs
    return {name: value for name, value in tensors.items() if name not in ("input", last)} | {last: outputs}


def own_padding(step: Step) -> tuple[int, int]:
    """Return the part of a window's padding that PyTorch's operator does by itself; (height, width)."""
    top, left = step.padding[:2]
    fits = step.kind == "conv" or (top <= step.kernel[0] // 2 and left <= step.kernel[1] // 2)
    return (top, left) if step.padding[:2] == step.padding[2:] and fits else (0, 0)


def padded(step: Step, x: torch.Tensor) -> torch.Tensor:
    """Pad the input of a window as far as `own_padding` does not."""
    top, left, bottom, right = step.padding
    if step.padding == own_padding(step) * 2:
        return x
    return functional.pad(x, (left, right, top, bottom), value=-float("inf") if step.kind == "maximum" else 0.0)


def attach(
    model: nn.Module,
    scheme: Scheme,
    shape: Shape,
    input_scale: float,
    *,
    signed: bool = True,
    grid: Grid | None = None,
    transforms: Transforms = NO_TRANSFORMS,
) -> QuantizedNetwork:
    """Return a quantized network with the float weights of `model`, which is not changed.

    Weight scales and positions are chosen by least squares; activation steps still want calibration.

    Args:
        model: any module of supported layers.
        scheme: planes and activation bits.
        shape: (channels, height, width) of the input.
        input_scale: real value of one unit of the 8-bit input; with a grid, what the first layers take it for.
        signed: whether the input's integers are −128 … 127, or 0 … 255.
        grid: of the input's channels, if they have their own; the first layers take it over.
        transforms: that the float network goes through first.

    Raises:
        IntarsiaError: an operator is not supported, the scheme names a layer that does not exist, or the first layers
            cannot take over the grid.
    """
    steps = read_plan(model, shape)
    if grid is not None:
        folded(steps, grid, input_scale)
    steps = fuse_residuals(apply(steps, transforms, _layer_schemes(steps, scheme)))
    return QuantizedNetwork(steps, scheme, shape, input_scale, signed=signed, grid=grid)


def _layer_schemes(steps: Sequence[Step], scheme: Scheme) -> Mapping[str, LayerScheme]:
    """Return the scheme of every weight layer, by name.

    An affine layer is none that a scheme counts: it is neither the first nor the last, nor a depthwise layer of the
    network. It has one weight per channel and a scale for each, so that ternary weights lose nothing.
    """
    weighted = [step for step in steps if step.module is not None]
    if unknown := set(scheme.layers) - {step.name for step in weighted}:
        known = ", ".join(step.name for step in weighted)
        raise IntarsiaError(f"scheme {scheme.name} names {', '.join(sorted(unknown))}; the layers are {known}.")
    counted = [step for step in weighted if step.kind != "affine"]
    affine = LayerScheme(WeightFormat("ternary"), activation_bits=scheme.default.activation_bits)
    schemes = {step.name: scheme.layers.get(step.name, affine) for step in weighted if step.kind == "affine"}
    schemes |= {
        step.name: scheme.layer(
            step.name,
            first=step is counted[0],
            last=step is counted[-1] and step.kind == "linear",
            depthwise=step.depthwise,
        )
        for step in counted
    }
    for step in weighted:
        if step.filled and _is_binary(schemes[step.name]):
            raise IntarsiaError(
                f"layer {step.name}: binary weights have no 0, which a convolution with groups or dilation needs; "
                f"give it another format ({step.name}=ternary)."
            )
    return schemes


def _is_binary(layer: LayerScheme) -> bool:
    """Whether some weights of a layer cannot be 0."""
    formats = [layer.dense] if layer.mix is None else [*(form for form, _ in layer.mix.parts), layer.mix.rest]
    return any(form is not None and not form.has_zero for form in formats)
