# SPDX-License-Identifier: Apache-2.0
"""Studies on a real Ray cluster of several nodes, all on this machine."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ray = pytest.importorskip("ray")

from ray._private.services import find_gcs_addresses  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from digits_study import FIRST, SECOND, SPACE, Server  # noqa: E402
from intarsia.cli import main  # noqa: E402
from intarsia.explore.source import identity, settings_of  # noqa: E402
from intarsia.explore.space_file import parse_space  # noqa: E402
from intarsia.explore.store import Entry, Store  # noqa: E402
from intarsia.explore.worker import begin  # noqa: E402
from patience import DEADLINE, wait_for  # noqa: E402

#: Seconds between two signs of life: those of a busy machine come late, and three that are missing mean a dead worker.
BEAT = 5


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head that works on nothing; nodes are the test's to add."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "600")  # of a worker's process to start, 60 else
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


def in_state(store: Store, state: str) -> list[Entry]:
    return [entry for rung in (0, 1) for entry in store.entries(rung) if entry.state == state]


def node_of(entry: Entry) -> str:
    return entry.worker.partition("Ray node ")[2]


class HeldJobs:
    """All jobs of a study's first rung, held by the test until it lets the cluster's workers have them."""

    def __init__(self, store: Store) -> None:
        self._held = []
        while (taken := store.take(0, "the test")) is not None:
            life = contextlib.ExitStack()
            life.enter_context(taken.alive())
            self._held.append((taken, life))

    def let_go(self, count: int) -> None:
        for _ in range(count):
            taken, life = self._held.pop()
            life.close()
            taken.drop()

    def let_all_go(self) -> None:
        self.let_go(len(self._held))


def test_two_ray_nodes_share_a_study_and_one_is_lost(runs: Path, server: Server, cluster: Cluster) -> None:
    """Nothing here is timed: the test holds jobs back until what has to come before them has happened."""
    space = runs.parent / "space.yaml"
    store = Store(server.url, "study on ray", heartbeat=BEAT)
    begin(store, store.create(SPACE, identity(settings_of("digits", runs, None), parse_space(SPACE))))
    jobs, said = HeldJobs(store), runs.parent / "said"
    first = cluster.add_node(num_cpus=1)
    command = [sys.executable, "-m", "intarsia.cli", "explore", str(space), "--out", str(runs), "--storage", server.url]
    command += ["--study", store.name, "--ray", cluster.address, "--workers", "2", "--heartbeat", str(BEAT)]
    with said.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:

        def wait_until(condition: Callable[[], bool]) -> None:
            wait_for(lambda: condition() or process.poll() is not None)
            assert process.poll() is None, said.read_text()

        try:
            jobs.let_go(1)
            wait_until(lambda: bool(in_state(store, "done")))
            cluster.add_node(num_cpus=1)  # a second worker waits for it
            jobs.let_go(1)
            wait_until(lambda: len(in_state(store, "done")) == 2 or any(map(node_of, in_state(store, "running"))))
            cluster.remove_node(first, allow_graceful=False)
            wait_until(lambda: "started again" in said.read_text())
        finally:
            jobs.let_all_go()
        assert process.wait(DEADLINE) == 0, said.read_text()
    done = in_state(store, "done")
    assert len(done) == len({(entry.job.rung, entry.job.key) for entry in done}) == FIRST + SECOND
    assert len(set(map(node_of, done))) == 2
    results = json.loads((runs / "studies" / store.name / "results.json").read_text())
    assert len(results["designs"]) == FIRST


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ray", "127.0.0.1:1"], "need a database that all of them reach"),
        (["--ray", "127.0.0.1:1", "--storage", "SERVER"], "there is no Ray cluster at 127.0.0.1:1"),
        (["--ray", "127.0.0.1:x", "--storage", "SERVER"], "there is no Ray cluster at 127.0.0.1:x"),
        (["--ray", "auto", "--storage", "SERVER"], "there is no Ray cluster at auto"),
    ],
)
def test_a_users_mistake_is_one_sentence(
    runs: Path, server: Server, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    if "auto" in arguments and find_gcs_addresses():
        pytest.skip("somebody's Ray cluster is at work on this machine, and would be found")
    told = [server.url if text == "SERVER" else text for text in arguments]
    assert main(["explore", str(runs.parent / "space.yaml"), "--out", str(runs), "--study", "nowhere", *told]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert "Traceback" not in error
