# SPDX-License-Identifier: Apache-2.0
"""What do lanes of different width save? ResNet-8 with formats mixed over its output channels, on whole engines.

python benchmarks/mixed_rows.py [SCHEME ...]

Each network is quantized without training, and each engine fitted to it: with mixed rows, and with dense lanes of 8 and
of 4 bits, which run wider weights in passes. Prints a table; synthesis is kept under runs/.
"""

import argparse
import tempfile
from pathlib import Path

from intarsia.datasets import load_dataset
from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.sources import TOP, write_sources
from intarsia.engine.units import MixedRows, Unit, unit_named
from intarsia.networks import load_zoo
from intarsia.quantize import Scheme, freeze, post_training
from intarsia.synthesize.area import liberty_area
from intarsia.synthesize.pdk import installed_pdk
from intarsia.synthesize.yosys import Design

SCHEMES = (
    "mix-outputs:int8@0.0625/int2, first=int8, last=int8",
    "mix-outputs:int4@0.25/int2, first=int8, last=int8",
    "ternary+outputs@0.0625xint4, first=int8, last=int8",
)
UNITS: tuple[Unit, ...] = (MixedRows(), unit_named("dense8"), unit_named("dense4"))
CALIBRATION = 256  # images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("schemes", nargs="*", default=SCHEMES)
    parser.add_argument("--cache", type=Path, default=Path("runs/mixed-rows"), help="folder of kept results")
    options = parser.parse_args()
    pdk, data, model = installed_pdk(), load_dataset("cifar10"), load_zoo("resnet8")
    for text in options.schemes:
        network = freeze(post_training(model, data, Scheme.parse(text), images=CALIBRATION), name="resnet8")
        print(f"\n{text}\n")
        print("| lanes | passes of each layer | cycles | weight memory | kGE | lane array | logic + memories, mm² |")
        print("|---|---|---|---|---|---|---|")
        for unit in UNITS:
            config = config_for(network, EngineConfig(unit=unit))
            program = compile_network(network, config)
            cycles = sum(layer.cycles for layer in predict(program))
            passes = " ".join(str(layer.descriptor.digits) for layer in program.layers)
            with tempfile.TemporaryDirectory() as folder:
                design = Design(tuple(write_sources(Path(folder))), TOP, config.module_parameters())
                area = liberty_area(design, pdk, cache=options.cache)
            array = max(part.inclusive for part in area.parts if part.module.startswith("intarsia_lane_array"))
            logic, memories = area.total * pdk.gate_um2 / 1e3, area.sram_area_um2 / 1e6
            words = f"{config.weight_bits} × {config.weight_depth:,}"
            row = (config.unit, passes, f"{cycles:,}", words, f"{area.total:.1f}", f"{array:.1f}")
            print(f"| {' | '.join(map(str, row))} | {logic:.2f} + {memories:.2f} |", flush=True)


if __name__ == "__main__":
    main()
