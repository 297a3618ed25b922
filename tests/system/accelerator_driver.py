# SPDX-License-Identifier: Apache-2.0
"""What the cocotb tests of the accelerator share: its driver, a memory for its DMA, and a program for it."""

import random
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer
from cocotbext.obi import ObiBus, ObiHost
from numpy.typing import NDArray

from accelerator_build import CONFIG
from intarsia.engine import Program, compile_network
from intarsia.engine.config import bus_words
from intarsia.engine.cycles import predict
from intarsia.engine.layout import REGIONS
from intarsia.engine.packing import activation_words, activations_of
from intarsia.errors import IntarsiaError
from intarsia.integer import IntegerNetwork
from intarsia.integer.executor import Executor
from intarsia.system._registers import ADDRESSES, FIELDS
from intarsia.system.accelerator import fingerprint
from random_networks import random_images, random_network

PERIOD = 2
WIDTHS = {"Activations": CONFIG.act_bits, "Weights": CONFIG.weight_bits, "Program": 32}
DEPTHS = {"Activations": CONFIG.act_depth, "Weights": CONFIG.weight_depth, "Program": CONFIG.program_depth}
PARTS = {name: -(-width // 32) for name, width in WIDTHS.items()}
#: 32-bit words of the address map from one word of a memory to the next.
STRIDES = {name: bus_words(width) for name, width in WIDTHS.items()}


def mask(register: str, *names: str) -> int:
    """The bits of these fields of a register; of all its fields without names."""
    chosen = names or tuple(FIELDS[register])
    return sum((2 << high) - (1 << low) for low, high in (FIELDS[register][name] for name in chosen))


def packed(register: str, **values: int) -> int:
    """A register's value from those of its fields, two's complement."""
    result = 0
    for name, value in values.items():
        low, high = FIELDS[register][name]
        result |= (value & ((2 << (high - low)) - 1)) << low
    return result


def window(region: str, offset: int) -> int:
    """Byte address of a 32-bit part of a memory of the engine."""
    return (REGIONS[region] << 22) + 4 * offset


@dataclass
class Memory:
    """The system's memory, an OBI subordinate that can grant without a request, as many do.

    That of cocotbext-obi grants one cycle after a request at the earliest; the DMA's own speed does not show there.

    Attributes:
        stall: how likely a cycle is without a grant.
        latency: cycles from a grant to its response at most, drawn for each (1 at least).
        errors: addresses (multiples of 4) that are answered with an error.
        rng: draws stalls and latencies.
        content: bytes by address; others read as what `background` makes of the address.
        log: accesses in order, (address, whether it was a write).
    """

    dut: Any
    stall: float = 0.0
    latency: int = 1
    errors: set[int] = field(default_factory=set)
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    content: dict[int, int] = field(default_factory=dict)
    log: list[tuple[int, bool]] = field(default_factory=list)
    task: Any = None

    def load(self, address: int, data: bytes) -> None:
        self.content.update(zip(range(address, address + len(data)), data, strict=True))

    def read(self, address: int, length: int) -> bytes:
        return bytes(self.content.get((address + i) & 0xFFFFFFFF, (address + i) * 37 & 255) for i in range(length))

    def start(self) -> None:
        self.task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        dut, edge = self.dut, RisingEdge(self.dut.clk_i)
        waiting: deque[tuple[int, int, bool]] = deque()  # (cycle at the earliest, data, error)
        cycle, grant = 0, False
        dut.memory_gnt.value = dut.memory_rvalid.value = dut.memory_err.value = 0
        while True:
            await edge
            cycle += 1
            if not int(dut.rst_ni.value):
                waiting.clear()
                dut.memory_gnt.value = dut.memory_rvalid.value = 0
                grant = False
                continue
            if grant and int(dut.memory_req.value):
                waiting.append(self._access(cycle))
            if waiting and waiting[0][0] <= cycle:
                _, data, error = waiting.popleft()
                dut.memory_rvalid.value = 1
                dut.memory_rdata.value = data
                dut.memory_err.value = error
            else:
                dut.memory_rvalid.value = 0
                dut.memory_err.value = self.rng.getrandbits(1)  # means nothing without a response
                dut.memory_rdata.value = self.rng.getrandbits(32)
            allowed = not self.stall or self.rng.random() >= self.stall
            if allowed != grant:
                grant = allowed
                dut.memory_gnt.value = grant

    def _access(self, cycle: int) -> tuple[int, int, bool]:
        dut = self.dut
        address, write = int(dut.memory_addr.value), bool(int(dut.memory_we.value))
        assert int(dut.memory_be.value) == 15
        self.log.append((address, write))
        ready = cycle if self.latency == 1 else cycle + self.rng.randrange(self.latency)
        if address in self.errors:
            return ready, self.rng.getrandbits(32), True
        if write:
            self.load(address, int(dut.memory_wdata.value).to_bytes(4, "little"))
            return ready, self.rng.getrandbits(32), False
        return ready, int.from_bytes(self.read(address, 4), "little"), False


class Accelerator:
    """Drives the accelerator over OBI.

    Args:
        dut: the bench.
        model: access registers with the bus model of cocotbext-obi, which looks at the bus in every cycle; without it
            the simulation runs on its own for as long as nothing is accessed.
    """

    def __init__(self, dut: Any, *, model: bool = True) -> None:
        self.dut = dut
        self.model = model
        self.host: Any = None

    async def begin(self, **memory: Any) -> Memory | None:
        """Start the clock and reset; return the system's memory if it has options."""
        dut = self.dut
        # ports that no model drives
        for name in (*("memory_gnt", "memory_rvalid", "memory_err", "memory_rdata", "use_axi_i"),
                     *("axi_awvalid", "axi_wvalid", "axi_bready", "axi_arvalid", "axi_rready")):  # fmt: skip
            getattr(dut, name).value = 0
        cocotb.start_soon(Clock(dut.clk_i, PERIOD, unit="step").start())
        if self.model:
            self.host = ObiHost(ObiBus.from_prefix(dut, "host"), dut.clk_i, seednum=1)
            self.host.log.setLevel("WARNING")
        else:
            dut.host_req.value = 0
        await self.reset()
        if not memory:
            return None
        model = Memory(dut, **memory)
        model.start()
        return model

    async def reset(self, cycles: int = 2) -> None:
        self.dut.rst_ni.value = 0
        await ClockCycles(self.dut.clk_i, cycles)
        self.dut.rst_ni.value = 1
        await ClockCycles(self.dut.clk_i, 2)

    async def read_at(self, address: int, *, refused: bool = False) -> int:
        if self.model:
            return int.from_bytes(await self.host.read(address, error_expected=refused), "little")
        self.dut.host_we.value, self.dut.host_be.value = 0, 15
        return await self._access(address, refused=refused)

    async def write_at(self, address: int, value: int, *, enables: int = 15, refused: bool = False) -> None:
        if self.model:
            await self.host.write(address, value, strb=enables, error_expected=refused, length=4)
            return
        self.dut.host_we.value, self.dut.host_be.value, self.dut.host_wdata.value = 1, enables, value
        await self._access(address, refused=refused)

    async def _access(self, address: int, *, refused: bool = False) -> int:
        """One access without the bus model, from its request to its response."""
        dut, edge = self.dut, RisingEdge(self.dut.clk_i)
        dut.host_req.value = 1
        dut.host_addr.value = address
        await edge
        while not int(dut.host_gnt.value):
            await edge
        dut.host_req.value = 0
        await edge
        while not int(dut.host_rvalid.value):
            await edge
        assert bool(int(dut.host_err.value)) == refused, hex(address)
        return int(dut.host_rdata.value)

    async def read(self, register: str) -> int:
        return await self.read_at(ADDRESSES[register])

    async def write(self, register: str, value: int, *, enables: int = 15, refused: bool = False) -> None:
        await self.write_at(ADDRESSES[register], value, enables=enables, refused=refused)

    async def field(self, register: str, name: str) -> int:
        low, high = FIELDS[register][name]
        return (await self.read(register) >> low) & ((2 << (high - low)) - 1)

    async def take(self, register: str = "ERROR") -> set[str]:
        """Read the flags of a register and clear them."""
        value = await self.read(register)
        await self.write(register, value)
        return {name for name, (low, _) in FIELDS[register].items() if value >> low & 1}

    async def put(self, region: str, words: NDArray[np.uint32], first: int = 0) -> None:
        """Write words (n, parts) into a memory of the engine, a part in each cycle.

        Without the bus model, which takes ten times as long; the tests of registers and windows have it between.
        """
        dut, edge, stride = self.dut, RisingEdge(self.dut.clk_i), STRIDES[region]
        dut.host_req.value, dut.host_we.value, dut.host_be.value = 1, 1, 15
        for index, parts in enumerate(words.reshape(len(words), -1).tolist()):
            for part, value in enumerate(parts):
                dut.host_addr.value = window(region, (first + index) * stride + part)
                dut.host_wdata.value = value
                await edge
                while not int(dut.host_gnt.value):
                    await edge
                assert not int(dut.host_err.value)
        dut.host_req.value = 0
        await edge
        assert not int(dut.host_err.value)

    async def get(self, words: int, first: int = 0) -> NDArray[np.uint32]:
        """Read activation words, without the bus model as well."""
        self.dut.host_we.value, self.dut.host_be.value = 0, 15
        begin, parts = first * STRIDES["Activations"], words * STRIDES["Activations"]
        values = [await self._access(window("Activations", begin + part)) for part in range(parts)]
        return np.array(values, np.uint32).reshape(words, -1)

    async def wait_idle(self, limit: int = 100_000) -> None:
        """Wait until neither engine nor DMA are busy."""
        edge = RisingEdge(self.dut.clk_i)
        for _ in range(limit):
            await edge
            if not int(self.dut.busy_o.value) & 3:
                return
        raise AssertionError("it never ends")

    async def transfer(self, control: int) -> int:
        """Start the DMA, wait for its end; return for how many cycles it was busy."""
        start, edge, busy = cocotb.start_soon(self.write("DMA_CONTROL", control)), RisingEdge(self.dut.clk_i), 0
        while not busy or int(self.dut.busy_o.value) & 2:
            await edge
            busy += int(self.dut.busy_o.value) >> 1 & 1
        await start
        return busy

    async def interrupt(self, limit: int) -> None:
        """Wait for the interrupt, so many cycles at most."""
        if not int(self.dut.irq_o.value):
            await First(RisingEdge(self.dut.irq_o), Timer(PERIOD * limit, "step"))
            await RisingEdge(self.dut.clk_i)
        assert int(self.dut.irq_o.value), "no interrupt"


@dataclass(frozen=True)
class Case:
    """A program, an image and what the network makes of it."""

    network: IntegerNetwork
    program: Program
    image: NDArray[np.integer]
    expected: NDArray[np.integer]

    @property
    def cycles(self) -> int:
        return sum(layer.cycles for layer in predict(self.program))

    @property
    def check(self) -> int:
        weights = np.ascontiguousarray(self.program.weights, "<u4").tobytes()
        return zlib.crc32(self.program.descriptors.astype("<u4").tobytes(), zlib.crc32(weights))

    async def load(self, accelerator: Accelerator) -> None:
        """Load weights and program, and allow it to start."""
        await accelerator.write("CONTROL", mask("CONTROL", "check_restart"))
        await accelerator.put("Weights", self.program.weights)
        await accelerator.put("Program", self.program.descriptors[:, None])
        await accelerator.write("PROGRAM_BUILD", fingerprint(CONFIG))
        await accelerator.write("PROGRAM_CHECK", self.check)

    async def put_image(self, accelerator: Accelerator) -> None:
        placement = self.program.input
        words = activation_words(placement.store(self.image), placement.stored.bits)
        await accelerator.put("Activations", words, placement.base)

    async def result(self, accelerator: Accelerator) -> NDArray[np.int64]:
        placement = self.program.output
        words = await accelerator.get(placement.words, placement.base)
        return placement.restore(activations_of(words, placement.stored.bits))

    async def run(self, accelerator: Accelerator) -> None:
        """Write the image, run, compare result, cycles and layers."""
        await self.put_image(accelerator)
        await accelerator.write("STATUS", mask("STATUS"))
        await accelerator.write("INTERRUPT_ENABLE", mask("INTERRUPT_ENABLE", "done", "error"))
        await accelerator.write("CONTROL", mask("CONTROL", "start"))
        await accelerator.interrupt(self.cycles + 100)
        assert await accelerator.read("ERROR") == 0
        assert await accelerator.take("STATUS") == {"done"}
        np.testing.assert_array_equal(await self.result(accelerator), self.expected)
        assert await accelerator.read("CYCLES") == self.cycles
        assert await accelerator.read("LAYERS") == len(self.program.layers)


def case(seed: int = 1, depth: int = 3, least_layers: int = 3) -> Case:
    """A random network that fits the engine's memories, from this seed on."""
    while True:
        rng = np.random.default_rng(seed)
        seed += 1
        network = random_network(rng, depth)
        try:
            program = compile_network(network, CONFIG)
        except IntarsiaError:
            continue
        if len(program.layers) < least_layers:
            continue
        image = random_images(rng, network, 1)[0]
        expected = Executor(network).run(image[None])[0].reshape(program.output.tensor.shape)
        if len(np.unique(expected)) > 20:  # a result that few faults leave as it is
            return Case(network, program, image, expected)
