# SPDX-License-Identifier: Apache-2.0
"""Cocotb test of the accelerator: over a thousand damaged programs, each with a wrong and with a right check.

With a right one a damaged program does start, and must end: done, or with an error. The engine's assertions are about
programs that a compiler made (an accumulator that is free, a word that is in the window), and a damaged one breaks
them at will; so this module is run with all assertions off (`+verilator+noassert`), every other one with all on. What
the assertions of the buses would tell, the bus model and the sound program tell here.
"""

import random
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from accelerator_build import CONFIG
from accelerator_driver import Accelerator, case, mask
from intarsia.engine.layout import DESCRIPTOR_WORDS, LOOPS, Descriptor, field_limits
from intarsia.system.accelerator import fingerprint

SOUND = case(20)
PROGRAMS = 1_000
LIMIT = 2_000
START = mask("CONTROL", "start")
_ADDRESSES = ("in_base", "out_base", "residual_base", "weight_base", "in_row_pitch", "out_row_pitch", "tile_words")


def damaged(rng: random.Random) -> Iterator[NDArray[np.uint32]]:
    """Programs as a fault of software, of a transfer or of a memory may leave them."""
    layers = [layer.descriptor for layer in SOUND.program.layers]
    sound = SOUND.program.descriptors

    def words(changed: list[Descriptor]) -> NDArray[np.uint32]:
        return np.array([word for layer in changed for word in layer.words()], np.uint32)

    def change(names: tuple[str, ...], count: int, value: int | None = None) -> NDArray[np.uint32]:
        changed = list(layers)
        for _ in range(count):
            name, number = rng.choice(names), rng.randrange(len(layers))
            low, high = field_limits(name)
            drawn = rng.choice((rng.randint(low, high), rng.randint(max(low, 0), min(high, 20)), high))
            new = drawn if value is None else value
            changed[number] = replace(changed[number], **{name: new})
        return words(changed)

    everything = tuple(field.name for field in fields(Descriptor))
    while True:
        yield np.array([rng.getrandbits(32) for _ in sound], np.uint32)
        yield change(everything, 1)
        yield change(everything, rng.randint(2, 6))
        yield change(LOOPS, 1, 0)
        yield change(LOOPS, 1)
        yield change(_ADDRESSES, rng.randint(1, 2))
        yield change(_ADDRESSES, 1, 0xFFFF)
        # no last layer: the program goes on in whatever lies behind it
        tail = [rng.getrandbits(32) if rng.random() < 0.5 else 0 for _ in range(CONFIG.program_depth - len(sound))]
        yield np.concatenate([words([*layers[:-1], replace(layers[-1], last=0)]), np.array(tail, np.uint32)])
        # bits that have flipped
        flipped = sound.copy()
        for _ in range(rng.randint(1, 4)):
            flipped[rng.randrange(len(flipped))] ^= np.uint32(1 << rng.randrange(32))
        yield flipped
        # words in other places, as after a lost or a double write
        place = rng.randrange(len(sound))
        yield np.insert(np.delete(sound, place), rng.randrange(len(sound)), sound[place])
        yield np.roll(sound, rng.randrange(1, DESCRIPTOR_WORDS))


@cocotb.test()
async def damaged_programs_end_and_leave_the_engine_usable(dut: Any) -> None:
    accelerator = Accelerator(dut, model=False)
    await accelerator.begin()
    await SOUND.load(accelerator)
    await accelerator.write("LIMIT", LIMIT)
    await accelerator.write("INTERRUPT_ENABLE", mask("INTERRUPT_ENABLE", "done", "error"))
    rng = random.Random(1)
    ends: Counter[str] = Counter()
    seen: set[bytes] = {SOUND.program.descriptors.tobytes()}
    for number, program in enumerate(damaged(rng)):
        if len(seen) > PROGRAMS:
            break
        content = program.astype("<u4").tobytes()
        if content in seen:  # the change was none
            continue
        seen.add(content)
        await accelerator.write("CONTROL", mask("CONTROL", "check_restart"))
        await accelerator.put("Program", program[:, None])
        check = zlib.crc32(content)
        for wrong in (1 << rng.randrange(32), 0):
            await accelerator.write("PROGRAM_CHECK", check ^ wrong)
            await accelerator.write("CONTROL", START)
            await accelerator.interrupt(LIMIT + 100)
            status, errors = await accelerator.take("STATUS"), await accelerator.take()
            if wrong:
                assert (status, errors) == (set(), {"check"}), number
        cycles = await accelerator.read("CYCLES")
        assert (status == {"done"}) == (not errors), (number, status, errors)
        assert errors <= {"layer", "overrun", "timeout"}, (number, errors)
        assert cycles == LIMIT if "timeout" in errors else cycles < LIMIT, (number, cycles)
        ends.update(errors or status)
        # An end with done, or at a layer behind others, is the one that may leave something under way.
        layers = await accelerator.read("LAYERS")
        if status or ("layer" in errors and layers) or len(seen) % 20 == 0 or len(seen) > PROGRAMS:
            await accelerator.write("CONTROL", mask("CONTROL", "check_restart"))
            await accelerator.put("Program", SOUND.program.descriptors[:, None])
            await accelerator.write("PROGRAM_CHECK", zlib.crc32(SOUND.program.descriptors.astype("<u4").tobytes()))
            await SOUND.run(accelerator)
    assert await accelerator.read("BUILD") == fingerprint(CONFIG)
    dut._log.warning("%d programs ended with %s", len(seen) - 1, dict(ends))
    assert len(seen) > PROGRAMS and min(ends[name] for name in ("done", "layer", "overrun", "timeout")) >= 20, ends
