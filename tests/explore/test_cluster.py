"""Studies on a real Ray cluster of several nodes, all on this machine."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from digits_study import FIRST, SECOND, Server  # noqa: E402
from intarsia.cli import main  # noqa: E402
from intarsia.errors import IntarsiaError  # noqa: E402
from intarsia.explore.options import StudyOptions  # noqa: E402
from intarsia.explore.run import explore  # noqa: E402
from intarsia.explore.store import Entry, Store  # noqa: E402

DEADLINE = 240.0  # seconds


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head that works on nothing, and two nodes of one core each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


def _done(store: Store) -> list[Entry]:
    try:
        return [entry for rung in (0, 1) for entry in store.entries(rung) if entry.state == "done"]
    except IntarsiaError:
        return []  # the study is not made yet


def test_two_ray_nodes_share_a_study_and_one_is_lost(runs: Path, server: Server, cluster: Cluster) -> None:
    nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
    cluster.wait_for_nodes()
    store = Store(server.url, "study on ray", beat=1)

    def lose() -> None:
        deadline = time.monotonic() + DEADLINE
        while len({entry.worker for entry in _done(store)}) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        cluster.remove_node(nodes[0], allow_graceful=False)

    loser = threading.Thread(target=lose)
    loser.start()
    said: list[str] = []
    options = StudyOptions(runs, "study on ray", storage=server.url, workers=2, beat=1, ray=cluster.address)
    results = explore(runs.parent / "space.yaml", options, say=said.append)
    loser.join()
    done = _done(store)
    assert len(done) == len({(entry.job.rung, entry.job.key) for entry in done}) == FIRST + SECOND
    assert len({entry.worker.partition("Ray node ")[2] for entry in done}) == 2
    assert any("started again" in line for line in said)
    assert len(results.designs) == FIRST


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
    told = [server.url if text == "SERVER" else text for text in arguments]
    assert main(["explore", str(runs.parent / "space.yaml"), "--out", str(runs), "--study", "nowhere", *told]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert "Traceback" not in error
