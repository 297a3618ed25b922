# SPDX-License-Identifier: Apache-2.0
"""The documentation is true: its Python runs, its commands parse, its links lead somewhere."""

import re
import runpy
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from intarsia.cli.commands import settings_of
from intarsia.cli.parser import parse
from intarsia.datasets import load_dataset
from intarsia.errors import IntarsiaError
from intarsia.flow import BENCHMARKS
from intarsia.integer.file import save
from intarsia.integer.zoo import frozen_names, read_card
from intarsia.typed_json import read_typed

pytest.importorskip("torch")

from intarsia.quantize import Scheme, freeze, post_training

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
#: A block of code, with the language behind its fence and the comment that may stand above it.
BLOCK = re.compile(r"(?:<!-- test: skip, (?P<reason>.*?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```", re.M | re.S)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    code: str
    skipped: str | None


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start("code")), found["language"], found["code"], found["reason"])
        for found in BLOCK.finditer(text)
    ]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the frozen networks that pages find there: those of finished runs."""
    from fixed_networks import trained_digits  # noqa: PLC0415 (needs PyTorch)

    network = freeze(
        post_training(trained_digits(), load_dataset("digits"), Scheme.parse("superposition"), images=64), name="digits"
    )
    rule = load_dataset("digits").scaling.rule
    network.metadata["input"] = rule
    for run in ("digits", "mine"):
        folder = tmp_path / "runs" / run / "quantize"
        folder.mkdir(parents=True)
        save(network, folder / "superposition-seed0.safetensors")
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.language == "python" for b in blocks(page))], ids=name_of
)
def test_the_python_of_a_page_runs(page: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks of a page, in order and with one namespace, as a reader would paste them."""
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        if block.language != "python":
            continue
        if block.skipped is not None:
            warnings.warn(f"{name_of(page)}:{block.line}: not run: {block.skipped}", stacklevel=1)
            continue
        code = compile("\n" * block.line + block.code, str(page), "exec")
        exec(code, namespace)  # noqa: S102 (our own pages)
    assert "False" not in capsys.readouterr().out  # what a page compares is equal


def commands() -> list[tuple[str, list[str]]]:
    """Return the command lines of `intarsia` that pages show in blocks for a shell, with where they stand."""
    return [
        (f"{name_of(page)}:{block.line + number}", words[1:])
        for page in PAGES
        for block in blocks(page)
        if block.language == "sh"
        for number, line in enumerate(block.code.splitlines(), 1)
        if (words := shlex.split(line, comments=True)) and words[0] == "intarsia"
    ]


def test_the_command_lines_of_the_pages_parse() -> None:
    found = commands()
    assert len(found) >= 10
    for place, arguments in found:
        try:
            told = vars(parse(arguments))
        except (SystemExit, IntarsiaError):
            pytest.fail(f"{place}: intarsia {shlex.join(arguments)} is not a command")
        command, network = told.pop("command"), told.pop("network", "")
        if command == "run" and network in BENCHMARKS and "from_study" not in told:
            settings_of(command, network, told, "")  # which refuses what contradicts itself


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title).lower()).replace(" ", "-") for title in titles
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_relative_links_of_a_page_resolve(page: Path) -> None:
    for found in LINK.finditer(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", found["target"]):
            continue
        path, _, anchor = found["target"].partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {found['target']}, which is not there"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)} links to {found['target']}, which has no such heading"


def test_no_block_is_left_without_a_language_that_is_a_program() -> None:
    """A program in a block without a language would not be tested."""
    for page in PAGES:
        for block in blocks(page):
            if not block.language:
                assert not re.search(r"^(import|from|intarsia|make) ", block.code, re.M), (
                    f"{name_of(page)}:{block.line}"
                )


def test_seeds_of_several_runs_of_a_network_are_joined_if_they_fit() -> None:
    tiny = runpy.run_path(str(ROOT / "benchmarks/mlperf_tiny.py"))

    def run(seeds: tuple[int, ...], bits: float, planes: str = "int2") -> object:
        by_seed = tuple(0.8 + 0.01 * seed for seed in seeds)
        mean = sum(by_seed) / len(by_seed)
        scores = (
            tiny["Scored"]("resnet8", "float", "32-bit", "accuracy", 0.9, (), 32.0, None, None, ()),
            tiny["Scored"]("resnet8", "layerwise", planes, "accuracy", mean, seeds, bits, 1, None, by_seed),
        )
        return tiny["Findings"]("resnet8", f"run {seeds}", "data", scores, None)

    first, more = run((0,), 2.31), run((1, 2), 2.33, "int2 (stem: int4)")
    [joined] = tiny["joined"]({"runs/more": more, "runs/resnet8": first})
    assert joined.command == "run (0,)`, `run (1, 2)"
    both = joined.scores[1]
    assert (both.seeds, both.by_seed) == ((0, 1, 2), pytest.approx((0.8, 0.81, 0.82)))
    assert both.score == pytest.approx(0.81)
    assert both.made == "int2; seeds 1, 2: int2 (stem: int4)"
    for other in (run((0, 1), 2.31), run((1, 2), 2.6)):
        assert tiny["joined"]({"runs/resnet8": first, "runs/z": other}) == [first, other]


def test_pages_of_kept_results_are_what_their_scripts_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence changed in the page alone would be lost when the script runs again."""
    regularity = runpy.run_path(str(ROOT / "benchmarks/regularity.py"))
    kept = regularity["kept_in"](ROOT / "studies")
    assert len(kept) >= 3
    assert (ROOT / "docs/regularity.md").read_text(encoding="utf-8") == regularity["page"](kept)
    for study in kept:
        for name, plot in regularity["plots"](study).items():
            assert (ROOT / "docs" / name).read_text(encoding="utf-8") == regularity["standalone"](plot), name
    tiny = runpy.run_path(str(ROOT / "benchmarks/mlperf_tiny.py"))
    kept = read_typed(tiny["Kept"], ROOT / "studies/results/mlperf-tiny.json")
    page = tiny["page"](kept.runs)
    assert (ROOT / "docs/mlperf-tiny.md").read_text(encoding="utf-8") == page
    zoo = runpy.run_path(str(ROOT / "benchmarks/zoo.py"))
    cards = [read_card(name) for name in BENCHMARKS if name in frozen_names()]
    assert (ROOT / "docs/zoo.md").read_text(encoding="utf-8") == zoo["page"](cards)
    literature = runpy.run_path(str(ROOT / "benchmarks/literature.py"))
    page = literature["page"](literature["published"](), literature["own"](ROOT / "studies"))
    assert (ROOT / "docs/literature.md").read_text(encoding="utf-8") == page
    system = runpy.run_path(str(ROOT / "benchmarks/system.py"))
    monkeypatch.chdir(ROOT)
    assert (ROOT / "docs/system.md").read_text(encoding="utf-8") == system["page"](system["kept"]())
    fpga = runpy.run_path(str(ROOT / "benchmarks/fpga.py"))
    page = fpga["page"](read_typed(fpga["Results"], ROOT / "studies/results/fpga.json"))
    assert (ROOT / "docs/fpga.md").read_text(encoding="utf-8") == page
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # the page of energy imports what measures it
    measured = read_typed(
        runpy.run_path(str(ROOT / "benchmarks/energy.py"))["Results"], ROOT / "studies/results/energy.json"
    )
    page = runpy.run_path(str(ROOT / "benchmarks/energy_page.py"))["page"](measured.rows)
    assert (ROOT / "docs/energy.md").read_text(encoding="utf-8") == page
    evidence = runpy.run_path(str(ROOT / "benchmarks/evidence.py"))
    assert (ROOT / "docs/evidence.md").read_text(encoding="utf-8") == evidence["page"](
        evidence["kept"](ROOT / "studies")
    )
    superposition = runpy.run_path(str(ROOT / "benchmarks/superposition.py"))
    searches = superposition["kept_in"](ROOT / "studies")
    assert (ROOT / "docs/superposition.md").read_text(encoding="utf-8") == superposition["page"](searches)
    for search in searches:
        drawn = superposition["standalone"](superposition["plot"](search))
        assert (ROOT / f"docs/{search.name}.svg").read_text(encoding="utf-8") == drawn
    diagrams = runpy.run_path(str(ROOT / "benchmarks/diagrams.py"))
    for name in ("flow", "engine"):
        assert (ROOT / f"docs/{name}.svg").read_text(encoding="utf-8") == diagrams[name]()
