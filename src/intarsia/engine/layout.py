# SPDX-License-Identifier: Apache-2.0
"""The layer descriptor and the memories' address map: declared here once, written out as a SystemVerilog package.

A descriptor is a packed structure of 32-bit words, word 0 the least significant. Every operator of the engine is the
same loop nest (docs/inside.md); the fields are its bounds, strides and bases.
"""

from dataclasses import dataclass, fields

from intarsia.engine import latencies
from intarsia.integer.layers import SHIFT_BITS


@dataclass(frozen=True)
class Descriptor:
    """One layer for the engine. All counts are stored as they are; `lo` and `hi` are two's complement.

    Attributes:
        last: the program ends after this layer.
        window: compute over the sliding window (few-channel and depthwise layers) instead of one word at a time.
        depthwise: in window mode, each lane takes its own channel of the window.
        maximum: accumulate by maximum instead of sum.
        sparse: the layer has a sparse plane (used in the last pass).
        resident: a tile has a single weight block, which stays in the lanes for all its steps.
        pad_lowest: padding is the least stored value (stands for 0 in tensors stored with offset, −∞ for a maximum)
            instead of 0.
        moves_input: each tile reads the channels of the input that it writes.
        residual: a residual is added.
        half_tile: a tile has Lanes/2 channels, as a word of its input has no more; the upper lanes idle.
        out_two: a tile's channels of a pixel are two words of the output.
        in_format, out_format: bits of stored values of input and output: 4, 8 or 16 as 0, 1 or 2.
        in_tile_shift, out_tile_shift: binary logarithm of how many tiles' channels a word of input or output holds.
        tile_pixels, last_pixels: output pixels of a pixel tile, and of the last one of a row.
        digits: passes over the digits of the weights, most significant first.
        tiles: output channel tiles.
        kernel_y, blocks, chunks, kernel_x: the loops over kernel rows, channel blocks, kernel column chunks and columns
            of a chunk; in window mode kernel_y and kernel_x are the size of the window.
        load_step: input columns between two loaded words; pixel_step: loaded words between two output pixels of a tile.
        new_columns: in window mode, columns that the window moves by from one output pixel to the next.
        stride_y, stride_x, pad_y, pad_x: of the convolution, in input pixels.
        x_tiles: pixel tiles of an output row; x_step: input columns between two of them.
        load_words, last_words: loaded words of a pixel tile in one chunk of a kernel row, and of the last one of a row.
        in_base, in_row_pitch, in_col_pitch, in_height, in_width: where the input lies, in activation words.
        out_base, out_row_pitch, out_col_pitch, out_height, out_width: likewise the output.
        residual_base: first word of the residual, which lies as the output does.
        weight_base: first word of the layer's weights; tile_words: words of a tile, its requantization first;
            tile_blocks: weight blocks of a pixel tile; pixel_tiles: pixel tiles of a tile.
        plane_shift: binary shift of the dense plane.
        residual_scale, residual_shift: multiplier of the residual, and the shift after it is added.
        lo, hi: bounds of the clip.
    """

    last: int
    window: int
    depthwise: int
    maximum: int
    sparse: int
    resident: int
    pad_lowest: int
    moves_input: int
    residual: int
    half_tile: int
    out_two: int
    in_format: int
    out_format: int
    in_tile_shift: int
    out_tile_shift: int
    tile_pixels: int
    last_pixels: int
    digits: int
    tiles: int
    kernel_y: int
    blocks: int
    chunks: int
    kernel_x: int
    load_step: int
    pixel_step: int
    new_columns: int
    stride_y: int
    stride_x: int
    pad_y: int
    pad_x: int
    x_tiles: int
    x_step: int
    load_words: int
    last_words: int
    in_base: int
    in_row_pitch: int
    in_col_pitch: int
    in_height: int
    in_width: int
    out_base: int
    out_row_pitch: int
    out_col_pitch: int
    out_height: int
    out_width: int
    residual_base: int
    weight_base: int
    tile_words: int
    tile_blocks: int
    pixel_tiles: int
    plane_shift: int
    residual_scale: int
    residual_shift: int
    lo: int
    hi: int

    def words(self) -> list[int]:
        """The descriptor as 32-bit words, word 0 least significant.

        Raises:
            ValueError: a value does not fit its field.
        """
        packed = 0
        for field in fields(self):
            bits, value = FIELD_BITS[field.name], getattr(self, field.name)
            low, high = field_limits(field.name)
            if not low <= value <= high:
                raise ValueError(f"descriptor field {field.name} is {value}, not {low} to {high}")
            packed = packed << bits | value & (1 << bits) - 1
        return [packed >> 32 * i & 0xFFFFFFFF for i in range(DESCRIPTOR_WORDS)]


_FLAGS = (
    *("last", "window", "depthwise", "maximum", "sparse", "resident", "pad_lowest", "moves_input", "residual"),
    *("half_tile", "out_two"),
)
#: Width of each field in bits.
FIELD_BITS: dict[str, int] = (
    dict.fromkeys(_FLAGS, 1)
    | dict.fromkeys(("tile_pixels", "last_pixels", "digits", "pixel_step", "new_columns"), 4)
    | dict.fromkeys(("tiles", "kernel_y", "blocks", "chunks", "kernel_x", "load_step", "load_words", "last_words"), 8)
    | dict.fromkeys(("stride_y", "stride_x", "pad_y", "pad_x", "in_col_pitch", "out_col_pitch"), 8)
    | dict.fromkeys(("x_tiles", "x_step", "in_base", "in_row_pitch", "in_height", "in_width"), 16)
    | dict.fromkeys(("out_base", "out_row_pitch", "out_height", "out_width", "residual_base"), 16)
    | dict.fromkeys(("weight_base", "tile_words", "tile_blocks", "pixel_tiles", "residual_scale", "lo", "hi"), 16)
    | dict.fromkeys(("in_format", "out_format", "in_tile_shift", "out_tile_shift"), 2)
    | {"plane_shift": 3, "residual_shift": 5}
)

#: Bounds of loops: where one is 0 a layer never ends.
LOOPS = (
    *("tiles", "out_height", "out_width", "x_tiles", "pixel_tiles", "tile_pixels", "last_pixels"),
    *("digits", "kernel_y", "kernel_x", "blocks", "chunks", "tile_blocks"),
)
SIGNED_FIELDS = frozenset({"lo", "hi"})
DESCRIPTOR_WORDS = -(-sum(FIELD_BITS.values()) // 32)

#: Address map of the memory port, in 32-bit words: bits 23…20 choose the memory; region 0 is left to the registers of
#: whatever is around the engine. A wide memory word takes the next power of two of 32-bit words; writing its last
#: 32-bit word commits it. Only activations can be read; the other memories read as 0.
REGIONS = {"Activations": 1, "Weights": 2, "Program": 3}
REGION_SHIFT = 20


def format_of(bits: int) -> int:
    """Return the value of `in_format` or `out_format` that stands for 4, 8 or 16 bits."""
    return bits.bit_length() - 3


def bits_of_format(value: int) -> int:
    """Invert `format_of`."""
    return 4 << value


def field_limits(name: str) -> tuple[int, int]:
    """Least and greatest value that a descriptor field can hold."""
    bits = FIELD_BITS[name]
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if name in SIGNED_FIELDS else (0, (1 << bits) - 1)


def bank_of(address: int, banks: int) -> int:
    """Return the bank (of 1, 2 or 4) of an activation word: the exclusive or of the digits of its address to this base,
    so that words that lie a power of two apart are in different banks.
    """
    found = 0
    while banks > 1 and address:
        found ^= address % banks
        address //= banks
    return found


_BANK_FUNCTION = (
    "  // Bank of an activation word: see bank_of in intarsia.engine.layout.",
    "  function automatic logic [1:0] bank_of(input logic [15:0] address, input int unsigned banks);",
    "    logic [1:0] digits;",
    "    digits = '0;",
    "    for (int unsigned i = 0; i < 8; i++) digits = digits ^ address[2*i+:2];",
    "    return banks == 4 ? digits : banks == 2 ? {1'b0, ^digits} : 2'd0;",
    "  endfunction",
)


def params_per_word(word_bits: int, param_bits: int, lanes: int) -> int:
    """Return how many lanes' requantization a word of the weight memory holds."""
    return min(lanes, word_bits // param_bits)


def param_words(word_bits: int, param_bits: int, lanes: int) -> int:
    """Return how many words of the weight memory hold a tile's requantization."""
    return -(-lanes // params_per_word(word_bits, param_bits, lanes))


_PARAM_FUNCTIONS = (
    "  // Requantization in the weight memory: see the functions of these names in intarsia.engine.layout.",
    "  function automatic int unsigned params_per_word(int unsigned word_bits, int unsigned param_bits,",
    "                                                  int unsigned lanes);",
    "    return word_bits / param_bits < lanes ? word_bits / param_bits : lanes;",
    "  endfunction",
    "  function automatic int unsigned param_words(int unsigned word_bits, int unsigned param_bits,",
    "                                              int unsigned lanes);",
    "    return (lanes - 1) / params_per_word(word_bits, param_bits, lanes) + 1;",
    "  endfunction",
)

_WIDTH_FUNCTIONS = (
    "  // Bits of a weight block, by the parameters of intarsia_engine of these names.",
    "  function automatic int unsigned trit_bits(int unsigned block);",
    "    return 8 * (block / 5) + (block % 5 == 1 ? 2 : block % 5 == 3 ? 5 : 0);",
    "  endfunction",
    "  function automatic int unsigned weight_block_bits(",
    "    int unsigned unit, int unsigned lanes, int unsigned block, int unsigned slots, int unsigned slot_bits,",
    "    int unsigned positions, int unsigned weight_bits, int unsigned lanes8, int unsigned lanes4",
    "  );",
    "    int unsigned index_bits, shared_bits;",
    "    index_bits = $clog2(block);",
    "    shared_bits = positions == 1 ? 4 * ((slots * index_bits + 3) / 4) : 0; // any number of parts fits",
    "    unique case (unit)",
    "      0: begin",
    "        if (positions != 0) index_bits = 0;",
    "        return lanes * (trit_bits(block) + slots * (slot_bits + index_bits)) + shared_bits;",
    "      end",
    "      1: return lanes * block * weight_bits;",
    "      2: return block * (2 * lanes + 6 * lanes8 + 2 * lanes4);",
    "      default: return 8 * block * lanes;",
    "    endcase",
    "  endfunction",
    "  // 32-bit words that a word of a memory takes in the address map.",
    "  function automatic int unsigned bus_words(int unsigned bits);",
    "    return 1 << $clog2((bits + 31) / 32);",
    "  endfunction",
)

_LOOP_FUNCTION = (
    "  // The fields that are bounds of loops, of a whole descriptor.",
    "  // verilator lint_off UNUSEDSIGNAL",
    "  function automatic logic has_empty_loop(input descriptor_t layer);",
    "    return " + " ||\n           ".join(f"layer.{name} == '0" for name in LOOPS) + ";",
    "  endfunction",
    "  // verilator lint_on UNUSEDSIGNAL",
)


def systemverilog_package() -> str:
    """Return `intarsia_pkg`: the descriptor as a packed structure, and the address map."""
    members = []
    for field in fields(Descriptor):
        kind = "logic signed" if field.name in SIGNED_FIELDS else "logic"
        bits = FIELD_BITS[field.name]
        width = f" [{bits - 1}:0]" if bits > 1 else ""
        members.append(f"    {kind}{width} {field.name};")
    used = sum(FIELD_BITS.values())
    constants = [f"  localparam logic [3:0] Region{name} = 4'd{value};" for name, value in REGIONS.items()]
    constants += [f"  localparam int unsigned {name} = {value};" for name, value in latencies.BY_NAME.items()]
    return "\n".join(
        [
            "// SPDX-License-Identifier: Apache-2.0",
            "// Generated by intarsia.engine.layout from the one declaration of the descriptor and the address map.",
            "// Do not edit.",
            "package intarsia_pkg;",
            f"  localparam int unsigned DescriptorWords = {DESCRIPTOR_WORDS};",
            f"  localparam int unsigned DescriptorBits = {used};",
            f"  localparam int unsigned ShiftBits = {SHIFT_BITS};",
            *constants,
            "",
            "  typedef struct packed {",
            *members,
            "  } descriptor_t;",
            "",
            *_BANK_FUNCTION,
            "",
            *_PARAM_FUNCTIONS,
            "",
            *_WIDTH_FUNCTIONS,
            "",
            *_LOOP_FUNCTION,
            "endpackage",
            "",
        ]
    )
