# SPDX-License-Identifier: Apache-2.0
"""Cocotb test that breaks the bus's rules: the accelerator's assertions must end the simulation."""

from typing import Any

import cocotb
from cocotb.triggers import ClockCycles

from accelerator_driver import Accelerator, case, mask

SOUND = case(20)


@cocotb.test()
async def a_request_is_taken_back(dut: Any) -> None:
    accelerator = Accelerator(dut, model=False)
    await accelerator.begin()
    await SOUND.load(accelerator)
    await accelerator.write("CONTROL", mask("CONTROL", "abort"))
    dut.host_req.value = 1  # not granted: the engine is being reset
    await ClockCycles(dut.clk_i, 1)
    dut.host_req.value = 0
    await ClockCycles(dut.clk_i, 3)
