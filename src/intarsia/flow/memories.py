# SPDX-License-Identifier: Apache-2.0
"""The memories of an engine."""

from intarsia.engine import EngineConfig


def memory_bits_available(config: EngineConfig) -> dict[str, int]:
    """Return the capacity of each memory of an engine, named as in `Program.memory_bits`."""
    return {
        "activations": config.act_depth * config.act_bits,
        "dense": config.dense_depth * config.dense_bits,
        "sparse": config.sparse_depth * config.sparse_bits,
        "parameters": config.param_depth * config.param_bits,
        "program": config.program_depth * 32,
    }
