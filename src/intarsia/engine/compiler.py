# SPDX-License-Identifier: Apache-2.0
"""The compiler: from an integer network to a program and its images."""

from intarsia.engine.config import EngineConfig
from intarsia.engine.fitting import config_for
from intarsia.engine.program import Program
from intarsia.engine.sizing import compile_fixed
from intarsia.integer import IntegerNetwork


def compile_network(network: IntegerNetwork, config: EngineConfig | None = None) -> Program:
    """Compile a network for an engine, in the form (`intarsia.engine.forms`) that takes the fewest cycles.

    Args:
        network: any whose layers the engine's execution unit takes.
        config: the engine, taken as it is; by default the one that `config_for` fits to the network.

    Raises:
        IntarsiaError: a layer or the network as a whole does not fit the engine; the message names all parameters that
            are too small, with what they must be, or says what to change in the network.
    """
    return compile_fixed(network, config_for(network) if config is None else config)
