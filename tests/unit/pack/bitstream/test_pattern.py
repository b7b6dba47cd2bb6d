# SPDX-License-Identifier: Apache-2.0
"""The pattern: no column is like another, and its words say for which core it is."""

from dataclasses import replace

import numpy as np
import pytest

from bramcast.pack.bitstream.pattern import bit_columns, core_of, from_columns, pattern
from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.bundle.manifest import Core

SMALL = Core(4, 1, 8, 8, 1, 64, 33, 6, 0, 28)
LARGE = Core(64, 8, 16, 8, 64, 1000, 3000, 1100, 1024, 100_000, narrow=True, gates=True)


def runs(core):
    """The first 64 words of every column as two numbers, bit 0 first."""
    found = []
    for words in pattern(core).values():
        columns = bit_columns(words.padded(max(64, len(words))))[:, :64]
        bits = np.packbits(columns.reshape(-1, 2, 32), axis=2, bitorder="little")
        found.append(bits.view("<u4")[:, :, 0].astype(np.int64))
    return np.concatenate(found)


@pytest.mark.parametrize("core", [SMALL, LARGE])
def test_no_column_is_zero_or_like_another(core):
    seen = set()
    for words in pattern(core).values():
        columns = np.packbits(bit_columns(words.padded(3000)), axis=1)
        assert columns.any(axis=1).all()
        assert not seen & {column.tobytes() for column in columns}
        seen |= {column.tobytes() for column in columns}
    assert len(seen) == sum(words.bits for words in pattern(core).values())


def test_no_piece_of_a_block_is_like_another():
    words = pattern(LARGE)["weights"]
    columns = bit_columns(words)[:, :2816].reshape(words.bits, -1, 256)
    packed = np.packbits(columns, axis=2).reshape(-1, 32)
    assert len(np.unique(packed, axis=0)) == len(packed)


@pytest.mark.parametrize("stride", [2, 4, 8, 16])
def test_every_second_word_tells_columns_apart_too(stride):
    words = pattern(replace(LARGE, weights_depth=128 * stride))["weights"]
    pieces = bit_columns(words).reshape(words.bits, 128, stride).transpose(0, 2, 1)
    packed = np.packbits(pieces, axis=2).reshape(-1, 16)
    assert len(np.unique(packed, axis=0)) == len(packed)


@pytest.mark.parametrize("core", [SMALL, LARGE])
def test_the_columns_say_for_which_core_they_are(core):
    others = np.random.default_rng(0).integers(0, 1 << 32, (20_000, 2))
    found = np.concatenate([others, runs(core)[::-1], others])
    assert core_of(found) == core
    assert core_of(others) is None
    assert core_of(np.zeros((0, 2), np.int64)) is None


def test_a_core_without_a_late_parameter_is_one_with_its_default():
    assert core_of(runs(SMALL)) == replace(SMALL, gates=False)


@pytest.mark.parametrize(
    "name, depth, least", [("program", 63, 64), ("weights", 5, 6), ("bias", 5, 6)]
)
def test_a_memory_of_too_few_words_is_refused_by_its_name(name, depth, least):
    with pytest.raises(RecipeError, match=f"{name}_depth = {depth}: .* give core.{name}_depth"):
        pattern(replace(SMALL, **{f"{name}_depth": depth}))
    pattern(replace(SMALL, **{f"{name}_depth": least}))


def test_columns_become_words_again():
    for words in pattern(SMALL).values():
        assert from_columns(bit_columns(words)) == words
