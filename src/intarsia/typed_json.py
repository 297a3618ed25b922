# SPDX-License-Identifier: Apache-2.0
"""Dataclasses as JSON: one writer, and one strict reader that refuses whatever is not declared.

A dataclass declares a file's content once. The reader takes exactly its fields, each of its type; `object` stands for
JSON values that nobody interprets. Supported types: `bool`, `int`, `float`, `str`, `Path`, `None`, `Literal`, unions,
tuples, mappings with texts as keys, and dataclasses of these.
"""

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from intarsia.errors import IntarsiaError
from intarsia.files import read_json

T = TypeVar("T")


class MismatchError(Exception):
    """A JSON value is not of the declared type; the message says where, without a full stop."""


def to_json(value: object) -> dict[str, object]:
    """Return a dataclass, or a mapping of what fields of dataclasses hold, as JSON values.

    Raises:
        TypeError: JSON has no such value.
    """
    if isinstance(value, Mapping):
        return {str(key): _value(entry) for key, entry in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _value(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_value(entry) for entry in value]
    return to_json(value)


def from_json(kind: type[T], value: object) -> T:
    """Return the dataclass that `to_json` gave.

    Raises:
        MismatchError: a field is unknown, missing or of another type, or the dataclass refuses its value.
    """
    found: T = _read(kind, value, "")
    return found


def read_typed(kind: type[T], path: Path, remedy: str = "run it again") -> T:
    """Read a file that holds one dataclass.

    Raises:
        IntarsiaError: the file is missing or damaged, or not as this version writes it.
    """
    content = read_json(path)
    try:
        return from_json(kind, content)
    except MismatchError as error:
        raise mismatch(path, error, remedy) from error


def mismatch(path: Path | str, error: MismatchError, remedy: str = "run it again") -> IntarsiaError:
    """Return the error for a file that is not as this version of the program writes it."""
    return IntarsiaError(f"{path} was not written by this version of Intarsia ({error}); {remedy}.")


def _read(kind: Any, value: object, where: str) -> Any:
    origin = get_origin(kind)
    if kind is object:
        return value
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is None:
        return _plain(kind, value, where)
    return _generic(origin, get_args(kind), value, where)


def _generic(origin: Any, arguments: tuple[Any, ...], value: object, where: str) -> object:
    if origin in (Union, types.UnionType):
        return _union(arguments, value, where)
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise _wrong(where, f"one of {', '.join(map(repr, arguments))}", value)
        return value
    if origin is tuple:
        return _tuple(arguments, value, where)
    if issubclass(origin, Mapping):
        content = _mapping(value, where)
        return {key: _read(arguments[1], entry, _inside(where, key)) for key, entry in content.items()}
    raise TypeError(f"{origin} cannot be read from JSON")


def _plain(kind: Any, value: object, where: str) -> object:
    if kind is types.NoneType and value is None:
        return None
    if kind is Path and type(value) is str:
        return Path(value)
    if kind is float and type(value) in (int, float):
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            raise _wrong(where, "a number of ordinary size", "a larger one") from None
    if kind in (bool, int, str) and type(value) is kind:
        return value
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
    if kind in names:
        raise _wrong(where, names[kind], value)
    if kind is types.NoneType:
        raise _wrong(where, "null", value)
    raise TypeError(f"{kind} cannot be read from JSON")


def _dataclass(kind: Any, value: object, where: str) -> object:
    fields, content = _field_types(kind), _mapping(value, where)
    for name in content.keys() - fields.keys():
        raise MismatchError(f"{_inside(where, name)} is unknown")
    for name in fields:
        if name not in content:
            raise MismatchError(f"{_inside(where, name)} is missing")
    read = {name: _read(field, content[name], _inside(where, name)) for name, field in fields.items()}
    try:
        return kind(**read)
    except (IntarsiaError, ValueError, TypeError, OverflowError) as error:
        reason = str(error).rstrip(".")
        raise MismatchError(f"{where}: {reason}" if where else reason) from error


@cache
def _field_types(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def _union(kinds: tuple[Any, ...], value: object, where: str) -> object:
    if value is None and types.NoneType in kinds:
        return None
    first: MismatchError | None = None
    for kind in kinds:
        if kind is types.NoneType:
            continue
        try:
            return _read(kind, value, where)
        except MismatchError as error:
            first = first or error
    raise first or _wrong(where, "null", value)


def _tuple(kinds: tuple[Any, ...], value: object, where: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    if kinds[-1] is not Ellipsis and len(kinds) != len(value):
        raise _wrong(where, f"a list of {len(kinds)}", value)
    each = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else kinds
    return tuple(
        _read(kind, entry, f"{where}[{number}]") for number, (kind, entry) in enumerate(zip(each, value, strict=True))
    )


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    return value


def _inside(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _wrong(where: str, expected: str, value: object) -> MismatchError:
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    return MismatchError(f"{where or 'the content'} must be {expected}, not {shown}")
