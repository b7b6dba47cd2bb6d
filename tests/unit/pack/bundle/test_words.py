# SPDX-License-Identifier: Apache-2.0
"""The bit order of memory words, pinned."""

import numpy as np
import pytest

from bramcast.pack.bundle.words import (
    Words,
    from_axi,
    from_uint32,
    join_banks,
    pack_bias,
    pack_lanes,
    split_banks,
    to_axi,
    to_uint32,
    unpack_bias,
    unpack_lanes,
)


def test_lane_0_sits_in_the_least_significant_bits():
    assert pack_lanes(np.array([[1, -2, 3, -4]]), 8).integer(0) == 0xFC03FE01


@pytest.mark.parametrize("bits", [2, 4, 8, 12, 16, 32])
@pytest.mark.parametrize("lanes", [1, 3, 16, 64])
@pytest.mark.parametrize("signed", [True, False])
def test_any_lane_is_where_shifting_puts_it(bits, lanes, signed):
    low = -(1 << (bits - 1)) if signed else 0
    values = np.random.default_rng(bits * lanes).integers(low, low + (1 << bits), (5, lanes))
    values[0], values[1] = low, low + (1 << bits) - 1
    words = pack_lanes(values, bits, signed)
    assert words.bits == bits * lanes
    for line, row in enumerate(values.tolist()):
        expected = sum((v & ((1 << bits) - 1)) << (bits * i) for i, v in enumerate(row))
        assert words.integer(line) == expected
    assert np.array_equal(unpack_lanes(words, bits, signed), values)


@pytest.mark.parametrize(
    "values, bits, signed, text",
    [
        ([[0, 0], [0, 128]], 8, True, r"lane \[1, 1\] = 128 is outside -128..127"),
        ([[-129, 0]], 8, True, r"lane \[0, 0\] = -129 is outside -128..127"),
        ([[-1]], 8, False, r"lane \[0, 0\] = -1 is outside 0..255"),
        ([[8]], 4, True, r"lane \[0, 0\] = 8 is outside -8..7"),
    ],
)
def test_a_value_that_does_not_fit_is_named(values, bits, signed, text):
    with pytest.raises(ValueError, match=text):
        pack_lanes(np.array(values), bits, signed)


@pytest.mark.parametrize("rq", [1, 2, 4, 8])
def test_bias_entries_are_36_bits_side_by_side(rq):
    rng = np.random.default_rng(rq)
    bias = rng.integers(-(2**30), 2**30, 8 * rq)
    bias[:2] = -(2**30), 2**30 - 1
    shift = rng.integers(0, 32, 8 * rq)
    words = pack_bias(bias, shift, rq)
    assert words.bits == 36 * rq and len(words) == 8
    for line in range(8):
        entries = [
            int(b) & (2**31 - 1) | int(s) << 31
            for b, s in zip(bias[line * rq :][:rq], shift[line * rq :][:rq], strict=True)
        ]
        assert words.integer(line) == sum(e << (36 * i) for i, e in enumerate(entries))
    assert np.array_equal(unpack_bias(words), (bias, shift))


@pytest.mark.parametrize(
    "bias, shift, text",
    [
        (2**30, 0, "bias .* = 1073741824 is outside"),
        (0, 32, "shift .* = 32 is outside 0..31"),
        (0, -1, "shift"),
    ],
)
def test_a_bias_or_shift_that_does_not_fit_is_refused(bias, shift, text):
    with pytest.raises(ValueError, match=text):
        pack_bias(np.array([bias]), np.array([shift]), 1)


def test_a_bias_count_that_fills_no_whole_words_is_refused():
    with pytest.raises(ValueError, match="multiple of 2"):
        pack_bias(np.zeros(3, np.int64), np.zeros(3, np.int64), 2)


@pytest.mark.parametrize("bits", [8, 32, 36, 72, 288, 512])
def test_axi_words_round_trip(bits):
    data = np.random.default_rng(bits).integers(0, 256, (7, -(-bits // 8))).astype(np.uint8)
    data[:, -1] &= 255 >> (-bits % 8)
    words = Words(bits, data)
    axi = to_axi(words)
    assert axi.shape == (7, -(-bits // 32))
    assert [sum(int(p) << (32 * i) for i, p in enumerate(row)) for row in axi] == [
        words.integer(i) for i in range(7)
    ]
    assert from_axi(axi, bits) == words


def test_a_bit_above_the_word_is_refused_when_read_from_axi():
    with pytest.raises(ValueError, match="word 1 has more than 36 bits"):
        from_axi(np.array([[0, 0], [0, 0x10]], np.uint32), 36)
    with pytest.raises(ValueError, match="word 1 has more than 8 bits"):
        from_axi(np.array([[0], [0x100]], np.uint32), 8)


def test_uint32_words_round_trip():
    values = np.array([0, 1, 0x80000000, 0xDEADBEEF], np.uint32)
    assert np.array_equal(to_uint32(from_uint32(values)), values)
    assert from_uint32(values).integer(3) == 0xDEADBEEF
    with pytest.raises(ValueError, match="don't fit 32"):
        to_uint32(pack_lanes(np.zeros((1, 5), np.int64), 8))


def test_words_check_their_shape():
    with pytest.raises(ValueError, match="uint8"):
        Words(8, np.zeros((2, 1), np.int64))
    with pytest.raises(ValueError, match=r"uint8 \[n, 2\]"):
        Words(9, np.zeros((2, 1), np.uint8))
    with pytest.raises(ValueError, match="word 1 has more than 4 bits"):
        Words(4, np.array([[1], [16]], np.uint8))
    with pytest.raises(ValueError, match="don't fit a depth of 1"):
        Words(8, np.zeros((2, 1), np.uint8)).padded(1)


def test_a_bit_of_a_bank_above_the_word_is_refused():
    """Four bits of the last 8-bit bank lie above a word of 36 bits; each is seen, in any line."""
    banks = split_banks(Words(36, np.zeros((3, 5), np.uint8)), 8)
    for bit in range(4, 8):
        stray = [*banks[:4], Words(8, np.array([[0], [1 << bit], [0]], np.uint8))]
        with pytest.raises(ValueError, match="word 1 has more than 36 bits"):
            join_banks(stray, 36)
    joined = join_banks([*banks[:4], Words(8, np.array([[0], [8], [0]], np.uint8))], 36)
    assert [joined.integer(i) for i in range(3)] == [0, 1 << 35, 0]


def test_a_bank_that_the_word_does_not_reach_is_refused_unless_it_is_zero():
    words = Words(8, np.array([[0x5A]], np.uint8))
    empty = Words(8, np.zeros((1, 1), np.uint8))
    assert join_banks([words, empty], 8) == words
    with pytest.raises(ValueError, match="word 0 has more than 8 bits"):
        join_banks([words, Words(8, np.array([[1]], np.uint8))], 8)
