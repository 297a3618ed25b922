# SPDX-License-Identifier: Apache-2.0
"""What can be measured on a mapped netlist: timing, switching activity, energy.

`cells` says what the library knows, `flat` reads a netlist, `trees` adds the buffers that it lacks, `timing` finds its
paths, `simulation` runs it, `power` turns what happened into energy.
"""
