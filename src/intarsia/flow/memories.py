# SPDX-License-Identifier: Apache-2.0
"""The memories of an engine."""

from intarsia.engine import EngineConfig


def memory_bits_available(config: EngineConfig) -> dict[str, int]:
    """Return the capacity of each memory of an engine, named as in `Program.memory_bits`."""
    return {
        "activations": config.act_depth * config.act_bits,
        "weights": config.weight_depth * config.weight_bits,
        "program": config.program_depth * 32,
    }
