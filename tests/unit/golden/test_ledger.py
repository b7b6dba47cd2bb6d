# SPDX-License-Identifier: Apache-2.0
"""What a core's ledger must hold, from the images and the frame."""

import zlib

import numpy as np
import pytest
from support import common_core, write_recipe

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.ledger import ledgers
from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.program import ALL_BANKS, Nest
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe


@pytest.mark.parametrize("name, bank_of_some", [("Averages", 1), ("Repeats", ALL_BANKS)])
def test_an_entry_of_tiles_is_the_xor_of_their_rotated_checksums(name, bank_of_some, tmp_path):
    core = "[core]\nlanes = 4\ntaps = 2\nrq = 2\ntiles = 4\n"
    pack(read_recipe(write_recipe(tmp_path, name, core, samples=2)), tmp_path / "bundle")
    machine = load(tmp_path / "bundle")
    frames = frames_from_arrays(np.load(tmp_path / "inputs.npz")["x"], machine.manifest.input)
    results = machine.run(frames, keep_layers=True)
    bank = machine.core.scratch_depth * machine.core.taps
    kinds = set()
    for sample, entries in enumerate(ledgers(machine, results)):
        for nest, result, entry in zip(machine.program[1:], results.nests, entries, strict=True):
            kinds.add("strips" if nest.strips else "stream" if nest.stream else nest.bank)
            all_tiles = nest.strips or nest.bank == ALL_BANKS
            made, row = {}, 0  # bank: bytes in the order in which it was written
            for g in range(nest.counts[0]):
                width = machine.core.group(nest.lanewise)
                valid = nest.tail if g == nest.counts[0] - 1 else width
                subs, used = -(-valid // 4), -(-valid // 2) * 2  # chunks of RQ = 2
                for _ in range((4 if all_tiles else 1) * nest.counts[1] * nest.counts[2]):
                    place = 0 if nest.stream else int(result.addresses[row]) // bank
                    values = result.words[sample, row : row + subs].reshape(-1)[:used]
                    made[place] = made.get(place, b"") + values.astype("<i4").tobytes()
                    row += subs
            assert row == len(result.addresses)
            crc = 0
            for tile, data in made.items():
                one = zlib.crc32(data)
                crc ^= (one << tile | one >> (32 - tile)) & 0xFFFFFFFF
            assert entry.crc == crc
    assert {"strips", "stream", bank_of_some} <= kinds


@pytest.mark.parametrize("name", ["Mlp96", "TwoHeads", "GruNet"])
def test_entries_are_what_a_loop_over_pixels_and_chunks_makes(name, tmp_path):
    recipe = write_recipe(tmp_path, name, common_core(name, 8) + "rq = 8\n", samples=2)
    pack(read_recipe(recipe), tmp_path / "bundle")
    machine = load(tmp_path / "bundle")
    frames = frames_from_arrays(np.load(tmp_path / "inputs.npz")["x"], machine.manifest.input)
    results = machine.run(frames, keep_layers=True)
    found = ledgers(machine, results)
    nests = [d for d in machine.program if isinstance(d, Nest)]
    lanes, rq = machine.core.lanes, machine.core.rq
    assert len(found) == 2 and len(found[0]) == len(nests)
    for sample, entries in enumerate(found):
        assert sum(e.cycles for e in entries) == predict(machine.program, machine.core).total
        assert min(e.cycles for e in entries) >= 35  # a descriptor takes as long
        for nest, result, entry in zip(nests, results.nests, entries, strict=True):
            data, row = b"", 0
            for g in range(nest.counts[0]):
                valid = nest.tail if g == nest.counts[0] - 1 else machine.core.group(nest.lanewise)
                for _ in range(nest.counts[1] * nest.counts[2]):
                    for chunk in range(0, valid, rq):
                        for lane in range(chunk, chunk + rq):
                            word = result.words[sample, row + lane // lanes, lane % lanes]
                            data += int(word).to_bytes(4, "little", signed=True)
                    row += -(-valid // lanes)
            assert entry.crc == zlib.crc32(data)
    if name == "Mlp96":  # 12 results, and four lanes more in the second chunk
        assert found[1][-1].crc == zlib.crc32(results.beats[1].astype("<i4").tobytes() + bytes(16))
