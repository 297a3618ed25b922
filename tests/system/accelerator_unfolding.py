# SPDX-License-Identifier: Apache-2.0
"""Cocotb tests of the DMA: images that are unfolded on their way, against `Placement.store`."""

import math
import random
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from numpy.random import Generator
from numpy.typing import NDArray

from accelerator_build import CONFIG
from accelerator_driver import Accelerator, Case, mask, packed
from intarsia.engine import compile_network
from intarsia.engine.layout import REGIONS
from intarsia.engine.packing import activation_words
from intarsia.engine.program import Patches, Placement
from intarsia.engine.storage import Stored
from intarsia.errors import IntarsiaError
from intarsia.integer import ActivationFormat, Tensor
from intarsia.integer.executor import Executor
from random_networks import random_images, random_layer_network

START = mask("DMA_CONTROL", "start", "unfold")
#: Cycles of a transfer beside those of its segments; one less if nothing is read.
AROUND = 6


@dataclass(frozen=True)
class Unfolding:
    """An image (channels, rows, columns), how it is unfolded, and where it lies in the system's memory."""

    placement: Placement
    image: NDArray[np.int64]
    address: int

    @property
    def pixel_bytes(self) -> int:
        stored = self.placement.stored
        return stored.pitch * stored.channels

    def registers(self) -> dict[str, int]:
        """What the registers of the DMA are for it."""
        placement, (channels, rows, columns) = self.placement, self.image.shape
        patches = placement.patches
        assert patches
        kernel, stride, (first, second) = patches.kernel, patches.stride, patches.padding[:2]
        height, width = placement.stored.shape[1:]
        outer, inner = (stride[0], 0), (0, stride[1])  # (rows, columns) from one pixel to the next
        if placement.transposed:
            kernel, outer, inner, first, second = kernel[::-1], outer[::-1], inner[::-1], second, first
        return {
            "DMA_ADDRESS": self.address,
            "DMA_TARGET": packed("DMA_TARGET", word=placement.base, memory=REGIONS["Activations"]),
            "DMA_PIXEL": packed(
                "DMA_PIXEL",
                bytes=kernel[1] * channels,
                runs=kernel[0],
                fill=self.pixel_bytes - math.prod(kernel) * channels,
                unsigned_bytes=int(placement.stored.offset != 0),
            ),
            "DMA_IMAGE": packed("DMA_IMAGE", bytes=columns * channels, rows=rows),
            "DMA_ORIGIN": packed("DMA_ORIGIN", byte_=-second * channels, row=-first),
            "DMA_INNER": packed("DMA_INNER", count=width, bytes=inner[1] * channels, rows=inner[0]),
            "DMA_OUTER": packed("DMA_OUTER", count=height, bytes=outer[1] * channels, rows=outer[0]),
        }

    def cycles(self) -> int:
        """What intarsia_dma claims: a cycle for each word that a run touches, and for every 4 bytes of 0."""
        placement, (channels, rows, columns) = self.placement, self.image.shape
        patches = placement.patches
        assert patches
        row_bytes, total, reads = columns * channels, AROUND, 0
        kernel = patches.kernel[::-1] if placement.transposed else patches.kernel
        for outer in range(placement.stored.shape[1]):
            for inner in range(placement.stored.shape[2]):
                y, x = outer * patches.stride[0] - patches.padding[0], inner * patches.stride[1] - patches.padding[1]
                if placement.transposed:
                    x, y = y, x
                for row in range(y, y + kernel[0]):
                    begin, end = x * channels, (x + kernel[1]) * channels
                    if not 0 <= row < rows:
                        total += -(-(end - begin) // 4)
                        continue
                    left, right = min(max(-begin, 0), end - begin), min(max(end - row_bytes, 0), end - begin)
                    total += -(-left // 4) - (-right // 4)
                    if begin + left < end - right:
                        base = self.address + row * row_bytes
                        reads += (base + end - right - 1) // 4 - (base + begin + left) // 4 + 1
                total += -(-(self.pixel_bytes - math.prod(kernel) * channels) // 4)
        return total + reads if reads else total - 1


def draw(rng: Generator) -> Unfolding:
    """A random image and unfolding that fit the engine's memory."""
    while True:
        channels, rows, columns = (int(rng.integers(1, most, endpoint=True)) for most in (4, 12, 12))
        kernel = (int(rng.integers(1, 7)), int(rng.integers(1, 7)))
        stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        padding = tuple(int(rng.integers(0, kernel[i % 2] + 1)) for i in range(4))
        transposed = bool(rng.integers(2))
        signed = bool(rng.integers(2))
        tensor = Tensor("input", (channels, rows, columns), ActivationFormat(8, signed), 0.1)
        patches = Patches(kernel, stride, (padding[0], padding[1], padding[2], padding[3]), transposed)
        seen = (columns, rows) if transposed else (rows, columns)
        if any(seen[i] + padding[i] + padding[i + 2] < kernel[i] for i in range(2)):
            continue
        shape = patches.shape((channels, *seen))
        tile_words = int(rng.choice((1, 1, 2, 4)))
        stored = Stored(Tensor("unfolded", shape, tensor.format, 0.1), 8, CONFIG.block, tile_words)
        if stored.words >= CONFIG.act_depth or (stored.words > 120 and rng.random() < 0.8):
            continue
        base = int(rng.integers(0, CONFIG.act_depth - stored.words))
        placement = Placement(tensor, base, stored, transposed, patches)
        image = rng.integers(tensor.format.lo, tensor.format.hi, tensor.shape, endpoint=True)
        return Unfolding(placement, image, int(rng.integers(0x1000, 0x2000)))


async def check(accelerator: Accelerator, unfolding: Unfolding, memory: Any, content: NDArray[np.uint32]) -> int:
    """Unfold an image; compare the memory, also what must be left as it is; return how long the DMA was busy."""
    memory.content.clear()
    memory.load(unfolding.address, (unfolding.image.transpose(1, 2, 0) & 0xFF).astype(np.uint8).tobytes())
    for name, value in unfolding.registers().items():
        await accelerator.write(name, value)
    busy = await accelerator.transfer(START)
    assert await accelerator.take("STATUS") == {"dma_done"}, unfolding
    assert await accelerator.read("ERROR") == 0, unfolding
    placement = unfolding.placement
    first, end = placement.base, placement.base + placement.words
    content[first:end] = activation_words(placement.store(unfolding.image), 8)
    begin = max(first - 1, 0)
    got = await accelerator.get(min(end + 1, CONFIG.act_depth) - begin, begin)
    np.testing.assert_array_equal(got, content[begin : end + 1], err_msg=str(unfolding))
    return busy


async def filled(accelerator: Accelerator) -> NDArray[np.uint32]:
    rng = np.random.default_rng(1)
    content = rng.integers(0, 1 << 32, (CONFIG.act_depth, 2), np.uint32)
    await accelerator.put("Activations", content)
    return content


@cocotb.test()
async def images_are_unfolded_as_placements_store_them_in_the_cycles_that_the_module_claims(dut: Any) -> None:
    accelerator = Accelerator(dut, model=False)
    memory = await accelerator.begin(latency=1)
    content = await filled(accelerator)
    rng = np.random.default_rng(7)
    for _ in range(50):
        unfolding = draw(rng)
        busy = await check(accelerator, unfolding, memory, content)
        assert busy == unfolding.cycles(), unfolding


@cocotb.test()
async def compiled_programs_run_on_images_that_the_dma_unfolds(dut: Any) -> None:
    accelerator = Accelerator(dut, model=False)
    memory = await accelerator.begin(stall=0.2, latency=3)
    content = await filled(accelerator)
    signs, seed = set(), 0
    while seed < 12 or len(signs) < 2:
        rng = np.random.default_rng(seed)
        seed += 1
        network = random_layer_network(rng, "conv", channels=(1, 4), size=(4, 9))
        try:
            program = compile_network(network, CONFIG)
        except IntarsiaError:
            continue
        if not program.input.patches:
            continue
        signs.add(network.input.format.signed)
        image = random_images(rng, network, 1)[0]
        expected = Executor(network).run(image[None])[0].reshape(program.output.tensor.shape)
        sound = Case(network, program, image, expected)
        await sound.load(accelerator)
        await check(accelerator, Unfolding(program.input, image.astype(np.int64), 0x1001 + seed), memory, content)
        await accelerator.write("CONTROL", mask("CONTROL", "start"))
        await accelerator.wait_idle()
        assert (await accelerator.take("STATUS"), await accelerator.take()) == ({"done"}, set())
        np.testing.assert_array_equal(await sound.result(accelerator), expected)
        await accelerator.put("Activations", content)


@cocotb.test()
async def delays_and_aborts_do_not_change_what_is_unfolded(dut: Any) -> None:
    accelerator = Accelerator(dut, model=False)
    memory = await accelerator.begin(stall=0.4, latency=5)
    assert memory
    content = await filled(accelerator)
    rng, pause = np.random.default_rng(8), random.Random(8)
    for _ in range(20):
        unfolding = draw(rng)
        for name, value in unfolding.registers().items():
            await accelerator.write(name, value)
        await accelerator.write("DMA_CONTROL", START)
        await ClockCycles(dut.clk_i, pause.randrange(60))
        await accelerator.write("CONTROL", mask("CONTROL", "abort"))
        await accelerator.wait_idle()
        await accelerator.take("STATUS")
        placement = unfolding.placement
        end = placement.base + placement.words
        content[placement.base : end] = await accelerator.get(placement.words, placement.base)
        await check(accelerator, unfolding, memory, content)


@cocotb.test()
async def an_error_response_ends_an_unfolding(dut: Any) -> None:
    accelerator = Accelerator(dut, model=False)
    memory = await accelerator.begin(stall=0.2, latency=4)
    assert memory
    content = await filled(accelerator)
    rng = np.random.default_rng(9)
    for _ in range(10):
        unfolding = draw(rng)
        await check(accelerator, unfolding, memory, content)
        memory.errors = {int(rng.choice([address for address, _ in memory.log]))}
        memory.log.clear()
        await accelerator.write("DMA_CONTROL", START)
        await accelerator.wait_idle()
        assert (await accelerator.take("STATUS"), await accelerator.take()) == (set(), {"bus"})
        memory.errors = set()
        memory.log.clear()


@cocotb.test()
async def loops_that_are_empty_are_refused_and_wild_ones_end_or_can_be_aborted(dut: Any) -> None:
    accelerator = Accelerator(dut, model=False)
    memory = await accelerator.begin(latency=1)
    assert memory
    rng = np.random.default_rng(10)
    unfolding = draw(rng)
    registers = unfolding.registers()
    for register, field in (("DMA_PIXEL", "bytes"), ("DMA_PIXEL", "runs"), ("DMA_INNER", "count"),
                            ("DMA_OUTER", "count")):  # fmt: skip
        for name, value in registers.items():
            await accelerator.write(name, value & ~mask(register, field) if name == register else value)
        await accelerator.write("DMA_CONTROL", START)
        await accelerator.wait_idle()
        assert (await accelerator.take("STATUS"), await accelerator.take()) == (set(), {"dma"})
        assert not memory.log
    await accelerator.write("DMA_CONTROL", mask("DMA_CONTROL", "start", "unfold", "to_system"))
    assert await accelerator.take() == {"dma"}
    for _ in range(30):
        for name in registers:
            value = int(rng.integers(0, 1 << 32))
            await accelerator.write(name, value if name != "DMA_TARGET" else value & 0xFF | 1 << 16)
        if rng.integers(2):  # a short row far left of the image
            await accelerator.write("DMA_ORIGIN", packed("DMA_ORIGIN", byte_=-0x8000, row=0))
        await accelerator.write("DMA_CONTROL", START)
        await ClockCycles(dut.clk_i, 250)
        await accelerator.write("CONTROL", mask("CONTROL", "abort"))
        await accelerator.wait_idle(50)
        assert await accelerator.take("STATUS") <= {"dma_done"}
        assert await accelerator.take() <= {"dma"}
    content = await filled(accelerator)
    await check(accelerator, unfolding, memory, content)


@cocotb.test()
async def a_pixel_farther_from_the_image_than_a_place_can_say_ends(dut: Any) -> None:
    """At byte 2^17 of a row places begin again at −2^17, whose distance from the row is a number of one bit more."""
    accelerator = Accelerator(dut, model=False)
    await accelerator.begin(latency=1)
    pixels = (1 << 17) // 128 + 8
    for name, value in {
        "DMA_ADDRESS": 0x1000,
        "DMA_TARGET": packed("DMA_TARGET", word=0, memory=REGIONS["Activations"]),
        "DMA_PIXEL": packed("DMA_PIXEL", bytes=1, runs=1),
        "DMA_IMAGE": packed("DMA_IMAGE", bytes=4, rows=1),
        "DMA_INNER": packed("DMA_INNER", count=pixels, bytes=128),
        "DMA_OUTER": packed("DMA_OUTER", count=1),
    }.items():
        await accelerator.write(name, value)
    await accelerator.write("DMA_CONTROL", START)
    await accelerator.wait_idle(pixels + 20)
    assert await accelerator.take("STATUS") == {"dma_done"}
