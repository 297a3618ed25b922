# SPDX-License-Identifier: Apache-2.0
"""How narrow can a Sum-Together network be? Search 16, 8 or 4 bits for each layer of the four MLPerf Tiny networks.

python benchmarks/sum_together.py resnet8 dscnn mobilenet autoencoder

A layer's weights and its input have one width. Under falling budgets (stored bits of the weights, cycles, or energy)
the search chooses widths, and the network is quantized after training; kept is the cheapest whose validation figure is
at most one point below that of the float network (three points of agreement with it, where labels are unknown). The
test set is only reported. Each network replaces its figures in studies/results/sum-together.json and its file in
studies/networks. Needs the data (INTARSIA_DATA), for the budget of energy also a PDK.
"""

import argparse
import functools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from intarsia.datasets import Dataset
from intarsia.engine import EngineConfig, compile_network, config_for
from intarsia.engine.cycles import predict
from intarsia.engine.units import SumTogether
from intarsia.files import write_json
from intarsia.flow import BENCHMARKS, Settings
from intarsia.flow.data import load_data
from intarsia.flow.hardware import cycles_of_weight_layers, energies_of_weight_layers
from intarsia.integer import IntegerNetwork
from intarsia.integer.effective import effective_bits
from intarsia.integer.file import save
from intarsia.networks import load_zoo
from intarsia.networks.importers import import_float
from intarsia.quantize import freeze, post_training
from intarsia.quantize.data import Samples, labelled, outputs_of, reals
from intarsia.quantize.layerwise import LayerwiseTables, measure_layerwise
from intarsia.quantize.objectives import objective_of
from intarsia.quantize.transforms.settings import Transforms
from intarsia.synthesize.pdk import installed_pdk
from scale_bits import merit, score

FOUND = Path("studies/results/sum-together.json")
WIDTHS = ("int16 a16", "int8 a8", "int4 a4")
#: What the validation figure may fall by; where labels are unknown it is agreement with the float network, and of three
#: inputs on which networks differ, no more than one makes the accuracy worse.
TOLERANCE, AGREEMENT = 0.01, 0.03
#: Budgets, as parts of what the network costs with 16 bits everywhere.
BUDGETS = (0.8, 0.65, 0.55, 0.5, 0.45, 0.4, 0.36, 0.33, 0.3, 0.28, 0.26)


@dataclass(frozen=True)
class Found:
    """A network of searched widths.

    Attributes:
        network: its name.
        budget: what was kept low: `bits`, `cycles` or `energy`.
        scheme: the widths, as text.
        bits: effective bits per weight; `wide_bits`: with 16 bits everywhere.
        validation, float_validation: figures of it and of the float network.
        test, float_test: likewise, of the test set.
        cycles, fixed_cycles: of an inference on the Sum-Together engine and on the fixed build, each fitted to it.
    """

    network: str
    budget: str
    scheme: str
    bits: float
    wide_bits: float
    validation: float
    float_validation: float
    test: float
    float_test: float
    cycles: int
    fixed_cycles: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", choices=[name for name, b in BENCHMARKS.items() if b.official])
    parser.add_argument("--budget", choices=("bits", "cycles", "energy"), default="cycles", help="what is kept low")
    parser.add_argument("--data", type=Path, default=FOUND)
    parser.add_argument("--folder", type=Path, default=Path("studies/networks"), help="where networks are kept")
    options = parser.parse_args()
    for name in options.networks:
        found, network = search(name, options.budget)
        save(network, options.folder / f"{name}-sum-together-{options.budget}.safetensors")
        rest = [each for each in read_found(options.data) if (each.network, each.budget) != (name, found.budget)]
        write_json(options.data, [asdict(each) for each in [*rest, found]])


def read_found(path: Path) -> list[Found]:
    """Return what earlier searches have found."""
    return [Found(**found) for found in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def search(name: str, budget: str) -> tuple[Found, IntegerNetwork]:
    settings = Settings(name, Path("runs") / name, unit=SumTogether.name)
    data, model = load_data(settings), float_model(name)
    known = labelled(data, model).validation
    agreement = data.metric == "accuracy" and bool((data.validation.labels < 0).any())
    tolerance = AGREEMENT if agreement else TOLERANCE
    float_validation = float_merit(model, known, data, settings)
    costs: Callable[[IntegerNetwork], dict[str, float]] = stored
    if budget == "cycles":
        costs = functools.partial(cycles_of_weight_layers, engine=settings.engine)
    elif budget == "energy":
        costs = functools.partial(energies_of_weight_layers, engine=settings.engine, pdk=installed_pdk())
    transforms = Transforms.parse(settings.benchmark.transforms)
    tables = measure_layerwise(
        model, data, WIDTHS, costs, name=f"{name}-sum-together", paired=True, transforms=transforms
    )
    print(f"{name}: float validates at {float_validation:.4f}", flush=True)
    best: tuple[float, IntegerNetwork] | None = None
    for part in BUDGETS:
        network = quantized(tables, part, model, data, settings)
        if network is None:
            break
        figure = merit(network, known, data, settings)
        print(
            f"{name}: {part:.0%} of the {budget}, {effective_bits(network).per_weight:.2f} bits: {figure:.4f}",
            flush=True,
        )
        if figure < float_validation - tolerance:
            break
        best = figure, network
    assert best is not None
    figure, network = best
    wide = freeze(post_training(model, data, tables.scheme({}), rounding="nearest"), name=name)
    found = Found(
        name,
        budget,
        network.metadata["scheme text"],
        effective_bits(network).per_weight,
        effective_bits(wide).per_weight,
        figure,
        float_validation,
        score(network, data),
        float_score(model, data),
        cycles(network, SumTogether()),
        cycles(network, SumTogether(16)),
    )
    print(found, flush=True)
    return found, network


def quantized(
    tables: LayerwiseTables, part: float, model: nn.Module, data: Dataset, settings: Settings
) -> IntegerNetwork | None:
    """Return the network under a part of the cost of the widest, quantized after training; None if there is none."""
    widest = tables.fixed_cost + sum(costs[0] for costs in tables.cost.values())
    least = tables.fixed_cost + sum(min(costs) for costs in tables.cost.values())
    if part * widest < least:
        return None
    scheme = tables.choose(part * widest).scheme
    recipe = settings.quantization_recipe
    transforms = Transforms.parse(settings.benchmark.transforms)
    module = post_training(model, data, scheme, images=recipe.calibration, seed=0, transforms=transforms)
    return freeze(module, name=settings.network, metadata={"scheme text": str(scheme)})


def stored(network: IntegerNetwork) -> dict[str, float]:
    return {layer.name: float(layer.total) for layer in effective_bits(network).layers}


def cycles(network: IntegerNetwork, unit: SumTogether) -> int:
    config = config_for(network, EngineConfig(unit=unit))
    return sum(layer.cycles for layer in predict(compile_network(network, config)))


def float_model(name: str) -> nn.Module:
    reference = Settings(name, Path("runs") / name).imported
    return load_zoo(name) if reference is None else import_float(reference).module


def float_merit(model: nn.Module, known: Samples, data: Dataset, settings: Settings) -> float:
    objective = objective_of(settings.benchmark.recipe.training)
    outputs = outputs_of(model, known.images, data.scaling, held=True)
    return float(objective.merit(outputs, reals(known.images, data.scaling), torch.from_numpy(known.labels)))


def float_score(model: nn.Module, data: Dataset) -> float:
    return data.score(outputs_of(model, data.test.images, data.scaling).numpy(), data.test)


if __name__ == "__main__":
    main()
