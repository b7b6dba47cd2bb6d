# SPDX-License-Identifier: Apache-2.0
"""The search for the cheapest mix of blocks: sums, limits, and another search beside it."""

import random
from functools import cache

import pytest

from bramcast.pack.device.devices import FAMILIES, BlockRam, Family, plain_family
from bramcast.pack.device.primitive_mix import best_mix, lut_mix

SEVEN = FAMILIES["7series"]


def test_bits_of_a_mix_add_up():
    mix = best_mix(SEVEN, 128, 512)  # two of 72 bits: 16 columns of 512 words left over
    assert (mix.bits, mix.parity, mix.columns, mix.rows) == (2 * 36864, 0, 16 * 512, 0)
    mix = best_mix(plain_family(SEVEN), 32, 1000)  # 1024x32: parity and 24 words left over
    assert (mix.bits, mix.parity, mix.columns, mix.rows) == (36864, 4096, 0, 24 * 32)
    mix = lut_mix(SEVEN, 66, 16)  # 11 RAM32M: 44 LUTs of 64 bits
    assert (mix.luts, mix.bits, mix.rows) == (44, 44 * 64, 44 * 64 - 66 * 16)


@pytest.mark.parametrize("behind, units", [(1, 128), (2, 128), (4, 89)])
def test_blocks_behind_each_other_are_limited(behind, units):
    # 16Kx2 for each two bits; 8Kx4 twice is no better; 4Kx9 and what is over in words and bits.
    mix = best_mix(SEVEN, 128, 12448, behind)
    assert mix.behind <= behind
    assert mix.units == units


# --- the search against another one ------------------------------------------------------------


def cheapest(family, width, depth):
    """Cost of the cheapest partition into rectangles of all kinds, cell by cell.

    In a partition the first cell that is not covered yet is a rectangle's corner.
    """

    def fits(w, d):
        return min(
            (b.units for b in family.blocks for sw, sd in b.shapes if sw >= w and sd >= d),
            default=None,
        )

    @cache
    def rest(covered):
        at = next((i for i in range(width) if covered[i] < depth), None)
        if at is None:
            return 0
        # The skyline's lowest column, the leftmost of several.
        level = min(covered)
        at = covered.index(level)
        best = 1 << 30
        for w in range(1, width - at + 1):
            if covered[at + w - 1] != level:
                break
            for d in range(1, depth - level + 1):
                cost = fits(w, d)
                if cost is None:
                    break
                after = (*covered[:at], *(level + d,) * w, *covered[at + w :])
                best = min(best, cost + rest(after))
        return best

    return rest((0,) * width)


TOYS = [
    (BlockRam("A", 8, ((4, 2), (2, 4), (1, 8)), 1),),
    (BlockRam("A", 12, ((3, 4), (2, 6)), 2), BlockRam("B", 6, ((3, 2), (1, 6)), 1)),
    (BlockRam("A", 9, ((9, 1), (4, 2), (2, 4), (1, 8)), 1),),
    (BlockRam("A", 16, ((5, 2), (2, 8)), 3), BlockRam("B", 4, ((2, 2),), 2)),
]


@pytest.mark.parametrize("blocks", TOYS)
def test_no_partition_is_cheaper(blocks):
    """The row is 1 or 2 words here, so that cuts are tried at all or at every second word."""
    family = Family("toy", "toy", "A", blocks, None, worth=1, mux=0, source="")
    row = min(d for b in blocks for _, d in b.shapes)
    for width in range(1, 6):
        for depth in range(row, 8, row):
            mix = best_mix(family, width, depth)
            assert mix.units == cheapest(family, width, depth), (width, depth, mix.text())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("behind", [None, 1, 3])
def test_pieces_cover_every_bit_once_and_fit_their_shapes(name, behind):
    family, rng = FAMILIES[name], random.Random(5)
    for _ in range(12):
        width, depth = rng.randint(1, 150), rng.choice([rng.randint(1, 900), rng.randint(1, 9000)])
        mix = best_mix(family, width, depth, behind)
        area = 0
        for p in mix.pieces:
            assert 0 <= p.bit and p.bit + p.width <= width
            assert 0 <= p.word and p.word + p.depth <= depth
            if p.block:
                assert p.shape in p.block.shapes
                assert p.width <= p.shape[0] and p.depth <= p.shape[1]
            area += p.width * p.depth
        assert area == width * depth
        for i, a in enumerate(mix.pieces):
            for b in mix.pieces[:i]:
                apart = a.bit >= b.bit + b.width or b.bit >= a.bit + a.width
                assert apart or a.word >= b.word + b.depth or b.word >= a.word + a.depth
        assert mix.bits >= width * depth
        if behind is None:  # no worse than one shape for all
            assert mix.units <= min(
                -(-width // w) * -(-depth // d) * b.units
                for b in family.blocks
                for w, d in b.shapes
            )
