# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import presence_of_element_located
from selenium.webdriver.support.wait import WebDriverWait

from intarsia.errors import IntarsiaError
from intarsia.report.metrics import BITS
from intarsia.report.study import Design, StudyResults, read_results
from intarsia.report.study_page import FAMILIES, charts, family, importance, study_page, study_table
from intarsia.typed_json import MismatchError, from_json, to_json
from patience import DEADLINE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


def design(scheme: str, accuracies: tuple[float, ...], bits: float, *, on_front: bool = False, **chosen: str) -> Design:
    metrics = {"accuracy": accuracies[-1], "bits": bits, "bytes": 1000 * bits, "cycles": 60_000.0, "area": None}
    rung = len(accuracies) - 1
    coordinates = {f"default.{name}": value for name, value in chosen.items()}
    by_seed = (accuracies[-1] - 0.005, accuracies[-1] + 0.005)
    return Design(
        scheme, "none", "", coordinates, rung, (0, 1), metrics, by_seed, accuracies, "no <b>unit</b>.", on_front
    )


def results() -> StudyResults:
    designs = (
        design("ternary", (0.5, 0.85), 1.8, on_front=True, sparse="none", pattern="1:16"),
        design("ternary+1:16xint8", (0.6, 0.87), 2.4, on_front=True, sparse="int8", pattern="1:16"),
        design("ternary+2:16xint8", (0.62, 0.88), 2.9, on_front=True, sparse="int8", pattern="2:16"),
        design("ternary+1:16/16xint4, fc=digits4", (0.55,), 2.1, sparse="int4", pattern="1:16/16"),
        design("int4", (0.7, 0.86), 4.1),
    )
    refused = {"ternary </script><script>alert(1)</script>": "it does not <i>fit</i>."}
    return StudyResults("a <study>", "resnet8", ("accuracy", "bits"), (0, 4), designs, refused, (0.8,), 120.0)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("ternary", "dense digits"),
        ("digits2, fc=int4", "dense digits"),
        ("int4 a4", "uniform"),
        ("int3, first=int8, last=int8", "uniform"),
        ("int2, first=int8, stem=int4, scales=6", "layer-wise"),
        ('int2, "first"=int8', "layer-wise"),
        ("ternary+1:16xint8, fc=digits4", "n:m"),
        ("ternary+1:16/16xint8", "n:m shared"),
        ("ternary+unstructured@0.05xint8", "unstructured"),
        ("ternary+inputs@0.0625xint4", "inputs"),
        ("ternary+blocks4@0.0625xint4", "blocks"),
        ("ternary+fixed1:16xint4", "fixed"),
        ("mix-outputs:int8@0.1/int2", "mix"),
    ],
)
def test_a_scheme_belongs_to_the_family_of_its_pattern(scheme: str, expected: str) -> None:
    assert family(scheme) == expected
    assert expected in FAMILIES


def test_a_choice_that_decides_all_has_all_the_importance() -> None:
    rows = [
        design("ternary", (accuracy,), 2.0, sparse=sparse, pattern=pattern)
        for sparse, accuracy in (("int4", 0.5), ("int8", 0.7))
        for pattern in ("1:16", "2:16")
    ]
    assert importance(rows) == pytest.approx({"default.sparse": 1.0, "default.pattern": 0.0})


def test_the_results_survive_their_file(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(to_json(results())))
    assert read_results(tmp_path) == results()
    assert [d.scheme for d in results().front] == ["ternary", "ternary+1:16xint8", "ternary+2:16xint8"]
    lines = results().as_csv().splitlines()
    assert len(lines) == 1 + 5
    assert lines[0].startswith(
        "scheme,transforms,unit,rung,seeds,accuracy,bits,bytes,cycles,area,memory_energy,energy,accuracy by seed,"
        "accuracy at rung 0,"
    )
    assert study_table(results()).count("\n") == 3


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_what_is_no_result_of_a_study_is_refused(content: Any) -> None:
    with pytest.raises(MismatchError):
        from_json(StudyResults, content)


@pytest.mark.parametrize("change", [{"seconds": "1"}, {"designs": [{}]}, {"colour": 1}, {"name": None}])
def test_results_of_another_version_are_refused_in_one_sentence(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(to_json(results()) | change))
    with pytest.raises(IntarsiaError, match=r"results\.json was not written by this version .*; give a results\.json"):
        read_results(path)


def test_a_design_has_only_metrics_that_are_declared() -> None:
    with pytest.raises(ValueError, match="no metric 'joules'"):
        replace(results().designs[0], metrics={"joules": 1.0})


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match="run intarsia explore first"):
        read_results(tmp_path)


def test_a_study_of_one_design_has_a_page() -> None:
    one = StudyResults("s", "digits", ("accuracy",), (0,), (design("int4", (0.9,), 4.0),), {}, (), 1.0)
    assert set(charts(one)) == {"front-bits", "front-cycles"}
    assert "Plotly" in study_page(one)
    assert study_page(StudyResults("s", "digits", ("accuracy",), (0,), (), {}, (), 0.0))


@pytest.fixture(scope="module")
def browser() -> Iterator[WebDriver]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("Chromium or its driver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # Without a network, and without looking for updates.
    for argument in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1200,900"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield opened
    opened.quit()


def test_the_page_works_in_a_browser_without_a_network(browser: WebDriver, tmp_path: Path) -> None:
    (tmp_path / "study.html").write_text(study_page(results()))
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    browser.get((tmp_path / "study.html").as_uri())
    wait = WebDriverWait(browser, DEADLINE)
    for name in charts(results()):
        wait.until(presence_of_element_located((By.CSS_SELECTOR, f"#{name} .main-svg")))
    assert browser.title == "Intarsia: study a <study>"
    points = browser.find_elements(By.CSS_SELECTOR, "#front-bits .scatterlayer .point")
    assert len(points) == 4  # those that reached the last rung
    ActionChains(browser).move_to_element(points[0]).perform()
    wait.until(presence_of_element_located((By.CSS_SELECTOR, "#front-bits .hoverlayer .hovertext")))
    assert first_cell(browser) == "ternary"
    heads = browser.find_elements(By.CSS_SELECTOR, "#designs th")
    bits = next(head for head in heads if BITS.heading in head.text)
    bits.click()  # from the least
    assert first_cell(browser) == "ternary"
    bits.click()
    assert first_cell(browser) == "int4"
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]
    assert severe == []
    assert {url.partition(":")[0] for url in requested(browser)} <= {"file", "data", "blob"}


def first_cell(browser: WebDriver) -> str:
    return browser.find_element(By.CSS_SELECTOR, "#designs tbody td").text


def requested(browser: WebDriver) -> list[str]:
    """Return the addresses that pages asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[no-untyped-call]
    sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent]
