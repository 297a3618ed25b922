# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from torch import nn  # noqa: E402

from intarsia.datasets import Dataset, InputScaling, Split, load_dataset  # noqa: E402
from intarsia.errors import IntarsiaError  # noqa: E402
from intarsia.files import save_tensors  # noqa: E402
from intarsia.networks import build  # noqa: E402
from intarsia.quantize.averaging import Average  # noqa: E402
from intarsia.quantize.checkpoint import History, Progress, load_checkpoint, save_checkpoint  # noqa: E402
from intarsia.quantize.data import labelled, outputs_of  # noqa: E402
from intarsia.quantize.module import attach  # noqa: E402
from intarsia.quantize.objectives import Classification, Reconstruction, mismatch, objective_of  # noqa: E402
from intarsia.quantize.qat import parameter_groups as groups  # noqa: E402
from intarsia.quantize.scheme import Scheme  # noqa: E402
from intarsia.quantize.teacher_cache import TeacherCache  # noqa: E402
from intarsia.quantize.training import (  # noqa: E402
    augment,
    decay_groups,
    evaluate,
    mix,
    train_network,
)
from intarsia.recipes import Phase, Recipe, float_recipe_of  # noqa: E402
from patience import wait_for  # noqa: E402

SHORT = Recipe(
    phases=(Phase(2, size=6, pad=0), Phase(1, size=8, pad=1)), batch=32, peak_rate=0.05, flip=True, threads=1
)


@pytest.fixture(scope="module")
def data() -> Dataset:
    digits = load_dataset("digits")
    return replace(digits, train=digits.train.take(200), validation=digits.validation.take(50))


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


class _InterruptionError(Exception):
    pass


def _interrupt(epoch: int, _: nn.Module) -> None:
    if epoch == 2:
        raise _InterruptionError


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_resumed_run_ends_where_an_unbroken_one_does(data: Dataset, optimizer: str, tmp_path: Path) -> None:
    recipe = replace(SHORT, optimizer=optimizer, peak_rate=0.01)
    unbroken, broken, resumed = build("digits", 1), build("digits", 1), build("digits", 2)
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    history = train_network(unbroken, data, recipe, seed=1)
    with pytest.raises(_InterruptionError):
        train_network(broken, data, recipe, seed=1, checkpoint=checkpoint, on_epoch=_interrupt)
    again = train_network(resumed, data, recipe, seed=1, checkpoint=checkpoint)
    assert same(unbroken, resumed)
    assert [replace(r, seconds=0) for r in history.epochs] == [replace(r, seconds=0) for r in again.epochs]
    assert again.validation_accuracy == evaluate(resumed, data.validation, data.scaling)


def test_kill_9_loses_at_most_the_epoch_under_way(data: Dataset, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    recipe = replace(SHORT, phases=(Phase(30, size=8, pad=1),))
    script = (
        "import sys; from dataclasses import replace; from pathlib import Path\n"
        "from intarsia.datasets import load_dataset; from intarsia.networks import build\n"
        "from intarsia.quantize import train_network; from intarsia.recipes import Phase, Recipe\n"
        "digits = load_dataset('digits')\n"
        "data = replace(digits, train=digits.train.take(200), validation=digits.validation.take(50))\n"
        f"train_network(build('digits', 1), data, {recipe!r}, seed=1, checkpoint=Path(sys.argv[1]))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(checkpoint)]) as process:
        wait_for(lambda: checkpoint.exists() or process.poll() is not None, every=0.005)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert checkpoint.exists()
    resumed, unbroken = build("digits", 9), build("digits", 1)
    assert len(train_network(resumed, data, recipe, seed=1, checkpoint=checkpoint).epochs) == 30
    train_network(unbroken, data, recipe, seed=1)
    assert same(resumed, unbroken)


def test_foreign_and_damaged_checkpoints_are_refused(data: Dataset, tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.safetensors"
    train_network(build("digits"), data, SHORT, checkpoint=checkpoint)
    content = checkpoint.read_bytes()
    for recipe, seed in ((SHORT, 1), (replace(SHORT, peak_rate=0.06), 0)):
        with pytest.raises(IntarsiaError, match="another recipe or seed; delete it"):
            train_network(build("digits"), data, recipe, seed=seed, checkpoint=checkpoint)
    with pytest.raises(IntarsiaError, match="another network"):
        train_network(nn.Sequential(nn.Flatten(), nn.Linear(36, 10)), data, SHORT, checkpoint=checkpoint)
    checkpoint.write_bytes(content[:-40])
    model = build("digits", 4)
    with pytest.raises(IntarsiaError, match="cannot be read"):
        train_network(model, data, SHORT, checkpoint=checkpoint)
    assert same(model, build("digits", 4))
    assert list(tmp_path.iterdir()) == [checkpoint]


@settings(max_examples=30)
@given(pad=st.integers(0, 3), size=st.integers(1, 8), flip=st.booleans(), seed=st.integers(0, 99))
def test_each_crop_is_a_window_of_its_padded_image_mirrored_or_not(pad: int, size: int, flip: bool, seed: int) -> None:
    images = torch.randint(0, 200, (5, 3, 8, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    crops = augment(images, Phase(1, size, pad), 200, flip, torch.Generator().manual_seed(seed)).numpy()
    assert crops.shape == (5, 3, size, size)
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), (pad, pad), (pad, pad)], constant_values=200)
    for crop, image in zip(crops, padded, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))
        windows = windows.transpose(1, 2, 0, 3, 4).reshape(-1, 3, size, size)
        candidates = np.concatenate([windows, windows[..., ::-1]]) if flip else windows
        assert (candidates == crop).all(axis=(1, 2, 3)).any()


def test_without_a_size_crops_are_as_large_as_the_image() -> None:
    images = torch.arange(2 * 12, dtype=torch.uint8).reshape(2, 1, 3, 4)
    assert torch.equal(augment(images, Phase(1, None, 0), 0, False, torch.Generator()), images)
    assert augment(images, Phase(1, None, 2), 0, True, torch.Generator()).shape == (2, 1, 3, 4)


def test_about_half_of_the_images_are_mirrored() -> None:
    images = torch.arange(4, dtype=torch.uint8).expand(1000, 1, 4, 4)
    crops = augment(images, Phase(1, 4, 0), 0, True, torch.Generator().manual_seed(0))
    assert 400 < int((crops[:, 0, 0, 0] == 3).sum()) < 600


def test_the_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    for optimizer in ("sgd", "adam"):
        recipe = replace(SHORT, optimizer=optimizer, peak_rate=2.0, warmup=0.25)
        rates = [recipe.rate(step / 100) for step in range(101)]
        assert rates[0] == pytest.approx(0.08)
        assert rates[25] == max(rates) == 2.0
        assert rates[100] == 0
        assert rates[:26] == sorted(rates[:26])
        assert rates[25:] == sorted(rates[25:], reverse=True)


@pytest.mark.parametrize(("every", "looks"), [(1, [1, 1, 1]), (2, [0, 1, 1]), (5, [0, 0, 1]), (0, [0, 0, 0])])
def test_validation_is_looked_at_as_often_as_was_said(every: int, looks: list[int], data: Dataset) -> None:
    history = train_network(build("digits"), data, SHORT, validate_every=every)
    assert [record.validation_accuracy is not None for record in history.epochs] == [look == 1 for look in looks]


class _Answer(nn.Module):
    """Answers one class to everything, which is right for so many of `STARS`."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.zeros(10))
        self.answer.data[0] = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer.expand(len(x), -1)


#: Ten classes, of which class k has k + 1 inputs in validation.
STARS = np.repeat(np.arange(10), np.arange(1, 11))


def _told(classes: list[int], seen: list[int]) -> Callable[[int, nn.Module], None]:
    """Return what lets `_Answer` answer these classes, one in each epoch."""

    def tell(epoch: int, model: nn.Module) -> None:
        seen.append(epoch)
        model.answer.data.zero_()
        model.answer.data[classes[epoch]] = 1.0

    return tell


@pytest.mark.parametrize(
    ("classes", "candidates", "every", "kept"),
    [
        ([1, 5, 3, 2], 0, 1, 2),  # the best
        ([1, 5, 3, 5], 0, 1, 2),  # the first of the best
        ([1, 5, 3, 2], 2, 1, 3),  # the best of those that may be kept
        ([9, 9, 0, 0], 2, 1, 0),  # none is better than the one that was given
        ([1, 5, 3, 2], 0, 9, 4),  # only the last is looked at
        ([1, 5, 3, 0], 0, 9, 0),
        ([1, 5, 3, 2], 0, 0, 4),  # none is looked at: the last is kept
        ([1, 5, 3, 2], None, 1, 4),
    ],
)
def test_the_best_network_on_validation_data_is_kept(
    *, classes: list[int], candidates: int | None, every: int, kept: int, data: Dataset, tmp_path: Path
) -> None:
    answer = [0, *classes][kept]
    many = Split(np.zeros((len(STARS), 1, 8, 8), np.float32), STARS)
    known = replace(data, validation=many)
    recipe = replace(SHORT, phases=(Phase(4, 8, 0),), peak_rate=1e-9)

    def trained(stops: Sequence[int], checkpoint: Path) -> tuple[nn.Module, History]:
        for stop in (*stops, None):
            model, seen = _Answer(), []
            tell = _told(classes, seen)

            def on_epoch(epoch: int, model: nn.Module, tell: Any = tell, stop: int | None = stop) -> None:
                if epoch == stop:
                    raise _InterruptionError
                tell(epoch, model)

            with contextlib.suppress(_InterruptionError):
                history = train_network(
                    model,
                    known,
                    recipe,
                    candidates=candidates,
                    validate_every=every,
                    on_epoch=on_epoch,
                    checkpoint=checkpoint,
                )
        return model, history

    unbroken, history = trained([], tmp_path / "unbroken")
    assert (history.kept, int(unbroken.answer.argmax())) == (kept, answer)
    assert history.validation_accuracy == (None if every == 0 else pytest.approx((answer + 1) / 55))
    for stops in ([1], [3], [2, 3]):
        resumed, again = trained(stops, tmp_path / f"broken{stops}")
        assert (again.kept, again.validation_accuracy) == (history.kept, history.validation_accuracy)
        assert same(resumed, unbroken)
    finished, again = trained([], tmp_path / "unbroken")
    assert again.kept == kept
    assert same(finished, unbroken)


def test_without_validation_data_the_last_network_is_kept(data: Dataset) -> None:
    none = replace(data, validation=data.validation.take(0))
    history = train_network(build("digits"), none, SHORT, candidates=0)
    assert (history.kept, history.validation_accuracy) == (SHORT.epochs, None)


def test_the_number_of_threads_comes_back(data: Dataset) -> None:
    before, seen = torch.get_num_threads(), []
    recipe = replace(SHORT, phases=(Phase(1, 8, 0),), threads=before + 1)
    train_network(build("digits"), data, recipe, on_epoch=lambda *_: seen.append(torch.get_num_threads()))
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_phases_follow_each_other() -> None:
    assert [SHORT.phase(epoch).size for epoch in range(SHORT.epochs)] == [6, 6, 8]
    with pytest.raises(IndexError):
        SHORT.phase(3)


def test_the_loss_mixes_labels_and_teacher() -> None:
    logits = torch.randn(6, 10, dtype=torch.double)
    soft, labels = torch.randn(6, 10, dtype=torch.double), torch.arange(6)
    plain = nn.functional.cross_entropy(logits, labels)

    def loss(soft: torch.Tensor | None, recipe: Recipe) -> torch.Tensor:
        return Classification().loss(logits, torch.zeros(6), labels, soft, recipe)

    assert torch.equal(loss(None, SHORT), plain)
    assert torch.allclose(loss(logits, SHORT), 0.5 * plain)
    p, q = (torch.softmax(z / 2, 1) for z in (soft, logits))
    expected = 0.25 * plain + 0.75 * 4 * (p * (p / q).log()).sum(1).mean()
    assert torch.allclose(loss(soft, replace(SHORT, teacher_weight=0.75)), expected)


def test_reconstruction_wants_the_input_and_the_teachers_output() -> None:
    x, soft = torch.randn(5, 3, 2, 1), torch.randn(5, 6)
    recipe = replace(SHORT, objective="reconstruction", teacher_weight=0.25)
    assert isinstance(objective_of(recipe), Reconstruction)
    loss = Reconstruction().loss(torch.zeros(5, 6), x, torch.zeros(5), soft, recipe)
    assert torch.allclose(loss, 0.75 * x.square().mean() + 0.25 * soft.square().mean())
    mean = x.flatten(1).mean(0).expand(5, -1)
    assert Reconstruction().merit(x.flatten(1), x, torch.zeros(5)) == 1
    assert torch.allclose(Reconstruction().merit(mean, x, torch.zeros(5)), torch.zeros(()), atol=1e-6)


def test_a_mismatch_is_relative_and_leaves_the_outputs_out() -> None:
    theirs = {"a": torch.full((2, 3), 2.0), "b": torch.tensor([1.0, -1.0]), "logits": torch.zeros(2)}
    ours = {"a": torch.full((2, 3), 3.0), "b": torch.tensor([1.0, -1.0]), "logits": torch.ones(2)}
    assert mismatch(theirs, theirs) == 0
    assert torch.allclose(mismatch(ours, theirs), torch.tensor(0.5 * 0.25))


def test_a_recipe_is_described_by_what_is_not_default() -> None:
    recipe = Recipe(phases=(Phase(2, size=None, pad=(3, 0)),), match=3.0, optimizer="sgd")
    assert repr(recipe) == "Recipe(phases=(Phase(epochs=2, size=None, pad=(3, 0)),), match=3.0)"


def test_padding_repeats_the_edge_where_the_recipe_says_so() -> None:
    rows = torch.arange(4.0).view(1, 1, 4, 1).expand(200, 1, 4, 2)
    moved = augment(rows, Phase(1, None, (2, 0)), None, False, torch.Generator().manual_seed(0))
    assert moved.shape == rows.shape
    seen = {tuple(column) for column in moved[:, 0, :, 0].tolist()}
    assert seen == {(0, 0, 0, 1), (0, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, 3), (2, 3, 3, 3)}
    assert torch.equal(moved[..., 0], moved[..., 1])


def test_inputs_are_mixed_in_pairs_where_labels_do_not_count() -> None:
    x = torch.randn(300, 1, 2, 2)
    mixed = mix(x, 0.5, torch.Generator().manual_seed(1))
    assert float(mixed.min()) >= float(x.min())
    assert float(mixed.max()) <= float(x.max())
    assert 0.5 < float(mixed.std() / x.std()) < 1.0
    with pytest.raises(ValueError, match="teacher_weight of 1"):
        replace(SHORT, mixup=0.5)


def test_unknown_labels_are_the_teachers_answers_and_clips_label_their_windows(data: Dataset) -> None:
    teacher = build("digits", 3)
    some = np.where(np.arange(len(data.train)) % 2 == 0, -1, data.train.labels)
    found = labelled(replace(data, train=Split(data.train.images, some)), teacher)
    answers = outputs_of(teacher, data.train.images, data.scaling).argmax(1).numpy()
    assert np.array_equal(found.train.labels, np.where(some < 0, answers, some))
    assert np.array_equal(found.validation.labels, data.validation.labels)
    clips = Split(data.validation.images[:6], np.array([4, 7]), windows=3)
    assert labelled(replace(data, validation=clips), teacher).validation.labels.tolist() == [4, 4, 4, 7, 7, 7]


def test_unknown_labels_are_answers_to_what_integers_hold() -> None:
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        teacher[1].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    images = np.array([[100.0, 5.0], [3.0, 1.0]], np.float32).reshape(2, 2, 1, 1)  # 100 is held as 127 / 16
    split = Split(images, np.array([-1, -1]))
    beyond = Dataset("mine", split, split, split, ("a", "b"), InputScaling(0, 1 / 16, unit=1.0))
    assert labelled(beyond, teacher).train.labels.tolist() == [1, 0]


def test_biases_and_normalization_do_not_decay() -> None:
    model = build("digits")
    model.fc.weight.requires_grad_(False)
    decayed, rest = decay_groups(model, SHORT)
    assert decayed["weight_decay"] == SHORT.weight_decay
    assert rest["weight_decay"] == 0
    assert {p.dim() for p in decayed["params"]} == {4}
    assert sum(p.numel() for p in decayed["params"]) == 1840 - 160
    assert {p.dim() for p in rest["params"]} == {1}


def test_groups_scale_the_rate(data: Dataset) -> None:
    model = build("digits")
    frozen = model.fc.weight.detach().clone()
    others = [p for p in model.parameters() if p is not model.fc.weight]
    train_network(
        model,
        data,
        SHORT,
        groups=lambda _, __: [{"params": others}, {"params": [model.fc.weight], "rate_factor": 0.0}],
    )
    assert torch.equal(model.fc.weight, frozen)
    assert not torch.equal(model.stem.weight, build("digits").stem.weight)


def test_a_teacher_alone_teaches() -> None:
    data = load_dataset("digits")
    recipe = replace(float_recipe_of("digits"), phases=(Phase(24, 8, 1),))
    teacher, pupil = build("digits", 3), build("digits", 4)
    train_network(teacher, data, recipe)
    wrong = replace(data, train=Split(data.train.images, (data.train.labels + 1) % 10))
    train_network(pupil, wrong, replace(recipe, teacher_weight=1.0), teacher=teacher)
    # Had the labels taught, nearly all answers would be one too high.
    misled = Split(data.validation.images, (data.validation.labels + 1) % 10)
    right, wrong = (evaluate(pupil, split, data.scaling) for split in (data.validation, misled))
    assert right > 3 * wrong


def test_answers_that_are_kept_teach_as_those_asked_for_do(data: Dataset) -> None:
    teacher, asked, answers = build("digits", 3), [], TeacherCache()
    teacher.register_forward_pre_hook(lambda *_: asked.append(1))
    recipe = replace(SHORT, optimizer="adam", peak_rate=1e-3, mixup=0.3, teacher_weight=1.0)

    def trained(seed: int, answers: TeacherCache | None = None) -> tuple[torch.nn.Module, int]:
        asked.clear()
        model = build("digits", 4)
        train_network(model, data, recipe, seed=seed, teacher=teacher, answers=answers)
        return model, len(asked)

    for seed in (0, 1):
        alone, asks = trained(seed)
        first, first_asks = trained(seed, answers)
        again, later_asks = trained(seed, answers)
        assert (first_asks, later_asks) == (asks, 0)
        for model in (first, again):
            assert all(map(torch.equal, model.parameters(), alone.parameters()))


def test_answers_beyond_the_limit_are_not_kept() -> None:
    answers, asked = TeacherCache(most=100), []

    def ask() -> torch.Tensor:
        asked.append(1)
        return torch.full((2, 10), float(len(asked)))

    assert float(answers.of("a", ask)[0, 0]) == float(answers.of("a", ask)[0, 0]) == 1
    assert [float(answers.of("b", ask)[0, 0]) for _ in range(2)] == [2, 3]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile wants g++")
def test_every_training_of_a_process_is_compiled_and_ends_as_one_that_is_not() -> None:
    # In a process of its own, as studies' workers are: compiled code beside all that tests load died once.
    script = Path(__file__).parent / "compiled.py"
    own = os.environ.get("ATEN_CPU_CAPABILITY")
    # What was compiled for other kernels does not compile on: each kind needs a cache of its own.
    cache = {"TORCHINDUCTOR_CACHE_DIR": f"{tempfile.gettempdir()}/torchinductor-{own}"} if own else {}
    done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, env=os.environ | cache)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_resumed_optimizer_lies_in_memory_as_its_parameters_do(tmp_path: Path) -> None:
    model = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 4, 5, 5)).sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path / "state", model, optimizer, "", Progress([]))
    again = torch.optim.AdamW(model.parameters())
    load_checkpoint(tmp_path / "state", model, again, "")
    for parameter, state in again.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            assert state[name].stride() == parameter.stride()
            assert torch.equal(state[name], optimizer.state[parameter][name])


def test_evaluation_leaves_the_mode_as_it_was(data: Dataset) -> None:
    model = build("digits").train()
    before = model.norm.running_mean.clone()
    evaluate(model, data.validation, data.scaling, batch=7)
    assert model.training
    assert torch.equal(model.norm.running_mean, before)


def test_digits_are_learnt() -> None:
    digits = load_dataset("digits")
    model = build("digits")
    train_network(model, digits, float_recipe_of("digits"), validate_every=100)
    assert evaluate(model, digits.test, digits.scaling) > 0.9  # 0.97 to 0.99, by seed


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_trains_too(data: Dataset) -> None:
    assert len(train_network(build("digits"), data, SHORT, device="cuda").epochs) == SHORT.epochs


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_replayed_steps_train_as_steps_one_by_one_do(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> torch.nn.Module:
        torch.manual_seed(0)
        model = build("digits")
        train_network(model, data, replace(SHORT, optimizer="adam", peak_rate=1e-3), device="cuda")
        return model

    replayed = trained()
    monkeypatch.setattr("intarsia.quantize.training.CudaGraphStep", lambda: lambda step, *given: step(*given))
    for ours, theirs in zip(replayed.parameters(), trained().parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_too_few_images_are_refused(data: Dataset) -> None:
    few = replace(data, train=data.train.take(3))
    with pytest.raises(ValueError, match="do not fill one batch"):
        train_network(build("digits"), few, SHORT)


def test_relative_rates_move_every_tensor_by_the_same_part_of_its_size() -> None:
    model = attach(build("digits"), Scheme.parse("ternary+1:16xint4"), (1, 8, 8), 1 / 16)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.randn(parameter.shape) * 10.0 ** (number % 5 - 3))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    recipe = replace(SHORT, optimizer="adam")
    optimizer = torch.optim.Adam([group | {"lr": 0.01 * group["rate_factor"]} for group in groups(model, recipe)])
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()  # Adam's first step has the size of the rate
    for name, parameter in model.named_parameters():
        size = 1.0 if "log_scale" in name else max(before[name].square().mean().sqrt().item(), 1e-3)
        moved = (before[name] - parameter.detach()) / size
        torch.testing.assert_close(moved, torch.full_like(moved, 0.01), rtol=1e-2, atol=1e-4)
    found = groups(model, recipe)
    assert {group["weight_decay"] for group in found} == {0.0, SHORT.weight_decay}
    assert sum(len(group["params"]) for group in found) == len(before)


def test_an_average_follows_its_parameters_and_gives_them_back() -> None:
    model = nn.Linear(2, 1, bias=False)
    average = Average(model, 0.75)
    with torch.no_grad():
        model.weight.fill_(0.0)
    before = average.values["weight"].clone()
    average.update()
    assert torch.equal(average.values["weight"], 0.75 * before)
    memory = model.weight.data_ptr()
    with average.applied():
        assert torch.equal(model.weight, 0.75 * before)
    assert not model.weight.any(), "training goes on with the weights themselves"
    average.keep()
    assert torch.equal(model.weight, 0.75 * before)
    assert model.weight.data_ptr() == memory, "recorded steps read the same memory"


@pytest.mark.parametrize("candidates", [0, 1, None])
def test_the_average_is_looked_at_and_kept_and_survives_an_interruption(
    candidates: int | None, data: Dataset, tmp_path: Path
) -> None:
    recipe = replace(SHORT, optimizer="adam", peak_rate=1e-2, average=0.9)
    unbroken, broken, resumed = build("digits", 1), build("digits", 1), build("digits", 2)
    history = train_network(unbroken, data, recipe, seed=1, candidates=candidates)
    plain = build("digits", 1)
    train_network(plain, data, replace(recipe, average=0.0), seed=1, candidates=candidates)
    assert same(plain, unbroken) == (history.kept == 0), "only the network that was given is not an average"
    assert (
        history.kept == 0
        or candidates is None
        or history.validation_accuracy == evaluate(unbroken, data.validation, data.scaling)
    )
    checkpoint = tmp_path / "checkpoint.safetensors"
    with contextlib.suppress(_InterruptionError):
        train_network(broken, data, recipe, seed=1, candidates=candidates, checkpoint=checkpoint, on_epoch=_interrupt)
    again = train_network(resumed, data, recipe, seed=1, candidates=candidates, checkpoint=checkpoint)
    assert again.kept == history.kept
    assert same(unbroken, resumed)


@pytest.mark.parametrize("change", ["missing", "unknown", "number", "shape"])
def test_a_damaged_state_of_the_optimizer_is_refused_and_nothing_changed(change: str, tmp_path: Path) -> None:
    model, path = nn.Linear(2, 2), tmp_path / "state"
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    save_checkpoint(path, model, optimizer, "", Progress([]))
    with safe_open(path, framework="np") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    moved = tensors.pop("optimizer.0.exp_avg")
    named = {"missing": {}, "unknown": {"optimizer.0.spam": moved}, "number": {"optimizer.x.exp_avg": moved}}
    save_tensors(path, tensors | named.get(change, {"optimizer.0.exp_avg": moved[:1]}), header)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(IntarsiaError, match="the state of another optimizer, or a damaged one"):
        load_checkpoint(path, model, optimizer, "")
    assert all(map(torch.equal, before, model.parameters()))
