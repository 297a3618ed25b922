# SPDX-License-Identifier: Apache-2.0
"""Cocotb tests of the DMA: transfers without unfolding, with every kind of delay, fault and interruption."""

import random
import zlib
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from cocotbext.obi import ObiBus, ObiRam
from numpy.typing import NDArray

from accelerator_build import CONFIG
from accelerator_driver import DEPTHS, PARTS, STRIDES, Accelerator, Memory, case, mask, packed, window
from intarsia.engine.layout import REGIONS
from intarsia.engine.packing import activation_words

SOUND = case(20)
START = mask("DMA_CONTROL", "start")
TO_SYSTEM = mask("DMA_CONTROL", "start", "to_system")
#: Memories of the system that differ in when they grant and answer.
MEMORIES = {
    "at once": {"stall": 0.0, "latency": 1},
    "slow to grant": {"stall": 0.7, "latency": 1},
    "slow to answer": {"stall": 0.0, "latency": 9},
    "slow": {"stall": 0.4, "latency": 5},
}
#: Cycles that a transfer takes if the system grants at once and answers in the next cycle.
TO_ENGINE_CYCLES, TO_SYSTEM_CYCLES, AROUND = 1, 5, (6, 3)


async def set_up(  # noqa: PLR0917 (in the order of the registers)
    accelerator: Accelerator, address: int, region: str | int, first: int, words: int, control: int
) -> None:
    """Write the registers of a linear transfer and start it."""
    memory = REGIONS[region] if isinstance(region, str) else region
    await accelerator.write("DMA_ADDRESS", address)
    await accelerator.write("DMA_TARGET", packed("DMA_TARGET", word=first, memory=memory))
    await accelerator.write("DMA_LENGTH", words)
    await accelerator.write("DMA_CONTROL", control)


async def fill(accelerator: Accelerator, seed: int) -> NDArray[np.uint32]:
    """Write random activations."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 32, (CONFIG.act_depth, PARTS["Activations"]), np.uint32)
    await accelerator.put("Activations", words)
    return words


async def ended(accelerator: Accelerator) -> tuple[set[str], set[str]]:
    """Wait for the end; return the flags of STATUS and of ERROR, cleared."""
    await accelerator.wait_idle()
    return await accelerator.take("STATUS"), await accelerator.take("ERROR")


@cocotb.test()
async def words_arrive_in_activations_wherever_they_begin_and_end(dut: Any) -> None:
    for number, options in enumerate(MEMORIES.values()):
        accelerator = Accelerator(dut, model=False)
        memory = await accelerator.begin(**options)
        assert memory
        rng = random.Random(number)
        expected = await fill(accelerator, number)
        for words in (1, 2, 3, 4, 5, 17, 64):
            first = rng.randrange(CONFIG.act_depth - 32)
            address = (rng.choice((0, 0x1000, 0xFFFF_FF00)) + 4 * rng.randrange(100)) & 0xFFFF_FFFF
            await set_up(accelerator, address, "Activations", first, words, START)
            assert await ended(accelerator) == ({"dma_done"}, set())
            wrapped = [(address + 4 * i) & 0xFFFF_FFFF for i in range(words)]
            assert memory.log == [(a, False) for a in wrapped]
            memory.log.clear()
            data = np.array([int.from_bytes(memory.read(a, 4), "little") for a in wrapped], np.uint32)
            whole = words // 2  # a part alone is not written
            expected[first : first + whole] = data[: 2 * whole].reshape(-1, 2)
            np.testing.assert_array_equal(await accelerator.get(whole + 2, first), expected[first : first + whole + 2])
        memory.task.cancel()


@cocotb.test()
async def a_program_that_the_dma_loads_runs(dut: Any) -> None:
    """Weights have six parts in a word of eight places: the padding is not in the system's memory."""
    assert PARTS["Weights"] == 6 and STRIDES["Weights"] == 8
    for options in MEMORIES.values():
        accelerator = Accelerator(dut, model=False)
        memory = await accelerator.begin(**options)
        assert memory
        for region in ("Weights", "Program"):  # nothing may be left of another load
            await accelerator.put(region, np.zeros((40, PARTS[region]), np.uint32))
        await accelerator.write("CONTROL", mask("CONTROL", "check_restart"))
        weights = np.ascontiguousarray(SOUND.program.weights, "<u4").tobytes()
        program = SOUND.program.descriptors.astype("<u4").tobytes()
        for region, data in (("Weights", weights), ("Program", program)):
            memory.load(0x400, data)
            await set_up(accelerator, 0x400, region, 0, len(data) // 4, START)
            assert await ended(accelerator) == ({"dma_done"}, set())
        assert await accelerator.read("CHECK") == SOUND.check == zlib.crc32(weights + program)
        await accelerator.write("PROGRAM_CHECK", SOUND.check)
        await accelerator.write("PROGRAM_BUILD", await accelerator.read("BUILD"))
        await SOUND.run(accelerator)
        memory.task.cancel()


@cocotb.test()
async def words_arrive_in_the_system(dut: Any) -> None:
    for number, options in enumerate(MEMORIES.values()):
        accelerator = Accelerator(dut, model=False)
        memory = await accelerator.begin(**options)
        assert memory
        content = await fill(accelerator, number)
        for first, words in ((0, 1), (7, 2), (100, 9), (CONFIG.act_depth - 8, 16)):
            memory.log.clear()
            await set_up(accelerator, 0x2000, "Activations", first, words, TO_SYSTEM)
            assert await ended(accelerator) == ({"dma_done"}, set())
            assert memory.log == [(0x2000 + 4 * i, True) for i in range(words)]
            expected = content[first:].astype("<u4").tobytes()[: 4 * words]
            assert memory.read(0x2000, 4 * words) == expected
        memory.task.cancel()


@cocotb.test()
async def an_inference_goes_in_and_out_by_the_dma_of_a_public_memory_model(dut: Any) -> None:
    """The memory of cocotbext-obi, at its own pace and with all the delays that it can draw.

    With two requests under way it takes the one that it has just granted for the next one, so it is given one at a
    time.
    """
    accelerator = Accelerator(dut)
    await accelerator.begin()
    ram = ObiRam(ObiBus.from_prefix(dut, "memory"), dut.clk_i, size=1 << 16, seednum=2, max_outstanding=1)
    ram.log.setLevel("WARNING")
    await SOUND.load(accelerator)
    placement, result = SOUND.program.input, SOUND.program.output
    image = activation_words(placement.store(SOUND.image), placement.stored.bits)
    ram.write(0x100, np.ascontiguousarray(image, "<u4").tobytes())
    for _ in range(2):
        await set_up(accelerator, 0x100, "Activations", placement.base, image.size, START)
        assert await ended(accelerator) == ({"dma_done"}, set())
        await accelerator.write("CONTROL", mask("CONTROL", "start"))
        assert await ended(accelerator) == ({"done"}, set())
        parts = result.words * PARTS["Activations"]
        await set_up(accelerator, 0x8000, "Activations", result.base, parts, TO_SYSTEM)
        assert await ended(accelerator) == ({"dma_done"}, set())
        words = np.frombuffer(ram.read(0x8000, 4 * parts), "<u4").reshape(-1, PARTS["Activations"])
        values = result.restore(words.astype(np.uint32).view("<i1").astype(np.int64))
        np.testing.assert_array_equal(values, SOUND.expected)
        ram.enable_backpressure(3)


@cocotb.test()
async def a_transfer_takes_as_many_cycles_as_it_should(dut: Any) -> None:
    accelerator = Accelerator(dut, model=False)
    await accelerator.begin(**MEMORIES["at once"])
    for control, each, around in zip((START, TO_SYSTEM), (TO_ENGINE_CYCLES, TO_SYSTEM_CYCLES), AROUND, strict=True):
        for words in (1, 2, 3, 10, 100):
            await set_up(accelerator, 0x100, "Activations", 3, words, control & ~START)
            busy = await accelerator.transfer(control)
            assert busy == each * words + around, (control, words, busy)
            assert await ended(accelerator) == ({"dma_done"}, set())


@cocotb.test()
async def an_error_response_ends_a_transfer_at_that_word(dut: Any) -> None:
    for options in MEMORIES.values():
        accelerator = Accelerator(dut, model=False)
        memory = await accelerator.begin(**options)
        assert memory
        content = await fill(accelerator, 1)
        for place in range(9):
            memory.errors = {0x100 + 4 * place}
            memory.log.clear()
            await set_up(accelerator, 0x100, "Activations", 4, 9, START)
            assert await ended(accelerator) == (set(), {"bus"})
            read = np.frombuffer(memory.read(0x100, 36), "<u4")
            got = (await accelerator.get(5, 4)).ravel()
            # All before it is written but a part without the rest of its word; nothing from there on.
            np.testing.assert_array_equal(got[: place & ~1], read[: place & ~1])
            np.testing.assert_array_equal(got[place & ~1 :], content[4:9].ravel()[place & ~1 :])
            memory.log.clear()
            await set_up(accelerator, 0x100, "Activations", 4, 9, TO_SYSTEM)
            assert await ended(accelerator) == (set(), {"bus"})
            assert memory.log == [(0x100 + 4 * i, True) for i in range(place + 1)]
            memory.errors = set()
            await accelerator.put("Activations", content[4:9], 4)
            await set_up(accelerator, 0x200, "Activations", 4, 8, START)
            assert await ended(accelerator) == ({"dma_done"}, set())
            assert (await accelerator.get(4, 4)).astype("<u4").tobytes() == memory.read(0x200, 32)
            await accelerator.put("Activations", content[4:9], 4)
        memory.task.cancel()


@cocotb.test()
async def what_is_out_of_range_is_refused_or_ended(dut: Any) -> None:
    for options in MEMORIES.values():
        accelerator = Accelerator(dut, model=False)
        memory = await accelerator.begin(**options)
        assert memory
        content = await fill(accelerator, 2)
        # refused before anything is read
        for address, region, words, control in (
            *((0x101, "Activations", 4, START), (0x102, "Activations", 4, TO_SYSTEM), (0x100, "Program", 0, START)),
            *((0x100, "Activations", 0, TO_SYSTEM), (0x100, "Weights", 4, TO_SYSTEM), (0x100, "Program", 4, TO_SYSTEM)),
            *((0x100, 0, 4, TO_SYSTEM), (0x100, 7, 4, TO_SYSTEM)),
        ):
            await set_up(accelerator, address, region, 0, words, control)
            assert await ended(accelerator) == (set(), {"dma"}), (address, region, words, control)
            assert not memory.log
        # ended where the memory ends
        for region in ("Activations", "Weights", "Program"):
            parts, depth = PARTS[region], DEPTHS[region]
            for first, words in ((depth - 2, 2 * parts + 1), (depth, 1), (0xFFFF, 1), (depth - 1, 0xF_FFFF)):
                await set_up(accelerator, 0x100, region, first, words, START)
                assert await ended(accelerator) == (set(), {"dma"}), (region, first, words)
        for region in (0, 4, 15):
            await set_up(accelerator, 0x100, region, 0, 5, START)
            assert await ended(accelerator) == (set(), {"dma"}), region
        for first, words in ((CONFIG.act_depth - 1, 3), (CONFIG.act_depth, 1), (0xFFFF, 1)):
            memory.log.clear()
            await set_up(accelerator, 0x3000, "Activations", first, words, TO_SYSTEM)
            assert await ended(accelerator) == (set(), {"dma"}), (first, words)
            assert len(memory.log) == words - 1
        last = np.frombuffer(memory.read(0x100, 16), "<u4").reshape(2, 2)
        # The last transfer there began at the last word.
        expected = np.concatenate([content[:-2], last[1:], last[:1]])
        expected[-2] = np.frombuffer(memory.read(0x100, 8), "<u4")
        np.testing.assert_array_equal(await accelerator.get(CONFIG.act_depth), expected)
        memory.task.cancel()


@cocotb.test()
async def a_busy_dma_refuses_what_would_disturb_it(dut: Any) -> None:
    accelerator = Accelerator(dut)
    memory = await accelerator.begin(**MEMORIES["slow"])
    assert memory
    content = await fill(accelerator, 3)
    await SOUND.load(accelerator)
    await set_up(accelerator, 0x100, "Activations", 10, 200, START)
    assert await accelerator.field("STATUS", "dma_busy") == 1
    for name in ("DMA_ADDRESS", "DMA_TARGET", "DMA_LENGTH", "DMA_PIXEL", "DMA_IMAGE", "DMA_ORIGIN", "DMA_INNER",
                 "DMA_OUTER", "DMA_CONTROL"):  # fmt: skip
        before = await accelerator.read(name)
        await accelerator.write(name, 0x0101_0107, refused=True)
        assert await accelerator.take() == {"access"}, name
        assert await accelerator.read(name) == before
    await accelerator.read_at(window("Activations", 0), refused=True)
    assert await accelerator.take() == {"access"}
    await accelerator.write_at(window("Weights", 0), 0, refused=True)
    assert await accelerator.take() == {"access"}
    await accelerator.write("CONTROL", mask("CONTROL", "start"))
    assert await accelerator.take() == {"start"}
    assert await accelerator.field("STATUS", "dma_busy") == 1
    assert await ended(accelerator) == ({"dma_done"}, set())
    content[10:110] = np.frombuffer(memory.read(0x100, 800), "<u4").reshape(-1, 2)
    np.testing.assert_array_equal(await accelerator.get(CONFIG.act_depth), content)
    assert await accelerator.read("CHECK") == SOUND.check
    # A start and an access in the next cycles: the access is refused, the transfer is not disturbed.
    accelerator.host.write_nowait(0x60, START, length=4)
    for offset in range(2):
        accelerator.host.write_nowait(window("Activations", 598 + offset), 0, length=4, error_expected=True)
    accelerator.host.write_nowait(0x48, 1, length=4, error_expected=True)
    await accelerator.host.wait()
    assert await ended(accelerator) == ({"dma_done"}, {"access"})
    np.testing.assert_array_equal(await accelerator.get(CONFIG.act_depth), content)


@cocotb.test()
async def an_aborted_transfer_keeps_to_the_protocol_and_leaves_nothing_behind(dut: Any) -> None:
    """Whether a request was taken back or an answer was left over, assertions in the accelerator tell."""
    for number, options in enumerate(MEMORIES.values()):
        accelerator = Accelerator(dut, model=False)
        memory = await accelerator.begin(**options)
        assert memory
        content = await fill(accelerator, number)
        rng = random.Random(number)
        for wait in [*range(12), *(rng.randrange(120) for _ in range(8))]:
            control = rng.choice((START, TO_SYSTEM))
            memory.log.clear()
            await set_up(accelerator, 0x100, "Activations", 0, 400, control)
            await ClockCycles(dut.clk_i, wait + 1)
            await accelerator.write("CONTROL", mask("CONTROL", "abort"))
            moved = len(memory.log)
            assert await ended(accelerator) == (set(), set())
            assert len(memory.log) <= moved + 2  # what was asked for already
            first, words, address = rng.randrange(220, 280), rng.randrange(1, 15), 0x4000 + 4 * wait
            await set_up(accelerator, address, "Activations", first, 2 * words, START)
            assert await ended(accelerator) == ({"dma_done"}, set())
            content[first : first + words] = np.frombuffer(memory.read(address, 8 * words), "<u4").reshape(-1, 2)
            got = await accelerator.get(words + 3, first - 1)
            np.testing.assert_array_equal(got, content[first - 1 :][: words + 3])
        memory.task.cancel()


@cocotb.test()
async def a_reset_in_the_middle_of_a_transfer_leaves_nothing_behind(dut: Any) -> None:
    accelerator = Accelerator(dut, model=False)
    memory = await accelerator.begin(**MEMORIES["slow"])
    assert isinstance(memory, Memory)
    for wait in range(20):
        await set_up(accelerator, 0x100, "Activations", 0, 400, TO_SYSTEM if wait & 1 else START)
        await ClockCycles(dut.clk_i, 3 * wait)
        await accelerator.reset()
        assert await accelerator.read("STATUS") == 0 and await accelerator.read("DMA_LENGTH") == 0
        await set_up(accelerator, 0x4000 + 4 * wait, "Activations", 5, 6, START)
        assert await ended(accelerator) == ({"dma_done"}, set())
        assert (await accelerator.get(3, 5)).astype("<u4").tobytes() == memory.read(0x4000 + 4 * wait, 24)
