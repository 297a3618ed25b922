# SPDX-License-Identifier: Apache-2.0
"""A program as C data: what a reader of program.c must know is in it, and its numbers fit their types."""

from dataclasses import replace

import numpy as np
import pytest

from intarsia.engine import EngineConfig, Program, compile_network, config_for
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork, MaxPool, Tensor
from intarsia.integer.formats import ActivationFormat
from intarsia.system import program_source as module
from intarsia.system.program_source import field, input_image, output_values, output_words, program_source


@pytest.fixture
def program() -> Program:
    bytes_ = ActivationFormat(8, signed=False)
    source, output = Tensor("image", (3, 4, 4), bytes_, 1.0), Tensor("pooled", (3, 2, 2), bytes_, 1.0)
    network = IntegerNetwork("pool", source, (MaxPool("image", output, (2, 2), (2, 2), (0, 0, 0, 0)),), 6)
    return compile_network(network, config_for(network, EngineConfig(lanes=8, block=8)))


def test_a_program_says_how_its_result_lies_in_the_words(program: Program) -> None:
    line = "// Result: 2 x 2 pixels of 8 values of 8 bits; the first 3 are the channels, uint8 less 128, the rest "
    assert line in program_source(program)
    values = np.zeros((4, 8), np.int8)
    values[:, :3] = np.arange(12).reshape(4, 3) - 128
    assert output_words(program.output) == values.nbytes // 4
    found = output_values(program.output, np.frombuffer(values.tobytes(), "<u4").tolist())
    assert (found == np.arange(12).reshape(2, 2, 3).transpose(2, 0, 1)).all()
    last = program.layers[-1]
    permuted = replace(program, layers=(replace(last, output=replace(last.output, order=(2, 0, 1))),))
    assert "channels, in the order 2 0 1, uint8" in program_source(permuted)


def test_a_limit_is_a_number_of_32_bits(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_FACTOR", 1 << 40)
    assert ".limit = 4294967295u," in program_source(program)


def test_images_are_bytes_of_row_column_channel(program: Program) -> None:
    image = np.arange(48).reshape(3, 4, 4) + 200
    assert input_image(program.input, image) == image.transpose(1, 2, 0).astype(np.uint8).tobytes()
    with pytest.raises(IntarsiaError, match="takes uint8 values"):
        input_image(program.input, image + 10)


def test_what_the_dma_cannot_count_is_refused() -> None:
    assert field("DMA_ORIGIN", byte_=-1, row=2) == 0x0002_FFFF
    with pytest.raises(IntarsiaError, match=r"300 does not fit the 8 bits of DMA_INNER\.rows"):
        field("DMA_INNER", count=1, rows=300)
