# SPDX-License-Identifier: Apache-2.0
"""Area, place and route, and proofs of the hardware, with open tools: Yosys, nextpnr, Liberty."""
