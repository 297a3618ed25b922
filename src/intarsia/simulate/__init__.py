# SPDX-License-Identifier: Apache-2.0
"""Simulation of the engine's RTL with Verilator: building, running, comparing every layer."""

from intarsia.simulate.engine import LayerCounts, Run, SimulatedEngine

__all__ = ["LayerCounts", "Run", "SimulatedEngine"]
