# SPDX-License-Identifier: Apache-2.0
"""Networks from elsewhere: TFLite, ONNX, QONNX and Keras files, and exported PyTorch programs.

from intarsia.networks.importers import import_float, import_integer
model = import_float(Path("network.tflite"))          # a PyTorch module, to be quantized and trained
network = import_integer(Path("network_int8.tflite"))  # the file's own integers

A file is data: nothing in it is executed.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.networks.importers._float import ImportedModel, InputQuantization, imported_model
from intarsia.networks.importers._graph import Graph
from intarsia.networks.importers._integer import integer_network

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = [
    "ImportedModel",
    "InputQuantization",
    "content",
    "data_files",
    "from_exported",
    "import_float",
    "import_integer",
]


def import_float(path: Path, *, fold: bool = False) -> ImportedModel:
    """Read a network as a PyTorch module in floating point, ready to be quantized.

    Quantized weights take the values that they stand for. Of quantizers of activations the clipping stays, where it
    changes something, and the rounding is left out.

    Args:
        path: a .tflite file (float, or quantized to 8 bits), an .onnx file (float, QONNX, or with quantize and
            dequantize pairs), a .pt2 file of `torch.export.save`, or a .keras or .h5 file (needs the extra `keras`).
        fold: whether to fold normalization into the layers before it; by default it stays, trainable.

    Raises:
        IntarsiaError: the file is missing or damaged, or has an operator, a shape or a quantization that is not
            supported; the message names it.
    """
    return imported_model(_read(path), path.stem, fold=fold)


def import_integer(path: Path, *, scale_bits: int = 16) -> IntegerNetwork:
    """Read a network that is quantized already as an integer network with the file's own weights and scales.

    A tensor of zero-point z holds q − z: give the network its input so. `metadata["input"]` says which integers, scale
    and zero-point the file's own input has. Multipliers of 16 bits give the file's results up to rounding.

    Args:
        path: an int8 .tflite file, or an .onnx file whose weights and activations pass QONNX quantizers or
            quantize and dequantize pairs, or whose layers work on integers (QLinearConv). A result that the file
            leaves in floating point takes 16 bits.
        scale_bits: of the multipliers, 1 to 16.

    Raises:
        IntarsiaError: as for `import_float`, or a tensor is not quantized; the message names it.
    """
    if not 1 <= scale_bits <= 16:
        raise IntarsiaError(f"multipliers have 1 to 16 bits, not {scale_bits}.")
    return integer_network(_read(path), path.stem, scale_bits)


def from_exported(program: "ExportedProgram", name: str = "exported") -> ImportedModel:
    """Read a program that `torch.export.export` made as a module of layers.

    Modules that FX can trace need no export: the quantizer takes them as they are.

    Args:
        program: of one input (N, C, H, W), (N, C, L) or (N, features); only its batch may be dynamic.
        name: of the network.

    Raises:
        IntarsiaError: an operator or a shape is not supported; the message names it.
    """
    from intarsia.networks.importers._exported import read_exported  # noqa: PLC0415 (torch.export is slow to load)

    return imported_model(read_exported(program, name), name)


def data_files(path: Path) -> tuple[Path, ...]:
    """Return the further files that a network's file keeps its weights in; none, but for some .onnx files.

    Raises:
        IntarsiaError: the file is damaged, or one of those is missing.
    """
    if path.suffix.lower() != ".onnx":
        return ()
    from intarsia.networks.importers import _onnx_file  # noqa: PLC0415 (needs an extra of its own)

    return _onnx_file.data_files(path)


def content(path: Path) -> bytes:
    """Return a network's file with all its weights in it, as one can keep it elsewhere.

    Raises:
        IntarsiaError: as for `data_files`.
    """
    if not data_files(path):
        return path.read_bytes()
    from intarsia.networks.importers import _onnx_file  # noqa: PLC0415 (as above)

    return _onnx_file.whole(path)


def _read(path: Path) -> Graph:
    """Return the graph of a file, whatever its bytes are, or raise one sentence.

    This is the readers' boundary: the packages that parse these formats raise dozens of kinds of exceptions on damage.
    """
    if not path.is_file():
        raise IntarsiaError(f"there is no file {path}; give the path of a network.")
    try:
        return _graph(path)
    except IntarsiaError:
        raise
    except OSError as error:
        raise IntarsiaError(f"cannot read {path}: {error.strerror or error}.") from error
    except MemoryError as error:
        raise IntarsiaError(f"{path.name} needs more memory than there is; close other programs.") from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
        raise IntarsiaError(
            f"{path.name} is damaged, or built in a way that cannot be read ({reason}); export it again."
        ) from error


def _graph(path: Path) -> Graph:
    kind = path.suffix.lower()
    if kind == ".tflite":
        from intarsia.networks.importers._tflite import read_tflite  # noqa: PLC0415 (as the next)

        with np.errstate(all="ignore"):  # what is not finite is refused where it matters
            return read_tflite(path)
    if kind == ".onnx":
        from intarsia.networks.importers._onnx import read_onnx  # noqa: PLC0415 (needs an extra of its own)

        with np.errstate(all="ignore"):
            return read_onnx(path)
    if kind == ".pt2":
        from intarsia.networks.importers._pt2 import read_pt2  # noqa: PLC0415 (as the others)

        return read_pt2(path)
    if kind in (".keras", ".h5"):
        from intarsia.networks.importers._keras import read_keras  # noqa: PLC0415 (needs an extra of its own)

        return read_keras(path)
    raise IntarsiaError(
        f"{path.name} is not a .tflite, .onnx, .pt2, .keras or .h5 file (its ending is {kind!r}); save the network as "
        "one."
    )
