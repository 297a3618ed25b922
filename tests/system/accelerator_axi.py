# SPDX-License-Identifier: Apache-2.0
"""Cocotb tests of the accelerator behind its AXI4-Lite adapter, with the manager of cocotbext-axi."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from accelerator_driver import PERIOD, STRIDES, Accelerator, case, mask, window
from intarsia.engine.packing import activation_words, activations_of
from intarsia.system._registers import ADDRESSES

SOUND = case(20)
CHANNELS = ("aw", "w", "ar", "b", "r")


def pauses(seed: int) -> Iterator[bool]:
    rng = random.Random(seed)
    return (rng.random() < 0.5 for _ in itertools.count())


async def begin(dut: Any, paused: tuple[str, ...] = ()) -> AxiLiteMaster:
    """Reset; return a manager whose channels of these names pause at random."""
    await Accelerator(dut).begin()
    dut.use_axi_i.value = 1
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "axi"), dut.clk_i)
    for interface in (master.write_if, master.read_if):
        interface.log.setLevel("WARNING")
    channels = {
        "aw": master.write_if.aw_channel,
        "w": master.write_if.w_channel,
        "b": master.write_if.b_channel,
        "ar": master.read_if.ar_channel,
        "r": master.read_if.r_channel,
    }
    for seed, name in enumerate(paused):
        channels[name].set_pause_generator(pauses(seed))
    await RisingEdge(dut.clk_i)
    return master


async def read(master: AxiLiteMaster, address: int) -> tuple[int, bool]:
    """The word at an address, and whether it was answered with an error."""
    response = await with_timeout(master.read(address, 4), 500 * PERIOD, "step")
    assert response.resp in (AxiResp.OKAY, AxiResp.SLVERR)
    return int.from_bytes(response.data, "little"), response.resp == AxiResp.SLVERR


async def write(master: AxiLiteMaster, address: int, value: int, length: int = 4) -> bool:
    """Write; return whether it was answered with an error."""
    data = value.to_bytes(length, "little")
    response = await with_timeout(master.write(address, data), 500 * PERIOD, "step")
    assert response.resp in (AxiResp.OKAY, AxiResp.SLVERR)
    return bool(response.resp == AxiResp.SLVERR)


@cocotb.test()
async def registers_bytes_and_errors(dut: Any) -> None:
    for paused in ((), *((name,) for name in CHANNELS), CHANNELS):
        master = await begin(dut, paused)
        assert await read(master, ADDRESSES["IDENTITY"]) == (0x1A75_0003, False)
        assert not await write(master, ADDRESSES["LIMIT"], 0x1234_5678)
        assert not await write(master, ADDRESSES["LIMIT"] + 1, 0xAB, 1)
        assert not await write(master, ADDRESSES["LIMIT"] + 2, 0xCDEF, 2)
        assert await read(master, ADDRESSES["LIMIT"]) == (0xCDEF_AB78, False)
        assert await write(master, ADDRESSES["IDENTITY"], 1)
        assert await write(master, 0x7C, 1)
        assert (await read(master, ADDRESSES["CONTROL"]))[1]
        assert (await read(master, window("Weights", 0)))[1]
        assert await write(master, window("Activations", 0), 1, 2)
        assert not await write(master, window("Activations", 0), 0x1111)
        assert not await write(master, window("Activations", 1), 0x2222)
        assert await read(master, window("Activations", 0)) == (0x1111, False)
        assert await read(master, window("Activations", 1)) == (0x2222, False)
        assert await read(master, ADDRESSES["ERROR"]) == (mask("ERROR", "access"), False)


@cocotb.test()
async def reads_and_writes_at_the_same_time_take_turns(dut: Any) -> None:
    for paused in ((), CHANNELS):
        master = await begin(dut, paused)
        order: list[str] = []

        async def work(name: str, count: int, master: AxiLiteMaster = master, order: list[str] = order) -> None:
            for i in range(count):
                if name == "write":
                    assert not await write(master, ADDRESSES["PROGRAM_CHECK"], i)
                else:
                    assert await read(master, ADDRESSES["BUILD"] if i & 1 else ADDRESSES["IDENTITY"])
                order.append(name)

        tasks = [cocotb.start_soon(work(name, 50)) for name in ("write", "read")]
        for task in tasks:
            await task
        longest = max(len(list(same)) for _, same in itertools.groupby(order[:60]))
        assert longest <= (2 if not paused else 20), order
        assert await read(master, ADDRESSES["PROGRAM_CHECK"]) == (49, False)


@cocotb.test()
async def a_program_runs(dut: Any) -> None:
    master = await begin(dut, ("w", "b"))
    assert not await write(master, ADDRESSES["CONTROL"], mask("CONTROL", "check_restart"))
    program = SOUND.program
    image = activation_words(program.input.store(SOUND.image), program.input.stored.bits)
    for region, words, first in (("Weights", program.weights, 0), ("Program", program.descriptors[:, None], 0),
                                 ("Activations", image, program.input.base)):  # fmt: skip
        for index, parts in enumerate(words.tolist()):
            for part, value in enumerate(parts):
                assert not await write(master, window(region, (first + index) * STRIDES[region] + part), value)
    for name, value in (
        ("PROGRAM_BUILD", (await read(master, ADDRESSES["BUILD"]))[0]),
        ("PROGRAM_CHECK", SOUND.check),
        ("INTERRUPT_ENABLE", mask("INTERRUPT_ENABLE")),
        ("CONTROL", mask("CONTROL", "start")),
    ):
        assert not await write(master, ADDRESSES[name], value)
    assert await write(master, window("Activations", 0), 0)  # the engine is busy
    assert int(dut.irq_o.value)  # an error
    assert not await write(master, ADDRESSES["ERROR"], mask("ERROR"))
    await with_timeout(RisingEdge(dut.irq_o), (SOUND.cycles + 100) * PERIOD, "step")
    assert await read(master, ADDRESSES["STATUS"]) == (mask("STATUS", "done"), False)
    assert await read(master, ADDRESSES["CYCLES"]) == (SOUND.cycles, False)
    output, stride = program.output, STRIDES["Activations"]
    values = [(await read(master, window("Activations", output.base * stride + i)))[0]
              for i in range(output.words * stride)]  # fmt: skip
    words = np.array(values, np.uint32).reshape(-1, stride)
    np.testing.assert_array_equal(output.restore(activations_of(words, output.stored.bits)), SOUND.expected)
