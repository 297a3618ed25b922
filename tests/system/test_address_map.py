# SPDX-License-Identifier: Apache-2.0
"""The system's address map is the same in hardware, firmware, linker script and Python; so are its sizes of RAM."""

import re
from pathlib import Path

from intarsia.engine.layout import REGIONS
from intarsia.system import layout
from intarsia.system.sources import system_folder
from intarsia.system.toolchain import firmware_folder


def constants(path: Path, pattern: str) -> dict[str, int]:
    text = path.read_text(encoding="utf-8")
    return {name: int(value, 16) for name, value in re.findall(pattern, text)}


def test_all_say_the_same_of_the_system() -> None:
    soc = (system_folder() / "intarsia_soc.sv").read_text(encoding="utf-8")
    [bases] = re.findall(r"Base = \{(.*?)\}", soc)
    engine, peripherals, data, code = (int(base.strip().removeprefix("32'h"), 16) for base in bases.split(","))
    firmware = constants(firmware_folder() / "platform.h", r"#define (\w+)_BASE (0x[0-9a-f]+)u")
    assert firmware == {
        **{"CODE": code, "DATA": data, "UART": peripherals, "TIMER": peripherals + 0x1000},
        **{"CONTROL": peripherals + 0x2000, "ACCELERATOR": engine},
    }
    assert (code, data) == (layout.CODE_BASE, layout.DATA_BASE)
    linked = constants(firmware_folder() / "link.ld", r"(\w+) \(rwx\) : ORIGIN = (0x[0-9a-f]+)")
    assert linked == {"code": code, "data": data}
    page = (Path(__file__).parents[2] / "docs" / "inside.md").read_text(encoding="utf-8")
    rows = {int(row, 16) for row in re.findall(r"^\| `(0x\w{4}_\w{4})` \|", page, re.MULTILINE)}
    assert rows == set(firmware.values())
    ram = (system_folder() / "intarsia_obi_ram.sv").read_text(encoding="utf-8")
    assert f"Bytes < {layout.LEAST_BYTES} || Bytes > {layout.MOST_BYTES} " in ram


def test_the_driver_names_the_memories_as_the_engine_does() -> None:
    driver = (firmware_folder() / "intarsia.c").read_text(encoding="utf-8")
    found = dict(re.findall(r"#define (WEIGHTS|PROGRAM) \((\d)u << INTARSIA_REGISTERS__DMA_TARGET__MEMORY_bp", driver))
    assert {name: int(number) for name, number in found.items()} == {
        name.upper(): REGIONS[name] for name in ("Weights", "Program")
    }
