# SPDX-License-Identifier: Apache-2.0
"""Mixes of formats in one layer, and binary weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intarsia.integer.formats import WeightFormat
from intarsia.integer.units import unit_numbers
from intarsia.quantize.mixed import MixedWeight, weight_quantizer
from intarsia.quantize.planes import BINARY_REACH, best_steps
from intarsia.quantize.scheme import LayerScheme, Mix

MIXES = st.sampled_from(
    [
        *("mix-outputs:int8@0.1/int4@0.3/int2", "mix-inputs:int8@0.2/binary", "mix-blocks4:int8@0.1/ternary"),
        *("mix-taps:int8@0.2/int4@0.2/int2", "mix-blocks16:int4@0.25/binary", "mix-outputs:digits3@0.5/binary"),
    ]
)


def weight(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).laplace(0, 0.1, shape).astype(np.float32))


def quantizer_of(w: torch.Tensor, text: str) -> MixedWeight:
    return MixedWeight(w, Mix.parse(text), 8)


def error(w: torch.Tensor, text: str) -> float:
    return float((weight_quantizer(w, LayerScheme.parse(text), 8)(w).detach() - w).square().sum())


@settings(max_examples=40)
@given(st.integers(0, 99), MIXES, st.sampled_from([(8, 32, 3, 3), (10, 17), (12, 1, 3, 3)]))
def test_every_weight_belongs_to_one_plane_by_whole_units(seed: int, text: str, shape: tuple[int, ...]) -> None:
    w, depthwise = weight(seed, *shape), shape[1] == 1
    mix = Mix.parse(text)
    quantizer = MixedWeight(w, mix, 8, depthwise=depthwise)
    assert bool((quantizer.masks.sum(dim=0) == 1).all())
    units = unit_numbers(shape, mix.pattern, depthwise=depthwise)
    for mask in quantizer.masks.numpy():
        assert len(np.unique(units[mask])) + len(np.unique(units[~mask])) == units.max() + 1
    quantizer.snap(0.5)
    for values, mask, form in zip(quantizer.integers(w).weights, quantizer.masks, quantizer.formats, strict=True):
        assert int(values[~mask].abs().sum()) == 0
        if not form.has_zero:
            assert bool((values[mask].abs() == 1).all())


def test_more_of_the_precise_format_leaves_less_error() -> None:
    w = weight(1, 32, 64, 3, 3)
    for where in ("outputs", "inputs", "blocks4", "taps"):
        errors = [error(w, f"mix-{where}:int8@{share}/int2") for share in (0.1, 0.4, 0.8)]
        assert error(w, "int2") > errors[0] > errors[1] > errors[2] > error(w, "int8")
    assert error(w, "mix-blocks4:int8@0.2/int2") < error(w, "mix-taps:int8@0.2/int2")


def test_the_precise_channels_are_those_that_suffer_most() -> None:
    w = weight(2, 16, 32, 1, 1)
    w[5] *= 30
    w[:, 7] *= 30
    assert bool(quantizer_of(w, "mix-outputs:int8@0.05/int2").masks[0, 5].all())
    assert bool(quantizer_of(w, "mix-inputs:int8@0.05/binary").masks[0, :, 7].all())


def test_channels_of_one_format_each_are_not_tied() -> None:
    w = weight(3, 16, 64)
    quantizer = quantizer_of(w, "mix-outputs:int8@0.25/int2")
    assert quantizer.shifts.tolist() == [0, 0]
    precise = quantizer.masks[0].any(dim=1)
    alone = {form: best_steps(w, WeightFormat(form)) for form in ("int8", "int2")}
    found = quantizer.scale().detach()
    assert torch.allclose(found[~precise], alone["int2"][~precise], rtol=0.06)
    assert bool((found[precise] < 0.2 * alone["int2"][precise]).all())


def test_formats_that_share_channels_are_tied_by_powers_of_two() -> None:
    quantizer = quantizer_of(weight(3, 16, 64), "mix-inputs:int8@0.25/int2")
    fine, coarse = quantizer.shifts.tolist()
    assert fine == 0
    assert coarse >= 3


@settings(max_examples=20)
@given(st.integers(0, 99), MIXES)
def test_positions_chosen_anew_meet_steps_that_fit(seed: int, text: str) -> None:
    w, later = weight(seed, 16, 32, 3, 3), weight(seed + 1, 16, 32, 3, 3)
    quantizer = quantizer_of(w, text)
    quantizer.choose(later)
    fitted = quantizer_of(later, text)
    lost = float((quantizer(later).detach() - later).square().sum())
    assert lost < 2 * float((fitted(later).detach() - later).square().sum())


@pytest.mark.parametrize("text", ["mix-outputs:int8@0.3/int2", "mix-inputs:int8@0.2/int4@0.2/ternary"])
def test_every_weight_and_every_scale_that_is_used_gets_a_gradient(text: str) -> None:
    w = weight(4, 8, 32).requires_grad_()
    quantizer = weight_quantizer(w, LayerScheme.parse(text), 8)
    (quantizer(w) * weight(5, 8, 32)).sum().backward()
    assert w.grad is not None
    assert quantizer.log_scale.grad is not None
    assert torch.allclose(w.grad, weight(5, 8, 32), atol=1e-6)
    assert torch.equal(quantizer.log_scale.grad != 0, quantizer.used())


def test_binary_scales_are_the_mean_magnitude_which_is_the_least_squares_one() -> None:
    w, binary = weight(6, 5, 200), WeightFormat("binary")
    scale = best_steps(w, binary)
    assert torch.allclose(scale, w.abs().mean(dim=1))
    quantizer = weight_quantizer(w, LayerScheme.parse("binary"), 8)
    found = quantizer(w).detach()
    assert torch.allclose(found, torch.where(w >= 0, 1.0, -1.0) * scale[:, None], rtol=1e-5)
    for other in (0.97, 1.03):
        assert float((found - w).square().sum()) < float((found * other - w).square().sum())


def test_binary_gradients_stop_where_the_sign_is_settled() -> None:
    w = (weight(7, 4, 500) * 2).requires_grad_()
    quantizer = weight_quantizer(w, LayerScheme.parse("binary"), 8)
    pull = weight(8, 4, 500)
    (quantizer(w) * pull).sum().backward()
    scale = quantizer.scales()[0].detach()[:, None]
    near = w.detach().abs() < BINARY_REACH * scale
    assert w.grad is not None
    assert 0 < int((~near).sum()) < near.numel() // 10
    assert torch.allclose(w.grad, pull * near, atol=1e-6)
    assert quantizer.log_scale.grad is not None
    exact = (pull * torch.where(w.detach() >= 0, 1.0, -1.0)).sum(dim=1) * scale[:, 0]
    assert torch.allclose(quantizer.log_scale.grad * np.sqrt(500), exact, rtol=1e-3, atol=1e-4)


def test_a_sparse_plane_heals_binary_weights() -> None:
    w = weight(9, 32, 64, 3, 3)
    assert error(w, "binary+1:16xint8") < 0.8 * error(w, "binary")
    assert error(w, "ternary") < error(w, "binary")


@pytest.mark.parametrize("pattern", ["inputs", "outputs", "blocks4", "taps", "fixed1:16"])
def test_regularity_costs_precision(pattern: str) -> None:
    w = weight(10, 32, 64, 3, 3)
    where = pattern if pattern.startswith("fixed") else f"{pattern}@0.0625"
    assert error(w, "ternary+unstructured@0.0625xint8") < error(w, f"ternary+{where}xint8") < error(w, "ternary")
