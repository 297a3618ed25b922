# SPDX-License-Identifier: Apache-2.0
"""Cocotb tests of the accelerator: registers, windows of the memories, refused accesses."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from accelerator_build import CONFIG
from accelerator_driver import DEPTHS, PARTS, STRIDES, Accelerator, mask, window
from intarsia.engine.layout import REGIONS
from intarsia.system._registers import ADDRESSES, FIELDS
from intarsia.system.accelerator import fingerprint

#: What each register reads after a reset; CONTROL cannot be read.
RESET = dict.fromkeys(set(ADDRESSES) - {"CONTROL"}, 0) | {
    "IDENTITY": 0x1A75_0003,
    "BUILD": fingerprint(CONFIG),
    "LIMIT": 0xFFFF_FFFF,
}
#: Bits that are read as they were written.
KEPT = {
    "INTERRUPT_ENABLE": 0x7,
    "LIMIT": 0xFFFF_FFFF,
    "PROGRAM_BUILD": 0xFFFF_FFFF,
    "PROGRAM_CHECK": 0xFFFF_FFFF,
    "DMA_ADDRESS": 0xFFFF_FFFF,
    "DMA_TARGET": 0xF_FFFF,
    "DMA_LENGTH": 0xF_FFFF,
    "DMA_PIXEL": 0xFFFF_FFFF,
    "DMA_IMAGE": 0xFFFF_FFFF,
    "DMA_ORIGIN": 0xFFFF_FFFF,
    "DMA_INNER": 0xFFFF_FFFF,
    "DMA_OUTER": 0xFFFF_FFFF,
    "DMA_CONTROL": 0x6,
}
READ_ONLY = {"IDENTITY", "BUILD", "CYCLES", "LAYERS", "CHECK"}
ACCESS = {"access"}


@cocotb.test()
async def registers_have_their_reset_values_and_keep_what_is_written(dut: Any) -> None:
    accelerator = Accelerator(dut)
    await accelerator.begin()
    assert set(RESET) == set(FIELDS) - {"CONTROL"}
    assert set(KEPT) | READ_ONLY | {"CONTROL", "STATUS", "ERROR"} == set(FIELDS)
    rng = random.Random(1)
    for name, expected in RESET.items():
        assert await accelerator.read(name) == expected, name
    values = dict(RESET)
    for _ in range(8):
        for name, kept in KEPT.items():
            value, enables = rng.getrandbits(32), rng.choice((15, 1, 2, 4, 8, 5, 12, 0))
            if name == "DMA_CONTROL":
                value &= ~1  # no start
            written = sum(0xFF << 8 * i for i in range(4) if enables >> i & 1)
            values[name] = (values[name] & ~written | value & written) & kept
            await accelerator.write(name, value, enables=enables)
        for name, expected in values.items():
            assert await accelerator.read(name) == expected, name
    await accelerator.reset()
    for name, expected in RESET.items():
        assert await accelerator.read(name) == expected, name


@cocotb.test()
async def what_is_no_register_or_cannot_be_written_is_refused(dut: Any) -> None:
    accelerator = Accelerator(dut)
    await accelerator.begin()
    for name in READ_ONLY:
        await accelerator.write(name, 0xFFFF_FFFF, refused=True)
        assert await accelerator.take() == ACCESS
        assert await accelerator.read(name) == RESET[name]
    await accelerator.read_at(ADDRESSES["CONTROL"], refused=True)
    assert await accelerator.take() == ACCESS
    nothing = [a for a in range(0, 0x100, 4) if a not in ADDRESSES.values()]
    nothing += [1 << bit for bit in range(8, 22)] + [0x1000 + ADDRESSES["LIMIT"], (1 << 22) - 4]
    for address in nothing:
        await accelerator.read_at(address, refused=True)
        assert await accelerator.take() == ACCESS, hex(address)
        await accelerator.write_at(address, 1, refused=True)
        assert await accelerator.take() == ACCESS, hex(address)
    for region in range(max(REGIONS.values()) + 1, 16):
        await accelerator.read_at(region << 22, refused=True)
        await accelerator.write_at((region << 22) + 4, 1, refused=True)
        assert await accelerator.take() == ACCESS, region
    for name, expected in RESET.items():
        assert await accelerator.read(name) == expected, name


@cocotb.test()
async def flags_are_cleared_by_a_one_in_their_byte_alone(dut: Any) -> None:
    accelerator = Accelerator(dut)
    await accelerator.begin()
    await accelerator.write("CONTROL", mask("CONTROL", "start"))  # PROGRAM_BUILD is 0
    await accelerator.read_at(0x7C, refused=True)
    await accelerator.write("DMA_CONTROL", mask("DMA_CONTROL", "start"))  # nothing to move
    flags = mask("ERROR", "version", "access", "dma")
    assert await accelerator.read("ERROR") == flags
    await accelerator.write("ERROR", 0)
    await accelerator.write("ERROR", 0xFFFF_FFFF & ~flags)
    await accelerator.write("ERROR", 0xFFFF_FFFF, enables=0b1100)
    assert await accelerator.read("ERROR") == flags
    await accelerator.write("ERROR", 0xFFFF_FFFF, enables=0b0010)
    assert await accelerator.read("ERROR") == mask("ERROR", "version", "access")
    await accelerator.write("ERROR", mask("ERROR", "version"))
    assert await accelerator.take() == {"access"}
    assert await accelerator.read("ERROR") == 0


@cocotb.test()
async def the_interrupt_for_errors_follows_its_enable_and_its_flag(dut: Any) -> None:
    accelerator = Accelerator(dut)
    await accelerator.begin()
    await accelerator.read_at(0x7C, refused=True)
    assert not int(dut.irq_o.value)
    for enables, expected in ((mask("INTERRUPT_ENABLE", "done", "dma_done"), 0), (mask("INTERRUPT_ENABLE"), 1)):
        await accelerator.write("INTERRUPT_ENABLE", enables)
        await ClockCycles(dut.clk_i, 1)
        assert int(dut.irq_o.value) == expected
    await accelerator.take()
    await ClockCycles(dut.clk_i, 1)
    assert not int(dut.irq_o.value)


@cocotb.test()
async def activations_are_read_as_they_were_written(dut: Any) -> None:
    accelerator = Accelerator(dut)
    await accelerator.begin()
    rng = np.random.default_rng(1)
    words = rng.integers(0, 1 << 32, (CONFIG.act_depth, PARTS["Activations"]), np.uint32)
    await accelerator.put("Activations", words)
    np.testing.assert_array_equal(await accelerator.get(CONFIG.act_depth), words)
    # A word is written with its last part; until then the parts are only gathered.
    await accelerator.write_at(window("Activations", 10), 123)
    np.testing.assert_array_equal(await accelerator.get(1, 5), words[5:6])
    await accelerator.write_at(window("Activations", 15), 456)
    assert (await accelerator.get(1, 7)).tolist() == [[123, 456]]
    np.testing.assert_array_equal(await accelerator.get(1, 5), words[5:6])
    assert await accelerator.read("ERROR") == 0


@cocotb.test()
async def windows_end_where_memories_do_and_take_whole_words(dut: Any) -> None:
    accelerator = Accelerator(dut)
    await accelerator.begin()
    for region, depth in DEPTHS.items():
        end = depth * STRIDES[region]
        await accelerator.write_at(window(region, end - 1), 1)
        assert await accelerator.read("ERROR") == 0
        for offset in (end, end + 1, (1 << 20) - 1):
            await accelerator.write_at(window(region, offset), 1, refused=True)
            assert await accelerator.take() == ACCESS, (region, offset)
            await accelerator.read_at(window(region, offset), refused=True)
            assert await accelerator.take() == ACCESS, (region, offset)
        for enables in range(15):
            await accelerator.write_at(window(region, end - 1), 0xFFFF_FFFF, enables=enables, refused=True)
            assert await accelerator.take() == ACCESS, (region, enables)
        if region != "Activations":
            await accelerator.read_at(window(region, 0), refused=True)
            assert await accelerator.take() == ACCESS, region
    assert await accelerator.read_at(window("Activations", 2 * CONFIG.act_depth - 1)) == 1


@cocotb.test()
async def requests_in_a_row_are_answered_in_order(dut: Any) -> None:
    """Random accesses, two under way at a time, with and without pauses; a model knows each answer."""
    accelerator = Accelerator(dut)
    await accelerator.begin()
    rng = random.Random(3)
    host = accelerator.host
    memory: dict[int, int] = {}
    gathered = [0, 0]
    limit, expected = 0xFFFF_FFFF, {}
    for parts in range(2 * 16):  # known content of 16 words
        await accelerator.write_at(window("Activations", parts), 0)
        memory[parts] = 0
    for number in range(2000):
        if number == 1000:
            host.enable_backpressure(5, req=True)
        kind, value = rng.randrange(6), rng.getrandbits(32)
        if kind == 0:
            host.write_nowait(ADDRESSES["LIMIT"], value, length=4)
            limit = value
        elif kind == 1:
            expected[host.read_nowait(ADDRESSES["LIMIT"])] = limit
        elif kind == 2:
            part = rng.randrange(2 * 16)
            gathered[part & 1] = value
            host.write_nowait(window("Activations", part), value, length=4)
            if part & 1:
                memory[part - 1], memory[part] = gathered
        elif kind == 3:
            part = rng.randrange(2 * 16)
            expected[host.read_nowait(window("Activations", part))] = memory[part]
        elif kind == 4:
            expected[host.read_nowait(window("Weights", rng.randrange(100)), error_expected=True)] = 0
        else:
            host.write_nowait(0x7C, value, error_expected=True, length=4)
    await host.wait()
    answers = {number: int.from_bytes(data, "little") for data, number in host.queue_rx}
    assert answers == expected
