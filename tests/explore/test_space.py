# SPDX-License-Identifier: Apache-2.0
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.errors import IntarsiaError
from intarsia.explore import DesignSpace, LayerSpace, Point, Rung, Search, parse_space, read_space
from intarsia.quantize.scheme import Scheme

SPACE = """\
network: resnet8
layers:
  default:
    dense: [ternary]
    sparse: [none, int4, int8]
    pattern: [1:16, 2:16, 1:16/16]
  fc: [digits4, int8]
scales: [6]
transforms: [none]
schemes: [int4, "ternary, scales=8", int4 | widen1.25+permute]
objectives: [accuracy, bits, cycles]
calibration: 128
images: 500
search: {kind: random, trials: 5, seed: 3}
rungs:
  - {epochs: 0}
  - {epochs: 2, keep: 0.5}
  - {epochs: recipe, keep: front, seeds: [0, 1, 2]}
"""


def test_a_space_is_read_as_it_is_written() -> None:
    space = parse_space(SPACE)
    assert space == DesignSpace(
        network="resnet8",
        layers={
            "default": LayerSpace(
                dense=("ternary",), sparse=("none", "int4", "int8"), pattern=("1:16", "2:16", "1:16/16")
            ),
            "fc": LayerSpace(planes=("digits4", "int8")),
        },
        scales=("6",),
        transforms=("none",),
        schemes=("int4", "ternary, scales=8", "int4 | widen1.25+permute"),
        objectives=("accuracy", "bits", "cycles"),
        calibration=128,
        images=500,
        search=Search("random", 5, 3),
        rungs=(Rung(0), Rung(2, 0.5), Rung(None, None, (0, 1, 2))),
    )


def test_combinations_that_mean_the_same_are_one_point() -> None:
    points = list(parse_space(SPACE).points())
    assert len({point.key for point in points}) == len(points) == (1 + 2 * 3) * 2 + 3
    assert points[0] == Point("ternary, fc=digits4, scales=6")
    assert Point("ternary+1:16/16xint4, fc=int8, scales=6") in points
    assert points[-2:] == [Point("ternary, scales=8"), Point("int4", "widen1.25+permute")]


def test_the_unit_is_an_axis_and_part_of_listed_designs() -> None:
    text = "network: digits\nlayers: {default: [int4, int8]}\nunits: [dense4, sum_together]\n"
    text += "schemes: [int2 | unit dense2]\n"
    points = list(parse_space(text).points())
    assert [point.key for point in points] == [
        "int4 | unit dense4",
        "int4 | unit sum_together",
        "int8 | unit dense4",
        "int8 | unit sum_together",
        "int2 | unit dense2",
    ]
    assert [Point.parse(point.key) for point in points] == points
    assert Point.parse("int4 | permute+equalize | unit dense8") == Point("int4", "permute+equalize", "dense8")
    with pytest.raises(IntarsiaError, match="unknown execution unit 'dense9'"):
        Point.parse("int4 | unit dense9")
    assert Point.parse("int4 | unit  dense8").unit == "dense8"
    for text in ("int4 | dense8", "int4 | unit", "int4 | unit dense8 | permute", "int4 | unit dense4 | unit dense8"):
        with pytest.raises(IntarsiaError, match=r"is written once, at the end, as in `int4 \| unit dense8`"):
            Point.parse(text)
    with pytest.raises(IntarsiaError, match=r"line 2: units are chosen beside layers; .* `SCHEME \| unit NAME`"):
        parse_space("network: digits\nunits: [dense8]\nschemes: [int4]\n")


def test_layers_that_are_called_as_words_stand_in_quotes() -> None:
    space = parse_space("""network: resnet8
layers: {default: ternary, first: digits4, '"first"': [int4, int8], '"a|b, c"': default}
schemes: ['int4, "a|b"=int8 | permute']
""")
    points = list(space.points())
    assert points[-1] == Point('int4, "a|b"=int8', "permute")
    for point, wanted in zip(points, ("int4", "int8"), strict=False):
        scheme = Scheme.parse(point.scheme)
        assert str(scheme.first) == "digits4"
        assert {name: str(layer) for name, layer in scheme.layers.items()} == {"first": wanted, "a|b, c": "ternary"}
        assert Point.parse(point.key) == point


def test_a_pattern_takes_the_density_that_it_wants() -> None:
    layer = LayerSpace(
        dense=("ternary",), sparse=("int8",), pattern=("unstructured", "1:16"), density=("0.0625", "0.125")
    )
    space = DesignSpace("digits", {"default": layer})
    assert {point.scheme for point in space.points()} == {
        "ternary+unstructured@0.0625xint8",
        "ternary+unstructured@0.125xint8",
        "ternary+1:16xint8",
    }


@given(st.data())
def test_every_point_is_a_scheme_that_reads_back(data: st.DataObject) -> None:
    def some(values: list[str]) -> tuple[str, ...]:
        return tuple(data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)))

    layer = LayerSpace(
        dense=some(["ternary", "digits2", "int4"]),
        sparse=some(["none", "int4", "int8"]),
        pattern=some(["1:16", "2:8", "1:16/4"]),
        activations=some(["8", "4"]),
    )
    space = DesignSpace(
        "digits", {"default": layer, "last": LayerSpace(planes=some(["int8", "digits4"]))}, scales=some(["4", "6"])
    )
    points = list(space.points())
    assert points
    for point in points:
        scheme = Scheme.parse(point.scheme)
        assert str(scheme.default) in map(str, _planes(layer))
        assert str(scheme.scale_bits) in space.scales
        again = Scheme.parse(str(scheme))
        assert (again.default, again.last, again.scale_bits) == (scheme.default, scheme.last, scheme.scale_bits)


def _planes(layer: LayerSpace) -> list[str]:
    parts = itertools.product(layer.dense, layer.sparse, layer.pattern, layer.activations)
    return [
        layer.text(dict(zip(("dense", "sparse", "pattern", "activations"), values, strict=True))) for values in parts
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("network: [", "line 1: expected the node content"),
        ("layers: {default: ternary}", "line 1: there is no network"),
        ("network: resnet8", "neither layers nor schemes"),
        ("network: resnet8\nlayer: {}", "line 2: unknown name 'layer'"),
        ("network: a\nnetwork: b", "line 2: network stands here twice"),
        ("network: resnet8\nlayers:\n  fc: ternary", "line 3: there is no default"),
        ("network: resnet8\nlayers:\n  default: ternery", "line 3: unknown weight format 'ternery'"),
        ("network: resnet8\nlayers:\n  default:\n    dense: [ternary, int9]", "line 4: unknown weight format 'int9'"),
        ("network: resnet8\nlayers:\n  default:\n    dense: ternary\n    sparse: int8", "needs a pattern"),
        ("network: resnet8\nlayers:\n  default:\n    pattern: 17", "line 4: cannot read pattern '17'"),
        ("network: r\nlayers:\n  default:\n    dense: ternary\n    density: 2", "line 5: the density must be in"),
        ("network: r\nlayers:\n  default:\n    dense: ternary\n    activations: [8, 3]", "line 5: activations have"),
        ("network: r\nlayers:\n  default: {dense: none}", "neither a dense nor a sparse plane"),
        ("network: r\nlayers:\n  default: {planes: ternary, dense: ternary}", "line 3: planes are given whole or by"),
        ("network: r\nlayers: {default: ternary}\nscales: [6, 6]", "line 3: 6 stands here twice"),
        ("network: r\nlayers: {default: ternary}\nscales: 1", "line 3: multipliers have 2 to 16 bits"),
        ("network: r\nlayers: {default: ternary}\nschemes: [int3.5]", "line 3: "),
        ("network: r\nlayers: {default: ternary}\nschemes: [int4 | wider]", "line 3: "),
        ("network: r\nlayers: {default: ternary}\nobjectives: [bits]", "line 3: accuracy is missing"),
        ("network: r\nlayers: {default: ternary}\nobjectives: [accuracy, joy]", "line 3: unknown 'joy'"),
        ("network: r\nlayers: {default: ternary}\nsearch: {kind: random}", "line 3: a search of the kind random needs"),
        ("network: r\nschemes: [int4]\nsearch: {kind: evolution, trials: 3}", "needs layers to choose for"),
        (
            "network: r\nlayers: {default: [int4, int8]}\nsearch: {kind: evolution, trials: 3}\n"
            "rungs: [{epochs: 0, seeds: [0, 1]}]",
            "with one seed",
        ),
        ("network: r\nlayers: {default: ternary}\nrungs: []", "line 3: the list is empty"),
        ("network: r\nlayers: {default: ternary}\nrungs: [{epochs: 0, seeds: [9999999999999]}]", "line 3: expected a"),
        (f"network: r\nlayers: {{default: ternary}}\nimages: {'9' * 5000}", "line 3: expected a whole number"),
        (f"network: {'[' * 3000}", "nests lists or names too deeply"),
        ("network: r\nlayers: {default: ternary}\nsearch: {kind: luck}", "line 3: unknown 'luck'"),
        ("network: r\nlayers: {default: ternary}\nrungs: [{keep: 0.5}]", "line 3: a rung needs epochs"),
        (
            "network: r\nlayers: {default: ternary}\nrungs: [{epochs: 0, keep: 0.5}]",
            "line 3: the first rung takes every",
        ),
        (
            "network: r\nlayers: {default: ternary}\nrungs: [{epochs: 0}, {epochs: 1, keep: 2}]",
            "line 3: expected a number",
        ),
        ("network: r\nlayers: {default: ternary}\nrungs: [{epochs: 0, rate: 0.1}]", "line 3: a rate is of a training"),
        ("network: r\nlayers: {default: ternary}\nrungs: [{epochs: recipe, rate: 0.1}]", "line 3: a rate is of a"),
        ("network: r\nlayers: {default: ternary}\nrungs: [{epochs: 2, rate: fast}]", "line 3: expected a number"),
        ("network: r\nlayers: {default: ternary}\nimages: many", "line 3: expected a whole number from 1"),
        ("network: r\nlayers: {default: ternary}\nscales: []", "line 3: the list is empty"),
    ],
)
def test_a_malformed_space_is_refused_by_its_line(text: str, message: str) -> None:
    with pytest.raises(IntarsiaError) as caught:
        parse_space(text, "space.yaml")
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_the_first_and_the_last_layer_may_have_the_planes_of_the_others() -> None:
    text = "network: resnet8\nlayers:\n  default: [ternary, int4]\n  last: [default, int8]"
    schemes = [point.scheme for point in parse_space(text).points()]
    assert schemes == ["ternary, last=default", "ternary, last=int8", "int4, last=default", "int4, last=int8"]
    with pytest.raises(IntarsiaError, match="default"):
        parse_space("network: resnet8\nlayers: {default: default}")


def test_a_grid_that_nobody_can_walk_is_refused() -> None:
    names = "".join(f"  layer{n}: [ternary, digits2, digits3]\n" for n in range(12))
    text = f"network: resnet8\nlayers:\n  default: ternary\n{names}"
    with pytest.raises(IntarsiaError, match="a grid of 531,441 combinations cannot be walked"):
        parse_space(text)
    assert parse_space(f"{text}search: {{kind: evolution, trials: 50}}").search.kind == "evolution"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(IntarsiaError, match=r"there is no file .*none.yaml"):
        read_space(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(IntarsiaError, match="is not a text"):
        read_space(tmp_path / "binary.yaml")
