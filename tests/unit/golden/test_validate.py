# SPDX-License-Identifier: Apache-2.0
"""One broken rule each: the validator names the line of program.mem and the nest."""

import re
from dataclasses import replace

import numpy as np
import pytest

from bramcast.golden.machine import Machine
from bramcast.golden.validate import MAX_NESTS, _Axis, _sums, describe_bit, validate
from bramcast.pack.bundle.errors import InputError, ProgramError
from bramcast.pack.bundle.manifest import Core, Format, Frame, LayerInfo, Manifest, NestInfo
from bramcast.pack.bundle.program import (
    ALL_BANKS,
    DESCRIPTOR_WORDS,
    NEST_FIELDS,
    TILED_INPUT_FIELDS,
    TILED_NEST_FIELDS,
    Input,
    Loop,
    Nest,
    Rows,
    encode,
    encode_program,
)
from bramcast.pack.bundle.words import Words, from_uint32, pack_bias, pack_lanes, to_uint32

CORE = Core(4, 1, 8, 8, 2, 32 * 6, 80, 16, 512, 64)
ZEROS = (0,) * 6

# A 4 x 4 picture of 4 channels, 3x3 convolution with padding to 6 channels (words 16..47),
# then in place per lane, a maximum to word 48.., a wide stream of 2 results.
CONV = Nest(
    counts=(2, 4, 4, 3, 3, 4),
    act_base=-4 * 4 - 4,
    act_steps=(0, 16, 4, 16, 4, 1),
    weight_base=0,
    weight_steps=(36, 0, 0, 12, 4, 1),
    result_base=16,
    result_steps=(1, 8, 2),
    lo=0,
    hi=127,
    bias_base=0,
    bias_step=2,
    tail=2,
    y_start=-1,
    y_limit=4,
    y_step_oy=1,
    y_step_ky=1,
    x_start=-1,
    x_limit=4,
    x_step_ox=1,
    x_step_kx=1,
)
IN_PLACE = Nest(
    counts=(2, 4, 4, 1, 1, 1),
    act_base=64,
    act_steps=(4, 32, 8, 0, 0, 0),
    weight_base=72,
    weight_steps=(1, 0, 0, 0, 0, 0),
    result_base=16,
    result_steps=(1, 8, 2),
    lo=-128,
    hi=127,
    bias_base=4,
    bias_step=2,
    tail=4,
    lanewise=True,
    table=True,
    table_base=1,
)
MAX = Nest(
    counts=(2, 2, 2, 2, 2, 1),
    act_base=64,
    act_steps=(4, 64, 16, 32, 8, 0),
    weight_base=0,
    weight_steps=ZEROS,
    result_base=48,
    result_steps=(1, 4, 2),
    lo=0,
    hi=255,
    bias_base=8,
    bias_step=2,
    tail=4,
    lanewise=True,
    max=True,
    x_unsigned=True,
)
STREAM = Nest(
    counts=(1, 1, 1, 1, 1, 6),
    act_base=48 * 4,
    act_steps=(0, 0, 0, 0, 0, 1),
    weight_base=74,
    weight_steps=(0, 0, 0, 0, 0, 1),
    result_base=0,
    result_steps=(0, 0, 0),
    lo=-(2**31),
    hi=2**31 - 1,
    bias_base=12,
    bias_step=0,
    tail=2,
    stream=True,
    last=True,
)
PROGRAM = [Input(64, 1, 0), CONV, IN_PLACE, MAX, STREAM]

# LANES = 2, TAPS = 4: a word is 8 elements, 4 sub-words; the input comes in units of 4 elements.
# 4 pixels of 3 channels, one word each (sub-words 0, 1, 4, 5, 8 ..), to 6 channels (sub-words 16,
# 17, 18, 20 ..), per lane to 34..45 without gaps, all 24 of them to 2 results.
WIDE_CORE = Core(2, 4, 8, 8, 1, 32 * 4, 10, 16, 0, 16)
WIDE_DENSE = Nest(
    counts=(3, 1, 4, 1, 1, 1),
    act_base=0,
    act_steps=(0, 0, 8, 0, 0, 0),
    weight_base=0,
    weight_steps=(1, 0, 0, 0, 0, 0),
    result_base=16,
    result_steps=(1, 0, 4),
    lo=-128,
    hi=127,
    bias_base=0,
    bias_step=2,
    tail=2,
)
WIDE_LANES = Nest(
    counts=(1, 1, 4, 1, 1, 1),
    act_base=32,
    act_steps=(0, 0, 8, 0, 0, 0),
    weight_base=3,
    weight_steps=ZEROS,
    result_base=34,
    result_steps=(0, 0, 3),
    lo=-128,
    hi=127,
    bias_base=6,
    bias_step=0,
    tail=6,
    lanewise=True,
)
WIDE_STREAM = Nest(
    counts=(1, 1, 1, 1, 1, 6),
    act_base=68,
    act_steps=(0, 0, 0, 0, 0, 4),
    weight_base=4,
    weight_steps=(0, 0, 0, 0, 0, 1),
    result_base=0,
    result_steps=(0, 0, 0),
    lo=-(2**31),
    hi=2**31 - 1,
    bias_base=12,
    bias_step=0,
    tail=2,
    stream=True,
    last=True,
)
WIDE_PROGRAM = [Input(3, 4, 0), WIDE_DENSE, WIDE_LANES, WIDE_STREAM]


def images_of(program, core=CORE):
    rng = np.random.default_rng(1)
    words = np.zeros(core.program_depth, np.uint32)
    encoded = encode_program(program)
    words[: len(encoded)] = encoded
    images = {
        "program": from_uint32(words),
        "weights": pack_lanes(rng.integers(-9, 9, (core.weights_depth, core.multipliers)), 8),
        "bias": pack_bias(
            np.zeros(core.bias_depth * core.rq, np.int64),
            np.zeros(core.bias_depth * core.rq, np.int64),
            core.rq,
        ),
    }
    if core.table_depth:
        bits = core.word_bits("table")
        images["table"] = pack_lanes(rng.integers(0, 1 << bits, (core.table_depth, 1)), bits, False)
    return images


def changed(index, of=PROGRAM, **fields):
    program = list(of)
    program[index] = replace(program[index], **fields)
    return program


def poked(index, name, value):
    """The program image with one field overwritten, bits only."""
    images = images_of(PROGRAM)
    words = to_uint32(images["program"]).copy()
    f = NEST_FIELDS[name]
    at = DESCRIPTOR_WORDS * index + f.word
    words[at] &= np.uint32(~(((1 << f.bits) - 1) << f.lsb) & 0xFFFFFFFF)
    words[at] |= np.uint32((value & ((1 << f.bits) - 1)) << f.lsb)
    return images | {"program": from_uint32(words)}


def line(index, name):
    return DESCRIPTOR_WORDS * index + NEST_FIELDS[name].word + 1


def test_the_examples_are_legal():
    assert validate(images_of(PROGRAM), CORE) == PROGRAM
    assert validate(images_of(WIDE_PROGRAM, WIDE_CORE), WIDE_CORE) == WIDE_PROGRAM


@pytest.mark.parametrize(
    "program, text",
    [
        (PROGRAM[1:], "program line 1: the first descriptor must be INPUT"),
        ([*PROGRAM[:2], PROGRAM[0], *PROGRAM[2:]], "program line 65, descriptor 2: only the first"),
        (PROGRAM[:4], "unknown opcode 0"),
        (
            [*PROGRAM[:4], replace(STREAM, stream=False, lo=0, hi=1, result_base=60)],
            "program line 129, nest 4, stream: the last nest must be a stream nest",
        ),
        (
            [Input(65 * 4, 1, 0), *PROGRAM[1:]],
            "program line 19, input, result_base: the frame fills",
        ),
        ([Input(64, 1, 49), *PROGRAM[1:]], "program line 19, input, result_base: the frame fills"),
        (
            [Input(64, 1, 0, packets=(60, 4)), *PROGRAM[1:]],
            "program line 7, input, packets: 64 elements in packets 0..1 leave nothing of",
        ),
    ],
)
def test_the_order_of_descriptors_is_checked(program, text):
    with pytest.raises(ProgramError, match=re.escape(text)):
        validate(images_of(program), CORE)


RULES = [
    # 2: addresses
    (1, {"act_base": -4 * 4 - 5}, "act_base", "valid taps read elements -1.."),
    (1, {"act_base": 241}, "act_base", "the scratchpad has 256"),
    (1, {"act_steps": (1, 0, 0, 0, 0, 2**24)}, "act_base", "valid taps read elements"),
    (1, {"weight_base": 9}, "weight_base", "reads weights 9..80, the image has 80 words"),
    (1, {"weight_steps": (-1, 0, 0, 0, 0, 0)}, "weight_base", "reads weights -1..0"),
    (1, {"bias_base": 14}, "bias_base", "reads biases 14..16, the image has 16 words"),
    (1, {"bias_step": 2**31}, "bias_base", "reads biases"),
    (1, {"result_base": 33}, "result_base", "writes words 33..64, the scratchpad has 64"),
    (1, {"result_steps": (-17, 8, 2)}, "result_base", "writes words -1.."),
    (2, {"table_base": 2}, "table_base", "table 2, the image holds 2"),
    # 3: hazards
    (1, {"result_steps": (1, 8, 1)}, "result_base", "writes a scratchpad word twice"),
    (1, {"result_steps": (0, 8, 2)}, "result_base", "writes a scratchpad word twice"),
    (1, {"result_base": 15}, "result_base", "writes scratchpad word 15, which it also reads"),
    (2, {"result_base": 17}, "result_base", "written by one pixel, read by another"),
    (2, {"result_steps": (1, 2, 8)}, "result_base", "written by one pixel, read by another"),
    # 4: nothing is read before it is written
    (3, {"act_base": 68}, "act_base", "reads scratchpad word 48 before it is written"),
    (4, {"act_base": 56 * 4}, "act_base", "reads scratchpad word 56 before it is written"),
    # 5: lane-wise nests
    (2, {"act_base": 65}, "act_base", "65 is no multiple of LANES"),
    (2, {"act_steps": (6, 32, 8, 0, 0, 0)}, "act_jump_g", "step 6 is no multiple of LANES"),
    (1, {"max": True}, "max", "a max nest must be lane-wise"),
    (3, {"weight_base": 1}, "weight_base", "a max nest has no weights"),
    (3, {"weight_steps": (0, 0, 0, 0, 1, 0)}, "weight_jump_kx", "a max nest has no weights"),
    # 6: clamps
    (1, {"lo": 1, "hi": 0}, "lo", "lo 1 is above hi 0"),
    (1, {"lo": -1, "hi": 128}, "lo", "-1..128 fits 8 bits neither signed nor unsigned"),
    (1, {"lo": -129, "hi": 0}, "lo", "neither signed nor unsigned"),
    (1, {"lo": 0, "hi": 256}, "lo", "neither signed nor unsigned"),
    (2, {"lo": -129}, "lo", "before a table"),
    (2, {"hi": 256}, "lo", "before a table"),
    # 7: fields of stream and table
    (4, {"result_base": 1}, "result_base", "must be 0 in a stream nest"),
    (1, {"table_base": 1}, "table_base", "must be 0 without a table"),
    (1, {"y_unsigned": True}, "y_unsigned", "only with stream and table"),
    (2, {"y_unsigned": True}, "y_unsigned", "only with stream and table"),
    (4, {"y_unsigned": True}, "y_unsigned", "only with stream and table"),
    (1, {"packet_end": True}, "packet_end", "only in a stream nest"),
    (4, {"packet_end": True}, "packet_end", "the last nest ends a packet by itself"),
    # 8: tail, and steps of loops with count 1
    (1, {"tail": 5}, "tail", "5 valid lanes, the core has 4"),
    (2, {"act_steps": (4, 32, 8, 0, 4, 0)}, "act_jump_kx", "the loop's count is 1"),
    (2, {"weight_steps": (1, 0, 0, 1, 0, 0)}, "weight_jump_ky", "the loop's count is 1"),
    (2, {"y_step_ky": 1}, "y_step_ky", "the loop's count is 1"),
    (4, {"x_step_ox": 1}, "x_step_ox", "the loop's count is 1"),
    (1, {"y_limit": 0}, "y_limit", "must be 1..32767, got 0"),
    (1, {"x_limit": -3}, "x_limit", "must be 1..32767, got -3"),
    (1, {"y_step_oy": 11000}, "y_start", "outside -32768..32767"),
    (1, {"x_start": -32768, "x_step_kx": -1}, "x_start", "outside -32768..32767"),
]


@pytest.mark.parametrize("index, fields, name, text", RULES)
def test_a_broken_rule_names_line_nest_and_field(index, fields, name, text):
    with pytest.raises(ProgramError, match=re.escape(text)) as caught:
        validate(images_of(changed(index, **fields)), CORE)
    place = f"program line {line(index, name)}, nest {index}, {name}: "
    assert str(caught.value).startswith(place)


# A lane-wise nest of two groups of which nothing is read.
TWO_GROUPS = {
    "counts": (2, 1, 1, 1, 1, 1),
    "act_steps": ZEROS,
    "result_steps": (-4, 0, 0),
    "y_start": -100,
    "tail": 1,
}
WIDE_RULES = [
    # 2: addresses
    (1, {"act_base": -4}, "act_base", "valid taps read elements -4..20, the scratchpad has 128"),
    (2, {"act_base": 128}, "act_base", "valid taps read elements 128..152"),
    (2, {"result_base": 62}, "result_base", "writes sub-words 62..73, the scratchpad has 64"),
    (3, {"weight_base": 5}, "weight_base", "reads weights 5..10, the image has 10 words"),
    (2, {"bias_base": 11}, "bias_base", "reads biases 11..16, the image has 16 words"),
    (2, TWO_GROUPS | {"bias_base": 9}, "bias_base", "reads biases 9..16, the image has 16 words"),
    (2, TWO_GROUPS | {"result_base": 61}, "result_base", "writes sub-words 57..64, the scratchpad"),
    # 3: hazards, sub-word by sub-word
    (2, {"result_steps": (0, 0, 2)}, "result_base", "writes a scratchpad sub-word twice"),
    (1, {"result_steps": (2, 0, 4)}, "result_base", "writes a scratchpad sub-word twice"),
    (1, {"result_base": 13}, "result_base", "writes scratchpad sub-word 13, which it also reads"),
    (2, {"result_base": 17}, "result_base", "sub-word 26 is written by one pixel, read by another"),
    # 4: nothing is read before it is written; a dense tap reads two sub-words
    (1, {"act_base": 4}, "act_base", "reads scratchpad sub-word 2 before it is written"),
    (2, {"tail": 7}, "act_base", "reads scratchpad sub-word 19 before it is written"),
    (3, {"act_base": 72}, "act_base", "reads scratchpad sub-word 46 before it is written"),
    (3, {"act_base": 36}, "act_base", "reads scratchpad sub-word 19 before it is written"),
    # 5: whole words, and TAPS neighbours
    (1, {"act_base": 2}, "act_base", "2 is no multiple of TAPS"),
    (1, {"act_steps": (0, 0, 6, 0, 0, 0)}, "act_jump_ox", "step 6 is no multiple of TAPS"),
    (2, {"act_base": 36}, "act_base", "36 is no multiple of LANES * TAPS"),
    (2, {"act_steps": (0, 0, 4, 0, 0, 0)}, "act_jump_ox", "4 is no multiple of LANES * TAPS"),
    # 8: tail
    (1, {"tail": 3}, "tail", "3 valid lanes, the core has 2"),
    (2, {"tail": 9}, "tail", "9 valid lanes, the core has 8"),
]


@pytest.mark.parametrize("index, fields, name, text", WIDE_RULES)
def test_a_rule_of_sub_words_names_line_nest_and_field(index, fields, name, text):
    program = changed(index, WIDE_PROGRAM, **fields)
    with pytest.raises(ProgramError, match=re.escape(text)) as caught:
        validate(images_of(program, WIDE_CORE), WIDE_CORE)
    assert str(caught.value).startswith(f"program line {line(index, name)}, nest {index}, {name}: ")


# TILES = 2, LANES = 4, TAPS = 2: a bank has 512 elements, 128 sub-words. An 8 x 4 picture of 4
# channels in strips of 4 rows (64 elements, sub-words 0..15 of both banks), 3x3 convolution with
# padding in strips (16..31), per lane in strips (32..47), the maximum of each column pair over all
# rows into all banks (48, 49), a stream of 2 results.
TILED_CORE = Core(4, 2, 8, 8, 2, 32 * 5, 30, 16, 0, 64, gates=True, tiles=2)
TILED_CONV = Nest(
    counts=(1, 4, 4, 3, 3, 2),
    act_base=-4,
    act_steps=(0, 0, 4, 0, 4, 2),
    weight_base=0,
    weight_steps=(0, 0, 0, 6, 2, 1),
    result_base=16,
    result_steps=(0, 4, 1),
    lo=0,
    hi=127,
    bias_base=0,
    bias_step=0,
    tail=4,
    x_start=-1,
    x_limit=4,
    x_step_ox=1,
    x_step_kx=1,
    rows=Rows(span=64, start=-16, step_oy=16, step_ky=16, limit=128),
    strips=True,
)
TILED_LANES = Nest(
    counts=(1, 4, 2, 1, 1, 1),
    act_base=64,
    act_steps=(0, 0, 8, 0, 0, 0),
    weight_base=18,
    weight_steps=ZEROS,
    result_base=32,
    result_steps=(0, 4, 2),
    lo=-128,
    hi=127,
    bias_base=2,
    bias_step=0,
    tail=8,
    lanewise=True,
    rows=Rows(span=64, step_oy=16, limit=128),
    strips=True,
)
TILED_MAX = Nest(
    counts=(1, 1, 1, 8, 2, 1),
    act_base=128,
    act_steps=(0, 0, 0, 0, 8, 0),
    weight_base=0,
    weight_steps=ZEROS,
    result_base=48,
    result_steps=(0, 0, 0),
    lo=-128,
    hi=127,
    bias_base=6,
    bias_step=0,
    tail=8,
    lanewise=True,
    max=True,
    rows=Rows(span=64, step_ky=16, limit=128),
    bank=ALL_BANKS,
)
TILED_STREAM = replace(
    WIDE_STREAM,
    counts=(1, 1, 1, 1, 1, 4),
    act_base=192,
    act_steps=(0, 0, 0, 0, 0, 2),
    bias_base=10,
    rows=Rows(),
)
TILED_INPUT = Input(16, 8, 0, strip_runs=4, last_run=16)
TILED_PROGRAM = [TILED_INPUT, TILED_CONV, TILED_LANES, TILED_MAX, TILED_STREAM]


def rows_of(index, **fields):
    """Fields of a nest's rows, changed."""
    return {"rows": replace(TILED_PROGRAM[index].rows, **fields)}


TILED_RULES = [
    # 2 to 4, in a bank
    (1, {"act_base": -6}, "act_base", "valid taps read elements -2..60, the scratchpad has 512"),
    (1, {"act_base": 448}, "act_base", "valid taps read elements 452..514, the scratchpad has 512"),
    (2, {"result_base": 114}, "result_base", "writes sub-words 114..129, the scratchpad has 128"),
    (2, {"result_steps": (0, 3, 2)}, "result_base", "writes a scratchpad sub-word twice"),
    (1, {"result_base": 15}, "result_base", "sub-word 15 of bank 0, which it also reads"),
    (2, {"result_base": 17}, "result_base", "sub-word 18 of bank 0 is written by one pixel, read"),
    (3, {"act_base": 136}, "act_base", "reads scratchpad sub-word 48 of bank 0 before it is"),
    (4, {"act_base": 196}, "act_base", "reads scratchpad sub-word 50 of bank 0 before it is"),
    # 11
    (1, rows_of(1, span=63), "span", "a dense nest's 63 is no multiple of TAPS"),
    (1, rows_of(1, start=-15), "row_start", "a dense nest's -15 is no multiple of TAPS"),
    (1, rows_of(1, step_oy=15), "row_step_oy", "a dense nest's 15 is no multiple of TAPS"),
    (1, rows_of(1, step_ky=17), "row_step_ky", "a dense nest's 17 is no multiple of TAPS"),
    (2, rows_of(2, span=60), "span", "a lane-wise nest's 60 is no multiple of LANES * TAPS"),
    (2, rows_of(2, step_oy=12), "row_step_oy", "nest's 12 is no multiple of LANES * TAPS"),
    (3, rows_of(3, step_ky=4), "row_step_ky", "nest's 4 is no multiple of LANES * TAPS"),
    (3, rows_of(3, step_oy=16), "row_step_oy", "the step is 16, but the loop's count is 1"),
    (2, rows_of(2, step_ky=16), "row_step_ky", "the step is 16, but the loop's count is 1"),
    (1, rows_of(1, limit=0), "row_limit", "must be 1..128, got 0"),
    (1, rows_of(1, limit=129), "row_limit", "must be 1..128, got 129"),
    (4, rows_of(4, limit=3), "row_limit", "must be 1..2, got 3"),
    (1, rows_of(1, span=514, limit=1), "span", "514 elements, more than the 512 of a bank"),
    (1, rows_of(1, start=-512 * 64, step_ky=-16), "strip_start", "over strips -513..-512, outside"),
    (1, rows_of(1, start=511 * 64, step_oy=32), "strip_start", "over strips 511..513, outside"),
    (1, {"counts": (1, 1025, 1, 1024, 1, 1), "act_steps": ZEROS, "weight_steps": ZEROS,
         "result_steps": (0, 0, 0), "x_step_ox": 0, "x_step_kx": 0, "x_start": 0}
     | rows_of(1, step_oy=0, step_ky=0), "count_oy", "more than 1048576 rows of taps"),
    # 12
    (3, {"bank": 2}, "bank", "must be 0..1, or 8 for all, got 2"),
    (3, {"bank": 9}, "bank", "must be 0..1, or 8 for all, got 9"),
    (1, {"bank": 1}, "bank", "must be 0 in a nest of strips"),
    (4, {"bank": ALL_BANKS}, "bank", "must be 0 in a stream nest"),
    (4, {"strips": True}, "strips", "a stream nest is none of strips"),
    # 13
    (1, {"weight_steps": (0, 1, 0, 6, 2, 1)}, "weight_jump_oy", "strips share their weights"),
]  # fmt: skip


def tiled_line(index, name):
    layout = TILED_NEST_FIELDS if index else TILED_INPUT_FIELDS
    return DESCRIPTOR_WORDS * index + layout[name].word + 1


def test_the_example_of_strips_is_legal():
    assert validate(images_of(TILED_PROGRAM, TILED_CORE), TILED_CORE) == TILED_PROGRAM


@pytest.mark.parametrize("index, fields, name, text", TILED_RULES)
def test_a_rule_of_strips_names_line_nest_and_field(index, fields, name, text):
    program = changed(index, TILED_PROGRAM, **fields)
    with pytest.raises(ProgramError, match=re.escape(text)) as caught:
        validate(images_of(program, TILED_CORE), TILED_CORE)
    place = f"program line {tiled_line(index, name)}, nest {index}, {name}: "
    assert str(caught.value).startswith(place)


@pytest.mark.parametrize(
    "frame, index, name, text",
    [
        # 14
        (Input(16, 9, 0, 0, 4, 16), 0, "runs", "9 runs, but 2 banks get 4 each"),
        (Input(16, 8, 0, 0, 4, 17), 0, "last_run", "17 elements, more than a run's 16"),
        (Input(16, 8, 57, 0, 4, 16), 0, "result_base", "the frame fills words 57..64, the"),
        # 4: what no run reaches
        (Input(16, 7, 0, 0, 4, 16), 1, "act_base", "sub-word 12 of bank 1 before it is written"),
        (Input(16, 8, 0, 0, 4, 12), 1, "act_base", "sub-word 15 of bank 1 before it is written"),
        (Input(16, 8, 0, 0, 8, 16), 1, "act_base", "sub-word 0 of bank 1 before it is written"),
        (Input(16, 6, 0, 0, 3, 16), 1, "act_base", "sub-word 12 of bank 0 before it is written"),
    ],
)
def test_a_rule_of_a_frame_in_strips_names_line_and_field(frame, index, name, text):
    program = [frame, *TILED_PROGRAM[1:]]
    with pytest.raises(ProgramError, match=re.escape(text)) as caught:
        validate(images_of(program, TILED_CORE), TILED_CORE)
    what = f"nest {index}" if index else "input"
    assert f"program line {tiled_line(index, name)}, {what}, {name}: " in str(caught.value)


@pytest.mark.parametrize(
    "index, fields",
    [
        # masked by the limit: what lies behind it need not be written
        (2, {"act_base": 104, "result_base": 64} | rows_of(2, limit=1)),
        # no rows at all: any span
        (4, rows_of(4, span=13, limit=26)),
        (1, rows_of(1, start=-512 * 64, step_ky=16)),
        (1, rows_of(1, span=512, limit=64)),
        # in place, each tile its own
        (2, {"result_base": 16}),
    ],
)
def test_what_strips_may_do(index, fields):
    end = replace(TILED_STREAM, act_base=0, act_steps=ZEROS, counts=(1,) * 6, weight_steps=ZEROS)
    program = changed(index, TILED_PROGRAM, **fields)
    if index < 4:
        program[index + 1 :] = [end]
    validate(images_of(program, TILED_CORE), TILED_CORE)


def test_a_strip_of_no_elements_is_refused():
    images = images_of(TILED_PROGRAM, TILED_CORE)
    words = to_uint32(images["program"]).copy()
    words[DESCRIPTOR_WORDS + TILED_NEST_FIELDS["span"].word] &= 0x3FF
    with pytest.raises(ProgramError, match="program lines 33-64, descriptor 1:.* span is 0"):
        validate(images | {"program": from_uint32(words)}, TILED_CORE)


def test_pairs_take_no_products_of_strips():
    fields = {"counts": (1, 4, 2, 2, 1, 1), "weight_base": 0, "product": True}
    program = changed(2, TILED_PROGRAM, **fields)
    images = images_of(program, TILED_CORE)
    validate(images, TILED_CORE)
    with pytest.raises(ProgramError, match="nest 2, product: with PAIRS none of strips"):
        validate(images, replace(TILED_CORE, pairs=True))


@pytest.mark.parametrize(
    "index, fields",
    [
        # sub-words of a word that is read elsewhere: 2, 3, 6, 7, ..
        (1, {"counts": (2, 1, 4, 1, 1, 1), "result_base": 2}),
        # in place
        (2, {"result_base": 16, "result_steps": (0, 0, 4)}),
        # fewer lanes read fewer sub-words: 16 and 17, so that pixel 0 may write 22 and 23
        (2, {"tail": 4, "result_base": 22, "result_steps": (0, 0, 4)}),
        # pixel 0 in place, pixel 1 behind what pixel 0 reads of the same word
        (
            2,
            {"counts": (1, 1, 2, 1, 1, 1), "tail": 4, "result_base": 16, "result_steps": (0, 0, 2)},
        ),
        # the scratchpad's last sub-words
        (2, TWO_GROUPS | {"result_base": 60}),
        (2, {"result_base": 52}),
    ],
)
def test_sub_words_that_nobody_reads_may_be_written(index, fields):
    program = [*changed(index, WIDE_PROGRAM, **fields)[: index + 1], replace(WIDE_STREAM)]
    program[-1] = replace(program[-1], act_base=0, act_steps=ZEROS, counts=(1,) * 6)
    program[-1] = replace(program[-1], weight_steps=ZEROS)
    validate(images_of(program, WIDE_CORE), WIDE_CORE)


def test_a_run_that_takes_too_long_is_refused_before_anything_is_listed():
    images = poked(1, "count_g", 65535)
    words = to_uint32(images["program"]).copy()
    words[33:36] = 0xFFFFFFFF
    with pytest.raises(ProgramError, match=r"program lines 1-160: the run takes about \d+ cycles"):
        validate(images | {"program": from_uint32(words)}, CORE)


def test_reserved_bits_and_data_behind_the_program_are_refused():
    images = images_of(PROGRAM)
    words = to_uint32(images["program"]).copy()
    words[32 + 31] = 1
    with pytest.raises(ProgramError, match="program lines 33-64, descriptor 1: reserved bits"):
        validate(images | {"program": from_uint32(words)}, CORE)
    words[32 + 31] = 0
    words[180] = 1
    with pytest.raises(ProgramError, match="program line 181: data behind the last descriptor"):
        validate(images | {"program": from_uint32(words)}, CORE)


def test_tables_of_16_bits_see_16_bits():
    core = replace_core(data_bits=16)
    for fields in ({"lo": -32768}, {"hi": 65535}):
        validate(images_of(changed(2, **fields), core), core)
    for fields in ({"lo": -32769}, {"hi": 65536}):
        with pytest.raises(ProgramError, match="before a table: -32768..65535, not"):
            validate(images_of(changed(2, **fields), core), core)


def test_tables_need_a_table_image():
    with pytest.raises(ProgramError, match="table 1, the image holds 0"):
        validate(
            {k: v for k, v in images_of(PROGRAM).items() if k != "table"},
            replace_core(table_depth=0),
        )


def replace_core(**fields):
    names = (
        *("lanes", "taps", "data_bits", "weight_bits", "rq", "program_depth"),
        *("weights_depth", "bias_depth", "table_depth", "scratch_depth"),
    )
    return Core(**({n: getattr(CORE, n) for n in names} | fields))


@pytest.mark.parametrize(
    "fields, text",
    [
        ({"lanes": 12}, "lanes must be a power of two up to 64, got 12"),
        ({"lanes": 128}, "lanes must be a power of two up to 64, got 128"),
        ({"taps": 3}, "taps must be 1, 2, 4 or 8, got 3"),
        ({"taps": 16}, "taps must be 1, 2, 4 or 8, got 16"),
        ({"data_bits": 12}, "data_bits must be 8 or 16, got 12"),
        ({"rq": 3}, "rq must be a power of two up to lanes, got 3"),
        ({"scratch_depth": 2**23}, "scratch_depth must be at most 2**24 / (lanes * taps)"),
        ({"scratch_depth": 2**21 + 1, "taps": 2}, "scratch_depth must be at most"),
        ({"tiles": 3}, "tiles must be 1, 2, 4 or 8, got 3"),
        ({"tiles": 16}, "tiles must be 1, 2, 4 or 8, got 16"),
        ({"pairs": True}, "pairs must be false: pairs need tiles > 1 and 8-bit data"),
        ({"pairs": True, "tiles": 2, "data_bits": 16}, "pairs must be false: pairs need tiles > 1"),
    ],
)
def test_core_parameters_that_can_not_be_built_are_refused(fields, text):
    with pytest.raises(InputError, match=re.escape(text)):
        validate(images_of(PROGRAM), replace_core(**fields))


def test_a_step_that_does_not_fit_32_bits_is_refused():
    # the jump is the largest number, and what the inner loops moved comes on top of it
    with pytest.raises(ProgramError, match=r"program line 38, nest 1, act_jump_g: the step \d+"):
        validate(poked(1, "act_jump_g", 2**31 - 1), CORE)


def test_a_stream_nest_may_not_step_its_result():
    for steps in ((0, 1, 0), (0, 0, 1)):
        pixels = replace(STREAM, counts=(1, 2, 2, 1, 1, 6), result_steps=steps)
        name = "result_jump_oy" if steps[1] else "result_jump_"
        with pytest.raises(ProgramError, match=f"{name}.*must be 0 in a stream nest"):
            validate(images_of([*PROGRAM[:4], pixels]), CORE)


def test_masked_taps_are_no_hazard():
    """In place on words 0 and 1; the second tap of each is always masked."""
    twice = Nest(
        counts=(1, 2, 1, 2, 1, 1),
        act_base=0,
        act_steps=(0, 4, 0, 4, 0, 0),
        weight_base=0,
        weight_steps=(0, 0, 0, 1, 0, 0),
        result_base=0,
        result_steps=(0, 1, 0),
        lo=-128,
        hi=127,
        bias_base=0,
        bias_step=0,
        tail=4,
        lanewise=True,
        y_limit=2,
        y_step_oy=1,
        y_step_ky=100,
    )
    program = [PROGRAM[0], twice, replace(STREAM, act_base=0)]
    validate(images_of(program), CORE)
    with pytest.raises(ProgramError, match="word 1 is written by one pixel, read by another"):
        validate(images_of([program[0], replace(twice, y_step_ky=1), program[2]]), CORE)


@pytest.mark.parametrize("seed", range(200))
def test_the_read_offsets_of_an_axis_are_those_of_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    count_o, count_k = (int(n) for n in rng.integers(1, 9, 2))
    start, step_o, step_k = (int(n) for n in rng.integers(-6, 7, 3))
    limit, act_o, act_k = int(rng.integers(1, 12)), *(int(n) for n in rng.integers(-9, 10, 2))
    axis = _Axis(count_o, count_k, start, limit, step_o, step_k, act_o, act_k)
    offsets = {
        o * act_o + k * act_k
        for o in range(count_o)
        for k in range(count_k)
        if 0 <= start + o * step_o + k * step_k < limit
    }
    assert axis.offsets().tolist() == sorted(offsets)
    assert axis.span() == ((min(offsets), max(offsets)) if offsets else None)
    other = np.unique(rng.integers(-40, 40, int(rng.integers(1, 9))))
    if offsets:
        sums = sorted({a + b for a in offsets for b in other.tolist()})
        assert _sums(axis.offsets(), other).tolist() == sums


def test_only_valid_taps_are_judged():
    """Every tap is masked: nothing is read, so any address is legal, and the result is the bias."""
    masked = changed(1, y_start=-100, act_base=123456, act_steps=(0, 7, 7, 7, 7, 7))
    images = images_of(masked)
    machine = Machine(images, CORE)
    words = machine.run(np.ones((1, 64), np.int64), keep_layers=True).nests[0].words
    assert not words.any()


def test_a_negative_step_walks_backwards():
    backwards = changed(
        1, act_base=3 * 16 + 16, act_steps=(0, -16, 4, 16, 4, 1), y_start=4, y_step_oy=-1
    )
    # row oy reads rows 4 - oy .. 6 - oy of the picture
    backwards[1] = replace(backwards[1], act_base=4 * 16 - 4)
    validate(images_of(backwards), CORE)
    with pytest.raises(ProgramError, match="valid taps read elements"):
        validate(images_of(changed(1, act_steps=(0, -16, 4, 16, 4, 1))), CORE)


@pytest.mark.parametrize(
    "program, core",
    [(PROGRAM, CORE), (WIDE_PROGRAM, WIDE_CORE), (TILED_PROGRAM, TILED_CORE)],
)
def test_every_single_bit_of_the_program_is_judged(program, core):
    base = images_of(program, core)
    good = Machine(base, core)
    accepted = 0
    for word in range(core.program_depth):
        for bit in range(32):
            data = base["program"].data.copy()
            data[word, bit // 8] ^= 1 << (bit % 8)
            try:
                validate(base | {"program": Words(32, data)}, core)
                accepted += 1
            except ProgramError as error:
                assert str(error).startswith("program line") or "marked last" in str(error)
    assert accepted > 100 and good.beats_out == 2


@pytest.mark.parametrize(
    "image, at, bit, text",
    [
        ("program", 5, 1, "input, strip_runs bit 1"),
        ("program", 6, 0, "input, last_run bit 0"),
        ("program", 32 + 1, 26, "nest 1, strips bit 0"),
        ("program", 32 + 23, 31, "nest 1, strip_start bit 9"),
        ("program", 32 + 24, 21, "nest 1, row_step_oy bit 21"),
        ("program", 32 + 29, 23, "nest 1, bias_base bit 23"),
        ("program", 32 + 29, 24, "nest 1, strip_limit bit 0"),
        ("program", 32 + 32, 4, "nest 1, row_step_ky bit 4"),
        ("program", 96 + 29, 31, "nest 3, bank bit 3"),
        ("program", 96 + 1, 27, "nest 3, packet_end bit 0"),
        ("program", 96 + 1, 28, "nest 3, reserved bit (must be 0)"),
        ("weights", 19, 0, "nest 2, group 0, lane 0, tap ky 0 kx 0 ci 0"),
        ("bias", 3, 36, "nest 2, group 0, lane 1, bias bit 0"),
    ],
)
def test_a_bit_of_a_core_with_tiles_is_described(image, at, bit, text):
    found = describe_bit(images_of(TILED_PROGRAM, TILED_CORE), TILED_CORE, image, at, bit)
    assert found == f"{image}.mem:{at} bit {bit}: {text}"


def manifest():
    frame = Frame([2], [1, 1, 2], [2, 2, 1], Format(8, 4, True))
    layers = [
        LayerInfo(n, "Conv2d", [1, 1, 1], Format(8, 4, True), 1, "")
        for n in ("conv", "scale", "pool", "fc")
    ]
    channels = [0, 1, 2, 3, 4, 5, -1, -1]
    nests = [NestInfo(i, channels if i < 3 else [0, 1, -1, -1]) for i in range(4)]
    return Manifest(1, "n", "0", CORE, [], frame, frame, layers, nests, 1, 1, 1)


@pytest.mark.parametrize(
    "image, at, bit, text",
    [
        ("program", 1, 0, "input, opcode bit 0"),
        ("program", 3, 5, "input, runs bit 5"),
        ("program", 32 + 1, 17, "nest 1, tail bit 1"),
        ("program", 32 + 12, 3, "nest 1, weight_base bit 3"),
        ("program", 170, 0, "unused word behind the last descriptor"),
        ("weights", 1, 15, "nest 1 (conv), group 0, lane 1 (channel 1), tap ky 0 kx 0 ci 0"),
        ("weights", 36 + 18, 8, "nest 1 (conv), group 1, lane 1 (channel 5), tap ky 1 kx 1 ci 1"),
        ("weights", 36 + 18, 16, "nest 1 (conv), padding lane 2 of group 1"),
        ("weights", 74, 31, "nest 2 (scale), group 1, lane 3 (channel -1), tap ky 0 kx 0 ci 0"),
        ("weights", 80, 8, "nest 4 (fc), group 0, lane 1 (channel 1), tap ky 0 kx 0 ci 5"),
        ("weights", 80, 16, "nest 4 (fc), padding lane 2 of group 0"),
        ("bias", 1, 31, "nest 1 (conv), group 0, lane 0 (channel 0), shift bit 0"),
        ("bias", 3, 36, "nest 1 (conv), group 1, lane 1 (channel 5), bias bit 0"),
        ("bias", 4, 0, "nest 1 (conv), padding lane 2 of group 1, bias bit 0"),
        ("bias", 16, 0, "unused word"),
        ("table", 257, 0, "nest 2 (scale), table 1, entry 0"),
        ("table", 256, 0, "unused table"),
    ],
)
def test_a_bit_is_described(image, at, bit, text):
    got = describe_bit(images_of(PROGRAM), CORE, image, at, bit, manifest())
    assert got == f"{image}.mem:{at} bit {bit}: {text}"


@pytest.mark.parametrize(
    "image, at, bit, text",
    [
        # dense: element 5 of the word is lane 1 of neighbour 2
        ("weights", 1, 8 * 5 + 3, "nest 1, group 0, lane 1, tap ky 0 kx 0 ci 0 + 2"),
        ("weights", 3, 0, "nest 1, group 2, lane 0, tap ky 0 kx 0 ci 0 + 0"),
        ("weights", 4, 8 * 5, "nest 2, group 0, lane 5, tap ky 0 kx 0 ci 0"),
        ("weights", 4, 8 * 6, "nest 2, padding lane 6 of group 0"),
        ("weights", 10, 8 * 7, "nest 3, group 0, lane 1, tap ky 0 kx 0 ci 5 + 3"),
        ("bias", 12, 0, "nest 2, group 0, lane 5, bias bit 0"),
        ("bias", 13, 31, "nest 3, group 0, lane 0, shift bit 0"),
        ("bias", 15, 0, "unused word"),
    ],
)
def test_a_bit_of_a_core_with_taps_is_described(image, at, bit, text):
    got = describe_bit(images_of(WIDE_PROGRAM, WIDE_CORE), WIDE_CORE, image, at, bit)
    assert got == f"{image}.mem:{at} bit {bit}: {text}"


def test_a_bit_of_a_line_is_described():
    core = replace_core(data_bits=16)
    images = images_of(PROGRAM, core)
    for bit, part in ((0, "start"), (15, "start"), (16, "slope"), (31, "slope")):
        got = describe_bit(images, core, "table", 258, bit)
        assert got == f"table.mem:258 bit {bit}: nest 2, table 1, entry 1, {part}"
    with pytest.raises(ValueError, match="no line 258 with a bit 32"):
        describe_bit(images, core, "table", 258, 32)


def test_a_bit_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no line 81"):
        describe_bit(images_of(PROGRAM), CORE, "weights", 81, 0)
    assert "nest 1, group 0, lane 0," in describe_bit(images_of(PROGRAM), CORE, "weights", 1, 0)


@pytest.mark.parametrize("program, core", [(PROGRAM, CORE), (WIDE_PROGRAM, WIDE_CORE)])
def test_flips_of_padding_lanes_change_nothing(program, core):
    images = images_of(program, core)
    machine = Machine(images, core)
    frames = np.random.default_rng(5).integers(-128, 128, (4, machine.beats_in))
    whole = machine.run(frames).beats
    rng = np.random.default_rng(6)
    seen = set()
    for _ in range(300):
        name = sorted(images.keys() - {"program"})[int(rng.integers(len(images) - 1))]
        at, bit = int(rng.integers(len(images[name]))), int(rng.integers(images[name].bits))
        text = describe_bit(images, core, name, at + 1, bit)
        if "padding lane" in text or "unused" in text:
            data = images[name].data.copy()
            data[at, bit // 8] ^= 1 << (bit % 8)
            flipped = images | {name: Words(images[name].bits, data)}
            assert np.array_equal(Machine(flipped, core).run(frames).beats, whole), text
            seen.add((name, "padding lane" in text))
    assert len(seen) >= (4 if "table" in images else 2)


def test_encode_and_validate_agree_on_words():
    assert len(encode(CONV)) == DESCRIPTOR_WORDS


# ---------------------------------------------------------------- loops and products

GATES = replace(CORE, gates=True, program_depth=32 * 8)

# The picture times itself, one pixel up: words 0.. (16 pixels) into words 16..30, lane by lane.
PRODUCT = Nest(
    counts=(1, 1, 15, 1, 2, 1),
    act_base=0,
    act_steps=(0, 0, 4, 0, 4, 0),
    weight_base=0,
    weight_steps=(0,) * 6,
    result_base=16,
    result_steps=(0, 0, 1),
    lo=-128,
    hi=127,
    bias_base=0,
    bias_step=0,
    tail=4,
    lanewise=True,
    product=True,
)
MOVING = replace(
    PRODUCT, counts=(1, 1, 5, 1, 2, 1), act_moves=True, result_moves=True, factor_unsigned=True
)
END = replace(STREAM, act_base=64, weight_base=0)
LOOP = Loop(count=3, length=1, act_step=5 * 4, result_step=5)
LOOPED = [Input(64, 1, 0), LOOP, MOVING, END]


def refused(program, text, core=GATES):
    with pytest.raises(ProgramError) as error:
        validate(images_of(program, core), core)
    assert text in str(error.value)


def test_a_loop_runs_its_nests_with_moved_bases():
    got = validate(images_of(LOOPED, GATES), GATES)
    assert [d.act_base for d in got[1:]] == [0, 20, 40, 64]
    assert [d.result_base for d in got[1:]] == [16, 21, 26, 0]
    assert [d.behind_loop for d in got[1:]] == [True, False, False, False]


def test_a_product_by_hand():
    images = images_of([Input(64, 1, 0), PRODUCT, END], GATES)
    machine = Machine(images, GATES)
    frame = np.random.default_rng(0).integers(-9, 10, (2, 64))
    (nest, _) = machine.run(frame, keep_layers=True).nests
    pixels = frame.reshape(2, 16, 4)
    bias, shift = machine.memories.bias[:4], machine.memories.shift[:4]
    half = (1 << shift) >> 1
    expected = (pixels[:, :15] * pixels[:, 1:] + bias + half) >> shift
    assert np.array_equal(nest.words.astype(np.int8), np.clip(expected, -128, 127))


@pytest.mark.parametrize(
    "program, text",
    [
        ([LOOPED[0], replace(LOOP, length=2), MOVING, END], "program line 34, nest 1, length: 2"),
        ([LOOPED[0], replace(LOOP, length=9), MOVING, END], "program line 34, nest 1, length: 9"),
        (
            [LOOPED[0], replace(LOOP, length=2), LOOP, MOVING, END],
            "program line 65, nest 2, opcode: a LOOP",
        ),
        ([LOOPED[0], MOVING, END], "program line 33, nest 1, act_moves: only inside"),
        (
            [LOOPED[0], LOOP, MOVING, replace(MOVING, act_moves=False), END],
            "nest 3, result_moves: only",
        ),
        (
            [LOOPED[0], replace(LOOP, act_step=2), MOVING, END],
            "act_base: 2 is no multiple of LANES",
        ),
        ([LOOPED[0], replace(LOOP, act_step=44), MOVING, END], "line 69, nest 2, act_base: reads"),
        ([LOOPED[0], replace(LOOP, count=65536), MOVING, END], f"more than {MAX_NESTS}"),
        (
            [LOOPED[0], replace(PRODUCT, counts=(1, 1, 5, 1, 3, 1)), END],
            "even number of taps, got 3",
        ),
        ([LOOPED[0], replace(PRODUCT, max=True), END], "product: a max nest can't"),
        ([LOOPED[0], replace(PRODUCT, lanewise=False), END], "a product nest must be lane-wise"),
        ([LOOPED[0], replace(PRODUCT, weight_base=1), END], "a product nest has no weights"),
        ([LOOPED[0], replace(PRODUCT, narrow=1), END], "narrow"),
        (
            [*PROGRAM[:1], replace(CONV, factor_unsigned=True), *PROGRAM[2:]],
            "only in a product nest",
        ),
    ],
)
def test_a_broken_rule_names_line_and_field(program, text):
    refused(program, text)


def test_a_core_without_gates_takes_neither():
    plain = replace(GATES, gates=False)
    refused(LOOPED, "program line 33, nest 1, opcode: LOOP needs a core with GATES", plain)
    refused([LOOPED[0], PRODUCT, END], "products need a core with GATES", plain)


def test_bits_of_a_loop_are_described():
    images = images_of(LOOPED, GATES)
    assert describe_bit(images, GATES, "program", 34, 17).endswith("loop, length bit 1")
    assert describe_bit(images, GATES, "program", 65, 13).endswith("nest 2, product bit 0")
