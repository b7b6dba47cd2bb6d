# SPDX-License-Identifier: Apache-2.0
"""Descriptors bit by bit, jumps as a core's adder walks them, LOOPs written out."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from bramcast.pack.bundle.errors import ProgramError
from bramcast.pack.bundle.program import (
    DESCRIPTOR_WORDS,
    INPUT_FIELDS,
    LOOP_FIELDS,
    NEST_FIELDS,
    OPCODE,
    Input,
    Loop,
    Nest,
    decode,
    encode,
    encode_program,
    jumps_from_steps,
    split_program,
    steps_from_jumps,
    unrolled,
)

NEST = Nest(
    (2, 3, 4, 5, 1, 7), -8, (1000, 100, -10, 4, 9, 1), 33, (60, 0, 0, 20, 5, 1), 77, (6, 40, -2),
    -(2**31), 2**31 - 1, 12, 3, 16, -1, 30, 2, -3, -4, 25, 1, 1, 5, 2,
)  # fmt: skip
LAST = replace(NEST, stream=True, last=True, result_base=0, result_steps=(0, 0, 0))


def test_an_adder_that_jumps_is_where_the_loops_are():
    counts, steps = (2, 3, 1, 4), (100, -7, 55, 3)
    jumps = jumps_from_steps(counts, steps)
    at, before = 0, None
    for loops in itertools.product(*map(range, counts)):
        if before is not None:
            outermost = next(
                i for i, (a, b) in enumerate(zip(before, loops, strict=True)) if a != b
            )
            at += jumps[outermost]
        assert at == sum(i * s for i, s in zip(loops, steps, strict=True))
        before = loops
    assert tuple(steps_from_jumps(counts, jumps)) == steps


@pytest.mark.parametrize("fields", [NEST_FIELDS, INPUT_FIELDS, LOOP_FIELDS])
def test_fields_lie_beside_each_other(fields):
    bits = [
        (f.word, bit) for f in (OPCODE, *fields.values()) for bit in range(f.lsb, f.lsb + f.bits)
    ]
    assert len(set(bits)) == len(bits)
    assert all(word < DESCRIPTOR_WORDS and bit < 32 for word, bit in bits)


def test_numbers_stand_where_the_page_says():
    words = encode(replace(NEST, lanewise=True, narrow=2, tail=16))
    assert words[0] == 2 | 1 << 4 | 2 << 11 | 15 << 16
    assert words[1] == 1 | 2 << 16 and words[2] == 3 | 4 << 16  # counts, minus 1
    assert words[4] == 2**32 - 8
    assert words[10] == 1 and words[5] == 1000 - (2 * 100 + 3 * -10 + 4 * 4 + 6 * 1)
    assert words[22] == 0xFFFF | 30 << 16
    assert (words[26], words[27]) == (2**31, 2**31 - 1)
    assert encode(Input(10, 3, 7, 2))[:4] == [1, 9, 2, 2]
    assert encode(Input(10, 3, 7, packets=(9, 300)))[4:11] == [0, 0, 2, 8, 299, 0, 0]
    assert encode(replace(NEST, packet_end=True))[0] ^ encode(NEST)[0] == 1 << 27
    assert encode(Loop(5, 2, -3, 9))[1] == 4 | 1 << 16


FLAGS = ("lanewise", "max", "product", "factor_unsigned", "act_moves", "result_moves",
         "x_unsigned", "y_unsigned", "table", "stream", "last", "packet_end")  # fmt: skip


@pytest.mark.parametrize(
    "descriptor",
    [NEST, Input(1, 1, 0), Input(10, 3, 7, 2), Loop(5, 2, -3, 9), Loop(1 << 16, 1 << 16)]
    + [Input(10, 3, 7, packets=(1,)), Input(10, 3, 7, packets=(2,) * 11)]
    + [replace(NEST, **{flag: True}) for flag in FLAGS]
    + [replace(NEST, narrow=n) for n in (1, 2)],
)
def test_what_is_encoded_is_read_back(descriptor):
    assert decode(encode(descriptor)) == descriptor


@pytest.mark.parametrize(
    "bad, name",
    [
        (replace(NEST, tail=0), "tail"),
        (replace(NEST, counts=(1, 1, 1, 1, 1, (1 << 16) + 1)), "count_ci"),
        (replace(NEST, y_start=1 << 15), "y_start"),
        (replace(NEST, weight_base=-1), "weight_base"),
        (Input(1, 1, 0, 8), "lead"),
        (Loop(0, 1), "count"),
    ],
)
def test_a_number_that_no_field_holds_is_named(bad, name):
    with pytest.raises(ProgramError, match=f"descriptor field {name} can't hold"):
        encode(bad)


def test_packets_that_are_none_are_refused():
    with pytest.raises(ProgramError, match="13 packets of a frame, the most are 12"):
        encode(Input(40, 1, 0, packets=(1,) * 12))
    words = encode(Input(40, 1, 0, packets=(3, 4)))
    with pytest.raises(ProgramError, match="descriptor word 9 is set, but there is no packet 2"):
        decode([*words[:9], 1, *words[10:]])
    with pytest.raises(ProgramError, match="descriptor word 6: 13 packets, the most are 12"):
        decode([*words[:6], 12, *words[7:]])


def test_bits_of_no_field_and_unknown_opcodes_are_refused():
    words = encode(NEST)
    with pytest.raises(ProgramError, match="unknown opcode 9"):
        decode([9, *words[1:]])
    words[31] = 1
    with pytest.raises(ProgramError, match="reserved bits are set in descriptor word 31"):
        decode(words)


def test_a_loop_moves_the_bases_of_those_that_move():
    moves = replace(NEST, act_moves=True, result_moves=True)
    program = [Input(1, 1, 0), Loop(3, 2, 10, -5), moves, NEST, LAST]
    run = unrolled(program)
    assert [number for number, _ in run] == [0, 2, 3, 2, 3, 2, 3, 4]
    nests = [d for _, d in run[1:]]
    assert [n.act_base for n in nests] == [-8, -8, 2, -8, 12, -8, -8]
    assert [n.result_base for n in nests] == [77, 77, 72, 77, 67, 77, 0]
    assert [n.behind_loop for n in nests] == [True] + [False] * 6


def test_a_program_ends_with_its_last_nest():
    program = [Input(1, 1, 0), NEST, LAST]
    words = encode_program(program)
    assert split_program(words) == program
    assert split_program(np.concatenate([words, np.zeros(40, np.uint32)])) == program
    behind = np.concatenate([words, np.zeros(40, np.uint32)])
    behind[100] = 1
    with pytest.raises(ProgramError, match="program line 101: data behind the last"):
        split_program(behind)
    with pytest.raises(ProgramError, match="no nest that is marked last"):
        split_program(words[:64])
    words[32] = 9
    with pytest.raises(ProgramError, match="program lines 33-64, descriptor 1: unknown opcode"):
        split_program(words)
