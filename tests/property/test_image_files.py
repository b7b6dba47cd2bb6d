# SPDX-License-Identifier: Apache-2.0
"""Laws of image files: what is written is read, and no file ends in a traceback."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_words import random_words

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.formats.table import TABLE, check_written, image_format, recognise
from bramcast.pack.bundle.formats.text import ImageSource
from bramcast.pack.bundle.words import join_banks, split_banks

FORMATS = [f.name for f in TABLE]


def fitted(fmt, bits):
    """A width that the format can hold, near ``bits``."""
    bits = min(bits, fmt.max_bits)
    return max(fmt.step, bits - bits % fmt.step)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=50)
@given(st.integers(1, 2304), st.integers(1, 70), st.integers(0, 9), st.integers(0, 2**32))
def test_read_words_are_the_written_ones(name, bits, n, more, seed):
    fmt = image_format(name)
    bits = fitted(fmt, bits)
    words = random_words(bits, n, seed)
    source = ImageSource(Path("image"), fmt.write(words, n + more))
    assert check_written(source, fmt, bits, n + more) == words.padded(n + more)
    content = fmt.parse(source, bits if fmt.asks_bits else None)
    assert content.words.bits == (bits if content.declared or bits % 4 == 0 else content.words.bits)
    for index in range(n):
        assert content.words.integer(index) == words.integer(index)
    assert len(content.words) == n + more and np.all(content.lines > 0)


@settings(max_examples=200)
@given(st.integers(1, 2304), st.integers(1, 2304), st.integers(1, 20), st.integers(0, 2**32))
def test_banks_are_slices_of_the_word(bits, bank_bits, n, seed):
    words = random_words(bits, n, seed)
    banks = split_banks(words, bank_bits)
    assert len(banks) == -(-bits // bank_bits) and {bank.bits for bank in banks} == {bank_bits}
    for k, bank in enumerate(banks):
        for index in range(n):
            part = words.integer(index) >> (k * bank_bits) & ((1 << bank_bits) - 1)
            assert bank.integer(index) == part
    assert join_banks(banks, bits) == words


PIECES = [b"\n", b" ", b";", b":", b",", b"@", b"@FFFFFFFF", b"//", b"/*", b"*/", b"--", b"%", b"#",
          b"[0..FFFFFF]", b"..", b"x", b"z", b"_", b"0x", b"-1", b"=", b"WIDTH=9999999;", b"END;",
          b"DEPTH=99999999;", b"#Data", b"#Depth=99999999\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf",
          b"\r\n", b"\r", b":00000001FF", b"9" * 5000,
          b"memory_initialization_radix=10;"]  # fmt: skip


def damaged(data, dice):
    """Some bytes changed, cut off, doubled, or a piece of some grammar put between."""
    data = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 5])):
        at = dice.randrange(len(data) + 1)
        kind = dice.randrange(5)
        if kind == 0 and at < len(data):
            data[at] = dice.randrange(256)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            del data[at : at + dice.randrange(1, 30)]
        elif kind == 3:
            data[at:at] = data[: dice.randrange(1, 60)]
        else:
            data[at:at] = dice.choice(PIECES)
    return bytes(data)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=150)
@given(st.integers(0, 2**32), st.sampled_from([8, 16, 32, 64]), st.booleans())
def test_a_damaged_file_is_read_or_refused_with_its_name(name, seed, bits, guessed):
    fmt, dice = image_format(name), random.Random(seed)
    raw = damaged(fmt.write(random_words(bits, 12, seed), 12), dice)
    source = ImageSource(Path(f"image{fmt.suffix}"), raw)
    try:
        read = recognise(source) if guessed else fmt
        content = read.parse(source, bits)
    except InputError as error:
        assert str(error).startswith(f"image{fmt.suffix}:")
    else:
        assert content.words.bits == bits and len(content.lines) == len(content.words)
    try:
        words = check_written(source, fmt, bits, 12)
    except InputError as error:
        assert str(error).startswith(f"image{fmt.suffix}:")
    else:
        assert fmt.write(words, 12) == raw
