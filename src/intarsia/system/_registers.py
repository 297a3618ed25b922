# SPDX-License-Identifier: Apache-2.0
"""Made of registers.rdl by `python -m intarsia.system.registers`; do not edit."""

#: Byte address of each register.
ADDRESSES = {
    "IDENTITY": 0x00,
    "BUILD": 0x04,
    "CONTROL": 0x08,
    "STATUS": 0x0C,
    "ERROR": 0x10,
    "INTERRUPT_ENABLE": 0x14,
    "CYCLES": 0x18,
    "LAYERS": 0x1C,
    "LIMIT": 0x20,
    "PROGRAM_BUILD": 0x24,
    "PROGRAM_CHECK": 0x28,
    "CHECK": 0x2C,
    "DMA_ADDRESS": 0x40,
    "DMA_TARGET": 0x44,
    "DMA_LENGTH": 0x48,
    "DMA_PIXEL": 0x4C,
    "DMA_IMAGE": 0x50,
    "DMA_ORIGIN": 0x54,
    "DMA_INNER": 0x58,
    "DMA_OUTER": 0x5C,
    "DMA_CONTROL": 0x60,
}
#: Lowest and highest bit of each field.
FIELDS = {
    "IDENTITY": {
        "version": (0, 15),
        "magic": (16, 31),
    },
    "BUILD": {
        "fingerprint": (0, 31),
    },
    "CONTROL": {
        "start": (0, 0),
        "abort": (1, 1),
        "check_restart": (2, 2),
    },
    "STATUS": {
        "busy": (0, 0),
        "done": (1, 1),
        "dma_busy": (8, 8),
        "dma_done": (9, 9),
    },
    "ERROR": {
        "version": (0, 0),
        "check": (1, 1),
        "layer": (2, 2),
        "overrun": (3, 3),
        "timeout": (4, 4),
        "start": (5, 5),
        "access": (6, 6),
        "bus": (7, 7),
        "dma": (8, 8),
    },
    "INTERRUPT_ENABLE": {
        "done": (0, 0),
        "dma_done": (1, 1),
        "error": (2, 2),
    },
    "CYCLES": {
        "cycles": (0, 31),
    },
    "LAYERS": {
        "layers": (0, 15),
    },
    "LIMIT": {
        "cycles": (0, 31),
    },
    "PROGRAM_BUILD": {
        "fingerprint": (0, 31),
    },
    "PROGRAM_CHECK": {
        "crc": (0, 31),
    },
    "CHECK": {
        "crc": (0, 31),
    },
    "DMA_ADDRESS": {
        "address": (0, 31),
    },
    "DMA_TARGET": {
        "word": (0, 15),
        "memory": (16, 19),
    },
    "DMA_LENGTH": {
        "words": (0, 19),
    },
    "DMA_PIXEL": {
        "bytes": (0, 15),
        "runs": (16, 23),
        "fill": (24, 30),
        "unsigned_bytes": (31, 31),
    },
    "DMA_IMAGE": {
        "bytes": (0, 15),
        "rows": (16, 31),
    },
    "DMA_ORIGIN": {
        "byte_": (0, 15),
        "row": (16, 31),
    },
    "DMA_INNER": {
        "count": (0, 15),
        "bytes": (16, 23),
        "rows": (24, 31),
    },
    "DMA_OUTER": {
        "count": (0, 15),
        "bytes": (16, 23),
        "rows": (24, 31),
    },
    "DMA_CONTROL": {
        "start": (0, 0),
        "to_system": (1, 1),
        "unfold": (2, 2),
    },
}
