"""Variants of a few sound clips, and noise: inputs that related recordings have too few of."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from intarsia.datasets.audio import RATE, mfcc

Clip = NDArray[np.int16]

_MOST_SHIFT = RATE // 8  # samples
_SPEED = 0.12  # slower or faster, part of one
_GAIN = (0.4, 1.6)
_NOISE = (1e-4, 3e-2)  # root mean square of added noise, part of full scale, drawn by its logarithm
_FULL = 32767


def vary(clip: Clip, rng: Generator) -> Clip:
    """Return a clip (samples,) said a little sooner or later, faster or slower, louder or softer, in noise."""
    speed = 1 + rng.uniform(-_SPEED, _SPEED)
    middle = len(clip) / 2
    places = (np.arange(len(clip)) - middle) * speed + middle + rng.integers(-_MOST_SHIFT, _MOST_SHIFT + 1)
    moved = np.interp(places, np.arange(len(clip)), clip.astype(np.float64), left=0.0, right=0.0)
    loud = moved * rng.uniform(*_GAIN) + coloured_noise(len(clip), rng) * _level(rng)
    return _clip(loud)


def noise_clip(rng: Generator) -> Clip:
    """Return a second (samples,) of noise alone, of a random colour and level."""
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
        noises: clips of noise alone to add.
        seed: decides all of them.
    """
    rng = np.random.default_rng(seed)
    made = [vary(clip, rng) for clip, count in zip(clips, each, strict=True) for _ in range(int(count))]
    made += [noise_clip(rng) for _ in range(noises)]
    return np.stack([mfcc(clip) for clip in made])[:, None].astype(np.float32)


def _level(rng: Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(_NOISE))))


def _clip(values: NDArray[np.float64]) -> Clip:
    return np.clip(np.rint(values), -_FULL - 1, _FULL).astype(np.int16)
