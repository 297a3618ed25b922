# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intarsia.errors import IntarsiaError
from intarsia.quantize.scheme import PRESETS, LayerScheme, Scheme
from intarsia.quantize.scheme_text import WORDS, normalized, place_of, read_scheme, split

DENSE = st.sampled_from(["binary", "ternary", "digits2", "digits5", "int2", "int8"])
DENSITIES = st.floats(0, 1, exclude_min=True)
UNITS = st.sampled_from(["inputs", "outputs", "blocks4", "blocks16", "taps"])
PATTERNS = st.one_of(
    st.sampled_from(["1:16", "2:16", "1:16/16", "fixed1:16", "unstructured", "inputs"]),
    st.builds(lambda pattern, density: f"{pattern}@{density!r}", UNITS | st.just("unstructured"), DENSITIES),
)
SPARSE = st.builds(lambda pattern, form: f"{pattern}x{form}", PATTERNS, st.sampled_from(["int8", "int3"]))


@given(dense=DENSE | st.none(), sparse=SPARSE | st.none(), bits=st.sampled_from(["", " a4", " a8"]))
def test_a_scheme_reads_back_what_it_prints(dense: str | None, sparse: str | None, bits: str) -> None:
    text = "+".join(part for part in (dense, sparse) if part)
    if text:
        scheme = LayerScheme.parse(text + bits)
        assert LayerScheme.parse(str(scheme)) == scheme


@given(
    where=UNITS, forms=st.lists(DENSE, min_size=2, max_size=4), share=st.floats(1e-9, 0.3), bits=st.sampled_from([8, 4])
)
def test_a_mix_reads_back_what_it_prints(where: str, forms: list[str], share: float, bits: int) -> None:
    text = f"mix-{where}:" + "/".join([*(f"{form}@{share!r}" for form in forms[1:]), forms[0]])
    scheme = Scheme.parse(f"ternary, block.conv={text} a{bits}, first={text}")
    layer = scheme.layer("block.conv", first=False, last=False, depthwise=False)
    assert layer.mix is not None
    assert [form.name for form, _ in layer.mix.parts] == forms[1:]
    assert LayerScheme.parse(str(layer)) == layer
    assert replace(Scheme.parse(str(scheme)), name=scheme.name) == scheme


@pytest.mark.parametrize(
    "text",
    [
        "",
        "binaryish",
        "ternary+int8",
        "ternary+1:16",
        "ternary+1:16xternary",
        "ternary a3",
        "ternary+17:16xint8",
        "ternary+1:16xint8+1:16xint8",
        "ternary+unstructured@muchxint8",
        "ternary+unstructured@2xint8",
        "ternary+unstructured@nanxint8",
        "ternary+unstructured0.05xint8",
        "ternary+inputs@0xint8",
        "ternary+inputs@xint8",
        "ternary+1:16@0.1xint8",
        "ternary+fixed1:16@0.1xint8",
        "ternary+1:16xbinary",
        "ternary+rest-inputsxint8",
        "ternary+densexint8",
        "mix-",
        "mix-outputs",
        "mix-outputs:int8",
        "mix-outputs:int8@0.5",
        "mix-outputs:int8/int4",
        "mix-outputs:int8@1/int4",
        "mix-outputs:int8@0.5/int4@0.5/int2",
        "mix-outputs:int8@-0.1/int4",
        "mix-outputs:int8@nan/int4",
        "mix-outputs:int8@much/int4",
        "mix-outputs:int8@0.1/int9",
        "mix-unstructured:int8@0.1/int2",
        "mix-1:16:int8@0.1/int2",
        "mix-rest-inputs:int8@0.1/int2",
        "mix-outputs:int8@0.1/int2+1:16xint8",
        "ternary+mix-outputs:int8@0.1/int2",
        "ternary, first",
        "ternary, =int8",
        "ternary, last=",
        "ternary, last=binaryish",
        "ternary, scales=much",
        "ternary, scales=17",
        "ternary a",
        "ternary 4",
        "superposition, scales=17",
    ],
)
def test_a_scheme_that_cannot_be_read_is_one_clear_sentence(text: str) -> None:
    with pytest.raises(IntarsiaError):
        Scheme.parse(text)


def test_the_most_specific_rule_wins() -> None:
    scheme = PRESETS["superposition"]
    assert str(scheme.layer("stem", first=True, last=False, depthwise=True)) == "digits4"
    assert str(scheme.layer("fc", first=False, last=True, depthwise=False)) == "digits4"
    assert str(scheme.layer("conv", first=False, last=False, depthwise=False)) == "ternary+1:16xint8"


def test_a_whole_scheme_is_one_line_of_text() -> None:
    scheme = Scheme.parse("ternary+1:16xint5, first=default, depthwise=digits2, block.conv=int4 a4, scales=6")
    assert str(scheme.layer("stem", first=True, last=False, depthwise=False)) == "ternary+1:16xint5"
    assert str(scheme.layer("dw", first=False, last=False, depthwise=True)) == "digits2"
    assert str(scheme.layer("fc", first=False, last=True, depthwise=False)) == "digits4"
    assert str(scheme.layer("block.conv", first=False, last=False, depthwise=False)) == "int4 a4"
    assert scheme.scale_bits == 6


@given(st.dictionaries(st.sampled_from(["first", "last", "depthwise", "a.b", "c"]), DENSE | st.just("default")))
def test_a_whole_scheme_reads_back_what_it_prints(rules: dict[str, str]) -> None:
    scheme = Scheme.parse(", ".join(["ternary+1:16xint8 a4", *(f"{where}={what}" for where, what in rules.items())]))
    again = Scheme.parse(str(scheme))
    assert replace(again, name=scheme.name) == scheme


#: What a layer may be called: anything, and above all what the language itself is made of.
PIECES = st.sampled_from(
    [*WORDS, "default", "x+1:16", "a.b", ",", "=", '"', "\\", " ", "\t", "\n", "|", "", "层", "é", "\ud800"]
)
NAMES = st.text() | st.lists(PIECES, max_size=4).map("".join)
LAYERS = st.sampled_from(["int8", "ternary", "digits3 a4", "ternary+1:16/16xint4", "mix-outputs:int8@0.1/int2"])


@settings(max_examples=300)
@given(st.dictionaries(NAMES, LAYERS.map(LayerScheme.parse), max_size=6), st.booleans())
def test_layers_may_have_any_names(layers: dict[str, LayerScheme], exceptions: bool) -> None:
    preset = PRESETS["superposition" if exceptions else "int8"]
    scheme = replace(preset, name="found", layers=layers)
    again = Scheme.parse(str(scheme))
    assert replace(again, name="found") == scheme
    assert normalized(str(scheme)) == str(scheme)
    assert Scheme.parse(normalized(str(scheme))).layers == layers
    assert [rule.layer for rule in read_scheme(str(scheme))[1] if rule.layer is not None] == list(layers)


def test_quotes_tell_a_layer_from_a_word_of_the_language() -> None:
    scheme = Scheme.parse('ternary, first=int8, "first"=int4, "last"=default, "a, b=c"=int2, "q\\"q"=int3')
    assert str(scheme.first) == "int8"
    assert {name: str(layer) for name, layer in scheme.layers.items()} == {
        "first": "int4",
        "last": "ternary",
        "a, b=c": "int2",
        'q"q': "int3",
    }
    assert str(scheme.layer("first", first=True, last=False, depthwise=False)) == "int4"
    assert str(scheme.layer("stem", first=True, last=False, depthwise=False)) == "int8"
    assert [place_of(name) for name in ("block1.conv", "first", "a b", "层", "default", "")] == [
        "block1.conv", '"first"', '"a b"', "层", "default", '""',
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ['ternary, "first=int4', 'ternary, a"b"=int4', 'ternary, "a"b=int4', 'ternary, "a\\q"=int4', 'ternary, "="']
)
def test_a_quote_that_goes_wrong_is_refused(text: str) -> None:
    with pytest.raises(IntarsiaError, match=r"double quotes|last=digits4"):
        Scheme.parse(text)


@given(st.lists(st.text(), min_size=1))
def test_what_stands_in_quotes_is_not_split(parts: list[str]) -> None:
    quoted = [place_of(part + ",") for part in parts]
    assert split(",".join(quoted), ",") == quoted


@given(preset=st.sampled_from(sorted(PRESETS)), bits=st.integers(2, 16))
def test_a_preset_takes_rules(preset: str, bits: int) -> None:
    found = Scheme.parse(f"{preset}, scales={bits}, stem=digits3")
    wanted = replace(PRESETS[preset], scale_bits=bits, layers={"stem": LayerScheme.parse("digits3")})
    assert replace(found, name=preset) == wanted


def test_equal_schemes_are_equal_texts_once_their_spaces_are() -> None:
    texts = ("ternary+1:16xint4 a4,last=int4", " ternary+1:16xint4   a4 , last = int4 ")
    assert {normalized(text) for text in texts} == {"ternary+1:16xint4 a4, last=int4"}
    assert normalized('ternary,"stem" = int4,"a  b"= int4') == 'ternary, stem=int4, "a  b"=int4'
    for preset in PRESETS.values():
        assert normalized(str(preset)) == str(preset)
