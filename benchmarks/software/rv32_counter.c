// SPDX-License-Identifier: Apache-2.0
//
// Runs a flat RV32IM program and counts its instructions: `rv32_counter PROGRAM INPUT OUTPUT_BYTES`.
//
// The program is loaded at 0 and begins there; INPUT is loaded at INPUT_AT, and the program leaves its result at
// OUTPUT_AT. A write of a layer's number to TRACE_AT prints the instructions since the write before; a write of -1
// ends the program and prints the result.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE (16u << 20)
#define INPUT_AT 0xf00000u
#define OUTPUT_AT 0xf80000u
#define TRACE_AT 0xfff000u

static uint8_t memory[SIZE];
static uint32_t x[32];

enum { ALU, MULTIPLY, LOAD, STORE, BRANCH, TAKEN, JUMP, KINDS };
static const char *const names[KINDS] = {"alu", "multiply", "load", "store", "branch", "taken", "jump"};
static uint64_t counts[KINDS];

static void fail(const char *what, uint32_t value)
{
    fprintf(stderr, "rv32_counter: %s %08x\n", what, (unsigned)value);
    exit(1);
}

static uint32_t load(uint32_t at, uint32_t bytes)
{
    uint32_t value = 0;
    if (at > SIZE - bytes || at % bytes != 0) {
        fail("bad load from", at);
    }
    memcpy(&value, memory + at, bytes);
    return value;
}

static void report(int32_t number)
{
    printf("layer %d", (int)number);
    for (int kind = 0; kind < KINDS; ++kind) {
        printf(" %s %llu", names[kind], (unsigned long long)counts[kind]);
    }
    printf("\n");
}

static void finish(uint32_t bytes)
{
    printf("output");
    for (uint32_t i = 0; i < bytes; ++i) {
        printf(" %u", memory[OUTPUT_AT + i]);
    }
    printf("\n");
    exit(0);
}

static uint32_t multiply(uint32_t kind, uint32_t a, uint32_t b)
{
    switch (kind) {
    case 0: return a * b;
    case 1: return (uint32_t)(((int64_t)(int32_t)a * (int32_t)b) >> 32);
    case 2: return (uint32_t)(((int64_t)(int32_t)a * (int64_t)b) >> 32);
    case 3: return (uint32_t)(((uint64_t)a * b) >> 32);
    case 5: return b == 0 ? UINT32_MAX : a / b;
    case 4: return b == 0 ? UINT32_MAX : (uint32_t)((int64_t)(int32_t)a / (int32_t)b);
    case 6: return b == 0 ? a : (uint32_t)((int64_t)(int32_t)a % (int32_t)b);
    default: return b == 0 ? a : a % b;
    }
}

static uint32_t compute(uint32_t kind, int other, uint32_t a, uint32_t b)
{
    switch (kind) {
    case 0: return other ? a - b : a + b;
    case 1: return a << (b & 31);
    case 2: return (int32_t)a < (int32_t)b;
    case 3: return a < b;
    case 4: return a ^ b;
    case 5: return other ? (uint32_t)((int32_t)a >> (b & 31)) : a >> (b & 31);
    case 6: return a | b;
    default: return a & b;
    }
}

static int branches(uint32_t kind, uint32_t a, uint32_t b)
{
    switch (kind) {
    case 0: return a == b;
    case 1: return a != b;
    case 4: return (int32_t)a < (int32_t)b;
    case 5: return (int32_t)a >= (int32_t)b;
    case 6: return a < b;
    default: return a >= b;
    }
}

static void run(uint32_t output_bytes)
{
    for (uint32_t pc = 0;;) {
        const uint32_t i = load(pc, 4), kind = i >> 12 & 7, rd = i >> 7 & 31;
        const uint32_t a = x[i >> 15 & 31], b = x[i >> 20 & 31];
        const int32_t immediate = (int32_t)i >> 20;
        uint32_t next = pc + 4, value = 0;
        int writes = 1;
        switch (i & 127) {
        case 0x37: value = i & 0xfffff000; ++counts[ALU]; break;
        case 0x17: value = pc + (i & 0xfffff000); ++counts[ALU]; break;
        case 0x6f:
            value = next;
            next = pc + ((uint32_t)((int32_t)(i & 0x80000000) >> 11) | (i & 0xff000) | (i >> 9 & 0x800)
                | (i >> 20 & 0x7fe));
            ++counts[JUMP];
            break;
        case 0x67: value = next; next = (a + (uint32_t)immediate) & ~1u; ++counts[JUMP]; break;
        case 0x63:
            writes = 0;
            ++counts[BRANCH];
            if (branches(kind, a, b)) {
                next = pc + ((uint32_t)((int32_t)(i & 0x80000000) >> 19) | (i << 4 & 0x800) | (i >> 20 & 0x7e0)
                    | (i >> 7 & 0x1e));
                ++counts[TAKEN];
            }
            break;
        case 0x03:
            value = load(a + (uint32_t)immediate, 1u << (kind & 3));
            value = kind == 0 ? (uint32_t)(int8_t)value : kind == 1 ? (uint32_t)(int16_t)value : value;
            ++counts[LOAD];
            break;
        case 0x23: {
            const uint32_t at = a + ((uint32_t)(immediate & ~31) | rd), bytes = 1u << kind;
            writes = 0;
            if (at == TRACE_AT) {
                if ((int32_t)b == -1) {
                    finish(output_bytes);
                }
                report((int32_t)b);
                break;
            }
            if (at > SIZE - bytes || at % bytes != 0) {
                fail("bad store to", at);
            }
            memcpy(memory + at, &b, bytes);
            ++counts[STORE];
            break;
        }
        case 0x13: value = compute(kind, kind == 5 && i >> 30, a, (uint32_t)immediate); ++counts[ALU]; break;
        case 0x33:
            if (i >> 25 == 1) {
                value = multiply(kind, a, b);
                ++counts[MULTIPLY];
            } else {
                value = compute(kind, (int)(i >> 30), a, b);
                ++counts[ALU];
            }
            break;
        default: fail("illegal instruction", i);
        }
        if (writes && rd != 0) {
            x[rd] = value;
        }
        pc = next;
    }
}

static void read_file(const char *path, uint32_t at)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fread(memory + at, 1, SIZE - at, file) == 0) {
        fail("cannot read a file for", at);
    }
    fclose(file);
}

int main(int count, char **arguments)
{
    if (count != 4) {
        fprintf(stderr, "usage: rv32_counter PROGRAM INPUT OUTPUT_BYTES\n");
        return 2;
    }
    read_file(arguments[1], 0);
    read_file(arguments[2], INPUT_AT);
    run((uint32_t)strtoul(arguments[3], NULL, 10));
    return 0;
}
