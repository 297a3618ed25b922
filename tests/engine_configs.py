# SPDX-License-Identifier: Apache-2.0
"""Engines that differ in everything that is a parameter: units, lanes, blocks, widths, slots, banks and parts."""

import re

from intarsia.engine import EngineConfig
from intarsia.engine.units import Dense, MixedRows, SumTogether, Superposition

SHIPPED = EngineConfig()
SMALL = EngineConfig(unit=Superposition(2, 6, 1), lanes=8, block=8, scale_bits=11, residual_bits=11, requant_lanes=2,
                     acc_slots=3, tile_pixels=3, acc_bits=28, weight_parts=2, act_banks=1, act_depth=3000,
                     weight_depth=16001, program_depth=100)  # fmt: skip
WIDE = EngineConfig(unit=Superposition(3, 8, 3), scale_bits=16, residual_bits=16, requant_lanes=16, acc_slots=16,
                    tile_pixels=8, acc_bits=32, weight_parts=4, act_banks=4, weight_depth=16384)  # fmt: skip
SLOW = EngineConfig(unit=Superposition(4, 5, 2), scale_bits=5, residual_bits=5, requant_lanes=1, acc_slots=2,
                    tile_pixels=2, acc_bits=30, act_banks=2, weight_depth=4096)  # fmt: skip
OBLONG = EngineConfig(unit=Superposition(1, 8, 0), lanes=8, block=16, requant_lanes=4, weight_parts=4, act_banks=4,
                      weight_depth=16384)  # fmt: skip
DENSE = EngineConfig(unit=Dense(4), weight_parts=2, acc_slots=7, act_banks=4, weight_depth=8192)
NARROW_DENSE = EngineConfig(unit=Dense(2), lanes=8, block=16, scale_bits=8, residual_bits=8, requant_lanes=8,
                            acc_slots=5, tile_pixels=2, acc_bits=20, weight_depth=8192)  # fmt: skip
DENSE_DIGITS = EngineConfig(unit=Dense(3, digits=True), requant_lanes=4, weight_parts=4, act_banks=2, acc_bits=28,
                            acc_slots=4, weight_depth=65536)  # fmt: skip
MIXED = EngineConfig(unit=MixedRows(2, 3, 11), requant_lanes=4, weight_parts=4, act_banks=2, acc_bits=28, acc_slots=5,
                     weight_depth=65536)  # fmt: skip
SMALL_MIXED = EngineConfig(unit=MixedRows(1, 0, 7), lanes=8, block=16, scale_bits=8, residual_bits=8, requant_lanes=8,
                           acc_slots=4, tile_pixels=2, weight_depth=65536)  # fmt: skip
TOGETHER = EngineConfig(unit=SumTogether(), lanes=8, block=8, requant_lanes=2, scale_bits=9, bias_bits=48,
                        residual_bits=9, acc_bits=48, acc_slots=4, weight_parts=4, act_banks=4, act_depth=16384,
                        weight_depth=65536)  # fmt: skip
FIXED_16 = EngineConfig(unit=SumTogether(16, "quadrants"), lanes=8, block=8, requant_lanes=1, bias_bits=48,
                        acc_bits=46, act_banks=2, act_depth=16384, weight_parts=2, weight_depth=32768)  # fmt: skip
LARGE_TOGETHER = EngineConfig(unit=SumTogether(4, "quadrants"), bias_bits=48, acc_bits=44, act_banks=2, act_depth=8192,
                              weight_parts=2, weight_depth=8192)  # fmt: skip
OBLONG_TOGETHER = EngineConfig(unit=SumTogether(8), lanes=8, block=16, requant_lanes=1, bias_bits=48, acc_bits=45,
                               act_banks=1, act_depth=8192, acc_slots=9, weight_depth=16384)  # fmt: skip
LARGE_FIXED_16 = EngineConfig(unit=SumTogether(16), requant_lanes=4, bias_bits=48, acc_bits=46, act_banks=4,
                              act_depth=8192, weight_parts=4, weight_depth=16384)  # fmt: skip
NARROW = EngineConfig(unit=Superposition(2, 7, 1), requant_lanes=2, acc_slots=5, tile_pixels=3, acc_bits=18,
                      weight_parts=2, act_depth=777, weight_depth=3000)  # fmt: skip
TERNARY = EngineConfig(unit=Superposition(0, 2, 2), requant_lanes=4, acc_slots=4, tile_pixels=2, weight_parts=2,
                       weight_depth=16384)  # fmt: skip
SHARED = EngineConfig(unit=Superposition(3, 7, 2, "shared"), lanes=8, block=8, requant_lanes=4, acc_bits=28,
                      weight_parts=4, act_banks=2, weight_depth=32768)  # fmt: skip
SHARED_OBLONG = EngineConfig(unit=Superposition(1, 8, 1, "shared"), lanes=8, block=16, requant_lanes=4, acc_bits=26,
                             weight_depth=16384)  # fmt: skip
FIXED = EngineConfig(unit=Superposition(2, 6, 2, "fixed", (0, 1)), acc_bits=26, weight_parts=2, act_banks=2,
                     weight_depth=16384)  # fmt: skip
OTHERS = {"small": SMALL, "slow": SLOW, "oblong": OBLONG, "dense": DENSE, "dense digits": DENSE_DIGITS,
          "mixed rows": MIXED, "sum together": TOGETHER, "fixed 16": FIXED_16}  # fmt: skip
#: Those of the soak alone: they take long to build, or whole networks run on them in the tests.
LARGE = {"wide": WIDE, "narrow dense": NARROW_DENSE, "ternary": TERNARY, "shared": SHARED, "fixed": FIXED,
         "small mixed rows": SMALL_MIXED, "shared oblong": SHARED_OBLONG, "large sum together": LARGE_TOGETHER,
         "oblong sum together": OBLONG_TOGETHER, "large fixed 16": LARGE_FIXED_16}  # fmt: skip

#: What the cycle model and the simulated engine both count.
COUNTED = (
    *("cycles", "steps", "activation_reads", "activation_writes", "residual_reads", "weight_reads", "parameter_reads"),
)


#: Why an engine may refuse a drawn layer: its size or its pattern, never a field of the descriptor.
REFUSALS = re.compile(
    r"at most 4 slots|it needs (slots|positions|places|bits|acc_bits|bias_bits|(act|weight)_depth) |"
    r"needs a weight_depth|slot has 8 bits"
)
