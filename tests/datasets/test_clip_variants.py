# SPDX-License-Identifier: Apache-2.0
import numpy as np

from intarsia.datasets.audio import RATE, mfcc
from intarsia.datasets.clip_variants import coloured_noise, equalized, mfcc_variants, noise_clip, vary


def tone(start: int, length: int) -> np.ndarray:
    clip = np.zeros(RATE, np.int16)
    clip[start : start + length] = 8000 * np.sin(np.arange(length) * 2 * np.pi * 440 / RATE)
    return clip


def test_a_variant_moves_the_sound_and_never_wraps_it_around() -> None:
    clip, rng = tone(6000, 4000), np.random.default_rng(0)
    centres = []
    for _ in range(50):
        heard, stride = vary(clip, rng)
        power = heard.astype(np.float64) ** 2
        assert power.max() <= 32768.0**2
        centres.append(float((np.arange(len(heard)) * power).sum() / power.sum()) / len(heard))
        assert abs(len(heard) / RATE - stride / 320) < 1e-3  # the frames hear all that is played
    assert np.std(centres) > 0.02
    assert min(centres) > 0.25
    assert max(centres) < 0.75


def test_a_variant_has_a_voice_and_a_tempo_of_its_own() -> None:
    clip, rng = tone(0, RATE), np.random.default_rng(2)
    pitches, strides = [], []
    for _ in range(30):
        heard, stride = vary(clip, rng)
        pitches.append(np.abs(np.fft.rfft(heard)).argmax() * RATE / len(heard) / 440)
        strides.append(stride / 320)
    assert 0.8 < min(pitches) < 0.92
    assert 1.08 < max(pitches) < 1.25
    tempos = np.log(np.multiply(pitches, strides))  # of speech: windows a second of the voice that was recorded
    assert np.abs(tempos).max() < 0.25
    assert np.std(tempos) > 0.05


def test_a_microphone_bends_the_spectrum_and_keeps_the_time() -> None:
    sound = np.zeros(RATE)
    sound[8000] = 1.0
    heard = equalized(sound, np.random.default_rng(3))
    assert np.abs(heard).argmax() == 8000
    response = 20 * np.log10(np.abs(np.fft.rfft(heard)))
    assert 2 < response.std() < 8
    assert np.abs(np.diff(response)).max() < 0.05


def test_noise_has_the_colour_and_level_that_are_drawn() -> None:
    rng = np.random.default_rng(1)
    levels = [float(np.sqrt(np.mean(noise_clip(rng).astype(np.float64) ** 2))) for _ in range(40)]
    assert min(levels) < 10
    assert max(levels) > 100
    assert np.isclose(np.sqrt(np.mean(coloured_noise(RATE, rng) ** 2)), 32767)


def test_variants_are_the_same_for_everybody_and_as_many_as_asked_for() -> None:
    clips = np.stack([tone(2000, 3000), tone(9000, 3000)])
    made = mfcc_variants(clips, np.array([3, 1]), 2, seed=5)
    assert made.shape == (6, 1, *mfcc(clips[0]).shape)
    assert made.dtype == np.float32
    assert np.array_equal(made, mfcc_variants(clips, np.array([3, 1]), 2, seed=5))
    assert not np.array_equal(made[0], made[1])
