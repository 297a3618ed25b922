# SPDX-License-Identifier: Apache-2.0
import json
import re
import struct
import zlib
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from intarsia.engine import EngineConfig
from intarsia.engine.cycles import LayerCycles
from intarsia.engine.roofs import LayerRoofs
from intarsia.engine.units import Superposition
from intarsia.errors import IntarsiaError
from intarsia.integer.effective import LayerBits
from intarsia.report import Results, read_run, render, table, write_report
from intarsia.report.charts import Bar, Cloud, Line, Series, lines, scatter, stacked_bars, standalone, ticks_between
from intarsia.report.data import (
    Accuracy,
    Area,
    AreaPart,
    Estimate,
    Estimated,
    Exported,
    Fpga,
    FpgaPart,
    MemoryArea,
    PlanePicture,
    Simulated,
    StoredLayer,
)
from intarsia.report.metrics import DESIGN_METRICS, SCORES, Metric
from intarsia.report.page import COUNTERS
from intarsia.report.pictures import png
from intarsia.synthesize.compare import NETWORK_AREA, PEAK_AREA, Quantity
from intarsia.synthesize.inference import EngineTiming, LayerEnergy
from intarsia.synthesize.netlist.power import PartEnergy
from intarsia.synthesize.netlist.timing import SlowestPath, Step
from intarsia.synthesize.pdk import NO_LIBRARIES

pytest.importorskip("jinja2")

LAYER = LayerCycles("conv1", "conv", 1234, 600.0, 1000, 100, 50, 34, 50, 9.5, 10, 20, 30, 40, 50)
STEPS = (Step("a[0]", "u_drain", "dff", 0.3), Step("", "", "buf & inv", 7.25), Step("end<1>", "u_loader", "nor", 12.5))
ESTIMATE = Estimate(
    conditions="some process 130 nm, typical",
    period_ns=20.0,
    settled_ns=10.5,
    sampled=800,
    layers=(
        LayerEnergy(
            "conv1",
            1234,
            (
                PartEnergy("lanes", 1e6, 2e6, 5e5, 1e3),
                PartEnergy("a & memory", 4e6, 0.0, 0.0, 2e3),
            ),
        ),
        LayerEnergy("fc & out", 766, (PartEnergy("lanes", 1e5, 2e5, 5e4, 1e2),)),
    ),
    timing=EngineTiming(SlowestPath(12.8, "a[0]", "end<1>", STEPS), 6262, 53000.0, 1.135e6),
    netlist="synthesize/energy.netlist.v",
)
FULL = Results(
    network="digits",
    title="a <small> network",
    dataset="digits",
    accuracies=(
        Accuracy("float", "32-bit", (0,), (0.98,), 300, 32.0),
        Accuracy("superposition", "ternary+1:16xint8", (0, 1), (0.96, 0.98), 300, 2.55),
    ),
    bits=(StoredLayer(LayerBits("conv1", 100, 160, 20, 12, 8, 64), "ternary + 1:16 int8"),),
    cycles=(LAYER, replace(LAYER, name="fc & out", cycles=766)),
    macs=(153600, 10),
    roofs=(LayerRoofs("conv1", 600.0, 9, 64), LayerRoofs("fc & out", 0.1, 3, 2)),
    memory_bits={"activations": 8192, "weights": 8192},
    memory_bits_available={"activations": 16384, "weights": 32768},
    simulated=Simulated(100, 2, 98765, (1234, 766), 256),
    exported=Exported(1000, 2, 987650),
    areas=(Area("engine", "transistors", 1e6, 1000, 81920, None, (AreaPart("lane", 16, 9e5, 9e5, 900),), None),),
    comparisons=(
        Quantity(PEAK_AREA, "transistors", 5e5, 1.5e6),
        Quantity("ECP5", "DSP", 0, 256, "the device has 156"),
        Quantity(NETWORK_AREA, "kGE × Mcycles", 10.0, 12.5),
    ),
    fpgas=(
        Fpga(
            design="engine",
            device="ECP5 85k",
            fmax_mhz=71.25,
            timed_out=None,
            used={"lut": 10},
            available={"lut": 100},
            mapped={"lut": 9},
            parts=(FpgaPart("lane", 16, 8, 4, 16, 0),),
            critical_path_ns=14.0,
            critical_from="a",
            critical_to="b",
            bitstream="synthesize/ecp5.bit",
        ),
    ),
    energy=Estimated(ESTIMATE),
    environment={"python": "3.11"},
    stages=(("train/float", 1.5),),
    command="intarsia run digits",
    engine=EngineConfig(),
)
EMPTY = replace(
    FULL,
    accuracies=(),
    bits=(),
    cycles=(),
    macs=(),
    roofs=(),
    memory_bits={},
    memory_bits_available={},
    simulated=None,
    exported=None,
    areas=(),
    comparisons=(),
    fpgas=(),
    energy=None,
)
PICTURE = PlanePicture("conv1", "2 × 3", "ternary", 0.5, 0.0, png(np.zeros((2, 3, 3), np.uint8)), 3, 2)
VOID = {"meta", "img", "br"}


class Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and value:
                self.addresses.append(value)
            if name == "id" and value:
                self.ids.add(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("results", [FULL, EMPTY], ids=["full", "empty"])
def test_the_page_is_whole_and_loads_nothing_from_anywhere(results: Results) -> None:
    page = render(results, [PICTURE])
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    targets = {address[1:] for address in parser.addresses if address.startswith("#")}
    assert targets <= parser.ids
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in parser.addresses)
    assert not re.search(r"https?://|@import|url\(", page)


def test_the_page_says_every_figure_and_escapes_text() -> None:
    page = render(FULL, [])
    for text in ("97.00%", "2.00 points", "2,000", "98,765", "987,650", "71.2", "1,000,000", "3.00", "9.5"):
        assert text in page
    assert "96.00% to 98.00%" in page
    assert "a &lt;small&gt; network" in page
    assert "fc &amp; out" in page
    assert "<small> network" not in page


def test_an_area_under_the_curve_is_no_percentage() -> None:
    anomalies = replace(FULL, metric="auc", data="Clips of toy cars.")
    page, text = render(anomalies, []), table(anomalies)
    assert re.search(r"AUC superposition +0.9700  of 300", text)
    for words in ("0.9700", "0.0200", "AUC", "Clips of toy cars."):
        assert words in page
    assert "97.00%" not in page


def test_ternary_stands_beside_the_superposition_with_the_spread_of_each() -> None:
    results = replace(
        FULL, accuracies=(*FULL.accuracies, Accuracy("ternary", "ternary", (0, 1), (0.93, 0.94), 300, 1.7))
    )
    page, text = render(results, []), table(results)
    assert "(float 98.00%, ternary 93.50%)" in page
    assert "93.00% to 94.00%" in page
    assert re.search(r"accuracy superposition +97.00% .* mean of seeds 0, 1 \(96.00% to 98.00%\)", text)
    assert re.search(r"accuracy ternary +93.50% .* mean of seeds 0, 1 \(93.00% to 94.00%\)", text)


def test_what_was_not_done_is_said() -> None:
    page = render(EMPTY, [])
    for stage in ("measured", "compiled", "simulated", "synthesized", "estimated"):
        assert f"Not {stage}" in page
    assert "No ONNX graph" in page
    assert "Neither mapped nor placed" in page


UNROUTED = replace(FULL.fpgas[0], fmax_mhz=None, used={}, available={}, critical_path_ns=None, bitstream="")


@pytest.mark.parametrize(
    ("fpga", "said"),
    [
        (
            replace(UNROUTED, timed_out=240.0, done="synthesized and placed"),
            "not routed in 240 s: synthesized and placed",
        ),
        (replace(UNROUTED, failed="no room for a multiplier"), "does not fit"),
        (UNROUTED, "not placed and routed in this run"),
    ],
)
def test_where_nothing_was_routed_page_and_table_say_what_was_done(fpga: Fpga, said: str) -> None:
    results = replace(FULL, fpgas=(fpga,))
    page = render(results, [])
    assert said in page
    assert "Mapped by Yosys to 9 LUT" in page
    assert fpga.failed in page
    assert f"{said}, mapped to 9 LUT" in table(results)
    assert table(replace(FULL, fpgas=(replace(fpga, mapped={}),))).endswith(said)


def test_half_a_block_ram_is_half() -> None:
    part = FpgaPart("intarsia_memory", 3, 12, 0, 0, 2.0)
    fpga = replace(UNROUTED, device="Xilinx 7-series", mapped={"lut": 30770, "bram": 33.5}, parts=(part,))
    page, text = render(replace(FULL, fpgas=(fpga,)), []), table(replace(FULL, fpgas=(fpga,)))
    assert "Mapped by Yosys to 30,770 LUT, 33.5 BRAM" in page
    assert "<td>2</td></tr>" in page
    assert "mapped to 30,770 LUT, 33.5 BRAM" in text


def test_arrays_are_compared_at_their_peak_and_over_the_network() -> None:
    page, text = render(FULL, []), table(FULL)
    assert "superposition 500,000 transistors, int8 1,500,000 transistors: ratio 3.00" in text
    assert "superposition 10.00 kGE × Mcycles, int8 12.50 kGE × Mcycles: ratio 1.25" in text
    assert "same peak throughput" in page
    assert "the device has 156" in page
    assert "12.50</td><td>1.25</td>" in page


def test_areas_stand_beside_the_delay_at_which_they_were_taken() -> None:
    area = replace(FULL.areas[0], unit="kGE", total=123.4, path_ps=4321.0)
    for text in (render(replace(FULL, areas=(area,)), []), table(replace(FULL, areas=(area,)))):
        assert "longest path inside one module 4.32 ns, no wires" in text


def test_the_files_are_written_and_results_are_json(tmp_path: Path) -> None:
    page = write_report(FULL, [PICTURE], tmp_path)
    assert page.read_text().startswith("<!doctype html>")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["total_cycles"] == 2000
    assert results["effective_bits"] == pytest.approx(2.0)
    assert results["simulated"]["values"] == 98765
    assert (tmp_path / "results.txt").read_text() == table(FULL) + "\n"
    assert read_run(tmp_path / "results.json") == FULL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "intarsia-results-2"}, "does not hold results of the format intarsia-results-4"),
        ({"colour": 1}, "colour is unknown"),
        ({"macs": None}, "macs is missing"),
        ({"metric": "joules"}, "metric must be one of 'accuracy', 'auc'"),
        ({"engine": {"lanes": 16}}, "engine.unit is missing"),
        ({"simulated": {"images": 1}}, "simulated.layers is missing"),
        ({"cycles": [{"name": "conv1"}]}, r"cycles\[0\].kind is missing"),
    ],
)
def test_results_of_another_version_are_refused_in_one_sentence(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    content = {**FULL.as_json(), **change}
    path = tmp_path / "results.json"
    path.write_text(
        json.dumps({name: value for name, value in content.items() if value is not None or name == "simulated"})
    )
    with pytest.raises(IntarsiaError, match=message) as error:
        read_run(path)
    assert str(path) in str(error.value)
    assert str(error.value).endswith("; run it again.")


def test_the_report_names_counters_that_the_cycle_model_has() -> None:
    assert {counter for _, counter, _ in COUNTERS} == {
        field.name for field in fields(LayerCycles) if field.name.endswith(("_reads", "_writes"))
    }
    assert {memory for *_, memory in COUNTERS} == set(FULL.access_bits)


@pytest.mark.parametrize("metric", [*SCORES.values(), *DESIGN_METRICS.values()])
def test_a_metric_says_its_values_with_their_unit(metric: Metric) -> None:
    assert metric.text(None) == "–"
    assert metric.amount(0.5).endswith(metric.unit)
    assert metric.text(1234.0).count(".") == (metric.digits > 0)


def test_the_table_has_units_and_aligns() -> None:
    lines = table(FULL).splitlines()
    assert len({len(line) - len(line.split("  ", 1)[1].lstrip()) for line in lines}) == 1
    text = "\n".join(lines)
    for unit in ("bits per weight", "KiB", "transistors", "MHz", "LUT", "images"):
        assert unit in text


def test_areas_of_cells_and_macros_are_added() -> None:
    area = replace(FULL.areas[0], unit="kGE", total=100.0, sram_um2=2e6, cells_um2=7.26e5)
    [line] = (line for line in table(replace(FULL, areas=(area,))).splitlines() if line.startswith("area engine"))
    assert line.endswith("100.0 kGE (0.73 mm²) plus 10.0 KiB memory (2.00 mm² of SRAM macros): 2.73 mm²")


def test_a_chart_stands_alone_as_xml() -> None:
    chart = standalone(stacked_bars([Series("a & b", "#123456")], [Bar("<x>", (2.0,), "2")], "cycles", "title"))
    root = ElementTree.fromstring(chart)  # noqa: S314 (our own)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<x>" in "".join(root.itertext())


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_pictures_decode_to_what_was_encoded(pixels: np.ndarray) -> None:
    data = png(pixels)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, position = {}, 8
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        assert struct.unpack(">I", data[position + 8 + length : position + 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        position += 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert np.array_equal(rows[:, 1:].reshape(height, width, 3), pixels)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_cover_the_values_evenly(low: float, width: float) -> None:
    ticks = ticks_between(low, low + width)
    slack = 1e-6 * max(width, 1.0)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + width - slack
    assert 3 <= len(ticks) <= 9
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-3, atol=1e-7)


def test_lines_put_equal_places_above_each_other_and_greater_values_higher() -> None:
    entries = [Line("one & two", "red", ((2, 0.5), (8, 0.9))), Line("three", "blue", ((8, 0.7),))]
    chart = lines(entries, "bits", "accuracy", "a plot")
    circles = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', chart)]
    assert circles[1][0] == circles[2][0] > circles[0][0]
    assert circles[1][1] < circles[2][1] < circles[0][1]
    assert "one &amp; two" in chart


def test_a_scatter_plot_places_points_along_both_axes() -> None:
    clouds = [
        Cloud("one & two", "red", ((10.0, 0.5, "a"), (30.0, 0.9, "b"))),
        Cloud("three", "blue", ((20.0, 0.7, "c"),)),
    ]
    chart = scatter(clouds, "bytes", "accuracy", "a plot")
    (a, b, c) = ((float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', chart))
    assert c == pytest.approx(((a[0] + b[0]) / 2, (a[1] + b[1]) / 2), abs=0.2)
    assert a[0] < b[0]
    assert a[1] > b[1]
    assert "<title>b: 0.9 at 30</title>" in chart
    one = scatter([Cloud("alone", "red", ((1.0, 1.0, "x"),))], "x", "y", "one point")
    assert one.count("<circle") == 1


def test_energy_is_shown_by_part_and_by_layer_with_unit_and_conditions() -> None:
    page, text = render(FULL, []), table(FULL)
    assert "7.85 µJ at a clock period of 20 ns (50.0 MHz)" in text
    for words in ("7.85 µJ", "40.00 µs", "196.3 mW", "2,000 cycles"):
        assert words in page
    assert "<td>a &amp; memory</td><td>4,000.00</td><td>0.00</td><td>0.00</td><td>2.00</td><td>4,002.00</td>" in page
    assert "<td>lanes</td><td>1,100.00</td><td>2,200.00</td><td>550.00</td><td>1.10</td><td>3,851.10</td>" in page
    assert "<td>all</td><td>5,100.00</td><td>2,200.00</td><td>550.00</td><td>3.10</td><td>7,853.10</td>" in page
    assert page.index("<td>a &amp; memory</td><td>4,0") < page.index("<td>lanes</td><td>1,1")
    for said in (page, text):
        assert "stimate before layout, some process 130 nm, typical" in said
        assert "at most 800 cycles simulated per layer, 1 of 2 layers extrapolated" in said
    assert "first 800 cycles" in page
    assert "<title>lanes: nets 2,200</title>" in page
    assert "<title>conv1: clock 500</title>" in page


def test_an_inference_that_was_run_in_full_is_called_that() -> None:
    results = replace(FULL, energy=Estimated(replace(ESTIMATE, sampled=None)))
    for said in (render(results, []), table(results)):
        assert "all cycles simulated" in said
        assert "extrapolated" not in said


def test_timing_names_the_slowest_path_and_lists_its_steps() -> None:
    page = render(FULL, [])
    assert "least clock period 12.80 ns (78.1 MHz), from a[0] to end<1>; estimate before layout" in table(FULL)
    assert "Least clock period: <b>12.80 ns</b>, a clock of 78.1 MHz" in page
    assert "starts at <code>a[0]</code> and ends at <code>end&lt;1&gt;</code>" in page
    assert "<summary>The path: 3 steps</summary>" in page
    assert '<td>–</td><td class="left">buf &amp; inv</td><td class="left">engine</td><td>7.250</td>' in page
    assert "6,262 added buffers of 0.053 mm²" in page


def test_without_libraries_energy_and_timing_say_what_to_do() -> None:
    results = replace(FULL, energy=Estimated(None, NO_LIBRARIES))
    assert render(results, []).count("Not estimated: there are no cell libraries; fetch them with `intarsia pdk`") == 2
    lines = table(results).splitlines()
    assert re.fullmatch(f"energy per inference +{re.escape(f'not estimated: {NO_LIBRARIES}')}", lines[-4])
    assert not [line for line in lines if line.startswith("timing")]


def test_area_is_drawn_by_module_and_memory_in_mm2() -> None:
    parts = (
        AreaPart("intarsia_lane", 16, 60.0, 60.0, 900),
        AreaPart("intarsia_engine", 1, 0.9, 100.0, 9),
        AreaPart("intarsia_lane_array", 1, 39.1, 99.1, 0),
    )
    memories = (MemoryArea("program memory", 1, 5e4), MemoryArea("weight memory", 4, 1.95e6))
    area = replace(FULL.areas[0], unit="kGE", total=100.0, parts=parts, sram_um2=2e6, cells_um2=1e6, memories=memories)
    page = render(replace(FULL, areas=(*FULL.areas, area)), [])
    drawn = [
        "<title>lane: standard cells 0.6</title>",
        "<title>lane array: standard cells 0.391</title>",
        "<title>other modules: standard cells 0.009</title>",
        "<title>weight memory: SRAM macros 1.95</title>",
        "<title>program memory: SRAM macros 0.05</title>",
        "<title>added buffers: added buffers and clock tree 0.053</title>",
    ]
    places = [page.index(bar) for bar in drawn]
    assert places == sorted(places)
    assert "By module and memory" not in render(FULL, [])
    assert "added buffers" not in render(replace(EMPTY, areas=(area,)), [])


def test_long_names_of_bars_stay_in_the_picture() -> None:
    chart = stacked_bars([Series("a", "#123456")], [Bar("a name of thirty characters...", (2.0,), "2")], "nJ", "title")
    [right] = re.findall(r'<text class="label" x="([\d.]+)"', chart)
    assert float(right) >= 30 * 6


def test_an_engine_that_was_synthesized_with_other_parameters_is_said_to_be_another() -> None:
    needed = EngineConfig(unit=Superposition(4, 8, 3), weight_depth=1280)
    other = replace(FULL, engine=needed, synthesized={"weight_depth": 1024, "unit": "ternary + 3 × int8"})
    for text in (render(other, []), table(other)):
        assert "weight_depth = 1,024 (this network needs 1,280)" in text
        assert f"unit = ternary + 3 × int8 (this network needs {needed.unit})" in text
    assert "fitted" not in table(FULL)


def test_a_legend_that_is_too_long_goes_on_in_another_row() -> None:
    clouds = [Cloud(f"a kind of points {number}", "red", ((number, number, ""),)) for number in range(12)]
    chart = scatter(clouds, "x", "y", "many kinds")
    places = [
        (float(x) + 6.1 * len(name), float(y))
        for x, y, name in re.findall(r'<text class="legend" x="([\d.]+)" y="([\d.]+)">([^<]+)<', chart)
    ]
    assert len(places) == 12
    assert max(end for end, _ in places) <= 860
    assert len({y for _, y in places}) == 3


def test_shown_labels_of_crowded_points_do_not_overlap() -> None:
    points = tuple((0.1 * (number % 5), 0.1 * (number // 5), f"point {number}") for number in range(20))
    chart = scatter([Cloud("one", "red", points, tuple(label for *_, label in points))], "x", "y", "a crowd")
    found = re.findall(r'<text class="point" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]+)<', chart)
    assert len(found) == 20
    boxes = [(float(x) - 2.7 * len(text), float(x) + 2.7 * len(text), float(y)) for x, y, text in found]
    for number, (left, right, y) in enumerate(boxes):
        for other_left, other_right, other_y in boxes[:number]:
            assert abs(y - other_y) >= 10.9 or right <= other_left + 0.2 or other_right <= left + 0.2
