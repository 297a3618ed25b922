# SPDX-License-Identifier: Apache-2.0
"""Programs on both cores: what they find out about the system, how they end, what is counted."""

import shutil
from collections.abc import Iterator

import pytest

from intarsia.errors import IntarsiaError
from intarsia.system import CORES, Core, SimulatedSystem, SystemMemory
from systems import program, system

pytest.importorskip("ziglang")


@pytest.fixture(scope="module", params=CORES)
def soc(request: pytest.FixtureRequest) -> Iterator[SimulatedSystem]:
    with system(request.param) as simulated:
        yield simulated


def test_the_system_works_from_within(soc: SimulatedSystem) -> None:
    run = soc.run(program("self_test", soc.core), limit_cycles=2_000_000)
    assert run.uart == "18446744073709551615 -2147483648 0 00c0ffee\n"
    assert run.exit_code == 0
    counts = run.between(1, 2)
    assert 0 < counts.instructions < counts.cycles < run.cycles
    assert counts.dma_busy > 50
    assert counts.engine_busy == counts.other_busy == 0
    assert counts.data_waits > 0  # the stub denies


@pytest.mark.skipif(shutil.which("riscv64-unknown-elf-gcc") is None, reason="needs riscv64-unknown-elf-gcc")
def test_the_system_works_from_within_with_the_other_compiler(soc: SimulatedSystem) -> None:
    run = soc.run(program("self_test", soc.core, compiler="gcc"), limit_cycles=2_000_000)
    assert (run.uart, run.exit_code) == ("18446744073709551615 -2147483648 0 00c0ffee\n", 0)


def test_a_run_is_the_same_whatever_registers_and_memories_held(soc: SimulatedSystem) -> None:
    image = program("self_test", soc.core)
    first = soc.run(image)
    assert soc.run(image) == first
    with system(soc.core, seed=2) as other:
        assert other.run(image) == first


def test_content_of_memory_is_given_and_read(soc: SimulatedSystem) -> None:
    image = program("small", soc.core)
    table = bytes(range(256))
    address = image.symbols["table"].address
    run = soc.run(image, content={address: table})
    assert (run.exit_code, run.uart) == (7, str(sum(table)))
    assert soc.read(address, 256) == table
    assert int.from_bytes(soc.read(image.symbols["result"].address, 4), "little") == sum(table)
    assert soc.run(image).uart == "6"  # the program as it is compiled
    assert run.between(10, 11).instructions > 3 * 256
    with pytest.raises(IntarsiaError, match="mark 11 and then mark 10"):
        run.between(11, 10)
    with pytest.raises(IntarsiaError, match="there is no RAM for 2 bytes at 0x1001ffff"):
        soc.read(0x1001_FFFF, 2)


def test_an_endless_program_ends_at_the_limit(soc: SimulatedSystem) -> None:
    with pytest.raises(IntarsiaError, match=r"has not ended after 20,000 cycles .* is 'so far'"):
        soc.run(program("endless", soc.core), limit_cycles=20_000)
    assert soc.run(program("small", soc.core)).exit_code == 7


def test_faults_end_a_program_that_does_not_handle_them(soc: SimulatedSystem) -> None:
    run = soc.run(program("faulty", soc.core))
    assert run.exit_code == 0xFA000001
    assert run.uart.startswith("before fault: bus error, pc 0000")
    assert run.uart.endswith("address 20000000\n")


def test_a_processor_that_stops_is_reported() -> None:
    with (
        system("picorv32") as soc,
        pytest.raises(IntarsiaError, match=r"the processor stopped after [\d,]+ cycles.* is 'before '"),
    ):
        soc.run(program("faulty", "picorv32", WORSE=1))


def test_a_program_for_another_system_is_refused(soc: SimulatedSystem) -> None:
    other: Core = "ibex" if soc.core == "picorv32" else "picorv32"
    for image in (program("small", other), program("small", soc.core, SystemMemory(65536, 65536))):
        with pytest.raises(IntarsiaError, match="compile it again"):
            soc.run(image)
