import numpy as np

from intarsia.datasets.audio import RATE, mfcc
from intarsia.datasets.clip_variants import coloured_noise, mfcc_variants, noise_clip, vary


def tone(start: int, length: int) -> np.ndarray:
    clip = np.zeros(RATE, np.int16)
    clip[start : start + length] = 8000 * np.sin(np.arange(length) * 2 * np.pi * 440 / RATE)
    return clip


def test_a_variant_moves_the_sound_and_never_wraps_it_around() -> None:
    clip, rng = tone(6000, 4000), np.random.default_rng(0)
    centres = []
    for _ in range(50):
        power = vary(clip, rng).astype(np.float64) ** 2
        assert power.max() <= 32768.0**2
        centres.append(float((np.arange(RATE) * power).sum() / power.sum()))
    assert np.std(centres) > 300
    assert min(centres) > 4000
    assert max(centres) < 12000


def test_noise_has_the_colour_and_level_that_are_drawn() -> None:
    rng = np.random.default_rng(1)
    levels = [float(np.sqrt(np.mean(noise_clip(rng).astype(np.float64) ** 2))) for _ in range(40)]
    assert min(levels) < 30
    assert max(levels) > 300
    assert np.isclose(np.sqrt(np.mean(coloured_noise(RATE, rng) ** 2)), 32767)


def test_variants_are_the_same_for_everybody_and_as_many_as_asked_for() -> None:
    clips = np.stack([tone(2000, 3000), tone(9000, 3000)])
    made = mfcc_variants(clips, np.array([3, 1]), 2, seed=5)
    assert made.shape == (6, 1, *mfcc(clips[0]).shape)
    assert made.dtype == np.float32
    assert np.array_equal(made, mfcc_variants(clips, np.array([3, 1]), 2, seed=5))
    assert not np.array_equal(made[0], made[1])
