# SPDX-License-Identifier: Apache-2.0
"""Which memory primitives an FPGA family has, and how many of them a part has.

Shapes are those in which a primitive has one read port and one write port of the same width, as
every memory of the core needs. Counts are the manufacturers' (``Family.source``); a part is listed
only where they are certain. A new part is one of its family's ``parts``, a new family an entry of
the table; tests/unit/pack/device/test_memory.py names what is then missing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from types import MappingProxyType

from bramcast.pack.bundle.errors import InputError


@dataclass(frozen=True, slots=True)
class BlockRam:
    """A block RAM: ``bits`` with parity; ``units`` of what the parts' counts count.

    ``shapes``: (bits of a word, words), widest first.
    """

    name: str
    bits: int
    shapes: tuple[tuple[int, int], ...]
    units: int = 1


@dataclass(frozen=True, slots=True)
class LutRam:
    """Memory made of LUTs: a cell in each of its ``shapes`` takes ``luts`` LUTs of ``bits`` bits.

    ``unit``: what the manufacturer calls such a LUT. Only as deep as ``limit`` words: beyond, its
    multiplexers cost more than it saves.
    """

    name: str
    luts: int
    bits: int
    shapes: tuple[tuple[int, int], ...]
    limit: int
    unit: str = "LUT"

    def cost(self, width: int, depth: int) -> int:
        """LUTs for depth x width: rows of the deepest shape, the rest in the shape that is enough.

        >>> seven = FAMILIES["7series"].lut_ram
        >>> seven.cost(6, 32), seven.cost(6, 64), seven.cost(6, 96), seven.cost(7, 16)
        (4, 8, 12, 8)
        """
        wide, deep = max(self.shapes, key=lambda shape: shape[1])
        rows, rest = divmod(depth, deep)
        cells = rows * -(-width // wide)
        if rest:
            cells += min(-(-width // w) for w, d in self.shapes if d >= rest)
        return cells * self.luts


@dataclass(frozen=True, slots=True)
class Family:
    """What a family offers.

    Attributes:
        unit: name of what a part's count counts.
        worth: LUTs that one unit is worth when a mix is chosen: about half of what a typical part
            has for each.
        mux: thousandths of a LUT that a bit costs where two blocks lie one behind the other.
        plain: lanes without parity bits that updatemem reaches; empty where there is no such tool.
        notes: memories that the core can't use, and why.
        source: documents that the shapes and counts are from.
        yosys: the synthesis command that infers these blocks.
        parts: how many units each part has. Units are RAMB18 with AMD: twice the RAMB36 of the
            data sheet.
    """

    name: str
    title: str
    unit: str
    blocks: tuple[BlockRam, ...]
    lut_ram: LutRam | None
    worth: int
    mux: int
    source: str
    notes: tuple[str, ...] = ()
    plain: tuple[BlockRam, ...] = ()
    yosys: str = ""
    parts: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def deepest(self) -> int:
        """Words of the deepest shape."""
        return max(depth for block in self.blocks for _, depth in block.shapes)


def _shapes(capacity: int, *widths: int) -> tuple[tuple[int, int], ...]:
    """Widths that are multiples of 9 (or 5) use the parity bits, the others do not."""
    return tuple((width, capacity // width) for width in widths)


def _xilinx(suffix: str) -> tuple[BlockRam, ...]:
    data18 = _shapes(16384, 4, 2, 1)
    data36 = _shapes(32768, 4, 2, 1)
    return (
        BlockRam(f"RAMB36{suffix}", 36864, _shapes(36864, 72, 36, 18, 9) + data36, 2),
        BlockRam(f"RAMB18{suffix}", 18432, _shapes(18432, 36, 18, 9) + data18, 1),
    )


def _plain(suffix: str) -> tuple[BlockRam, ...]:
    # RAMB18 needs an undocumented variable in updatemem, so whole RAMB36 only.
    return (BlockRam(f"RAMB36{suffix}", 36864, ((32, 1024), (16, 2048), (8, 4096)), 2),)


_URAM = (
    "UltraRAM (URAM288, 4096 x 72) starts as zeros: no image can lie in it; the scratchpad and the "
    "frame FIFO could"
)

_FAMILIES = (
    Family(
        name="7series",
        title="AMD 7-series",
        unit="RAMB18",
        blocks=_xilinx("E1"),
        lut_ram=LutRam("RAM64M, RAM32M", 4, 64, ((3, 64), (6, 32)), 256),
        worth=100,
        mux=500,
        source="UG473, UG474, DS180, DS190",
        plain=_plain("E1"),
        yosys="synth_xilinx -family xc7",
        parts={
            "xc7s6": 10, "xc7s15": 20, "xc7s25": 90, "xc7s50": 150, "xc7s75": 180, "xc7s100": 240,
            "xc7a12t": 40, "xc7a15t": 50, "xc7a25t": 90, "xc7a35t": 100, "xc7a50t": 150,
            "xc7a75t": 210, "xc7a100t": 270, "xc7a200t": 730,
            "xc7k70t": 270, "xc7k160t": 650, "xc7k325t": 890, "xc7k410t": 1590,
            "xc7z007s": 100, "xc7z010": 120, "xc7z012s": 144, "xc7z014s": 214, "xc7z015": 190,
            "xc7z020": 280, "xc7z030": 530, "xc7z045": 1090, "xc7z100": 1510,
        },
    ),
    Family(
        name="ultrascaleplus",
        title="AMD UltraScale+",
        unit="RAMB18",
        blocks=_xilinx("E2"),
        lut_ram=LutRam("RAM64M8, RAM32M16", 8, 64, ((7, 64), (14, 32)), 256),
        worth=80,
        mux=500,
        source="UG573, UG574, DS890, DS891",
        notes=(_URAM,),
        plain=_plain("E2"),
        yosys="synth_xilinx -family xcup",
        parts={
            "xczu2": 300, "xczu3": 432, "xczu4": 256, "xczu5": 288, "xczu7": 624, "xczu9": 1824,
            "xcku3p": 720, "xcku5p": 960, "xcvu3p": 1440, "xcvu9p": 4320,
        },
    ),
    Family(
        name="ecp5",
        title="Lattice ECP5",
        unit="DP16KD",
        blocks=(BlockRam("DP16KD", 18432, _shapes(18432, 36, 18, 9) + _shapes(16384, 4, 2, 1)),),
        lut_ram=LutRam("TRELLIS_DPR16X4", 6, 16, ((4, 16),), 64),
        worth=200,
        mux=1000,
        source="FPGA-DS-02012, FPGA-TN-02204",
        yosys="synth_ecp5",
        parts={"lfe5u-12": 32, "lfe5u-25": 56, "lfe5u-45": 108, "lfe5u-85": 208},
    ),
    Family(
        name="ice40",
        title="Lattice iCE40",
        unit="SB_RAM40",
        blocks=(BlockRam("SB_RAM40_4K", 4096, _shapes(4096, 16, 8, 4, 2)),),
        lut_ram=None,
        worth=120,
        mux=1000,
        source="FPGA-DS-02029, FPGA-DS-02008, FPGA-TN-02002",
        notes=(
            "the four SPRAM of an UltraPlus (16384 x 16) have no initial contents and one port: "
            "neither images nor the scratchpad can lie in them",
        ),
        yosys="synth_ice40",
        parts={"hx1k": 16, "lp1k": 16, "hx4k": 20, "hx8k": 32, "lp8k": 32, "up5k": 30},
    ),
    Family(
        name="gowin",
        title="Gowin",
        unit="BSRAM",
        blocks=(BlockRam("BSRAM", 18432, _shapes(18432, 36, 18, 9) + _shapes(16384, 4, 2, 1)),),
        lut_ram=None,  # the smaller parts have no shadow SRAM
        worth=200,
        mux=1000,
        source="UG285, DS100, DS102, DS117",
        yosys="synth_gowin",
        parts={"gw1n-4": 10, "gw1n-9": 26, "gw1nr-9": 26, "gw2a-18": 46, "gw2ar-18": 46},
    ),
    Family(
        name="cyclonev",
        title="Intel Cyclone V",
        unit="M10K",
        blocks=(BlockRam("M10K", 10240, _shapes(10240, 40, 20, 10, 5) + _shapes(8192, 2, 1)),),
        lut_ram=LutRam("MLAB", 10, 64, ((20, 32),), 128, "ALM"),
        worth=30,
        mux=500,
        source="CV-52002, CV-51001",
        yosys="synth_intel_alm -family cyclonev",
        parts={"5ceba2": 176, "5ceba4": 308, "5cgxfc5": 446, "5csema5": 397, "5cseba6": 553},
    ),
    Family(
        name="cyclone4",
        title="Intel Cyclone IV and Cyclone 10 LP",
        unit="M9K",
        blocks=(BlockRam("M9K", 9216, _shapes(9216, 36, 18, 9) + _shapes(8192, 4, 2, 1)),),
        lut_ram=None,
        worth=170,
        mux=1000,
        source="CYIV-51003, CYIV-51001, C10LP51001",
        parts={
            "ep4ce6": 30, "ep4ce10": 46, "ep4ce22": 66, "ep4ce115": 432,
            "10cl006": 30, "10cl010": 46, "10cl025": 66, "10cl120": 432,
        },
    ),
)  # fmt: skip

FAMILIES: Mapping[str, Family] = MappingProxyType({family.name: family for family in _FAMILIES})


@dataclass(frozen=True, slots=True)
class Part:
    """A part: ``count`` units of its family's blocks, or None where any number will do."""

    name: str
    family: Family
    count: int | None


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        name: Part(name, family, count)
        for family in _FAMILIES
        for name, count in family.parts.items()
    }
)


def find_part(name: str) -> Part:
    """A part by its name, also with package and speed grade behind it, or a family's name.

    >>> find_part("xc7a35tcpg236-1").count, find_part("XC7A35T").name, find_part("7series").count
    (100, 'xc7a35t', None)
    >>> find_part("LFE5UM5G-85F").name, find_part("iCE40UP5K-SG48").name
    ('lfe5u-85', 'up5k')

    Raises:
        InputError: no such part; names the ones that are similar.
    """
    given = name.strip().lower()
    if given in FAMILIES:
        return Part(given, FAMILIES[given], None)
    given = re.sub(r"^lfe5um(5g)?-", "lfe5u-", given)  # as much memory, with transceivers
    given = re.sub(r"^ice40-?", "", given)
    behind = [part for part in PARTS if given.startswith(part)]
    if behind:
        part = PARTS[max(behind, key=len)]
        rest = given[len(part.name) :]
        # xc7z01 is no xc7z010, and hx1k is no hx10k: a number or a Zynq's "s" must not go on.
        if not rest or not (rest[0].isdigit() and part.name[-1].isdigit()):
            return part
    near = get_close_matches(given, [*PARTS, *FAMILIES], 4, 0.6)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    raise InputError(
        f"--device {name}: no such part in the table; {hint}A family without a count: "
        f"{', '.join(FAMILIES)}; all parts: 'bramcast memory --devices'"
    )


def plain_family(family: Family) -> Family:
    """The family with only the lanes that updatemem can write: multiples of a byte, no parity.

    Raises:
        InputError: updatemem knows nothing of this family.
    """
    if not family.plain:
        raise InputError(
            f"--updatemem is for AMD's parts; {family.title} has no updatemem. Leave the option out"
        )
    return replace(family, blocks=family.plain, lut_ram=None)
