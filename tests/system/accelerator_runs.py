# SPDX-License-Identifier: Apache-2.0
"""Cocotb tests of the accelerator: programs, from start to interrupt."""

import random
from dataclasses import replace
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from accelerator_build import CONFIG
from accelerator_driver import Accelerator, case, mask, window
from intarsia.system._registers import ADDRESSES
from intarsia.system.accelerator import fingerprint

SOUND = case(20)
START = mask("CONTROL", "start")


async def loaded(dut: Any) -> Accelerator:
    """An accelerator that holds the sound program and its image."""
    accelerator = Accelerator(dut)
    await accelerator.begin()
    await SOUND.load(accelerator)
    await SOUND.put_image(accelerator)
    return accelerator


@cocotb.test()
async def programs_run_with_the_right_result_in_the_predicted_cycles(dut: Any) -> None:
    accelerator = Accelerator(dut)
    await accelerator.begin()
    for seed in (1, 20, 40, 60):
        sound = case(seed)
        await sound.load(accelerator)
        assert await accelerator.read("CHECK") == sound.check
        await sound.run(accelerator)
        await sound.run(accelerator)


@cocotb.test()
async def a_start_is_refused_with_its_reason(dut: Any) -> None:
    accelerator = await loaded(dut)
    await accelerator.write("PROGRAM_BUILD", fingerprint(CONFIG) ^ 0x100)
    await accelerator.write("CONTROL", START)
    assert await accelerator.read("STATUS") == 0
    assert await accelerator.take() == {"version"}
    await accelerator.write("PROGRAM_BUILD", fingerprint(CONFIG))
    await accelerator.write("PROGRAM_CHECK", SOUND.check ^ 1)
    await accelerator.write("CONTROL", START)
    assert await accelerator.read("STATUS") == 0
    assert await accelerator.take() == {"check"}
    await accelerator.write("PROGRAM_CHECK", SOUND.check)
    # one bit of the program's last word
    last = len(SOUND.program.descriptors) - 1
    await accelerator.write_at(window("Program", last), int(SOUND.program.descriptors[last]) ^ 1 << 30)
    await accelerator.write("CONTROL", START)
    assert await accelerator.take() == {"check"}
    await SOUND.load(accelerator)
    await SOUND.run(accelerator)


@cocotb.test()
async def a_running_engine_refuses_starts_and_accesses_and_is_not_disturbed(dut: Any) -> None:
    accelerator = await loaded(dut)
    await accelerator.write("CONTROL", START)
    assert await accelerator.field("STATUS", "busy") == 1
    await accelerator.write("CONTROL", START)
    assert await accelerator.take() == {"start"}
    for region in ("Activations", "Weights", "Program"):
        await accelerator.write_at(window(region, 0), 0xFFFF_FFFF, refused=True)
        assert await accelerator.take() == {"access"}
    await accelerator.read_at(window("Activations", 0), refused=True)
    assert await accelerator.take() == {"access"}
    await accelerator.write("DMA_LENGTH", 1)
    await accelerator.write("DMA_TARGET", 1 << 16)
    await accelerator.write("DMA_CONTROL", 1)
    assert await accelerator.take() == {"dma"}
    assert await accelerator.field("STATUS", "busy") == 1
    await accelerator.wait_idle()
    assert await accelerator.take("STATUS") == {"done"}
    assert await accelerator.read("CYCLES") == SOUND.cycles
    np.testing.assert_array_equal(await SOUND.result(accelerator), SOUND.expected)
    assert await accelerator.read("CHECK") == SOUND.check


@cocotb.test()
async def an_access_behind_a_start_comes_too_late(dut: Any) -> None:
    """Requests in a row: what follows the start in the next cycles must not change the program that was checked."""
    accelerator = await loaded(dut)
    host = accelerator.host
    for _ in range(3):
        await SOUND.put_image(accelerator)
        host.write_nowait(ADDRESSES["CONTROL"], START, length=4)
        for offset in range(3):
            host.write_nowait(window("Program", offset), 0, length=4, error_expected=True)
        await host.wait()
        await accelerator.wait_idle()
        assert await accelerator.take() == {"access"}
        assert await accelerator.take("STATUS") == {"done"}
        np.testing.assert_array_equal(await SOUND.result(accelerator), SOUND.expected)


@cocotb.test()
async def done_is_not_lost_in_a_write_to_its_register(dut: Any) -> None:
    accelerator = await loaded(dut)
    for wait in range(SOUND.cycles - 6, SOUND.cycles + 4):
        await SOUND.put_image(accelerator)
        await accelerator.write("CONTROL", START)
        await ClockCycles(dut.clk_i, wait)
        await accelerator.write("STATUS", 0)
        await accelerator.wait_idle()
        assert await accelerator.take("STATUS") == {"done"}, wait


@cocotb.test()
async def interrupts_follow_their_enables(dut: Any) -> None:
    accelerator = await loaded(dut)
    await accelerator.write("INTERRUPT_ENABLE", mask("INTERRUPT_ENABLE", "dma_done", "error"))
    await accelerator.write("CONTROL", START)
    await accelerator.wait_idle()
    await ClockCycles(dut.clk_i, 2)
    assert not int(dut.irq_o.value)
    await accelerator.write("INTERRUPT_ENABLE", mask("INTERRUPT_ENABLE", "done"))
    await ClockCycles(dut.clk_i, 1)
    assert int(dut.irq_o.value)
    await accelerator.write("STATUS", mask("STATUS", "done"))
    await ClockCycles(dut.clk_i, 1)
    assert not int(dut.irq_o.value)


@cocotb.test()
async def the_watchdog_ends_a_run_after_its_limit_and_not_before(dut: Any) -> None:
    accelerator = await loaded(dut)
    for limit in (SOUND.cycles, SOUND.cycles + 1, 0xFFFF_FFFF):
        await accelerator.write("LIMIT", limit)
        await SOUND.run(accelerator)
    for limit in (0, 1, 20, SOUND.cycles // 2, SOUND.cycles - 1):
        await SOUND.put_image(accelerator)
        await accelerator.write("LIMIT", limit)
        await accelerator.write("CONTROL", START)
        await accelerator.wait_idle()
        assert await accelerator.take() == {"timeout"}, limit
        assert await accelerator.read("STATUS") == 0, limit
        assert await accelerator.read("CYCLES") == limit
        await accelerator.write("LIMIT", 0xFFFF_FFFF)
        await SOUND.run(accelerator)


@cocotb.test()
async def an_aborted_run_ends_at_once_and_the_next_one_is_right(dut: Any) -> None:
    accelerator = await loaded(dut)
    rng = random.Random(1)
    for wait in [*range(6), *(rng.randrange(SOUND.cycles + 5) for _ in range(20))]:
        await SOUND.put_image(accelerator)
        await accelerator.write("CONTROL", START)
        await ClockCycles(dut.clk_i, wait + 1)
        await accelerator.write("CONTROL", mask("CONTROL", "abort"))
        assert await accelerator.field("STATUS", "busy") == 0
        ended = await accelerator.take("STATUS")
        assert ended in (set(), {"done"}) and await accelerator.read("ERROR") == 0
        assert wait > SOUND.cycles - 10 or not ended
        await SOUND.run(accelerator)


@cocotb.test()
async def what_follows_an_abort_at_once_is_answered(dut: Any) -> None:
    """In the cycles in which the engine is reset a read would get no data and a start would be lost."""
    accelerator = await loaded(dut)
    host = accelerator.host
    for wait in range(5):
        await accelerator.write("CONTROL", START)
        await ClockCycles(dut.clk_i, 30)
        host.write_nowait(ADDRESSES["CONTROL"], mask("CONTROL", "abort"), length=4)
        if wait:
            await ClockCycles(dut.clk_i, wait)
        reads = [host.read_nowait(window("Activations", 0)) for _ in range(3)]
        await host.wait()
        assert {number for _, number in host.queue_rx} >= set(reads)
        await SOUND.put_image(accelerator)
        host.write_nowait(ADDRESSES["CONTROL"], mask("CONTROL", "abort"), length=4)
        if wait:
            await ClockCycles(dut.clk_i, wait)
        host.write_nowait(ADDRESSES["CONTROL"], START, length=4)
        await host.wait()
        await accelerator.wait_idle()
        assert await accelerator.take("STATUS") == {"done"}
        assert await accelerator.read("ERROR") == 0
        np.testing.assert_array_equal(await SOUND.result(accelerator), SOUND.expected)


@cocotb.test()
async def a_reset_in_the_middle_leaves_only_the_memories(dut: Any) -> None:
    accelerator = await loaded(dut)
    for wait in (0, 1, 10, 100, SOUND.cycles // 2):
        await accelerator.write("CONTROL", START)
        await ClockCycles(dut.clk_i, wait)
        await accelerator.reset()
        assert [await accelerator.read(name) for name in ("STATUS", "ERROR", "CYCLES", "LAYERS")] == [0] * 4
        await accelerator.write("CONTROL", START)
        assert await accelerator.take() == {"version"}
        # CHECK is that of nothing now, as is PROGRAM_CHECK.
        await accelerator.write("PROGRAM_BUILD", fingerprint(CONFIG))
        await SOUND.run(accelerator)


@cocotb.test()
async def a_last_access_beyond_a_memory_is_an_error_and_not_done(dut: Any) -> None:
    accelerator = await loaded(dut)
    layers = SOUND.program.layers
    words = layers[-1].output.words
    moved = replace(layers[-1].descriptor, out_base=CONFIG.act_depth - words + 1)  # its last word is behind the end
    program = replace(SOUND.program, layers=(*layers[:-1], replace(layers[-1], descriptor=moved)))
    await replace(SOUND, program=program).load(accelerator)
    edge, seen = RisingEdge(dut.clk_i), False
    await accelerator.write("CONTROL", START)
    for _ in range(SOUND.cycles + 50):
        await edge
        seen = seen or bool(int(dut.busy_o.value) & 1)
    assert seen
    assert await accelerator.take() == {"overrun"}
    assert await accelerator.read("STATUS") == 0
    await SOUND.load(accelerator)
    await SOUND.run(accelerator)
