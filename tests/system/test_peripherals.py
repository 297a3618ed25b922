# SPDX-License-Identifier: Apache-2.0
"""UART and timer bit by bit; parameters of the system; its signals in a file; its synthesis."""

from pathlib import Path

import numpy as np
import pytest

from intarsia.engine.config import EngineConfig
from intarsia.errors import IntarsiaError
from intarsia.synthesize.ecp5 import map_resources
from intarsia.synthesize.yosys import Design
from intarsia.system import SimulatedSystem
from intarsia.system.sources import system_folder, write_system
from rtl_bench import play, verilator
from systems import STUB, program, system

DIVISOR = 3
UART = f"""
module bench (input logic clk_i, input logic [13:0] in_i, output logic [11:0] out_o);
  logic [31:0] rdata;
  logic [7:0] data;
  logic err, tx, valid;
  intarsia_uart #(.Divisor({DIVISOR})) u_uart (
    .clk_i, .rst_ni(in_i[13]), .req_i(in_i[12]), .we_i(in_i[11]), .addr_i({{9'd0, in_i[10:8]}}),
    .wdata_i({{24'd0, in_i[7:0]}}), .rdata_o(rdata), .err_o(err), .tx_o(tx), .valid_o(valid), .data_o(data)
  );
  assign out_o = {{rdata[0], err, tx, valid, data}};
  logic unused;
  assign unused = ^rdata;
endmodule
"""
TIMER = """
module bench (input logic clk_i, input logic [37:0] in_i, output logic [33:0] out_o);
  intarsia_timer u_timer (
    .clk_i, .rst_ni(in_i[37]), .req_i(in_i[36]), .we_i(in_i[36]), .addr_i({8'd0, in_i[35:32]}), .wdata_i(in_i[31:0]),
    .rdata_o(out_o[31:0]), .err_o(out_o[32]), .irq_o(out_o[33])
  );
endmodule
"""
WAIVERS = ["-Wno-DECLFILENAME", "-Wno-SYNCASYNCNET"]


def bits(value: int, width: int) -> list[int]:
    return [value >> i & 1 for i in range(width)]


def number(line: np.ndarray) -> int:
    return int(line.astype(object) @ [1 << i for i in range(len(line))])


def received(line: np.ndarray) -> bytes:
    """Read a serial line as a receiver does: in the middle of each bit after the edge of a start bit."""
    data, i = bytearray(), 0
    while i < len(line) - 10 * DIVISOR:
        if line[i]:
            i += 1
            continue
        middles = line[i + DIVISOR // 2 :: DIVISOR][:10]
        assert (middles[0], middles[9]) == (0, 1)
        data.append(number(middles[1:9]))
        i += 10 * DIVISOR
    return bytes(data)


def test_the_line_carries_what_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    cycles, data, status = 4000, 0, 4
    lines = []
    for i in range(cycles):
        write = rng.random() < (0.5 if i < 2000 else 0.02)
        word = bits(int(rng.integers(256)), 8) + bits(data if write else status, 3)
        lines.append([*word, int(write), int(i < cycles - 100), int(i >= 2)])
    played = play(
        [system_folder() / "intarsia_uart.sv"], UART, 12, np.array(lines, np.uint8), tmp_path, waivers=WAIVERS
    )[2:]
    stimulus = np.array(lines)[2:]
    valid, tx, err, ready = (played[:, i] for i in (8, 9, 10, 11))
    asked, wrote = stimulus[:, 12] == 1, stimulus[:, 11] == 1
    sent = bytes(number(line[:8]) for line in played[valid == 1])
    assert len(sent) > 80
    assert received(np.append(tx, np.ones(10 * DIVISOR, np.uint8))) == sent
    np.testing.assert_array_equal(valid[asked & wrote], 1 - err[asked & wrote])  # refused while full
    assert not valid[~(asked & wrote)].any()
    assert not err[asked & ~wrote].any()
    assert set(ready[asked & ~wrote]) == {0, 1}


def test_the_timer_compares_all_64_bits(tmp_path: Path) -> None:
    time, high, compare, compare_high = 0, 4, 8, 12
    lines = [[*bits(0, 37), int(i >= 2)] for i in range(120)]

    def write(cycle: int, address: int, value: int) -> None:
        lines[cycle] = [*bits(value, 32), *bits(address, 4), 1, 1]

    write(10, compare_high, 1)
    write(11, compare, 5)  # 2^32 + 5: not reached, though the low half is
    write(40, compare_high, 0)
    write(60, compare, 80)
    write(61, time, 0)
    write(62, high, 0)
    played = play(
        [system_folder() / "intarsia_timer.sv"], TIMER, 34, np.array(lines, np.uint8), tmp_path, waivers=WAIVERS
    )
    irq, err = played[:, 33], played[:, 32]
    assert number(played[50, :32]) == 50 - 2  # mtime; the reset ended before cycle 2
    # One cycle to write, one to compare: mtime is two behind the cycle.
    expected = [(42 <= i < 62) or i >= 83 for i in range(120)]
    np.testing.assert_array_equal(irq[2:], np.array(expected)[2:])
    assert [i for i in range(2, 120) if err[i]] == [61, 62]


@pytest.mark.parametrize(
    "parameters", [{"Core": 2}, {"CodeBytes": 62}, {"DataBytes": 130}, {"UartDivisor": 0}, {"Accelerator": 2}], ids=str
)
def test_illegal_parameters_of_the_system_stop_elaboration(parameters: dict[str, int], tmp_path: Path) -> None:
    pytest.importorskip("pythondata_cpu_picorv32")
    names = [str(path) for path in write_system(tmp_path, "picorv32", accelerator=[STUB])]
    values = [f"-G{name}={value}" for name, value in parameters.items()]
    waivers = "soc/intarsia_soc.vlt"
    done = verilator(tmp_path, "--lint-only", "-Wno-lint", "--top-module", "intarsia_soc", *values, waivers, *names)
    assert done.returncode != 0
    assert "must" in done.stderr


def test_signals_are_written_to_a_file(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    waves = tmp_path / "waves.vcd"
    with SimulatedSystem("picorv32", optimize="-O0", waves=waves) as soc:
        run = soc.run(program("small", "picorv32"))
    with system("picorv32") as soc:
        assert soc.run(program("small", "picorv32")).counts == run.counts  # with and without an accelerator
    text = waves.read_text()
    assert "$var" in text
    assert "uart_tx_o" in text
    assert text.count("\n#") >= 2 * run.cycles
    with pytest.raises(IntarsiaError, match="choose another file"):
        SimulatedSystem("picorv32", waves=waves / "waves.vcd")


def test_ram_becomes_block_ram(tmp_path: Path) -> None:
    pytest.importorskip("pythondata_cpu_picorv32")
    sources = write_system(tmp_path, "picorv32", accelerator=[STUB])
    parameters = {"CodeBytes": 8192, "DataBytes": 4096, **EngineConfig().module_parameters()}
    total = map_resources(Design(tuple(sources), "intarsia_soc", parameters)).total
    assert total.bram == 6 + 2  # 2 KiB each; the registers of the core are two
    assert total.dsp == 4
    assert 1000 < total.lut < 6000
    assert 500 < total.ff < 2000
