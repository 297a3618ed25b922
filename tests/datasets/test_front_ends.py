# SPDX-License-Identifier: Apache-2.0
"""The front ends against plain loops over their definitions, and against the benchmark's own numbers."""

import os
import wave
from math import cos, exp, log, log10, pi
from pathlib import Path

import numpy as np
import pytest

from intarsia.datasets.audio import RATE, log_mel, mfcc, read_wav
from intarsia.errors import IntarsiaError

DATA = os.environ.get("INTARSIA_DATA")


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    swell = np.sin(np.arange(round(seconds * RATE)) / 3000)
    return np.asarray(np.clip(random.normal(size=len(swell)) * 6000 * swell, -32768, 32767).astype(np.int16))


def spectrum(frame: np.ndarray, points: int) -> np.ndarray:
    """Magnitudes by the sum that defines the discrete Fourier transform."""
    angles = 2 * pi * np.outer(np.arange(points // 2 + 1), np.arange(len(frame))) / points
    return np.abs((frame * (np.cos(angles) - 1j * np.sin(angles))).sum(axis=1))


def hann(length: int) -> np.ndarray:
    return np.array([0.5 - 0.5 * cos(2 * pi * n / length) for n in range(length)])


def slow_mfcc(clip: np.ndarray, frame: int) -> list[float]:
    sound = np.zeros(RATE)
    sound[: len(clip)] = clip / clip.max()
    magnitudes = spectrum(sound[frame * 320 : frame * 320 + 480] * hann(480), 512)

    def mel(frequency: float) -> float:
        return 1127 * log(1 + frequency / 700)

    step = (mel(4000) - mel(20)) / 41
    logs = []
    for band in range(40):
        low = mel(20) + band * step
        total = 0.0
        for k in range(1, 257):
            place = (mel(k * RATE / 512) - low) / step
            total += max(0.0, min(place, 2 - place)) * magnitudes[k]
        logs.append(log(total + 1e-6))
    return [sum(v * cos(pi * k * (2 * n + 1) / 80) for n, v in enumerate(logs)) * 2 / 80**0.5 for k in range(10)]


def slow_log_mel(clip: np.ndarray, frame: int, band: int) -> float:
    begin = frame * 512 - 512
    samples = [clip[i] / 32768 if 0 <= i < len(clip) else 0.0 for i in range(begin, begin + 1024)]
    power = spectrum(np.array(samples) * hann(1024), 1024) ** 2

    def frequency(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * exp((mel - 15) * log(6.4) / 27)

    highest = 15 + 27 * log(8) / log(6.4)
    low, top, high = (frequency(highest * (band + i) / 129) for i in range(3))
    total = 0.0
    for k, energy in enumerate(power):
        f = k * RATE / 1024
        total += max(0.0, min((f - low) / (top - low), (high - f) / (high - top))) * energy * 2 / (high - low)
    return 10 * log10(total + 2.0**-52)


@pytest.mark.parametrize(("seconds", "frames"), [(1.0, (0, 17, 48)), (0.4, (0, 19, 20, 48)), (1.3, (48,))])
def test_mfcc_are_what_their_definition_says(seconds: float, frames: tuple[int, ...]) -> None:
    clip = noise(seconds)
    found = mfcc(clip)
    assert found.shape == (49, 10)
    for frame in frames:
        assert found[frame] == pytest.approx(slow_mfcc(clip[:RATE], frame), abs=2e-4)


def test_mfcc_of_silence_are_finite() -> None:
    assert mfcc(np.zeros(RATE, np.int16))[:, 0] == pytest.approx(2 / 80**0.5 * 40 * log(1e-6))
    assert np.isfinite(mfcc(np.zeros(0, np.int16))).all()


@pytest.mark.parametrize(("frame", "band"), [(0, 0), (0, 40), (3, 127), (7, 64), (9, 5)])
def test_log_mel_energies_are_what_their_definition_says(frame: int, band: int) -> None:
    clip = noise(0.3)
    found = log_mel(clip, first=0, count=10)
    assert found.shape == (10, 128)
    assert found[frame, band] == pytest.approx(slow_log_mel(clip, frame, band), abs=1e-4)


def test_the_benchmark_takes_the_middle_of_a_clip() -> None:
    clip = noise(11.0)
    assert log_mel(clip).shape == (200, 128)
    assert np.array_equal(log_mel(clip)[:10], log_mel(clip, first=50, count=10))
    with pytest.raises(ValueError, match="too few for frames 50 to 250"):
        log_mel(clip[: 5 * RATE])


@pytest.mark.data
@pytest.mark.skipif(not DATA, reason="needs INTARSIA_DATA")
def test_mfcc_are_those_that_the_benchmark_computed() -> None:
    path = Path(str(DATA)) / "kws" / "calibration_speech_commands_v1.npz"
    if not path.is_file():
        pytest.skip(f"needs {path.name}")
    with np.load(path) as content:
        audio, stored = content["audio"], content["mfcc"].astype(np.float64)
    found = np.stack([mfcc(clip) for clip in audio]).astype(np.float64)
    # They are stored in half precision: 11 significant bits, rounded, of values computed in single precision.
    assert (np.abs(found - stored) <= np.maximum(np.abs(stored), 0.1) * 2.0**-11 * 1.02 + 1e-4).all()


def write_wav(path: Path, samples: np.ndarray, channels: int = 1, rate: int = RATE, width: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    return path


def test_a_sound_file_is_read_back(tmp_path: Path) -> None:
    clip = noise(0.1)
    assert np.array_equal(read_wav(write_wav(tmp_path / "a.wav", clip)), clip)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 2}, "2 channels of 16 bits at 16,000 Hz; convert it to 1 channel"),
        ({"rate": 44100}, "1 channels of 16 bits at 44,100 Hz"),
        ({"width": 1}, "1 channels of 8 bits"),
    ],
)
def test_a_sound_file_of_another_kind_is_refused(tmp_path: Path, change: dict[str, int], message: str) -> None:
    with pytest.raises(IntarsiaError, match=message):
        read_wav(write_wav(tmp_path / "a.wav", noise(0.1), **change))


@pytest.mark.parametrize("content", [b"", b"RIFF", b"nothing of the kind, but long enough to be read", None])
def test_a_broken_sound_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IntarsiaError, match=r"a\.wav"):
        read_wav(path)
