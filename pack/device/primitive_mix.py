# SPDX-License-Identifier: Apache-2.0
"""Covers a memory of some width and depth with the cheapest mix of a family's shapes.

A memory is a rectangle, width x depth. It is covered by one block, or cut in two: side by side (the
parts have some of the bits each; free) or one behind the other (the parts have some of the words
each; a multiplexer for every bit). The search over all such cuts, at every bit and at every
multiple of the shallowest shape's depth, is exact.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bramcast.pack.device.devices import BlockRam, Family

MOST_ROWS = 512  # deeper memories are cut at coarser places
_LUT = 1000  # cost of a LUT; a primitive costs 1 on top, so that fewer win a tie
_LEAF, _SIDE, _BEHIND = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Piece:
    """Bits ``bit`` .. of words ``word`` .. of a memory, in one block or in LUTs (``block`` None).

    ``luts``: of LUT RAM. ``shape``: of the block, (bits of a word, words).
    """

    bit: int
    width: int
    word: int
    depth: int
    block: BlockRam | None
    shape: tuple[int, int]
    luts: int = 0


@dataclass(frozen=True, slots=True)
class Mix:
    """The pieces that cover a memory: each bit of each word lies in exactly one.

    ``lut_bits``: bits of the LUTs that serve as memory. ``mux_luts``: about what joins the pieces.
    """

    width: int
    depth: int
    pieces: tuple[Piece, ...]
    lut_bits: int
    mux_luts: int
    unit: str = "LUT"

    @property
    def units(self) -> int:
        """Block RAM, in what the parts' counts count."""
        return sum(p.block.units for p in self.pieces if p.block)

    @property
    def luts(self) -> int:
        """LUTs that serve as memory."""
        return sum(p.luts for p in self.pieces)

    @property
    def bits(self) -> int:
        """Bits of all primitives, parity bits included."""
        return sum(p.block.bits for p in self.pieces if p.block) + self.lut_bits

    @property
    def parity(self) -> int:
        """Bits of the blocks that their shapes have not got."""
        return sum(p.block.bits - p.shape[0] * p.shape[1] for p in self.pieces if p.block)

    @property
    def columns(self) -> int:
        """Bits of the shapes beside the pieces: too wide."""
        return sum((p.shape[0] - p.width) * p.shape[1] for p in self.pieces if p.block)

    @property
    def rows(self) -> int:
        """Bits of the shapes below the pieces, and of LUTs: too deep."""
        return self.bits - self.parity - self.columns - self.width * self.depth

    @property
    def behind(self) -> int:
        """Pieces that one bit's words lie in, at most: the inputs of its multiplexer."""
        return max(
            sum(p.bit <= bit < p.bit + p.width for p in self.pieces)
            for bit in {p.bit for p in self.pieces}
        )

    def text(self) -> str:
        """For example ``2 x RAMB36E1 512x72 + 40 LUT``, the most frequent first."""
        counts: dict[str, int] = {}
        for p in self.pieces:
            if p.block:
                name = f"{p.block.name} {p.shape[1]}x{p.shape[0]}"
                counts[name] = counts.get(name, 0) + 1
        ordered = sorted(counts.items(), key=lambda item: -item[1])
        parts = [f"{n} x {name}" for name, n in ordered]
        return " + ".join(parts + ([f"{self.luts} {self.unit}"] if self.luts else []))


@dataclass(frozen=True, slots=True)
class _Table:
    """Cheapest cover of every (bits, rows): its cost and how the first cut is made."""

    cost: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    kind: np.ndarray[tuple[int, ...], np.dtype[np.int8]]
    where: np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@lru_cache(maxsize=256)
def best_mix(family: Family, width: int, depth: int, behind: int | None = None) -> Mix:
    """The cheapest legal mix for ``depth`` words of ``width`` bits.

    Args:
        behind: at most so many blocks one behind the other, that is, inputs of a bit's multiplexer;
            more only where the deepest shape is too shallow. 1: each bit in one block.

    >>> from bramcast.pack.device.devices import FAMILIES
    >>> seven = FAMILIES["7series"]
    >>> best_mix(seven, 72, 512).text(), best_mix(seven, 128, 4096).text()
    ('1 x RAMB36E1 512x72', '14 x RAMB36E1 4096x9 + 1 x RAMB18E1 4096x4')
    >>> best_mix(seven, 36, 1025).text()
    '1 x RAMB36E1 1024x36 + 24 LUT'
    """
    row = min(words for block in family.blocks for _, words in block.shapes)
    if behind is not None:
        depths = {words for block in family.blocks for _, words in block.shapes}
        row = min((d for d in depths if d * behind >= depth), default=family.deepest)
    while -(-depth // row) > MOST_ROWS:
        row *= 2
    rows = -(-depth // row)
    tail = depth - (rows - 1) * row
    # ``full`` covers whole rows, ``end`` those whose last row is the memory's last.
    full = _solve(family, width, rows, row, row, None)
    end = full if tail == row else _solve(family, width, rows, row, tail, full)
    pieces: list[Piece] = []
    _collect(family, full, end, (0, width, 0, rows), row, depth, pieces)
    lut_bits = sum(p.luts for p in pieces) * (family.lut_ram.bits if family.lut_ram else 0)
    inputs = sum(p.width for p in pieces) - width  # of multiplexers, beyond one for each bit
    inputs += sum(_inside(family, p) * p.width for p in pieces)
    mux = -(-inputs * family.mux // _LUT)
    unit = family.lut_ram.unit if family.lut_ram else "LUT"
    return Mix(width, depth, tuple(pieces), lut_bits, mux, unit)


def lut_mix(family: Family, width: int, depth: int) -> Mix:
    """A memory that has to lie in LUTs, whatever that costs; the family must have LUT RAM."""
    ram = family.lut_ram
    assert ram is not None
    luts = ram.cost(width, depth)
    piece = Piece(0, width, 0, depth, None, (0, 0), luts)
    mux = -(-_inside(family, piece) * width * family.mux // _LUT)
    return Mix(width, depth, (piece,), luts * ram.bits, mux, ram.unit)


def _inside(family: Family, piece: Piece) -> int:
    """Multiplexer inputs, but one, of a piece in LUTs."""
    if piece.block or family.lut_ram is None:
        return 0
    return -(-piece.depth // max(d for _, d in family.lut_ram.shapes)) - 1


def _leaf(family: Family, width: int, words: int) -> tuple[int, BlockRam | None, tuple[int, int]]:
    """Cost of the cheapest single primitive, or LUT RAM, that holds it (-1: there is none)."""
    best: tuple[int, BlockRam | None, tuple[int, int]] = (-1, None, (0, 0))
    for block in family.blocks:
        # Of several shapes of one block the narrowest, then the shallowest: least is left over.
        fit = [s for s in block.shapes if s[0] >= width and s[1] >= words]
        cost = block.units * family.worth * _LUT + 1
        if fit and (best[0] < 0 or cost < best[0]):
            best = (cost, block, min(fit, key=lambda shape: shape[1]))
    ram = family.lut_ram
    if ram is not None and words <= ram.limit:
        levels = -(-words // max(d for _, d in ram.shapes)) - 1
        cost = ram.cost(width, words) * _LUT + levels * width * family.mux + 1
        if best[0] < 0 or cost < best[0]:
            best = (cost, None, (0, 0))
    return best


def _solve(
    family: Family, width: int, rows: int, row: int, tail: int, full: _Table | None
) -> _Table:
    """Fill the table for all bits 1 .. width and rows 1 .. rows, the last one of ``tail`` words."""
    none = np.int64(1) << 60
    cost = np.full((width + 1, rows + 1), none, np.int64)
    kind = np.zeros((width + 1, rows + 1), np.int8)
    where = np.zeros((width + 1, rows + 1), np.int64)
    for bits in range(1, width + 1):
        for n in range(1, rows + 1):
            leaf = _leaf(family, bits, (n - 1) * row + tail)[0]
            if leaf >= 0:
                cost[bits, n] = leaf
        if bits > 1:
            half = bits // 2
            pairs = cost[1 : half + 1] + cost[bits - 1 : bits - half - 1 : -1]
            first = pairs.argmin(axis=0)
            side = pairs[first, np.arange(rows + 1)]
            better = side < cost[bits]
            cost[bits, better], kind[bits, better] = side[better], _SIDE
            where[bits, better] = first[better] + 1
        upper = cost if full is None else full.cost
        for n in range(2, rows + 1):
            sums = upper[bits, 1:n] + cost[bits, n - 1 : 0 : -1]
            at = int(sums.argmin())
            total = sums[at] + bits * family.mux
            if total < cost[bits, n]:
                cost[bits, n], kind[bits, n], where[bits, n] = total, _BEHIND, at + 1
    return _Table(cost, kind, where)


def _collect(
    family: Family,
    full: _Table,
    end: _Table,
    region: tuple[int, int, int, int],
    row: int,
    depth: int,
    pieces: list[Piece],
) -> None:
    """Follow the cuts of a region (first bit, bits, first row, rows) down to its pieces."""
    stack = [region]
    while stack:
        bit, bits, at, rows = stack.pop()
        table = end if (at + rows) * row >= depth else full
        kind, where = table.kind[bits, rows], int(table.where[bits, rows])
        if kind == _SIDE:
            stack += [(bit + where, bits - where, at, rows), (bit, where, at, rows)]
        elif kind == _BEHIND:
            stack += [(bit, bits, at + where, rows - where), (bit, bits, at, where)]
        else:
            words = min(rows * row, depth - at * row)
            _, block, shape = _leaf(family, bits, words)
            luts = 0 if block or family.lut_ram is None else family.lut_ram.cost(bits, words)
            pieces.append(Piece(bit, bits, at * row, words, block, shape, luts))
