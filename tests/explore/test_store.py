# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hostile import FOLDER
from intarsia.errors import IntarsiaError
from intarsia.explore import database
from intarsia.explore.database import shown, sqlite_url
from intarsia.explore.jobs import IDENTITY_NAMES, Evaluation, Job, StudyIdentity, encode
from intarsia.explore.options import StudyOptions
from intarsia.explore.plan import first_jobs, is_over, means, next_jobs
from intarsia.explore.space import Point
from intarsia.explore.space_file import parse_space
from intarsia.explore.store import MOST_TRIES, Store
from intarsia.explore.worker import begin, evaluated_before, finished, take_any

DIGITS = StudyIdentity(("digits",))
SPACE = """\
network: digits
layers:
  default: {dense: ternary, sparse: [none, int2, int4, int8], pattern: ["1:16", "2:16"]}
objectives: [accuracy, bits]
rungs:
  - {epochs: 0}
  - {epochs: 1, keep: 0.5, seeds: [0, 1]}
"""


def store_in(folder: Path, name: str = "study", heartbeat: int = 10) -> Store:
    return Store(sqlite_url(folder / "study.db"), name, heartbeat=heartbeat)


def metrics(job: Job) -> dict[str, float | None]:
    """Return made-up metrics that follow from the job alone."""
    bits = 1.7 + 0.1 * len(job.point.scheme)
    return {"accuracy": 0.5 + bits / 20 + job.seed / 1000, "bits": bits, "bytes": None, "cycles": None, "area": None}


def do_all(store: Store, worker: str) -> int:
    space, done = store.space(), 0
    while True:
        taken = take_any(store, space, worker)
        if taken is None:
            if finished(store, space):
                return done
            time.sleep(0.01)
            continue
        with taken.alive():
            taken.finish(Evaluation(metrics(taken.job)), space.objectives)
        done += 1


def test_a_rung_of_more_seeds_takes_over_what_an_equal_one_found(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    space = store.create(SPACE + "  - {epochs: 1, keep: front, seeds: [0, 2]}\n", DIGITS)
    begin(store, space)
    do_all(store, "me")
    known = {(entry.job.point, entry.job.seed): entry for entry in store.entries(1)}
    last = store.entries(2)
    assert {entry.job.seed for entry in last} == {0, 2}
    for entry in last:
        expected = known[entry.job.point, 0] if entry.job.seed == 0 else None  # seed 2 is new
        assert evaluated_before(store, space, entry.job) == expected
    assert all(evaluated_before(store, space, entry.job) is None for entry in known.values())


def test_a_rung_of_another_rate_is_another_training(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    space = store.create(SPACE + "  - {epochs: 1, rate: 0.1, keep: front}\n", DIGITS)
    begin(store, space)
    do_all(store, "me")
    assert store.entries(2)
    assert all(evaluated_before(store, space, entry.job) is None for entry in store.entries(2))


def test_a_study_goes_from_rung_to_rung_and_ends(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    space = store.create(SPACE, DIGITS)
    begin(store, space)
    begin(store, space)  # a second time adds nothing
    assert do_all(store, "me") == 7 + 4 * 2
    first, second = store.entries(0), store.entries(1)
    assert [entry.state for entry in (*first, *second)] == ["done"] * 15
    assert {entry.job.point for entry in second} <= means(first).keys()
    assert [job.key for job in next_jobs(space, 1, first)] == [entry.job.key for entry in second]
    assert is_over(second)
    assert second[0].metrics == metrics(second[0].job)
    assert second[0].worker == "me"


def test_workers_side_by_side_do_every_job_once(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    begin(store, store.create(SPACE, DIGITS))
    counts: dict[str, int] = {}

    def one(name: str) -> None:
        counts[name] = do_all(store_in(tmp_path), name)

    threads = [threading.Thread(target=one, args=(f"worker{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [entry for rung in (0, 1) for entry in store.entries(rung) if entry.state == "done"]
    assert sum(counts.values()) == len(done) == 15
    assert len({(entry.job.rung, entry.job.key) for entry in done}) == 15


def test_jobs_that_two_machines_put_in_are_done_once(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    space = store.create(SPACE, DIGITS)
    for job in first_jobs(space):
        store._put(job)
        store._put(job)
    do_all(store, "me")
    states = Counter(entry.state for entry in store.entries(0))
    assert states == {"done": 7, "lost": 7}


def test_the_job_of_a_worker_that_went_silent_is_given_to_another(tmp_path: Path) -> None:
    store = store_in(tmp_path, heartbeat=1)
    space = store.create(SPACE, DIGITS)
    begin(store, space)
    code = f"""
import os
from intarsia.explore.store import Store
taken = Store({store.url!r}, "study", heartbeat=1).take(0, "killed")
with taken.alive():
    import time; time.sleep(1.5)
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert [entry.state for entry in store.entries(0)].count("running") == 1
    assert do_all(store, "me") == 15
    states = Counter(entry.state for entry in store.entries(0))
    assert states == {"done": 7, "lost": 1}


def test_a_job_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    space = store.create(SPACE, DIGITS)
    job = Job(0, Point("ternary"), 0, {})
    store.add([job])
    for _ in range(MOST_TRIES):
        taken = store.take(0, "killed")
        assert taken is not None
        taken._end(TrialState.FAIL, None)
    store.put_back_lost(0)
    assert store.take(0, "me") is None
    assert finished(store, space)
    store.add([job])  # it stays given up, and people are told
    assert [entry.reason for entry in store.entries(0) if entry.state == "refused"] == ["its worker died 5 times"]
    assert all(entry.state in ("lost", "refused") for entry in store.entries(0))


def test_a_job_that_was_interrupted_is_never_given_up(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.create(SPACE, DIGITS)
    store.add([Job(0, Point("ternary"), 0, {})])
    for _ in range(MOST_TRIES + 2):
        taken = store.take(0, "interrupted")
        assert taken is not None
        taken.drop()
    assert store.take(0, "me") is not None


def test_a_job_that_was_put_back_keeps_its_place(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.create(SPACE, DIGITS)
    jobs = [Job(0, Point(scheme), 0, {}) for scheme in ("ternary", "int2", "int3", "int4")]
    store.add(jobs)
    first, second = store.take(0, "interrupted"), store.take(0, "me")
    assert first is not None
    assert second is not None
    first.drop()
    order = []
    while (taken := store.take(0, "me")) is not None:
        taken.finish(Evaluation(metrics(taken.job)), store.space().objectives)
        order.append(taken.job)
    assert order == [jobs[0], *jobs[2:]]


def test_a_machine_that_kills_every_worker_gives_no_job_up(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    space = store.create(SPACE, DIGITS)
    begin(store, space)
    first = store.entries(0)[0].job
    died = Counter[str]()
    for _ in range(len(store.entries(0)) + 1):
        taken = store.take(0, "killed")
        assert taken is not None
        died[taken.job.key] += 1
        taken._end(TrialState.FAIL, None)
    assert died[first.key] == 2  # once more in its old place, then behind the others
    assert max(died.values()) < MOST_TRIES
    store.put_back_lost(0)
    assert all(entry.state in ("waiting", "lost") for entry in store.entries(0))


def test_a_worker_killed_before_it_began_loses_its_job(tmp_path: Path) -> None:
    store = store_in(tmp_path, heartbeat=1)
    space = store.create(SPACE, DIGITS)
    begin(store, space)
    code = f"""
import os
from intarsia.explore.store import Store
Store({store.url!r}, "study", heartbeat=1).take(0, "killed")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert do_all(store, "me") == 15


def test_what_cannot_be_evaluated_is_not_tried_again(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    space = store.create(SPACE, DIGITS)
    begin(store, space)
    taken = store.take(0, "me")
    assert taken is not None
    taken.refuse("it does not fit.")
    do_all(store, "me")
    entry = store.entries(0)[0]
    assert (entry.state, entry.reason) == ("refused", "it does not fit.")
    assert taken.job.key not in {other.job.key for other in store.entries(0)[1:]}


def test_an_evolution_proposes_as_many_designs_as_it_was_told(tmp_path: Path) -> None:
    text = SPACE.replace("rungs:", "search: {kind: evolution, trials: 6}\nrungs:")
    store = store_in(tmp_path)
    begin(store, store.create(text, DIGITS))
    do_all(store, "me")
    done = [entry for entry in store.entries(0) if entry.state == "done"]
    assert len(done) == len({entry.job.key for entry in done}) == 6


def test_an_evolution_begins_with_the_listed_designs(tmp_path: Path) -> None:
    text = SPACE.replace("rungs:", "schemes: [int8 | equalize]\nsearch: {kind: evolution, trials: 3}\nrungs:")
    store = store_in(tmp_path)
    begin(store, store.create(text, DIGITS))
    do_all(store, "me")
    points = [entry.job.point for entry in store.entries(0) if entry.state == "done"]
    assert points[0] == Point("int8", "equalize")
    assert len(points) == 1 + 3


def test_a_study_is_joined_by_its_own_space_only(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.create(SPACE, DIGITS)
    store_in(tmp_path).create(f"# a remark\n{SPACE}", DIGITS)
    with pytest.raises(IntarsiaError, match="is of another design space"):
        store_in(tmp_path).create(SPACE.replace("int2, ", ""), DIGITS)
    assert {study.study_name for study in store._storage.get_all_studies()} == {"study", "study, rung 1"}
    with pytest.raises(IntarsiaError, match="began with another float network"):
        store_in(tmp_path).create(SPACE, StudyIdentity(("another",)))
    with pytest.raises(IntarsiaError, match="there is no study other"):
        store_in(tmp_path, "other").space()


def test_machines_that_begin_at_once_make_one_study(tmp_path: Path) -> None:
    store_in(tmp_path)  # the tables
    failed: list[BaseException] = []

    def one() -> None:
        try:
            store_in(tmp_path).create(SPACE, DIGITS)
        except IntarsiaError as error:
            failed.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert store_in(tmp_path).space() == parse_space(SPACE)


def test_metrics_survive_the_database(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    begin(store, store.create(SPACE, DIGITS))
    taken = store.take(0, "me")
    assert taken is not None
    found = {"accuracy": 0.1 + 0.2, "bits": 1e-300, "bytes": 3.0, "cycles": None, "area": None}
    taken.finish(Evaluation(found, "no engine.", 1.5, "dense"), ("accuracy", "bits"))
    entry = store_in(tmp_path).entries(0)[0]
    assert entry.metrics == found
    assert (entry.reason, entry.seconds, entry.unit) == ("no engine.", 1.5, "dense")
    assert json.dumps(entry.job.chosen)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/at/all/study.db", "there is no folder /nowhere/at/all"),
        ("what is this", "is not a database to write to"),
        ("oracle9://x", "is not a database to write to"),
        ("postgresql+psycopg://user@localhost:abc/x", "is not a database to write to"),
        ("postgresql+psycopg://user:secret@127.0.0.1:1/x", "cannot be reached"),
    ],
)
def test_a_database_that_cannot_be_had_is_one_sentence(url: str, message: str) -> None:
    with pytest.raises(IntarsiaError) as caught:
        Store(url, "study")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def spoil(path: Path, page: int) -> None:
    """Overwrite a page of a database, counted from 1."""
    with sqlite3.connect(path) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(content)


def pages_of(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])


def test_a_damaged_page_is_told_at_once_whichever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: float) -> None:
        raise AssertionError("a damaged database is not tried again")

    store = store_in(tmp_path)
    begin(store, store.create(SPACE, DIGITS))
    whole = (tmp_path / "study.db").read_bytes()
    monkeypatch.setattr(database.time, "sleep", never)
    pages = pages_of(tmp_path / "study.db")
    assert pages > 10
    for page in range(1, pages + 1):
        (tmp_path / "study.db").write_bytes(whole)
        spoil(tmp_path / "study.db", page)
        with pytest.raises(IntarsiaError) as caught:
            store_in(tmp_path)
        assert re.search(
            r"study\.db is damaged \([^\n]+\); put a copy of it in its place, or move it away", str(caught.value)
        )


def test_a_database_that_is_damaged_meanwhile_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: float) -> None:
        raise AssertionError("a damaged database is not tried again")

    store = store_in(tmp_path)
    begin(store, store.create(SPACE, DIGITS))
    monkeypatch.setattr(database.time, "sleep", never)
    store._storage.engine.dispose()  # what it has in memory is read again
    for page in range(2, pages_of(tmp_path / "study.db") + 1):
        spoil(tmp_path / "study.db", page)
    with pytest.raises(IntarsiaError, match="is damaged"):
        store.entries(0)


def test_a_file_that_is_no_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("notes of mine\n" * 1000)
    with pytest.raises(IntarsiaError, match=r"is damaged \(file is not a database\)"):
        store_in(tmp_path)
    assert (tmp_path / "study.db").read_text() == "notes of mine\n" * 1000


def test_a_database_that_another_has_locked_is_waited_for(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.create(SPACE, DIGITS)
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(1.0, lambda: other.execute("ROLLBACK"))
    release.start()
    begin(store, store.space())
    release.join()
    other.close()
    assert len(store.entries(0)) == 7


def test_a_password_is_never_shown() -> None:
    assert shown("postgresql+psycopg://me:secret@host/db") == "postgresql+psycopg://me@host/db"
    assert shown("sqlite:///a/b.db") == "sqlite:///a/b.db"


def test_a_study_that_stopped_while_it_was_made_is_made_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = optuna.create_study

    def dying(**options: Any) -> optuna.Study:
        if str(options["study_name"]).endswith("1"):
            raise KeyboardInterrupt
        return make(**options)

    monkeypatch.setattr(optuna, "create_study", dying)
    with pytest.raises(KeyboardInterrupt):
        store_in(tmp_path).create(SPACE, DIGITS)
    monkeypatch.undo()
    store = store_in(tmp_path)
    begin(store, store.create(SPACE, DIGITS))
    assert do_all(store, "me") == 7 + 4 * 2


def test_every_part_of_an_identity_has_a_name() -> None:
    assert list(IDENTITY_NAMES) == [field.name for field in fields(StudyIdentity)]


@pytest.mark.parametrize("identity", ["{}", '{"float network": ["digits"]}', "[]", "half a", "[" * 100_000])
def test_a_study_of_another_version_is_refused(tmp_path: Path, identity: str) -> None:
    store = store_in(tmp_path)
    store.create(SPACE, DIGITS)
    store._storage.set_study_user_attr(store._study_id(0), "identity", identity)
    with pytest.raises(IntarsiaError, match=r"made by another version .*; give another name with --study and run it"):
        store.create(SPACE, DIGITS)


@pytest.mark.parametrize("change", [{"seed": "0"}, {"rung": 1}, {"colour": 1}, {"point": {"scheme": "ternary"}}])
def test_a_job_of_another_version_is_refused_and_named(tmp_path: Path, change: dict[str, Any]) -> None:
    store = store_in(tmp_path)
    begin(store, store.create(SPACE, DIGITS))
    job = json.loads(encode(store.entries(0)[0].job)) | change
    store._storage.set_trial_user_attr(store._trial_id(0, 0), "job", json.dumps(job))
    with pytest.raises(IntarsiaError, match=r"is damaged .*a job of rung 0 cannot be read") as error:
        store.entries(0)
    assert next(iter(change)) in str(error.value)


def test_a_study_is_where_its_folder_says_whatever_that_is_called(tmp_path: Path) -> None:
    home = StudyOptions(tmp_path / FOLDER, "s%tudy?").home
    home.mkdir(parents=True)
    url = StudyOptions(tmp_path / FOLDER, "s%tudy?").url
    store = Store(url, "study")
    begin(store, store.create(SPACE, DIGITS))
    assert sorted(path.name for path in home.iterdir()) == ["study.db"]
    assert do_all(Store(url, "study"), "me") == 7 + 4 * 2
    assert [path.name for path in tmp_path.iterdir()] == [FOLDER]


def test_a_folder_that_no_url_can_name_is_a_sentence(tmp_path: Path) -> None:
    options = StudyOptions(tmp_path / os.fsdecode(b"\xff"), "study")
    with pytest.raises(IntarsiaError, match="is not UTF-8; choose another folder with --out"):
        _ = options.url


@pytest.mark.parametrize("url", ["postgresql+psycopg://me:{0}secret@127.0.0.1:1/x", "postgresql+psycopg://me@{/x"])
def test_braces_in_a_url_are_no_format(url: str) -> None:
    with pytest.raises(IntarsiaError):
        Store(url, "study")
