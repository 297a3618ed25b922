# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from intarsia.integer import scales
from intarsia.integer.formats import ActivationFormat, Pattern
from intarsia.quantize.activations import (
    ActivationQuantizer,
    best_activation_scale,
    round_through,
    scale_gradient,
    with_gradient_of,
)
from intarsia.quantize.mixed import weight_quantizer
from intarsia.quantize.patterns import choose_positions, position_cost
from intarsia.quantize.planes import SuperposedWeight, best_scales, fit_multipliers, tied_shifts
from intarsia.quantize.scheme import LayerScheme


def weight(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).laplace(0, 0.1, shape).astype(np.float32))


@given(
    seed=st.integers(0, 99),
    outputs=st.integers(1, 20),
    inputs=st.integers(1, 40),
    taps=st.sampled_from([(), (1, 1), (3, 3), (2, 5)]),
    pattern=st.builds(
        Pattern, st.just("n:m"), st.integers(1, 3), st.sampled_from([4, 8, 16]), st.sampled_from([1, 4, 16])
    ),
)
def test_positions_follow_their_pattern(
    seed: int, outputs: int, inputs: int, taps: tuple[int, ...], pattern: Pattern
) -> None:
    n, m, group = pattern.n, pattern.m, pattern.group
    cost = weight(seed, outputs, inputs, *taps).square()
    mask = choose_positions(cost, pattern).reshape(outputs, inputs, -1)
    for start in range(0, inputs, m):
        block = mask[:, start : start + m]
        if block.shape[1] == m:
            assert (block.sum(dim=1) == n).all()
        assert int(block.sum(dim=1).max()) <= n
    for start in range(0, outputs, group):
        assert (mask[start : start + group] == mask[start]).all()


def test_positions_are_the_dearest_of_each_block() -> None:
    cost = weight(1, 8, 32, 3, 3).square()
    mask = choose_positions(cost, Pattern("n:m", 1, 16))
    blocks = cost.reshape(8, 2, 16, 3, 3)
    assert torch.equal(mask.reshape(8, 2, 16, 3, 3), blocks == blocks.amax(dim=2, keepdim=True))
    free = choose_positions(cost, Pattern("unstructured"), density=1 / 16)
    assert int(free.sum()) == cost.numel() // 16
    assert float((cost * free).sum()) >= float((cost * mask).sum())  # freedom is the upper bound


def test_curvature_and_gradient_move_positions_to_where_the_loss_feels_them() -> None:
    residual, gradient = torch.tensor([[4.0, 1.0]]), torch.tensor([[0.0, 1.0]])
    assert int(position_cost(residual).argmax()) == 0
    assert int(position_cost(residual, gradient, "curvature").argmax()) == 1
    assert int(position_cost(residual, gradient, "gradient").argmax()) == 1
    with pytest.raises(ValueError, match="needs gradients"):
        position_cost(residual, None, "curvature")


@given(seed=st.integers(0, 99), planes=st.integers(1, 2), bits=st.sampled_from([4, 8, 16]))
def test_multipliers_express_gains_to_half_a_unit(seed: int, planes: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    gains = torch.from_numpy(np.exp2(rng.uniform(-9, 1, (planes, 7))))
    multipliers, shift = fit_multipliers(gains, bits)
    assert float(multipliers.min()) >= 1
    assert float(multipliers.max()) <= 2**bits - 1
    error = (multipliers * torch.exp2(-shift) - gains).abs() * torch.exp2(shift)
    assert bool(((error <= 0.5) | (multipliers == 1)).all())
    assert bool(((multipliers.amax(0) >= 2 ** (bits - 1) - 1) | (shift == 20)).all())


TEXTS = [
    *("ternary", "digits4", "int8", "int4", "ternary+1:16xint8", "ternary+1:4xint4", "1:4xint8"),
    *("binary", "binary+1:16xint8", "ternary+fixed1:4xint8", "ternary+inputs@0.1xint4", "outputs@0.5xint8"),
    *("ternary+outputs@0.3xint2", "binary+blocks4@0.1xint8", "ternary+taps@0.2xint8", "int2+taps@0.01xint8"),
    *("mix-outputs:int8@0.1/int4@0.3/int2", "mix-inputs:int8@0.1/binary", "mix-blocks4:int4@0.5/ternary"),
    *("mix-taps:int8@0.4/int4@0.4/binary", "mix-blocks16:binary@0.9/int8"),
]
SHAPES = [(8, 32, 3, 3), (10, 17), (6, 1, 5, 5)]


@settings(max_examples=150)
@given(st.integers(0, 99), st.sampled_from(TEXTS), st.sampled_from(SHAPES), st.floats(0.01, 100))
@example(18, "ternary+taps@0.2xint8", (10, 17), 19.64531378619654)  # a tie that an ulp of the scale once decided
def test_the_forward_pass_is_exactly_what_the_integers_say(
    seed: int, text: str, shape: tuple[int, ...], ratio: float
) -> None:
    w = weight(seed, *shape)
    quantizer = weight_quantizer(w, LayerScheme.parse(text), 8, depthwise=shape[1] == 1)
    quantizer.snap(ratio)
    planes = quantizer.integers(w)
    column = (-1, *[1] * (len(shape) - 1))
    total = torch.zeros_like(w)
    scale = planes.multiplier * torch.exp2(-planes.shift.float()) / quantizer.ratio
    for values, k, format_ in zip(planes.weights, planes.shifts, quantizer.formats, strict=True):
        assert int(values.abs().max()) <= format_.limit
        assert 0 <= k <= 7
        total += values.reshape(shape) * (scale * 2**k).view(column)
    assert torch.equal(quantizer(w).detach(), total)


@given(st.integers(0, 99), st.sampled_from(TEXTS), st.sampled_from(SHAPES), st.booleans(), st.data())
def test_columns_are_rounded_as_the_whole_is(
    seed: int, text: str, shape: tuple[int, ...], snapped: bool, data: st.DataObject
) -> None:
    w = weight(seed, *shape)
    quantizer = weight_quantizer(w, LayerScheme.parse(text), 8, depthwise=shape[1] == 1)
    if snapped:
        quantizer.snap(0.3)
    flat = w.flatten(1)
    start = data.draw(st.integers(0, flat.shape[1] - 1))
    columns = slice(start, data.draw(st.integers(start + 1, flat.shape[1])))
    found = quantizer.by_columns()(flat[:, columns], columns)
    assert torch.equal(found, quantizer(w).detach().flatten(1)[:, columns])


REALS = st.floats(-1e6, 1e6, width=32)


@given(st.lists(REALS, min_size=1), st.floats(1e-6, 1.0))
def test_what_only_changes_gradients_changes_no_value(values: list[float], factor: float) -> None:
    x = torch.tensor(values, requires_grad=True)
    rounded, scaled, other = round_through(x), scale_gradient(x, factor), with_gradient_of(x.detach() / 3, 2 * x)
    assert torch.equal(rounded, torch.floor(x + 0.5))
    assert torch.equal(scaled, x)
    assert torch.equal(other, x / 3)
    for found, gradient in ((rounded, 1.0), (scaled, factor), (other, 2.0)):
        (slope,) = torch.autograd.grad(found.sum(), x)
        torch.testing.assert_close(slope, torch.full_like(x, gradient))


@given(st.integers(0, 99), st.sampled_from([(2, True), (4, False), (8, True), (8, False)]), st.floats(1e-3, 1e3))
def test_activations_are_exactly_whole_multiples_of_their_step(seed: int, form: tuple[int, bool], size: float) -> None:
    x = weight(seed, 4, 50) * size
    quantizer = ActivationQuantizer(ActivationFormat(*form))
    quantizer.set_scale(best_activation_scale(x, quantizer.format))
    for _ in range(2):
        step = quantizer.scale().detach()
        integers = torch.clamp(torch.floor(x / step + 0.5), quantizer.format.lo, quantizer.format.hi)
        assert torch.equal(quantizer(x).detach(), integers * step)
        quantizer.fix()


def test_the_sparse_plane_takes_most_of_what_ternary_leaves() -> None:
    w = weight(3, 32, 64, 3, 3)

    def error(text: str) -> float:
        return float((SuperposedWeight(w, LayerScheme.parse(text), 8)(w).detach() - w).square().sum())

    assert error("ternary+1:16xint8") < 0.8 * error("ternary")
    assert error("ternary+unstructured@0.0625xint8") <= error("ternary+1:16xint8")
    assert error("digits3") < error("digits2") < error("ternary")
    assert error("ternary+1:16xint8") <= error("ternary+1:16/16xint8")


def test_every_weight_and_scale_gets_a_gradient() -> None:
    w = (weight(4, 8, 32) * 3).requires_grad_()
    quantizer = SuperposedWeight(w, LayerScheme.parse("ternary+1:16xint8"), 8)
    (quantizer(w) * weight(5, 8, 32)).sum().backward()
    assert w.grad is not None
    assert quantizer.log_scale.grad is not None
    assert torch.allclose(w.grad, weight(5, 8, 32), atol=1e-6)  # straight through, beyond the limit too
    assert bool((quantizer.log_scale.grad != 0).all())


@pytest.mark.parametrize("text", ["ternary+1:16xint4", "ternary+1:16xint5", "digits2+2:16xint8", "int4+taps@0.2xint3"])
def test_the_dense_step_is_fitted_for_the_tie(text: str) -> None:
    """No other scale or shift of the dense plane near the one that was found has a smaller error."""
    w = weight(11, 16, 64, 3, 3)
    quantizer = SuperposedWeight(w, LayerScheme.parse(text), 8)
    scale, (k, none) = quantizer.scale().detach(), quantizer.shifts.tolist()
    assert none == 0

    def error(unit: torch.Tensor, shift: float) -> torch.Tensor:
        steps = [(unit * 2.0**each).view(-1, 1, 1, 1) for each in (shift, 0)]
        planes = quantizer.split(w, steps, quantizer.positions())
        total = sum((plane * step for plane, step in zip(planes, steps, strict=True)), torch.zeros_like(w))
        return (w - total).square().flatten(1).sum(1)

    least = error(scale, k)
    assert torch.allclose(least, (quantizer(w).detach() - w).square().flatten(1).sum(1), rtol=1e-4)
    for factor in (0.95, 1.05):
        assert bool((error(scale * factor, k) >= least * 0.999).all())
    for other in set(tied_shifts(quantizer.formats[1])) - {k}:
        assert float(error(scale * 2.0 ** (k - other), other).sum()) >= float(least.sum()) * 0.999


def test_a_least_squares_scale_is_no_worse_than_its_neighbours() -> None:
    w = weight(6, 5, 200)
    scale = best_scales(w, 1)

    def error(step: torch.Tensor) -> torch.Tensor:
        return (w - torch.floor((w / step[:, None]).clamp(-1, 1) + 0.5) * step[:, None]).square().sum(dim=1)

    assert bool((error(scale) <= error(scale * 1.1) + 1e-6).all())
    assert bool((error(scale) <= error(scale * 0.9) + 1e-6).all())


@pytest.mark.parametrize(("bits", "signed"), [(8, True), (8, False), (4, True), (4, False)])
def test_activations_stay_on_their_grid_and_their_step_learns(bits: int, signed: bool) -> None:
    x = weight(7, 4, 50) * 10
    quantizer = ActivationQuantizer(ActivationFormat(bits, signed))
    quantizer.set_scale(best_activation_scale(x, quantizer.format))
    y = quantizer(x)
    integers = (y / quantizer.scale()).detach()
    assert torch.allclose(integers, integers.round(), atol=1e-3)
    assert float(integers.min()) >= quantizer.format.lo - 1e-3
    assert float(integers.max()) <= quantizer.format.hi + 1e-3
    (y - x).square().sum().backward()
    assert quantizer.log_scale.grad is not None
    assert float(quantizer.log_scale.grad) != 0
    before = float(quantizer.scale().detach())
    quantizer.fix()
    quantizer.set_scale(123.0)
    assert float(quantizer.scale().detach()) == pytest.approx(before)


@given(
    seed=st.integers(0, 99),
    form=st.sampled_from([(8, True), (8, False), (4, True), (4, False), (2, False), (16, True)]),
    kept=st.floats(0.01, 1.0),
    outlier=st.floats(1.0, 100.0),
)
def test_a_histogram_finds_as_good_an_activation_step_as_all_samples_do(
    seed: int, form: tuple[int, bool], kept: float, outlier: float
) -> None:
    format_ = ActivationFormat(*form)
    x = weight(seed, 3000)
    x[torch.from_numpy(np.random.default_rng(seed).random(3000) > kept)] = 0.0  # as behind a ReLU
    x[0] = outlier * float(x.abs().max())
    x = x if format_.signed else x.clamp_min(0.0)

    def error(step: float) -> float:
        return float((torch.clamp(torch.floor(x / step + 0.5), format_.lo, format_.hi) * step - x).square().sum())

    top = float(x.abs().max())
    best = min(error(top / format_.hi * (1 - 0.85 * k / 60)) for k in range(60))
    assert error(best_activation_scale(x, format_)) <= 1.05 * best


def test_samples_without_a_value_have_a_step_all_the_same() -> None:
    assert best_activation_scale(torch.zeros(10), ActivationFormat(8, True)) == 1 / 127
    assert best_activation_scale(-torch.ones(10), ActivationFormat(8, False)) == 1 / 255


@given(st.integers(0, 2**32 - 1), st.integers(2, 16), st.integers(1, 2))
def test_training_and_integers_agree_on_multipliers(seed: int, scale_bits: int, planes: int) -> None:
    gains = np.exp2(np.random.default_rng(seed).uniform(-16, 3, (planes, 5))).astype(np.float32)
    multipliers, shift = fit_multipliers(torch.from_numpy(gains).double(), scale_bits)
    expected, expected_shift = scales.fit_multipliers(gains.astype(np.float64), scale_bits)
    expected = np.maximum(expected, 1)
    assert np.array_equal(multipliers.numpy(), expected)
    assert np.array_equal(shift.numpy(), expected_shift)
