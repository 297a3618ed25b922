# SPDX-License-Identifier: Apache-2.0
"""What is written as JSON comes back the same, and everything else is refused in one sentence."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia.errors import IntarsiaError
from intarsia.typed_json import MismatchError, from_json, read_typed, to_json


@dataclass(frozen=True)
class Inner:
    name: str
    value: float | None


@dataclass(frozen=True)
class Outer:
    """One field of each kind that may be declared."""

    flag: bool
    count: int
    kind: Literal["a", "b", 3]
    path: Path | None
    shape: tuple[int, int]
    many: tuple[Inner, ...]
    by_name: Mapping[str, Mapping[str, int]]
    free: Mapping[str, object]
    either: Inner | tuple[str, ...]

    def __post_init__(self) -> None:
        if self.count < 0:
            raise IntarsiaError("the count must be 0 or more.")


ONE = Outer(
    True, 3, "a", Path("x/y"), (1, 2), (Inner("i", 0.5), Inner("j", None)), {"a": {"b": 1}}, {"any": [1, None]}, ("x",)
)

inners = st.builds(Inner, st.text(), st.none() | st.floats(allow_nan=False))
outers = st.builds(
    Outer,
    st.booleans(),
    st.integers(0),
    st.sampled_from(["a", "b", 3]),
    st.none() | st.just(Path("p")),
    st.tuples(st.integers(), st.integers()),
    st.lists(inners).map(tuple),
    st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers())),
    st.dictionaries(st.text(), st.none() | st.text() | st.lists(st.integers())),
    inners | st.lists(st.text()).map(tuple),
)


@given(outers)
def test_what_is_written_comes_back(value: Outer) -> None:
    assert from_json(Outer, json.loads(json.dumps(to_json(value)))) == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "colour is unknown"),
        ({"count": None}, "count must be a whole number, not None"),
        ({"count": True}, "count must be a whole number, not True"),
        ({"count": 1.0}, "count must be a whole number, not 1.0"),
        ({"count": -1}, "the count must be 0 or more"),
        ({"flag": 1}, "flag must be true or false"),
        ({"kind": "c"}, "kind must be one of 'a', 'b', 3, not 'c'"),
        ({"kind": 3.0}, "kind must be one of"),
        ({"path": 1}, "path must be a path"),
        ({"shape": [1]}, "shape must be a list of 2"),
        ({"shape": "12"}, "shape must be a list, not '12'"),
        ({"many": [{"name": "i"}]}, r"many\[0\].value is missing"),
        ({"many": [{"name": "i", "value": "1"}]}, r"many\[0\].value must be a number"),
        ({"many": [{"name": "i", "value": 10**400}]}, "of ordinary size"),
        ({"by_name": {"a": 1}}, "by_name.a must be an object"),
        ({"free": []}, "free must be an object"),
        ({"either": 3}, "either must be an object"),
    ],
)
def test_everything_else_is_refused_and_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = to_json(ONE) | change
    with pytest.raises(MismatchError, match=message):
        from_json(Outer, content)
    path = tmp_path / "outer.json"
    path.write_text(json.dumps(content))
    with pytest.raises(IntarsiaError, match=r"outer\.json was not written by this version .*; run it again\.") as error:
        read_typed(Outer, path)
    assert str(error.value).count(". ") == 0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_other_json_is_refused_without_a_traceback(content: Any) -> None:
    for name in to_json(ONE):
        with contextlib.suppress(MismatchError):
            from_json(Outer, to_json(ONE) | {name: content})


def test_each_missing_field_is_named() -> None:
    for name in to_json(ONE):
        content = {other: value for other, value in to_json(ONE).items() if other != name}
        with pytest.raises(MismatchError, match=f"{name} is missing"):
            from_json(Outer, content)


def test_what_json_cannot_hold_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="set"):
        to_json(replace(ONE, free={"a": {1}}))
