# SPDX-License-Identifier: Apache-2.0
"""How inputs are damaged: bytes and words anywhere, and values where a format's own structure has them."""

import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

#: Numbers at the edges of what readers take.
NUMBERS = (0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 32767, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 63) - 1)
_TEXTS = (
    "",
    "0",
    "NaN",
    "1e999",
    "-1",
    "9" * 400,
    "9" * 5000,
    "\x1b[2J",
    "a\nb",
    "\ud800",
    "../x",
    "x" * 3000,
    "{",
    "é",
)
_VALUES: tuple[Any, ...] = (*NUMBERS, *_TEXTS, None, True, 0.5, -0.0, 1e308, [], {}, [[]], 10**400, -(10**400))
_TOKEN = re.compile(r"[A-Za-z_]+|\d+|\s+|.", re.DOTALL)

Mutation = Callable[[random.Random, bytes], bytes]


def damaged_bytes(draw: random.Random, content: bytes) -> bytes:
    """Change, copy, drop or insert a few bytes, or cut the end."""
    found = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(found) + 1)
        length = draw.choice((1, 1, 2, 4, 8, 16, 64))
        match draw.randrange(6):
            case 0 if found:
                found[draw.randrange(len(found))] = draw.randrange(256)
            case 1:
                found[place : place + length] = draw.randbytes(length)
            case 2:
                del found[place : place + length]
            case 3:
                found[place:place] = found[draw.randrange(len(found) + 1) :][:length]
            case 4:
                del found[place:]
            case _ if found:
                found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)
    return bytes(found)


def damaged_words(draw: random.Random, content: bytes) -> bytes:
    """Change words of 4 bytes where offsets and counts lie; copies make lists and buffers lie on each other."""
    found = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        place = 4 * draw.randrange(max(len(found) // 4, 1))
        other = 4 * draw.randrange(max(len(found) // 4, 1))
        number = draw.choice(NUMBERS) & 0xFFFFFFFF
        found[place : place + 4] = draw.choice((found[other : other + 4], number.to_bytes(4, "little")))
    return bytes(found)


def damaged_text(draw: random.Random, content: bytes) -> bytes:
    """Change, repeat or drop tokens."""
    tokens = _TOKEN.findall(content.decode("utf-8", "surrogateescape"))
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(tokens) + 1)
        match draw.randrange(4):
            case 0:
                tokens[place : place + 1] = [str(draw.choice(_VALUES))]
            case 1:
                tokens[place:place] = tokens[draw.randrange(len(tokens) + 1) :][: draw.choice((1, 3, 20))]
            case 2:
                del tokens[place : place + draw.choice((1, 2, 8))]
            case _:
                tokens[place:place] = [draw.choice(_TEXTS)]
    return "".join(tokens).encode("utf-8", "surrogatepass")


def damaged_value(draw: random.Random, value: Any) -> Any:
    """Return a JSON value with one of its parts, at any depth, replaced, dropped or doubled."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(sorted(value))
        match draw.randrange(8):
            case 0:
                return {name: entry for name, entry in value.items() if name != key}
            case 1:
                return value | {draw.choice(_TEXTS): value[key]}
            case _:
                return value | {key: damaged_value(draw, value[key])}
    if isinstance(value, list) and value and draw.random() < 0.9:
        place = draw.randrange(len(value))
        changed = [damaged_value(draw, value[place])]
        match draw.randrange(8):
            case 0:
                changed = []
            case 1:
                changed = [value[place]] * 2
        return [*value[:place], *changed, *value[place + 1 :]]
    return draw.choice(_VALUES)


def damaged_json(draw: random.Random, content: bytes) -> bytes:
    """Damage a part of a JSON text, which stays JSON."""
    return json.dumps(damaged_value(draw, json.loads(content))).encode("utf-8", "surrogatepass")


def damaged_header(key: str) -> Mutation:
    """Return a mutation of the JSON text that stands under a key of a safetensors file's metadata."""

    def mutation(draw: random.Random, content: bytes) -> bytes:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        inner = json.loads(header["__metadata__"][key])
        header["__metadata__"][key] = json.dumps(damaged_value(draw, inner))
        if draw.random() < 0.1:
            header = damaged_value(draw, header)
        text = json.dumps(header).encode("utf-8", "surrogatepass")
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text + content[8 + size :]

    return mutation


def damaged_entry(inner: Sequence[Mutation]) -> Mutation:
    """Return a mutation of one entry of a zip archive, whose checksums are right again afterwards."""

    def mutation(draw: random.Random, content: bytes) -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
            names = old.namelist()
            chosen = draw.choice(names)
            for name in names:
                entry = old.read(name)
                if name == chosen:
                    entry = draw.choice(inner)(draw, entry)
                new.writestr(name, entry, draw.choice((zipfile.ZIP_STORED, old.getinfo(name).compress_type)))
        return target.getvalue()

    return mutation


def damaged_array(draw: random.Random, content: bytes) -> bytes:
    """Damage the header of an .npy file as text."""
    size = int.from_bytes(content[8:10], "little")
    text = damaged_text(draw, content[10 : 10 + size])[:60_000]
    return content[:8] + len(text).to_bytes(2, "little") + text + content[10 + size :]


def damaged_onnx(draw: random.Random, content: bytes) -> bytes:
    """Damage a node, an attribute or a constant of an ONNX model."""
    import onnx  # noqa: PLC0415 (an optional part)

    model = onnx.load_model_from_string(content)
    graph = model.graph
    for _ in range(draw.randint(1, 3)):
        _damage_graph(draw, graph)
    found: bytes = model.SerializeToString()
    return found


def _damage_graph(draw: random.Random, graph: Any) -> None:
    match draw.randrange(3):
        case 0 if graph.initializer:
            _damage_tensor(draw, draw.choice(list(graph.initializer)))
        case 1:
            for size in draw.choice(list(graph.input)).type.tensor_type.shape.dim:
                if draw.random() < 0.5:
                    size.dim_value = draw.choice(NUMBERS)
        case _:
            _damage_node(draw, draw.choice(list(graph.node)), graph)


def _damage_tensor(draw: random.Random, tensor: Any) -> None:
    if draw.random() < 0.5:
        tensor.data_type = draw.randrange(24)
    elif tensor.dims:
        tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice(NUMBERS)
    else:
        tensor.dims.append(draw.choice(NUMBERS))


def _damage_node(draw: random.Random, node: Any, graph: Any) -> None:
    kinds = [other.op_type for other in graph.node] + ["Concat", "Gather", "Pad", "Clip", "Pow"]
    match draw.randrange(5):
        case 0 if node.attribute:
            draw.choice(list(node.attribute)).type = draw.randrange(12)
        case 1 if node.attribute:
            attribute = draw.choice(list(node.attribute))
            attribute.i = draw.choice(NUMBERS) - draw.randrange(2)
            for place in range(len(attribute.ints)):
                attribute.ints[place] = draw.choice((attribute.ints[place], draw.choice(NUMBERS)))
        case 2 if node.input:
            node.input[draw.randrange(len(node.input))] = draw.choice(_names(graph))
        case 3:
            node.op_type = draw.choice(kinds)
        case _:
            graph.node.insert(draw.randrange(len(graph.node)), draw.choice(list(graph.node)))


def _names(graph: Any) -> list[str]:
    names = [tensor.name for tensor in graph.initializer] + [name for node in graph.node for name in node.output]
    return [*names, "", "x", "\ud7ff"]
