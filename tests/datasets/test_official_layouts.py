# SPDX-License-Identifier: Apache-2.0
"""The loaders on small folders laid out as the official distributions are."""

import io
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from intarsia.datasets.archives import Distribution
from intarsia.datasets.audio import RATE, log_mel, mfcc
from intarsia.datasets.speech_commands import CLASSES, load_speech_commands
from intarsia.datasets.toycar import load_toycar
from intarsia.datasets.visual_wake_words import decode, load_visual_wake_words
from intarsia.errors import IntarsiaError

RANDOM = np.random.default_rng(5)


def sound(path: Path, seconds: float) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = RANDOM.integers(-9000, 9000, round(seconds * RATE)).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return samples


@pytest.fixture
def speech(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    root = tmp_path / "data" / "kws" / "speech_commands_v0.02"
    words = [
        "yes/a_nohash_0.wav",
        "yes/b_nohash_0.wav",
        "cat/c_nohash_0.wav",
        "down/d_nohash_0.wav",
        "go/e_nohash_1.wav",
    ]
    clips = {name: sound(root / name, 0.9) for name in words}
    for name, seconds in (("white_noise.wav", 2.4), ("running_tap.wav", 1.6), ("pink_noise.wav", 1.2)):
        clips[name] = sound(root / "_background_noise_" / name, seconds)
    (root / "validation_list.txt").write_text("yes/b_nohash_0.wav\ngo/e_nohash_1.wav\n")
    (root / "testing_list.txt").write_text("down/d_nohash_0.wav\n")
    (root / "README.md").write_text("not a word")
    return tmp_path / "data", clips


def test_speech_commands_are_split_by_their_lists(speech: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    data_dir, clips = speech
    data = load_speech_commands(data_dir, cache=tmp_path / "cache")

    def named(labels: np.ndarray) -> list[str]:
        return [CLASSES[label] for label in labels]

    assert named(data.train.labels) == ["Unknown", "Yes", "Silence", "Silence", "Silence"]
    assert named(data.validation.labels) == ["Go", "Yes", "Silence", "Silence"]
    assert named(data.test.labels) == ["Down", "Silence"]
    assert data.train.images.dtype == np.float32
    assert data.shape == (1, 49, 10)
    assert np.array_equal(data.train.images[1, 0], mfcc(clips["yes/a_nohash_0.wav"]))
    assert np.array_equal(data.train.images[3, 0], mfcc(clips["white_noise.wav"][8000:24000]))
    assert "testing_list" in data.source


def test_the_accuracy_set_is_tested_on_where_it_is(speech: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    data_dir, _ = speech
    x = RANDOM.integers(-128, 128, (3, 49, 10, 1)).astype(np.int8)
    np.savez(
        data_dir / "kws" / "test_kws01.npz",
        x=x,
        y=np.array([3, 11, 0], np.uint8),
        scale=np.float32(0.5847029),
        zero_point=83,
        classes=np.array(CLASSES),
    )
    data = load_speech_commands(data_dir, splits=("test",), cache=tmp_path / "cache")
    assert data.test.labels.tolist() == [3, 11, 0]
    assert len(data.train) == len(data.validation) == 0
    # The integer input is the benchmark's without its zero point: rounded once, not twice.
    assert np.array_equal(data.scaling.integers(data.test.images)[:, 0], np.clip(x[..., 0].astype(int) - 83, -128, 127))


def test_what_speech_commands_lack_is_named(speech: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    data_dir, _ = speech
    root = data_dir / "kws" / "speech_commands_v0.02"
    (root / "cat" / "c_nohash_0.wav").write_bytes(b"RIFF")
    with pytest.raises(IntarsiaError, match=r"c_nohash_0\.wav"):
        load_speech_commands(data_dir, cache=tmp_path / "cache")
    (root / "testing_list.txt").unlink()
    with pytest.raises(IntarsiaError, match=r"testing_list\.txt; unpack the archive again"):
        load_speech_commands(data_dir, cache=tmp_path / "cache")


def test_without_data_and_network_it_is_said_what_to_put_where(tmp_path: Path) -> None:
    nowhere = Distribution("kws", "speech_commands_v0.02", "http://127.0.0.1:9/x.tar.gz", "0" * 64)
    with pytest.raises(IntarsiaError, match=r"put speech_commands_v0\.02\.tar\.gz, unpacked or not, into .*data/kws"):
        load_speech_commands(tmp_path / "data", cache=tmp_path / "cache", source=nowhere)
    nowhere = Distribution("vww", "vw_coco2014_96", "http://127.0.0.1:9/x.tar.gz", "0" * 64)
    with pytest.raises(IntarsiaError, match=r"put y_labels\.csv of MLPerf Tiny and vw_coco2014_96\.tar\.gz"):
        load_visual_wake_words(None, cache=tmp_path / "cache", source=nowhere)
    for data_dir in (None, tmp_path):
        with pytest.raises(IntarsiaError, match=r"dev_data_ToyCar\.zip"):
            load_toycar(data_dir)


def test_small_sets_that_are_half_there_name_the_other_half(tmp_path: Path) -> None:
    (tmp_path / "kws").mkdir()
    np.savez(tmp_path / "kws" / "train_synthetic_speech.npz", mfcc=np.zeros((2, 49, 10), np.float16))
    with pytest.raises(IntarsiaError, match=r"there is no file .*train_speech_commands_v1\.npz"):
        load_speech_commands(tmp_path, splits=("train",), cache=tmp_path / "cache")
    (tmp_path / "ad").mkdir()
    np.savez(tmp_path / "ad" / "train_normal.npz", x=np.zeros((20, 100, 128), np.float16))
    with pytest.raises(IntarsiaError, match=r"x has the shape \(20, 100, 128\), it must be \(N, 200, 128\)"):
        load_toycar(tmp_path, splits=("train",))


def picture(colour: int, size: int = 96) -> bytes:
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[..., 0], pixels[..., 2] = colour, 255 - colour
    buffer = io.BytesIO()
    image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "vww"
    for label, name in enumerate(("non_person", "person")):
        (folder / "vw_coco2014_96" / name).mkdir(parents=True)
        for number in range(22):
            path = folder / "vw_coco2014_96" / name / f"COCO_train2014_{2 * number + label:012d}.jpg"
            path.write_bytes(picture(100 * label + number))
    (folder / "y_labels.csv").write_text("000000000000.bin,2,0\n000000000042.bin,2,0\n000000000005.bin,2,1\n")
    return tmp_path / "data"


def test_wake_words_keep_the_tested_images_out_of_training(pictures: Path, tmp_path: Path) -> None:
    data = load_visual_wake_words(pictures, cache=tmp_path / "cache")
    assert data.train.images.shape == (37, 3, 96, 96)
    assert data.test.labels.tolist() == [0, 0, 1]
    assert data.validation.labels.tolist() == [0, 0, 1, 1]
    reds = {name: getattr(data, name).images[:, 0, 40, 40].astype(int) for name in ("train", "validation", "test")}
    assert np.abs(reds["test"] - [0, 21, 102]).max() <= 3
    assert np.abs(reds["validation"] - [1, 2, 100, 101]).max() <= 3
    assert np.abs(data.train.images[:, 0].astype(int) + data.train.images[:, 2] - 255).max() <= 6, "planar RGB"
    assert data.train.labels.tolist() == [0] * 18 + [1] * 19
    assert data.scaling.integers(data.test.images).dtype == np.uint8


def test_wake_words_are_tested_on_the_accuracy_set_where_it_is(pictures: Path, tmp_path: Path) -> None:
    x = RANDOM.integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    np.savez(pictures / "vww" / "test_vww01.npz", x=x, y=np.array([1, 0, 1]))
    data = load_visual_wake_words(pictures, cache=tmp_path / "cache")
    assert np.array_equal(data.test.images, x.transpose(0, 3, 1, 2))
    assert data.test.labels.tolist() == [1, 0, 1]
    assert len(data.train) == 37


def test_wake_words_come_out_of_the_archive(pictures: Path, tmp_path: Path) -> None:
    folder = pictures / "vww"
    with tarfile.open(folder / "vw_coco2014_96.tar.gz", "w:gz") as tar:
        tar.add(folder / "vw_coco2014_96", "vw_coco2014_96")
    (folder / "vw_coco2014_96").rename(tmp_path / "elsewhere")
    import hashlib  # noqa: PLC0415

    checksum = hashlib.sha256((folder / "vw_coco2014_96.tar.gz").read_bytes()).hexdigest()
    source = Distribution("vww", "vw_coco2014_96", "http://127.0.0.1:9/", checksum)
    assert len(load_visual_wake_words(pictures, cache=tmp_path / "cache", source=source).train) == 37


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("person/COCO_7.jpg", b"no picture", "cannot be read as an image"),
        ("person/COCO_7.jpg", picture(3)[:400], "cannot be read as an image"),
        ("person/COCO_7.jpg", picture(3, 95), "95x95 pixels instead of 96x96"),
        ("person/COCO_x.jpg", picture(3), "does not end in its COCO number"),
        ("../y_labels.csv", b"x,2,1\n", r"not a list of images .*take y_labels\.csv of MLPerf Tiny"),
        ("../y_labels.csv", b"000000999999.bin,2,1\n", "has 0 of 1 test images"),
    ],
)
def test_what_is_wrong_with_wake_words_is_named(
    pictures: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (pictures / "vww" / "vw_coco2014_96" / name).write_bytes(content)
    with pytest.raises(IntarsiaError, match=message):
        load_visual_wake_words(pictures, cache=tmp_path / "cache")


def test_a_picture_of_impossible_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "JPEG")
    bomb = bytearray(content.getvalue())
    start = bomb.index(b"\xff\xc0") + 5
    bomb[start : start + 4] = b"\xff\xff\xff\xff"  # height and width
    (tmp_path / "bomb.jpg").write_bytes(bomb)
    with pytest.raises(IntarsiaError, match="cannot be read as an image"):
        decode(tmp_path / "bomb.jpg")


def test_toy_cars_are_windows_of_five_frames(tmp_path: Path) -> None:
    root = tmp_path / "data" / "ad" / "ToyCar"
    clips = {
        f"normal_id_01_{number:08d}.wav": sound(root / "train" / f"normal_id_01_{number:08d}.wav", 8.1)
        for number in range(10)
    }
    for name in ("normal_id_01_00000003", "normal_id_02_00000004", "anomaly_id_04_00000013", "anomaly_id_04_00000010"):
        clips[name] = sound(root / "test" / f"{name}.wav", 8.1)
    data = load_toycar(tmp_path / "data", cache=tmp_path / "cache")
    assert (len(data.train), len(data.validation), len(data.test)) == (9, 1, 2)
    assert data.test.labels.tolist() == [1, 0]
    assert data.test.windows == data.train.windows == 196
    frames = log_mel(clips["normal_id_01_00000003"]).astype(np.float16)
    second = data.test.images[196:, :, 0, 0]
    for window in (0, 1, 100, 195):
        assert np.array_equal(second[window], frames[window : window + 5].ravel())
    assert data.score(np.concatenate([second * 0, second]).astype(np.float32), data.test) == 1.0


def test_very_many_training_clips_give_fewer_windows_each(tmp_path: Path) -> None:
    (tmp_path / "ad").mkdir()
    frames = np.broadcast_to(np.arange(200, dtype=np.float16)[:, None], (200, 128))
    np.savez_compressed(tmp_path / "ad" / "train_normal.npz", x=np.broadcast_to(frames, (1200, 200, 128)))
    data = load_toycar(tmp_path, splits=("train", "validation"))
    assert (data.train.windows, data.validation.windows, len(data.train), len(data.validation)) == (98, 196, 1080, 120)
    assert data.train.images[:98, 0, 0, 0].tolist() == list(range(0, 196, 2))


def test_toy_car_files_that_are_wrong_are_named(tmp_path: Path) -> None:
    root = tmp_path / "ad" / "ToyCar"
    sound(root / "train" / "normal_id_01_00000000.wav", 8.1)
    with pytest.raises(IntarsiaError, match="there are no files such as"):
        load_toycar(tmp_path, cache=tmp_path / "cache")
    sound(root / "test" / "normal_id_01_00000003.wav", 2.0)
    with pytest.raises(IntarsiaError, match=r"00000003\.wav is too short"):
        load_toycar(tmp_path, cache=tmp_path / "cache")
