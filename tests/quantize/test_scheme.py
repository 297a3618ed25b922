from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.errors import IntarsiaError
from intarsia.quantize.scheme import PRESETS, LayerScheme, Scheme, normalized

DENSE = st.sampled_from(["ternary", "digits2", "digits5", "int2", "int8"])
SPARSE = st.sampled_from(["1:16xint8", "2:16xint4", "1:16/16xint8", "unstructuredxint8", "unstructured0.05xint3"])


@given(dense=DENSE | st.none(), sparse=SPARSE | st.none(), bits=st.sampled_from(["", " a4", " a8"]))
def test_a_scheme_reads_back_what_it_prints(dense: str | None, sparse: str | None, bits: str) -> None:
    text = "+".join(part for part in (dense, sparse) if part)
    if text:
        scheme = LayerScheme.parse(text + bits)
        assert LayerScheme.parse(str(scheme)) == scheme


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
        "ternary+unstructuredmuchxint8",
        "ternary+unstructured2xint8",
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
    assert str(scheme.with_activations(4).layer("c", first=False, last=False, depthwise=False)).endswith(" a4")


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


@given(preset=st.sampled_from(sorted(PRESETS)), bits=st.integers(2, 16))
def test_a_preset_takes_rules(preset: str, bits: int) -> None:
    found = Scheme.parse(f"{preset}, scales={bits}, stem=digits3")
    wanted = replace(PRESETS[preset], scale_bits=bits, layers={"stem": LayerScheme.parse("digits3")})
    assert replace(found, name=preset) == wanted


def test_equal_schemes_are_equal_texts_once_their_spaces_are() -> None:
    texts = ("ternary+1:16xint4 a4,last=int4", " ternary+1:16xint4   a4 , last = int4 ")
    assert {normalized(text) for text in texts} == {"ternary+1:16xint4 a4, last=int4"}
    for preset in PRESETS.values():
        assert normalized(str(preset)) == str(preset)
