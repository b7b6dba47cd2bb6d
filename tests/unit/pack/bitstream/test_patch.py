# SPDX-License-Identifier: Apache-2.0
"""Images in bitstream files: what was written is what an independent reader finds there."""

from dataclasses import dataclass, replace
from pathlib import Path

import bitstreams as made
import numpy as np
import pytest

from bramcast.pack.bitstream.patch import misfits, patch
from bramcast.pack.bitstream.pattern import pattern
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[4]
BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_gru"
MANIFEST = read_manifest(BUNDLE)
CORE = MANIFEST.core
IMAGES = load_images(BUNDLE, MANIFEST)
WHERE = Path("x")


@dataclass(frozen=True)
class Kind:
    """How blocks and files of a kind are written and read; ``widths`` of the images' blocks."""

    write: object
    read: object
    block: object
    words: object
    widths: dict[str, int]
    bits: int = 18432

    def depth(self, name):
        width = self.widths[name]
        return self.bits // width if width > 8 or self.bits == 4096 else 16384 // width

    def layout(self, core=CORE):
        """(image, copy, blocks) in the order in which they are numbered."""
        for name, words in pattern(core).items():
            for copy in range(core.rq if name == "table" else 1):
                yield name, copy, list(made.pieces(words, self.widths[name], self.depth(name)))

    def blocks(self, core=CORE):
        raws = [self.block(p, self.widths[n]) for n, _, ps in self.layout(core) for p in ps]
        order = np.random.default_rng(1).permutation(len(raws))  # place and route
        return {int(order[i]): raw for i, raw in enumerate(raws)}

    def images(self, blocks):
        """All images that are found where ``blocks`` put them, with their copies."""
        counts = [len(p) for _, _, p in self.layout()]
        order = np.random.default_rng(1).permutation(sum(counts))
        at = 0
        for (name, _, ps), count in zip(self.layout(), counts, strict=True):
            mine = [self.words(blocks[int(order[at + i])], self.widths[name]) for i in range(count)]
            at += count
            info = IMAGES[name]
            yield name, made.joined(mine, len(info), info.bits, self.widths[name], self.depth(name))
            del ps


def low(words, width):
    return made.ice40_block(words, width, True)


def high(words, width):
    return made.ice40_block(words, width, False)


def read_high(raw, width):
    return made.ice40_words(raw, width, False)


WIDE = {"program": 36, "weights": 36, "bias": 18, "table": 9}
THIN = {"program": 9, "weights": 4, "bias": 2, "table": 1}
ICE = {"program": 8, "weights": 16, "bias": 16, "table": 4}
ICE_THIN = {"program": 4, "weights": 8, "bias": 8, "table": 2}
ECP5 = (made.ecp5_block, made.ecp5_words)
GOWIN = (made.gowin_fs, made.gowin_fs_blocks, made.gowin_block, made.gowin_words)
# Of a device without block RAMs of 36 bits, and one whose memories are shared out thinly.
NINE = {"program": 9, "weights": 18, "bias": 36, "table": 9}
THINNER = {"program": 36, "weights": 36, "bias": 18, "table": 4}
KINDS = {
    ".fs": Kind(*GOWIN, NINE),
    ".fs thin": Kind(*GOWIN, THINNER),
    ".bit": Kind(made.ecp5_bit, made.ecp5_bit_blocks, *ECP5, WIDE),
    ".bit thin": Kind(made.ecp5_bit, made.ecp5_bit_blocks, *ECP5, THIN),
    ".config": Kind(made.ecp5_config, made.ecp5_config_blocks, *ECP5, WIDE),
    ".bin": Kind(made.ice40_bin, made.ice40_bin_blocks, low, made.ice40_words, ICE, 4096),
    ".bin high": Kind(made.ice40_bin, made.ice40_bin_blocks, high, read_high, ICE, 4096),
    ".bin thin": Kind(made.ice40_bin, made.ice40_bin_blocks, low, made.ice40_words, ICE_THIN, 4096),
    ".asc": Kind(made.ice40_asc, made.ice40_asc_blocks, low, made.ice40_words, ICE_THIN, 4096),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_independent_reader_finds_the_bundles_words(kind):
    kind = KINDS[kind]
    done = patch(WHERE, kind.write(kind.blocks()), MANIFEST, IMAGES)
    found = list(kind.images(kind.read(done.content)))
    assert [name for name, _ in found] == ["program", "weights", "bias", "table", "table"]
    for name, words in found:
        assert words == [IMAGES[name].integer(i) for i in range(len(IMAGES[name]))], name
    assert done.words == sum(len(words) for _, words in found)
    assert {i.name: i.copies for i in done.images}["table"] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_else_in_the_file_changes(kind):
    kind = KINDS[kind]
    blocks = kind.blocks()
    foreign = max(blocks) + 1
    blocks[foreign] = [i % 253 for i in range(len(blocks[0]))]  # another RAM of the design
    done = patch(WHERE, kind.write(blocks), MANIFEST, IMAGES)
    after = kind.read(done.content)
    assert after[foreign] == blocks[foreign]
    assert kind.write(after) == done.content  # checksums included


def test_blocks_that_one_command_writes_are_patched():
    kind = KINDS[".bit"]
    one = patch(WHERE, made.ecp5_bit(kind.blocks(), in_one=True), MANIFEST, IMAGES)
    each = patch(WHERE, made.ecp5_bit(kind.blocks()), MANIFEST, IMAGES)
    assert one.content == made.ecp5_bit(made.ecp5_bit_blocks(each.content), in_one=True)


# --- what is refused


@pytest.mark.parametrize("kind", [".bit", ".config", ".bin", ".asc", ".fs"])
def test_a_patched_file_has_no_pattern_any_more(kind):
    kind = KINDS[kind]
    done = patch(WHERE, kind.write(kind.blocks()), MANIFEST, IMAGES)
    with pytest.raises(InputError, match="none of its .* holds the pattern"):
        patch(WHERE, done.content, MANIFEST, IMAGES)


@pytest.mark.parametrize(
    "change, why",
    [
        ({"weights_depth": 360}, "weights_depth is 360, the bundle's 352"),
        ({"table_depth": 768}, "table_depth is 768, the bundle's 1,024"),
        ({"lanes": 8, "rq": 2}, "lanes is 8, the bundle's 16"),
        ({"rq": 4}, "rq is 4, the bundle's 2"),
        ({"gates": False}, "gates is false, the bundle's true"),
        ({"scratch_depth": 18}, "scratch_depth is 18, the bundle's 19"),
        ({"scratch_depth": 18, "program_depth": 928}, "program_depth is 928, .*; scratch_depth"),
    ],
)
def test_a_core_with_other_parameters_is_refused_by_their_names(change, why):
    kind = KINDS[".bit"]
    content = kind.write(kind.blocks(replace(CORE, **change)))
    with pytest.raises(InputError, match=f"x: is built for another core: {why}"):
        patch(WHERE, content, MANIFEST, IMAGES)


def test_a_core_that_can_do_more_takes_the_images():
    assert not misfits(replace(CORE, narrow=True, scratch_depth=4096), MANIFEST)
    kind = KINDS[".bit"]
    content = kind.write(kind.blocks(replace(CORE, narrow=True)))
    assert patch(WHERE, content, MANIFEST, IMAGES).words


def test_a_memory_that_is_elsewhere_is_missed_by_its_name():
    kind = KINDS[".asc"]
    blocks = kind.blocks()
    number = next(i for i in blocks if ecp5_like(kind, blocks, i) == "bias")
    del blocks[number]
    with pytest.raises(InputError, match="of bias, 0 to 1 copies of a bit are found, expected 1"):
        patch(WHERE, kind.write(blocks), MANIFEST, IMAGES)


def test_a_table_that_is_there_once_is_refused():
    kind = KINDS[".config"]
    blocks = kind.blocks()
    number = next(i for i in blocks if ecp5_like(kind, blocks, i) == "table")
    del blocks[number]
    with pytest.raises(InputError, match="of table, 1 to 1 copies of a bit are found, expected 2"):
        patch(WHERE, kind.write(blocks), MANIFEST, IMAGES)


def ecp5_like(kind, blocks, number):
    """The image that a block holds."""
    order = np.random.default_rng(1).permutation(len(blocks)).tolist()
    names = [name for name, _, ps in kind.layout() for _ in ps]
    return names[order.index(number)]


def test_an_altered_bit_of_the_pattern_is_seen():
    kind = KINDS[".config"]
    blocks = kind.blocks()
    number = next(i for i in blocks if ecp5_like(kind, blocks, i) == "weights")
    blocks[number][17] ^= 1
    with pytest.raises(InputError, match="of weights, 0 to 1 copies"):
        patch(WHERE, kind.write(blocks), MANIFEST, IMAGES)


def test_what_is_no_bitstream_is_refused():
    for content in (b"", b"\xff\x00", b"1234\n" * 100, b".device LFE5U-25F\n", bytes(1 << 16)):
        with pytest.raises(InputError, match="x: (is no bitstream|none of its 0)"):
            patch(WHERE, content, MANIFEST, IMAGES)


@pytest.mark.parametrize("kind", [".bit", ".bin", ".fs"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_file_that_is_cut_off_is_refused(kind, part):
    kind = KINDS[kind]
    content = kind.write(kind.blocks())
    with pytest.raises(InputError, match="cut off|holds the pattern"):
        patch(WHERE, content[: int(len(content) * part)], MANIFEST, IMAGES)


@pytest.mark.parametrize("kind", [".bit", ".bin"])
def test_a_damaged_file_is_refused(kind):
    kind = KINDS[kind]
    content = bytearray(kind.write(kind.blocks()))
    content[len(content) // 2] ^= 4
    with pytest.raises(InputError, match="CRC .*does not fit.* damaged"):
        patch(WHERE, bytes(content), MANIFEST, IMAGES)


def test_text_that_is_malformed_is_refused_by_its_section():
    config = KINDS[".config"].write(KINDS[".config"].blocks())
    with pytest.raises(InputError, match=r"x: .bram_init \d+ has 2047 values"):
        patch(WHERE, config[:-5] + b"\n", MANIFEST, IMAGES)
    asc = KINDS[".asc"].write(KINDS[".asc"].blocks())
    with pytest.raises(InputError, match=r"x: .ram_data 8 \d+ has 1[56] lines"):
        patch(WHERE, asc[:-10] + b"\n", MANIFEST, IMAGES)
