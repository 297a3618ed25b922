# SPDX-License-Identifier: Apache-2.0
from intarsia.explore import parse_space
from intarsia.explore.jobs import Entry, Job
from intarsia.explore.plan import first_jobs, is_over, means, next_jobs
from intarsia.explore.space import Point

SPACE = """\
network: digits
layers:
  default: {dense: ternary, sparse: [none, int2, int4, int8], pattern: ["1:16", "2:16"]}
objectives: [accuracy, bits]
schemes: [int4]
rungs:
  - {epochs: 0, seeds: [0, 1]}
  - {epochs: 1, keep: 0.5}
  - {epochs: recipe, keep: front, seeds: [0, 1, 2]}
"""


def entry(text: str, seed: int, accuracy: float, bits: float | None, state: str = "done") -> Entry:
    job = Job(0, Point(text), seed, {})
    return Entry(job, 0, state, {"accuracy": accuracy, "bits": bits}, "", 1.0, "me")


def test_a_grid_is_every_point_with_every_seed() -> None:
    space = parse_space(SPACE)
    jobs = first_jobs(space)
    assert len(jobs) == (1 + 3 * 2 + 1) * 2
    assert {job.point for job in jobs} == set(space.points())
    assert {job.seed for job in jobs} == {0, 1}
    chosen = {job.point.scheme: job.chosen for job in jobs}
    assert chosen["int4"] == {}
    assert chosen["ternary+2:16xint4"]["default.pattern"] == "2:16"


def test_a_random_search_draws_the_same_points_each_time_and_the_listed_ones() -> None:
    space = parse_space(SPACE.replace("rungs:", "search: {kind: random, trials: 3, seed: 1}\nrungs:"))
    points = [job.point for job in first_jobs(space)]
    assert points == [job.point for job in first_jobs(space)]
    assert len(set(points)) == 3 + 1
    assert Point("int4") in points
    many = parse_space(SPACE.replace("rungs:", "search: {kind: random, trials: 99}\nrungs:"))
    assert {job.point for job in first_jobs(many)} == set(many.points())


def test_the_best_half_and_then_the_front_go_on() -> None:
    space = parse_space(SPACE)
    before = [entry("ternary", seed, 0.5 + seed / 10, 2.0) for seed in (0, 1)]
    before += [entry("digits2", 0, 0.9, 3.0), entry("digits3", 0, 0.8, 4.0), entry("digits4", 0, 0.7, 5.0)]
    before += [entry("int8", 0, 0.99, 8.0, state="refused")]
    assert means(before)[Point("ternary")] == {"accuracy": 0.55, "bits": 2.0}
    assert [job.point.scheme for job in next_jobs(space, 1, before)] == ["ternary", "digits2"]
    front = next_jobs(space, 2, before)
    assert [(job.point.scheme, job.seed) for job in front] == [
        (text, seed) for text in ("ternary", "digits2") for seed in (0, 1, 2)
    ]


def test_a_metric_that_a_seed_lacks_has_no_mean() -> None:
    before = [entry("ternary", 0, 0.5, 2.0), entry("ternary", 1, 0.6, None)]
    assert means(before)[Point("ternary")] == {"accuracy": 0.55, "bits": None}
    assert is_over(before)
    assert not is_over([*before, entry("ternary", 2, 0.0, 0.0, state="running")])
