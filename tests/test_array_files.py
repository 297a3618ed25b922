# SPDX-License-Identifier: Apache-2.0
"""NumPy's files are understood or refused in one sentence, whatever their bytes are, and take no more memory than they
justify.
"""

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from intarsia.array_files import map_npy, read_npy, read_npz
from intarsia.errors import IntarsiaError

_TYPES = st.sampled_from(["int8", "uint16", "int64", ">i4", "float32", "bool", "U3", "complex64"])


@given(arrays.arrays(_TYPES, arrays.array_shapes(min_dims=0, min_side=0)), st.booleans())
def test_what_numpy_wrote_is_read(values: NDArray[np.generic], fortran: bool) -> None:
    values = np.asfortranarray(values) if fortran else values
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "a.npy", values)
        np.savez(folder / "a.npz", x=values)
        np.savez_compressed(folder / "b.npz", x=values)
        mapped = [map_npy(folder / "a.npy")] if values.size else []
        for found in (
            read_npy(folder / "a.npy"),
            *mapped,
            read_npz(folder / "a.npz", ["x"])["x"],
            read_npz(folder / "b.npz", ["x"])["x"],
        ):
            assert found.shape == values.shape
            assert found.dtype == values.dtype
            assert found.tobytes() == values.tobytes(), "NaN is not equal to itself"


_HEADERS = {
    "an open brace": "{'descr': '<f4', 'fortran_order': False, 'shape': (3,",
    "a number for a key": "{1: '<f4', 'fortran_order': False, 'shape': (3,), }",
    "a negative size": "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }",
    "a huge size": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 400 + ",), }",
    "a size of text": "{'descr': '<f4', 'fortran_order': False, 'shape': ('3',), }",
    "many sizes": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 99 + "), }",
    "more than there is": "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,), }",
    "an unknown type": "{'descr': 'spam', 'fortran_order': False, 'shape': (3,), }",
    "a record": "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    "deep brackets": "(" * 5000,
    "a call": "__import__('os').abort()",
}


@pytest.mark.parametrize("header", _HEADERS.values(), ids=_HEADERS)
def test_a_hostile_header_is_refused(header: str, tmp_path: Path) -> None:
    text = header.encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(12)
    path, archive = tmp_path / "a.npy", tmp_path / "a.npz"
    path.write_bytes(content)
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("x.npy", content)
    for read in (lambda: read_npy(path), lambda: map_npy(path), lambda: read_npz(archive, ["x"])):
        with pytest.raises(IntarsiaError, match=r"a\.np[yz].* save it"):
            read()


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(100 << 20, np.uint8))
    with pytest.raises(IntarsiaError, match="it would unpack to"):
        read_npz(path, ["x"])


@settings(max_examples=200)
@given(st.integers(0, 1000), st.booleans(), st.data())
def test_flipped_bytes_of_an_npz_are_an_error_or_harmless(seed: int, packed: bool, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(buffer, x=np.arange(8) + seed, y=np.zeros(2))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.npz"
        path.write_bytes(content)
        try:
            found = read_npz(path, ["x"], ["y"])
        except IntarsiaError as error:
            assert "a.npz" in str(error)
            assert str(error).isprintable()
        else:
            assert np.array_equal(found["x"], np.arange(8) + seed), "entries carry a checksum"


def test_an_npz_whose_entry_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", "just text")
    with pytest.raises(IntarsiaError, match="x has a damaged header"):
        read_npz(tmp_path / "a.npz", ["x"])


def test_what_is_wrong_with_an_npz_is_one_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", x=np.arange(3), z=np.zeros(2))
    assert read_npz(tmp_path / "good.npz", ["x"], ["y"])["x"].tolist() == [0, 1, 2]
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    (tmp_path / "text.npz").write_text("no zip")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "folder.npz").mkdir()
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-30])
    flipped = bytearray(whole)
    flipped[whole.index(b"\x02\0\0\0\0\0\0\0")] ^= 1
    (tmp_path / "flipped.npz").write_bytes(flipped)
    for name, message in {
        "good": r"lacks y \(it holds x, z\)",
        "objects": "holds Python objects",
        "text": "is damaged or not an .npz file",
        "empty": "is damaged or not an .npz file",
        "cut": "is damaged or not an .npz file",
        "flipped": "x has a damaged header",
        "missing": "there is no file",
        "folder": "cannot read",
    }.items():
        with pytest.raises(IntarsiaError, match=message):
            read_npz(tmp_path / f"{name}.npz", ["x", "y"] if name == "good" else ["x"])
    with pytest.raises(IntarsiaError, match="is one array"):
        read_npz(tmp_path / "one.npy", ["x"])
