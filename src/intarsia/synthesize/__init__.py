"""Area, place and route, and proofs of the hardware, with open tools: Yosys, nextpnr, Liberty."""
