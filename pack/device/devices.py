# SPDX-License-Identifier: Apache-2.0
"""Which memory primitives an FPGA family has; how many of them, LUTs and multipliers a part has.

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
        dsp: what a multiplier of the core takes a place in.
        products: so many products of 9 x 9 bits fit one of them, so many of 17 x 9.
        pairs: one of them multiplies 25 x 18 bits, and so holds a pair of two tiles.
        parts: units, LUTs (with Cyclone V: ALMs), registers and ``dsp`` that each part has. Units
            are RAMB18 with AMD: twice the RAMB36 of the data sheet.
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
    dsp: str = ""
    products: tuple[int, int] = (1, 1)
    pairs: bool = False
    parts: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict, hash=False)

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
        dsp="DSP48E1",
        products=(1, 1),
        pairs=True,
        parts={
            # RAMB18, LUTs, registers, DSP48E1
            "xc7s6": (10, 3752, 7504, 10), "xc7s15": (20, 8000, 16000, 20),
            "xc7s25": (90, 14600, 29200, 80), "xc7s50": (150, 32600, 65200, 120),
            "xc7s75": (180, 48000, 96000, 140), "xc7s100": (240, 64000, 128000, 160),
            "xc7a12t": (40, 8000, 16000, 40), "xc7a15t": (50, 10400, 20800, 45),
            "xc7a25t": (90, 14600, 29200, 80), "xc7a35t": (100, 20800, 41600, 90),
            "xc7a50t": (150, 32600, 65200, 120), "xc7a75t": (210, 47200, 94400, 180),
            "xc7a100t": (270, 63400, 126800, 240), "xc7a200t": (730, 134600, 269200, 740),
            "xc7k70t": (270, 41000, 82000, 240), "xc7k160t": (650, 101400, 202800, 600),
            "xc7k325t": (890, 203800, 407600, 840), "xc7k410t": (1590, 254200, 508400, 1540),
            "xc7z007s": (100, 14400, 28800, 66), "xc7z010": (120, 17600, 35200, 80),
            "xc7z012s": (144, 34400, 68800, 120), "xc7z014s": (214, 40600, 81200, 170),
            "xc7z015": (190, 46200, 92400, 160), "xc7z020": (280, 53200, 106400, 220),
            "xc7z030": (530, 78600, 157200, 400), "xc7z045": (1090, 218600, 437200, 900),
            "xc7z100": (1510, 277400, 554800, 2020),
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
        dsp="DSP48E2",
        products=(1, 1),
        pairs=True,
        parts={
            # RAMB18, LUTs, registers, DSP48E2
            "xczu2": (300, 47232, 94464, 240), "xczu3": (432, 70560, 141120, 360),
            "xczu4": (256, 87840, 175680, 728), "xczu5": (288, 117120, 234240, 1248),
            "xczu7": (624, 230400, 460800, 1728), "xczu9": (1824, 274080, 548160, 2520),
            "xcku3p": (720, 162720, 325440, 1368), "xcku5p": (960, 216960, 433920, 1824),
            "xcvu3p": (1440, 394080, 788160, 2280), "xcvu9p": (4320, 1182240, 2364480, 6840),
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
        dsp="MULT18X18D",
        products=(1, 1),
        parts={
            # DP16KD, LUT4, registers, MULT18X18D; of the -12 the sheet says 12 K
            "lfe5u-12": (32, 12000, 12000, 28), "lfe5u-25": (56, 24288, 24288, 28),
            "lfe5u-45": (108, 43848, 43848, 72), "lfe5u-85": (208, 83640, 83640, 156),
        },
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
        dsp="SB_MAC16",
        products=(1, 1),
        parts={
            # SB_RAM40_4K, LUT4, registers, SB_MAC16
            "hx1k": (16, 1280, 1280, 0), "lp1k": (16, 1280, 1280, 0), "hx4k": (20, 3520, 3520, 0),
            "hx8k": (32, 7680, 7680, 0), "lp8k": (32, 7680, 7680, 0), "up5k": (30, 5280, 5280, 8),
        },
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
        dsp="MULT18X18",
        products=(2, 1),
        parts={
            # BSRAM, LUT4, registers, multipliers 18 x 18
            "gw1n-4": (10, 4608, 3456, 16), "gw1n-9": (26, 8640, 6480, 20),
            "gw1nr-9": (26, 8640, 6480, 20), "gw2a-18": (46, 20736, 15552, 48),
            "gw2ar-18": (46, 20736, 15552, 48),
        },
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
        dsp="DSP block",
        products=(3, 2),
        parts={
            # M10K, ALM, registers, DSP blocks
            "5ceba2": (176, 9434, 37736, 25), "5ceba4": (308, 18480, 73920, 66),
            "5cgxfc5": (446, 29080, 116320, 150), "5csema5": (397, 32075, 128300, 87),
            "5cseba6": (553, 41509, 166036, 112),
        },
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
        dsp="multiplier 18 x 18",
        products=(2, 1),
        parts={
            # M9K, logic elements, registers, multipliers 18 x 18
            "ep4ce6": (30, 6272, 6272, 15), "ep4ce10": (46, 10320, 10320, 23),
            "ep4ce22": (66, 22320, 22320, 66), "ep4ce115": (432, 114480, 114480, 266),
            "10cl006": (30, 6272, 6272, 15), "10cl010": (46, 10320, 10320, 23),
            "10cl025": (66, 24624, 24624, 66), "10cl120": (432, 119088, 119088, 288),
        },
    ),
)  # fmt: skip

FAMILIES: Mapping[str, Family] = MappingProxyType({family.name: family for family in _FAMILIES})


@dataclass(frozen=True, slots=True)
class Part:
    """A part: ``count`` units of its family's blocks, LUTs (Cyclone V: ALMs), registers and
    multipliers (``Family.dsp``); None where any number will do.
    """

    name: str
    family: Family
    count: int | None
    luts: int | None = None
    ffs: int | None = None
    dsps: int | None = None


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        name: Part(name, family, *counts)
        for family in _FAMILIES
        for name, counts in family.parts.items()
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
