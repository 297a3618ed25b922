# SPDX-License-Identifier: Apache-2.0
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.synthesize.netlist.functions import truth_table

PINS = ("A", "B", "C_N", "D1")
#: Operators of Liberty, the tightest first, with what they are in Python, whose order is another one.
NOT, XOR, AND, OR = 3, 2, 1, 0


@st.composite
def expressions(draw: st.DrawFn, depth: int = 4) -> tuple[str, str, int]:
    """An expression of Liberty, the same with all parentheses in Python, and how tightly its operator binds."""
    kind = draw(st.sampled_from(("leaf", "not", "after", "xor", "and", "or"))) if depth else "leaf"
    if kind == "leaf":
        leaf = draw(st.sampled_from((*PINS, "0", "1")))
        return leaf, leaf, NOT
    text, python, binds = draw(expressions(depth - 1))
    if kind in ("not", "after"):
        inner = text if binds == NOT and not text.startswith("!") and draw(st.booleans()) else f"({text})"
        return (f"!{inner}" if kind == "not" else f"{inner}'"), f"(1 - {python})", NOT
    level = {"xor": XOR, "and": AND, "or": OR}[kind]
    other, other_python, other_binds = draw(expressions(depth - 1))
    left = text if binds >= level and draw(st.booleans()) else f"({text})"
    right = other if other_binds > level and draw(st.booleans()) else f"({other})"
    signs = {"xor": ("^", " ^ "), "and": ("*", "&", " ", " * "), "or": ("+", "|", " + ")}[kind]
    sign = draw(st.sampled_from(signs))
    if sign == " " and right[0] in "01":  # two constants would be one word
        sign = "*"
    python_sign = {"xor": "^", "and": "&", "or": "|"}[kind]
    return left + sign + right, f"({python} {python_sign} {other_python})", level


@given(expressions())
def test_a_table_holds_what_the_expression_gives_for_each_state(expression: tuple[str, str, int]) -> None:
    text, python, _ = expression
    table = truth_table(text, PINS)
    for number, state in enumerate(product((0, 1), repeat=len(PINS))):
        values = dict(zip(reversed(PINS), state, strict=True))
        assert table >> number & 1 == eval(python, {}, values)  # noqa: S307 (made here)
    assert table < 1 << (1 << len(PINS))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("A*B^C", "A*(B^C)"),  # exclusive or before and
        ("A+B^C", "A+(B^C)"),
        ("A B+C", "(A*B)+C"),
        ("!A'", "A"),
        ("!A B", "(!A)*B"),
        ("(A+B)'", "!A*!B"),
        ("A+!B C", "A+((!B)*C)"),
    ],
)
def test_operators_bind_as_in_liberty(text: str, same: str) -> None:
    assert truth_table(text, ("A", "B", "C")) == truth_table(same, ("A", "B", "C"))


def test_the_first_input_is_the_least_bit_and_constants_need_no_input() -> None:
    assert truth_table("A*!B", ("A", "B")) == 0b0010
    assert truth_table("A*!B", ("B", "A")) == 0b0100
    assert (truth_table("1", ()), truth_table("0", ()), truth_table("1", ("A",))) == (1, 0, 0b11)


@pytest.mark.parametrize(
    "text", ["", "A*", "*A", "(A", "A)", "A B)", "()", "C", "A C", "A ! ", "A & & B", "A=B", "A''!"]
)
def test_what_is_not_an_expression_of_the_pins_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Boolean expression of the cell's pins"):
        truth_table(text, ("A", "B"))
