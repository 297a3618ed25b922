# SPDX-License-Identifier: Apache-2.0
"""Sound files, and the two front ends of MLPerf Tiny: MFCC for keywords, log-mel energies for the anomaly detector.

Both are written after the benchmark's definition, which TensorFlow and librosa compute there; here numpy does.
"""

import sys
import wave
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intarsia.errors import IntarsiaError, unreadable

RATE = 16_000  # samples per second of both data sets
_MFCC_WINDOW, _MFCC_STRIDE, _MFCC_FFT = 480, 320, 512
_MEL_FFT, _MEL_HOP = 1024, 512

Reals = NDArray[np.float64]


def read_wav(path: Path) -> NDArray[np.int16]:
    """Return the samples of a sound file of one channel, 16 bits and 16 kHz.

    Raises:
        IntarsiaError: the file is missing, damaged or of another kind.
    """
    try:
        with wave.open(str(path), "rb") as sound:
            kind = (sound.getnchannels(), 8 * sound.getsampwidth(), sound.getframerate())
            content = sound.readframes(sound.getnframes())
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # wave raises kinds of its own, RuntimeError where a chunk ends early
        reason = str(error) or "it ends early"
        raise IntarsiaError(f"{path} is not a sound file that can be read ({reason}); fetch it again.") from error
    if kind != (1, 16, RATE):
        raise IntarsiaError(
            f"{path} has {kind[0]} channels of {kind[1]} bits at {kind[2]:,} Hz; "
            f"convert it to 1 channel of 16 bits at {RATE:,} Hz."
        )
    return np.frombuffer(content[: len(content) // 2 * 2], "<i2").astype(np.int16)


def mfcc(clip: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return the MFCC of one second of sound; (49, 10), frames × coefficients.

    The clip is divided by its greatest sample, filled up with zeros, cut into 49 windows of 30 ms every 20 ms (Hann,
    periodic), transformed (512 points, magnitudes), summed into 40 mel bands from 20 to 4,000 Hz; of the logarithms
    (plus 1e-6) an orthonormal cosine transform keeps the first ten.

    Args:
        clip: (samples,) at 16 kHz; what is beyond one second is not heard.
    """
    sound = np.zeros(RATE)
    heard = clip[:RATE].astype(np.float64)
    # The benchmark divides by the greatest sample, not the greatest magnitude; silence would give 0/0.
    sound[: len(heard)] = heard / (heard.max(initial=0.0) or 1.0)
    frames = np.lib.stride_tricks.sliding_window_view(sound, _MFCC_WINDOW)[::_MFCC_STRIDE]
    magnitudes = np.abs(np.fft.rfft(frames * _hann(_MFCC_WINDOW), _MFCC_FFT))
    energies = np.log(magnitudes @ _htk_bands(40, _MFCC_FFT, 20.0, 4000.0) + 1e-6)
    return np.asarray(energies @ _cosines(40, 10), np.float32)


def log_mel(clip: NDArray[np.int16], first: int = 50, count: int = 200) -> NDArray[np.float32]:
    """Return log-mel energies in dB; (count, 128), frames × bands.

    Power spectra of 1,024 samples every 512 (Hann, periodic; centred, zeros beyond the ends) are summed into 128 bands
    of equal area on Slaney's mel scale from 0 to 8,000 Hz: 10 · log10(energy + machine epsilon).

    Args:
        clip: (samples,) at 16 kHz, full scale ±32,768.
        first: first frame; the benchmark leaves the first 50 out.
        count: frames wanted.

    Raises:
        ValueError: the clip is too short for these frames.
    """
    sound = np.pad(clip.astype(np.float64) / 32768, _MEL_FFT // 2)
    if (len(sound) - _MEL_FFT) // _MEL_HOP + 1 < first + count:
        raise ValueError(f"{len(clip)} samples are too few for frames {first} to {first + count}")
    frames = np.lib.stride_tricks.sliding_window_view(sound, _MEL_FFT)[::_MEL_HOP][first : first + count]
    power = np.square(np.abs(np.fft.rfft(frames * _hann(_MEL_FFT))))
    return np.asarray(10 * np.log10(power @ _slaney_bands(128, _MEL_FFT) + sys.float_info.epsilon), np.float32)


@cache
def _hann(length: int) -> Reals:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))


@cache
def _htk_bands(bands: int, points: int, low: float, high: float) -> Reals:
    """Triangles that are linear on the mel scale 1127·ln(1 + f/700), height 1, none at 0 Hz; (frequencies, bands)."""
    edges = np.linspace(_mel(np.array(low)), _mel(np.array(high)), bands + 2)
    weights = _triangles(_mel(np.fft.rfftfreq(points, 1 / RATE)), edges)
    weights[0] = 0
    return weights


@cache
def _slaney_bands(bands: int, points: int) -> Reals:
    """Triangles that are linear in frequency, with edges equally spaced on Slaney's scale, each of area 1 Hz."""
    edges = _slaney_frequencies(np.linspace(0, 15 + 27 * np.log(RATE / 2 / 1000) / np.log(6.4), bands + 2))
    weights = _triangles(np.fft.rfftfreq(points, 1 / RATE), edges)
    return np.asarray(weights * 2 / (edges[2:] - edges[:-2]))


def _mel(frequency: NDArray[np.floating]) -> Reals:
    return np.asarray(1127 * np.log1p(frequency / 700))


def _slaney_frequencies(mel: Reals) -> Reals:
    """Linear, 200/3 Hz a mel, up to 1,000 Hz (15 mel), then 27 mel for a factor of 6.4."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def _triangles(positions: NDArray[np.floating], edges: NDArray[np.floating]) -> Reals:
    x, low, top, high = positions[:, None], edges[:-2], edges[1:-1], edges[2:]
    return np.asarray(np.maximum(0, np.minimum((x - low) / (top - low), (high - x) / (high - top))))


@cache
def _cosines(bands: int, count: int) -> Reals:
    """TensorFlow's scaling: 2/√(2·bands) for every coefficient, the first included; (bands, count)."""
    angles = np.outer(2 * np.arange(bands) + 1, np.arange(count)) * np.pi / (2 * bands)
    return np.asarray(np.cos(angles) * 2 / np.sqrt(2 * bands))
