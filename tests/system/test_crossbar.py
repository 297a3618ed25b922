# SPDX-License-Identifier: Apache-2.0
"""The crossbar under random managers and subordinates: every answer, what goes on in parallel, and turns."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from intarsia.system.sources import system_folder
from rtl_bench import play, verilator

MANAGERS, SUBORDINATES = 3, 3
#: Manager 2 does not reach subordinate 2, and nobody answers region 3.
UNREACHED = {(2, 2), (0, 3), (1, 3), (2, 3)}
CYCLES = 20_000
MANAGER_IN, SUBORDINATE_IN = 24, 2  # stimulus bits of one
MANAGER_OUT, SUBORDINATE_OUT = 1 + 1 + 16 + 1 + 16 + 1 + 1 + 16, 1 + 1 + 16 + 1 + 16

#: Managers keep a request until it is granted; subordinates hold one transaction and answer it when the stimulus says.
#: An address has its region in bits 15 and 14; the answer to a is ~a, with err if bit 2 is set.
BENCH = """
module bench (input logic clk_i, input logic [78:0] in_i, output logic [263:0] out_o);
  logic rst_n;
  assign rst_n = in_i[78];
  logic [2:0] req_q, we_q, gnt, rvalid, err, sreq, sgnt, swe, srvalid, serr, held_q;
  logic [2:0][31:0] addr_q, wdata_q, rdata, saddr, swdata, srdata, saddr_q;
  logic [2:0][3:0] be, sbe;
  for (genvar m = 0; m < 3; m++) begin : gen_manager
    logic want, we;
    logic [1:0] region;
    logic [4:0] place;
    logic [14:0] data;
    assign {want, we, region, place, data} = in_i[m*24+:24];
    assign be[m] = 4'hF;
    always_ff @(posedge clk_i) begin
      if (!rst_n) req_q[m] <= 1'b0;
      else if (!req_q[m] || gnt[m]) begin
        req_q[m] <= want;
        {we_q[m], addr_q[m], wdata_q[m]} <= {we, 16'd0, region, 7'd0, place, 2'd0, 17'd0, data};
      end
    end
    assign out_o[m*53+:53] = {req_q[m], gnt[m], addr_q[m][15:0], we_q[m], wdata_q[m][15:0], rvalid[m], err[m],
                              rdata[m][15:0]};
  end
  for (genvar s = 0; s < 3; s++) begin : gen_subordinate
    assign sgnt[s] = in_i[72+2*s];
    assign srvalid[s] = held_q[s] && in_i[73+2*s];
    assign serr[s] = saddr_q[s][2];
    assign srdata[s] = ~saddr_q[s];
    always_ff @(posedge clk_i) begin
      if (!rst_n) held_q[s] <= 1'b0;
      else held_q[s] <= (sreq[s] && sgnt[s]) || (held_q[s] && !srvalid[s]);
      if (sreq[s] && sgnt[s]) saddr_q[s] <= saddr[s];
    end
    assign out_o[159+s*35+:35] = {sreq[s], sgnt[s], saddr[s][15:0], swe[s], swdata[s][15:0]};
  end
  intarsia_obi_crossbar #(
    .Managers(3), .Subordinates(3), .Base({32'h8000, 32'h4000, 32'h0000}), .Mask({3{32'hFFFF_C000}}),
    .Reach({3'b011, 3'b111, 3'b111})
  ) u_crossbar (
    .clk_i, .rst_ni(rst_n), .mgr_req_i(req_q), .mgr_gnt_o(gnt), .mgr_addr_i(addr_q), .mgr_we_i(we_q), .mgr_be_i(be),
    .mgr_wdata_i(wdata_q), .mgr_rvalid_o(rvalid), .mgr_rdata_o(rdata), .mgr_err_o(err), .sbr_req_o(sreq),
    .sbr_gnt_i(sgnt), .sbr_addr_o(saddr), .sbr_we_o(swe), .sbr_be_o(sbe), .sbr_wdata_o(swdata),
    .sbr_rvalid_i(srvalid), .sbr_rdata_i(srdata), .sbr_err_i(serr)
  );
  logic unused;
  assign unused = ^{sbe, rdata, saddr, swdata};
endmodule
"""


def fields(bits: NDArray[np.uint8], *widths: int) -> list[NDArray[np.int64]]:
    """Split lines of bits, most significant field first, into integers."""
    values, end = [], bits.shape[1]
    for width in widths:
        values.append(bits[:, end - width : end].astype(np.int64) @ (1 << np.arange(width)))
        end -= width
    return values


def stimulus(rng: np.random.Generator) -> NDArray[np.uint8]:
    bits = rng.integers(0, 2, (CYCLES, MANAGERS * MANAGER_IN + SUBORDINATES * SUBORDINATE_IN + 1), np.uint8)
    # Phases of 500 cycles: how often managers want something, and subordinates grant and answer.
    for begin in range(0, CYCLES, 500):
        part = slice(begin, begin + 500)
        busy, willing = rng.choice([0.2, 0.7, 1.0], 2)
        for m in range(MANAGERS):
            bits[part, m * MANAGER_IN + MANAGER_IN - 1] = rng.random(500) < busy
        bits[part, MANAGERS * MANAGER_IN : -1] = rng.random((500, SUBORDINATES * SUBORDINATE_IN)) < willing
    bits[:, -1] = np.arange(CYCLES) >= 2  # the reset
    return bits


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    rng = np.random.default_rng(6)
    source = system_folder() / "intarsia_obi_crossbar.sv"
    outputs = MANAGERS * MANAGER_OUT + SUBORDINATES * SUBORDINATE_OUT
    folder = tmp_path_factory.mktemp("crossbar")
    return play([source], BENCH, outputs, stimulus(rng), folder, waivers=["-Wno-DECLFILENAME", "-Wno-SYNCASYNCNET"])


def manager(played: NDArray[np.uint8], m: int) -> list[NDArray[np.int64]]:
    return fields(played[:, m * MANAGER_OUT : (m + 1) * MANAGER_OUT], 1, 1, 16, 1, 16, 1, 1, 16)


def subordinate(played: NDArray[np.uint8], s: int) -> list[NDArray[np.int64]]:
    first = MANAGERS * MANAGER_OUT + s * SUBORDINATE_OUT
    return fields(played[:, first : first + SUBORDINATE_OUT], 1, 1, 16, 1, 16)


@pytest.mark.parametrize("m", range(MANAGERS))
def test_every_request_is_answered_once_in_order(played: NDArray[np.uint8], m: int) -> None:
    req, gnt, addr, _, _, rvalid, err, rdata = manager(played, m)
    awaited: int | None = None
    answers = refused = 0
    for i in range(CYCLES):
        if rvalid[i]:
            assert awaited is not None
            if (m, awaited >> 14) in UNREACHED:
                assert (err[i], rdata[i]) == (1, 0)
                refused += 1
            else:
                assert (err[i], rdata[i]) == (awaited >> 2 & 1, ~awaited & 0xFFFF)
            awaited = None
            answers += 1
        if gnt[i]:
            assert req[i]
            assert awaited is None, "a second transaction was granted before the answer to the first"
            awaited = int(addr[i])
    assert answers > CYCLES / 10
    assert refused > 100


def test_subordinates_see_what_was_granted(played: NDArray[np.uint8]) -> None:
    managers = [manager(played, m) for m in range(MANAGERS)]
    for s in range(SUBORDINATES):
        req, gnt, *transaction = subordinate(played, s)
        granted = [m[1] & (m[2] >> 14 == s) if (i, s) not in UNREACHED else 0 * m[1] for i, m in enumerate(managers)]
        np.testing.assert_array_equal(sum(granted), req & gnt)
        for m, mine in enumerate(granted):
            for seen, sent in zip(transaction, managers[m][2:5], strict=True):
                np.testing.assert_array_equal(seen[mine == 1], sent[mine == 1])


def test_managers_proceed_in_parallel(played: NDArray[np.uint8]) -> None:
    granted = sum(manager(played, m)[1] for m in range(MANAGERS))
    assert np.count_nonzero(granted == MANAGERS) > CYCLES / 100


def wants(gnt: NDArray[np.int64], rvalid: NDArray[np.int64], asks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return in which cycles a manager asks and does not wait for an answer."""
    waits, result = False, np.zeros_like(asks)
    for i in range(CYCLES):
        result[i] = asks[i] and (not waits or rvalid[i])
        waits = bool(gnt[i] or (waits and not rvalid[i]))
    return result


@pytest.mark.parametrize("s", range(2))
def test_the_first_manager_comes_first_and_the_others_take_turns(played: NDArray[np.uint8], s: int) -> None:
    managers = [manager(played, m) for m in range(MANAGERS)]
    asking = [wants(m[1], m[5], m[0] & (m[2] >> 14 == s)) for m in managers]
    granted = [m[1] & (m[2] >> 14 == s) for m in managers]
    for m, other in ((0, 1), (0, 2), (1, 2), (2, 1)):
        overtaken = most = 0
        for i in range(CYCLES):
            overtaken = overtaken + granted[other][i] if asking[m][i] and not granted[m][i] else 0
            most = max(most, overtaken)
        assert most == 1  # a request that was there before, or the other one's turn


@pytest.mark.parametrize(
    "parameters", [".Managers(1)", ".Base({32'h11, 32'h0})", ".Mask({2{32'h0}}), .Base('0)"], ids=str
)
def test_illegal_parameters_stop_elaboration(parameters: str, tmp_path: Path) -> None:
    given = {
        "Managers": "2",
        "Subordinates": "2",
        "Base": "{32'h10, 32'h0}",
        "Mask": "{2{32'hFFFF_FFF0}}",
        "Reach": "'1",
    }
    named = [f".{name}({value})" for name, value in given.items() if f".{name}(" not in parameters]
    (tmp_path / "top.sv").write_text(
        f"module top; intarsia_obi_crossbar #({', '.join([*named, parameters])}) u_crossbar (); endmodule"
    )
    source = system_folder() / "intarsia_obi_crossbar.sv"
    done = verilator(tmp_path, "--lint-only", "-Wno-PINMISSING", "--top-module", "top", "top.sv", str(source))
    assert done.returncode != 0
    assert "must" in done.stderr
