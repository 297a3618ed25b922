# SPDX-License-Identifier: Apache-2.0
"""Variants of a few sound clips, and noise: inputs that related recordings have too few of."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from intarsia.datasets.audio import MFCC_STRIDE, RATE, mfcc

Clip = NDArray[np.int16]

_MOST_SHIFT = RATE // 8  # samples
_VOICE = 0.15  # formants and pitch higher or lower by this in logarithms: from men to children
_TEMPO = 0.2  # slower or faster, in logarithms, whatever the voice
_EQUALIZER, _BANDS = 4.0, 6  # dB, standard deviation of as many points of a microphone's response
_GAIN = (0.4, 1.6)
_NOISE = (1e-5, 1e-2)  # root mean square of added noise, part of full scale, drawn by its logarithm
_FULL = 32767


def vary(clip: Clip, rng: Generator) -> tuple[Clip, int]:
    """Return a clip (samples,) as if another voice said it, sooner or later, louder or softer, into another microphone,
    in noise; and the stride of MFCC frames at which that voice speaks slower or faster.

    Played faster, a voice has higher formants (Jaitly and Hinton, Vocal Tract Length Perturbation, 2013) and hurries;
    the stride takes that back and gives it a tempo of its own.
    """
    voice, tempo = np.exp(rng.uniform(-_VOICE, _VOICE)), np.exp(rng.uniform(-_TEMPO, _TEMPO))
    stride = round(MFCC_STRIDE * tempo / voice)
    seconds = stride / MFCC_STRIDE  # that the frames hear of what is played
    length = round(RATE * seconds)
    middle = len(clip) / 2 + rng.integers(-_MOST_SHIFT, _MOST_SHIFT + 1)
    places = (np.arange(length) - length / 2) * voice + middle
    moved = np.interp(places, np.arange(len(clip)), clip.astype(np.float64), left=0.0, right=0.0)
    heard = equalized(moved, rng) * rng.uniform(*_GAIN) + coloured_noise(length, rng) * _level(rng)
    return _clip(heard), stride


def equalized(sound: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """Return a sound (samples,) with a smooth random response over frequency, in dB, straight between a few points."""
    response = rng.normal(0.0, _EQUALIZER, _BANDS)
    spectrum = np.fft.rfft(sound)
    gain = np.interp(np.linspace(0.0, 1.0, len(spectrum)), np.linspace(0.0, 0.5, _BANDS), response)
    return np.asarray(np.fft.irfft(spectrum * 10 ** (gain / 20), len(sound)))


def noise_clip(rng: Generator) -> Clip:
    """Return a second (samples,) of only noise, of a random colour and level."""
    return _clip(coloured_noise(RATE, rng) * _level(rng) * rng.uniform(0.0, 2.0))


def coloured_noise(samples: int, rng: Generator) -> NDArray[np.float64]:
    """Return noise (samples,) of full scale's root mean square, its power falling with the frequency by a random
    exponent from 0 (white) to 2 (brown).
    """
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-rng.uniform(0.0, 2.0) / 2)
    noise = np.fft.irfft(spectrum, samples)
    return np.asarray(noise / max(float(np.sqrt(np.mean(noise**2))), 1e-12) * _FULL)


def mfcc_variants(clips: NDArray[np.int16], each: NDArray[np.integer], noises: int, seed: int) -> NDArray[np.float32]:
    """Return the MFCC (sum of `each` + noises, 1, frames, coefficients) of variants of clips, and of noise.

    Args:
        clips: (N, samples).
        each: (N,), variants to make of each.
        noises: clips of only noise to add.
        seed: decides all of them.
    """
    rng = np.random.default_rng(seed)
    made = [vary(clip, rng) for clip, count in zip(clips, each, strict=True) for _ in range(int(count))]
    made += [(noise_clip(rng), MFCC_STRIDE) for _ in range(noises)]
    return np.stack([mfcc(clip, stride=stride) for clip, stride in made])[:, None].astype(np.float32)


def _level(rng: Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(_NOISE))))


def _clip(values: NDArray[np.float64]) -> Clip:
    return np.clip(np.rint(values), -_FULL - 1, _FULL).astype(np.int16)
