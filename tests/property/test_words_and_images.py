# SPDX-License-Identifier: Apache-2.0
"""Laws of packing: what is packed is unpacked, what is written is read."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from memory_words import random_words

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.formats.binary import bin_bytes, read_bin
from bramcast.pack.bundle.formats.readmem import mem_text, read_mem
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.words import pack_bias, pack_lanes, unpack_bias, unpack_lanes

shapes = st.tuples(st.integers(0, 20), st.integers(1, 20))


@given(st.data(), st.integers(2, 32), st.booleans(), shapes)
def test_unpacked_lanes_are_the_packed_ones(data, bits, signed, shape):
    low = -(1 << (bits - 1)) if signed else 0
    elements = st.integers(low, low + (1 << bits) - 1)
    values = data.draw(arrays(np.int64, shape, elements=elements))
    assert np.array_equal(unpack_lanes(pack_lanes(values, bits, signed), bits, signed), values)


@given(st.data(), st.sampled_from([1, 2, 4, 8]), st.integers(0, 10))
def test_unpacked_biases_are_the_packed_ones(data, rq, n):
    bias = data.draw(arrays(np.int64, n * rq, elements=st.integers(-(2**30), 2**30 - 1)))
    shift = data.draw(arrays(np.int64, n * rq, elements=st.integers(0, 31)))
    assert np.array_equal(unpack_bias(pack_bias(bias, shift, rq)), (bias, shift))


@given(st.integers(0, 2**32), st.sampled_from([1, 4, 16, 64]), st.sampled_from([1, 2]))
def test_a_read_images_bin_is_the_written_one(seed, lanes, rq):
    core = Core(lanes, 1, 8, 8, rq, 64, 9, 5, 256, 64)
    depths = {"program": 64, "weights": 9, "bias": 5, "table": 256}
    images = {n: random_words(core.word_bits(n), d, seed) for n, d in depths.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.bin"
        path.write_bytes(bin_bytes(images, core))
        assert read_bin(path, core) == images


@settings(max_examples=200)
@given(st.data(), st.integers(0, 2**32))
def test_a_damaged_byte_is_refused_at_its_line_or_is_another_word(data, seed):
    words = random_words(36, 20, seed)
    raw = bytearray(mem_text(words, 20))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    line = raw[:at].count(b"\n") + 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        path.write_bytes(raw)
        try:
            got = read_mem(path, 36, 20)
        except InputError as error:
            place = str(error).removeprefix(str(path))
            # a lost line end shows in its own line, or at the end of the file in the count
            assert place.startswith((f":{line}: ", f": {20 - 1} lines, ")), str(error)
        else:
            changed = np.flatnonzero(np.any(got.data != words.data, axis=1))
            assert len(changed) == 1 and mem_text(got, 20) == bytes(raw)
