# SPDX-License-Identifier: Apache-2.0
"""The task that estimates energy and timing: the network of the run on the netlist of its engine, on one test input.

It belongs to the stage that synthesizes, but needs a trained network and its data, so it comes after them.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from intarsia import synthesize
from intarsia.engine import Program
from intarsia.engine.cycles import predict
from intarsia.files import write_text
from intarsia.flow.hardware import FIT, compile_for, engine_of
from intarsia.flow.hardware_settings import EnergyExtent
from intarsia.flow.inputs import inputs_of
from intarsia.flow.synthesis import cache_folder
from intarsia.flow.task import Job, Task
from intarsia.integer import IntegerNetwork, file
from intarsia.packages import require
from intarsia.report.data import Estimate, Estimated
from intarsia.synthesize.inference import PERIOD_NS, InferenceEnergy, PlacedEngine
from intarsia.synthesize.pdk import CONDITIONS, NO_LIBRARIES, load_pdk, pdk_root
from intarsia.synthesize.tools import digest, fingerprint

#: The task, as `STAGE/NAME`.
ENERGY = "synthesize/energy"
#: Cycles of each layer that are run at most where energy is sampled.
SAMPLED_CYCLES = 400
_NETLIST = "netlist.v"


def energy_task(extent: EnergyExtent, network: str, depends: Mapping[str, object]) -> Task[Estimated]:
    """Return the task; it also depends on the folder of the PDK's libraries and on the scripts.

    Args:
        extent: how much of the inference is run.
        network: the task that makes the network, as `STAGE/NAME`.
        depends: what hardware, data and the executor of integer networks depend on.
    """
    pdk, cycles = pdk_root(), SAMPLED_CYCLES if extent == "sampled" else None
    parameters = {
        **depends,
        "scripts": _scripts(),
        "pdk": None if pdk is None else str(pdk),
        "cycles": cycles,
    }
    stage, _, name = ENERGY.partition("/")
    action = functools.partial(estimate_energy, pdk=pdk, cycles=cycles)
    title = "energy and timing of an inference"
    needs = (network, FIT)
    return Task(stage, name, title, action, Estimated, parameters, needs, optional=(_NETLIST,), packages=("pyosys",))


def _scripts() -> str:
    folder = Path(synthesize.__file__).parent
    netlist = folder / "netlist"
    return digest(
        {
            "synthesize": fingerprint(sorted(folder.glob("*.py"))),
            "netlist": fingerprint(sorted([*netlist.glob("*.py"), *netlist.glob("*.cpp")])),
        }
    )


def estimate_energy(job: Job, pdk: Path | None, cycles: int | None) -> Estimated:
    """Run the network on the netlist of its engine, on the first test input; that there is no PDK is a result.

    Args:
        job: the task.
        pdk: root of the libraries; None where there are none.
        cycles: of each layer that are run at most; None: all are.

    Raises:
        IntarsiaError: a package or a tool is missing, synthesis fails, or the netlist does something else than the
            network.
    """
    if pdk is None:
        return Estimated(None, NO_LIBRARIES)
    require("pyosys", "synthesize")

    network = file.load(job.input(job.task.needs[0], "safetensors"))
    image = inputs_of(job.settings, network, 1, progress=job.progress)[0]
    program = compile_for(network, engine_of(job.records))
    engine = PlacedEngine(program.config, load_pdk(pdk), cache=cache_folder())
    write_text(job.product(_NETLIST), engine.mapped.verilog)
    found = _run(job, engine, network, program, image, cycles)
    return Estimated(
        Estimate(
            conditions=CONDITIONS,
            period_ns=found.period_ns,
            settled_ns=found.settled_ns,
            sampled=found.sampled,
            layers=found.layers,
            timing=found.timing,
            netlist=f"{job.task.stage}/{job.product(_NETLIST).name}",
        )
    )


def _run(  # noqa: PLR0917 (what one inference needs)
    job: Job,
    engine: PlacedEngine,
    network: IntegerNetwork,
    program: Program,
    image: NDArray[np.integer],
    cycles: int | None,
) -> InferenceEnergy:
    layers = {layer.name: min(layer.cycles, cycles or layer.cycles) for layer in predict(program)}
    # a slow engine gets the time that it needs
    period_ns = max(PERIOD_NS, float(np.ceil(engine.timing.path.period_ns)))
    with tqdm(total=sum(layers.values()), unit="cycle", leave=False, disable=not job.progress) as bar:
        return engine.energy(
            network,
            program,
            image,
            period_ns=period_ns,
            cycles=cycles,
            progress=lambda name: bar.update(layers[name]),
        )
