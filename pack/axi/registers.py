# SPDX-License-Identifier: Apache-2.0
"""The AXI4-Lite register map of hw/bramcast_axi.sv: the only home of its numbers.

``hw/bramcast_pkg.sv`` (bramcast.pack.axi.hdl_constants), ``pack/axi/bramcast_registers.h``
(``python -m bramcast.pack.axi.registers``), the Python driver and the tables of docs/axi.md follow
from it; tests compare them.

The address space has eight slots of 2**window_bits bytes. Slot 0 holds the registers, slot 1 + i
the words of image i (program, weights, bias, table), slots 5 and 6 what a core with a ledger or a
window onto its scratchpad has; slot 7 is empty. A memory word takes 4 bytes times a power of two,
the least that holds it; its 32-bit beats stand in it least significant first.
"""

import sys
from dataclasses import dataclass

from bramcast.pack.bundle.manifest import FORMAT, IMAGES, Core

IDENTIFICATION = 0x434D5242  # "BRMC", least significant byte first
INTERFACE = 3  # raised when a register changes its meaning
SLOT_BITS = 3  # address bits above a window: the slot
LEDGER_SLOT, SCRATCH_SLOT = 5, 6  # to be read only: entries of two beats; the scratchpad's words
LEAST_WINDOW_BITS = 12
MAX_WORDS_BITS = 24  # of an image's depth

READ_ONLY, READ_WRITE, CLEAR = "R", "RW", "W1C"


@dataclass(frozen=True, slots=True)
class Bits:
    """Some bits of a register.

    ``access`` as for a register, or W: a 1 does something, or RW1: a 1 stays until rst.
    """

    name: str
    lsb: int
    bits: int
    access: str
    text: str

    @property
    def mask(self) -> int:
        return ((1 << self.bits) - 1) << self.lsb


@dataclass(frozen=True, slots=True)
class Register:
    """A 32-bit register at a byte offset in slot 0.

    ``access``: R (a write is refused), RW, or W1C (a bit written as 1 is cleared).
    ``needs``: the parameter of bramcast_axi without which the register is not there, or nothing.
    """

    name: str
    offset: int
    access: str
    text: str
    fields: tuple[Bits, ...] = ()
    needs: str = ""

    def bits(self, name: str) -> Bits:
        return next(b for b in self.fields if b.name == name)


def _depth(image: str, offset: int) -> Register:
    return Register(f"{image}_DEPTH", offset, READ_ONLY, f"words of the {image.lower()} memory")


REGISTERS: tuple[Register, ...] = (
    Register("ID", 0x00, READ_ONLY, f'0x{IDENTIFICATION:08X}: the bytes "BRMC"'),
    Register(
        "VERSION",
        0x04,
        READ_ONLY,
        "of this map, and of the images that the core runs",
        (
            Bits("FORMAT", 0, 16, READ_ONLY, "the `format` number of manifest.json"),
            Bits("INTERFACE", 16, 16, READ_ONLY, "of this register map"),
        ),
    ),
    Register(
        "SHAPE",
        0x08,
        READ_ONLY,
        "parameters of the core",
        (
            Bits("LANES", 0, 8, READ_ONLY, "LANES"),
            Bits("TAPS", 8, 8, READ_ONLY, "TAPS"),
            Bits("RQ", 16, 8, READ_ONLY, "RQ"),
            Bits("NARROW", 24, 1, READ_ONLY, "NARROW: 4- and 2-bit weights"),
            Bits("GATES", 25, 1, READ_ONLY, "GATES: products of two tensors, and LOOP"),
            Bits("TLAST_ENDS", 26, 1, READ_ONLY, "TLAST ends a frame, or a packet of one"),
            Bits("TILES", 27, 5, READ_ONLY, "TILES"),
        ),
    ),
    Register(
        "WIDTHS",
        0x0C,
        READ_ONLY,
        "widths",
        (
            Bits("DATA_BITS", 0, 8, READ_ONLY, "DATA_BITS"),
            Bits("WEIGHT_BITS", 8, 8, READ_ONLY, "WEIGHT_BITS"),
            Bits("WINDOW_BITS", 16, 8, READ_ONLY, "a slot has 2**WINDOW_BITS bytes"),
            Bits("BEAT", 24, 8, READ_ONLY, "elements in a beat of the input stream"),
        ),
    ),
    _depth("PROGRAM", 0x10),
    _depth("WEIGHTS", 0x14),
    _depth("BIAS", 0x18),
    _depth("TABLE", 0x1C),
    _depth("SCRATCH", 0x20),
    Register("FRAME_DEPTH", 0x24, READ_ONLY, "words of the frame FIFO; 0: there is none"),
    Register("LEDGER_DEPTH", 0x28, READ_ONLY, "entries of the ledger; 0: there is none"),
    Register(
        "OPTIONS",
        0x2C,
        READ_ONLY,
        "what the core is built with",
        (
            Bits("READBACK", 0, 1, READ_ONLY, "READBACK: the images can be read back"),
            Bits("PEEK", 1, 1, READ_ONLY, "PEEK: a window onto the scratchpad, and STOP_AFTER"),
            Bits("COUNTERS", 2, 1, READ_ONLY, "COUNTERS: STALL_IN, STALL_OUT, OCCUPANCY"),
            Bits("PAIRS", 3, 1, READ_ONLY, "PAIRS: two tiles share their multipliers"),
            Bits("PACKETS", 4, 1, READ_ONLY, "a frame is a packet for each input"),
        ),
    ),
    Register(
        "CONTROL",
        0x40,
        READ_WRITE,
        "what the core shall do",
        (
            Bits("RUN", 0, 1, READ_WRITE, "take and compute frames as long as it is set"),
            Bits("START", 1, 1, READ_WRITE, "take one frame; falls with its last element"),
            Bits("RESET", 2, 1, "W", "ABORT, and clears all that counts and all that is sticky"),
            Bits("ABORT", 3, 1, "W", "ends what is in work; RUN and START fall"),
            Bits("LOCK", 4, 1, "RW1", "images can't be read or written until a hardware reset"),
        ),
    ),
    Register(
        "STATUS",
        0x44,
        CLEAR,
        "what the core does",
        (
            Bits("BUSY", 0, 1, READ_ONLY, "a frame has begun to come in, its results not all left"),
            Bits("DONE", 1, 1, CLEAR, "a frame's last result has left"),
            Bits("READY", 2, 1, READ_ONLY, "the first descriptors have been fetched"),
            Bits(
                "LOCKED",
                3,
                1,
                READ_ONLY,
                "RUN, START, BUSY, CHECKING or ABORTING: no access to images",
            ),
            Bits("CHECKING", 4, 1, READ_ONLY, "the memory that CHECK names is being read"),
            Bits(
                "PROGRAM_ERROR", 5, 1, READ_ONLY, "the core met a descriptor without a known opcode"
            ),
            Bits("ABORTING", 6, 1, READ_ONLY, "what was in work is being ended"),
            Bits("STOPPED", 7, 1, READ_ONLY, "the run waits behind the nest of STOP_AFTER"),
            Bits("RUNNING", 8, 1, READ_ONLY, "a whole frame is there, its results not all left"),
        ),
    ),
    Register(
        "ERRORS",
        0x48,
        CLEAR,
        "what went wrong since they were cleared",
        (
            Bits("SHORT_FRAME", 0, 1, CLEAR, "TLAST of the input before a frame's end; dropped"),
            Bits("LOCKED", 1, 1, CLEAR, "an image or CHECK was accessed while LOCKED; refused"),
            Bits("ADDRESS", 2, 1, CLEAR, "an access where nothing is, or a write to R; refused"),
            Bits("STROBE", 3, 1, CLEAR, "a write without all four strobes; refused"),
            Bits("ORDER", 4, 1, CLEAR, "a beat that does not follow the one before; refused"),
            Bits("LONG_FRAME", 5, 1, CLEAR, "no TLAST at a frame's end; discarded up to TLAST"),
            Bits("TIMEOUT", 6, 1, CLEAR, "a run took LIMIT cycles; aborted"),
            Bits("PROGRAM", 7, 1, CLEAR, "a run, or RUN or START, met a program error; aborted"),
            Bits("SINK", 8, 1, CLEAR, "a run's beats waited SINK_LIMIT cycles; aborted"),
            Bits("INVALID", 9, 1, CLEAR, "RUN or START, and an image is not VALID; refused"),
        ),
    ),
    Register("CYCLES", 0x4C, READ_ONLY, "of the frame that FRAMES counted last, as `cycles_o`"),
    Register(
        "FRAMES",
        0x50,
        READ_ONLY,
        "completed frames since reset, modulo 2**32; reading it takes CYCLES, CLASS and WAITED",
    ),
    Register("CLASS", 0x54, READ_ONLY, "beat with the largest result of that frame"),
    Register(
        "INTERRUPT",
        0x58,
        READ_WRITE,
        "irq_o is high while a bit is set here and in PENDING",
        (
            Bits("DONE", 0, 1, READ_WRITE, "as in PENDING"),
            Bits("FRAME", 1, 1, READ_WRITE, "as in PENDING"),
            Bits("PROGRAM", 2, 1, READ_WRITE, "as in PENDING"),
            Bits("TIMEOUT", 3, 1, READ_WRITE, "as in PENDING"),
        ),
    ),
    Register("DROPPED", 0x5C, READ_ONLY, "short and long frames since reset, modulo 2**16"),
    Register(
        "CHECK",
        0x60,
        READ_WRITE,
        "a write makes the core read the first WORDS words of an image",
        (
            Bits("WORDS", 0, MAX_WORDS_BITS, READ_WRITE, "memory words, 0 to the memory's depth"),
            Bits("IMAGE", MAX_WORDS_BITS, 2, READ_WRITE, "0 program, 1 weights, 2 bias, 3 table"),
        ),
    ),
    Register("CRC32", 0x64, READ_ONLY, "of the words that were read, when CHECKING has fallen"),
    Register("EXPECT", 0x68, READ_WRITE, "the CRC-32 with which a CHECK makes its image VALID"),
    Register(
        "VALID",
        0x6C,
        READ_WRITE,
        "images that may be run",
        (
            Bits("PROGRAM", 0, 1, READ_WRITE, "falls with a write to the image"),
            Bits("WEIGHTS", 1, 1, READ_WRITE, "falls with a write to the image"),
            Bits("BIAS", 2, 1, READ_WRITE, "falls with a write to the image"),
            Bits("TABLE", 3, 1, READ_WRITE, "falls with a write to the image; 1 without tables"),
            Bits("GUARD", 31, 1, "RW1", "only CHECK makes an image valid, until a hardware reset"),
        ),
    ),
    Register(
        "PENDING",
        0x70,
        CLEAR,
        "what happened since the bits were cleared",
        (
            Bits("DONE", 0, 1, CLEAR, "a frame's last result has left: the bit STATUS.DONE"),
            Bits("FRAME", 1, 1, CLEAR, "a short or a long frame came"),
            Bits("PROGRAM", 2, 1, CLEAR, "with ERRORS.PROGRAM"),
            Bits("TIMEOUT", 3, 1, CLEAR, "with ERRORS.TIMEOUT and ERRORS.SINK"),
        ),
    ),
    Register("LIMIT", 0x74, READ_WRITE, "cycles that a run may take, WAITED apart; 0: any number"),
    Register("SINK_LIMIT", 0x78, READ_WRITE, "cycles that a run's beats may wait; 0: any number"),
    Register("WAITED", 0x7C, READ_ONLY, "cycles in which a beat of that frame waited for TREADY"),
    Register(
        "STALL_IN",
        0x80,
        READ_ONLY,
        "cycles since reset, modulo 2**32, in which the core waited for an element",
        needs="COUNTERS",
    ),
    Register("STALL_OUT", 0x84, READ_ONLY, "... in which a beat waited", needs="COUNTERS"),
    Register("OCCUPANCY", 0x88, READ_ONLY, "... in which BUSY was set", needs="COUNTERS"),
    Register(
        "STOP_AFTER",
        0x90,
        READ_WRITE,
        "a run waits behind so many executed nests; 0: it does not",
        needs="PEEK",
    ),
    Register("NEST", 0x94, READ_ONLY, "executed nests of the run so far", needs="LEDGER_DEPTH"),
)

BY_NAME = {register.name: register for register in REGISTERS}


def offset(register: str) -> int:
    """Byte offset of a register.

    >>> hex(offset("STATUS"))
    '0x44'
    """
    return BY_NAME[register].offset


def mask(register: str, field: str) -> int:
    """The bits of a field, in place.

    >>> hex(mask("STATUS", "DONE")), hex(mask("CHECK", "IMAGE"))
    ('0x2', '0x3000000')
    """
    return BY_NAME[register].bits(field).mask


def field_value(register: str, field: str, value: int) -> int:
    """A field's number in a register's value.

    >>> field_value("SHAPE", "RQ", 0x00020110)
    2
    """
    return (value & mask(register, field)) >> BY_NAME[register].bits(field).lsb


# ---------------------------------------------------------------------------------------- windows


def _log2(n: int) -> int:
    """Bits that count n things: the smallest b with 2**b >= n."""
    return (n - 1).bit_length()


def beats(word_bits: int) -> int:
    """32-bit beats of a memory word.

    >>> [beats(b) for b in (8, 32, 36, 72, 128)]
    [1, 1, 2, 3, 4]
    """
    return -(-word_bits // 32)


def stride(word_bits: int) -> int:
    """Bytes from a memory word to the next one: a power of two.

    >>> [stride(b) for b in (8, 32, 36, 72, 128)]
    [4, 4, 8, 16, 16]
    """
    return 4 << _log2(beats(word_bits))


def window_bits(core: Core, ledger_depth: int = 0, peek: bool = False) -> int:
    """Address bits inside a slot.

    Args:
        ledger_depth: entries of the ledger (LEDGER_DEPTH).
        peek: the scratchpad has a window (PEEK); with TILES > 1 bank after bank, each of a power
            of two of words.

    >>> window_bits(Core(16, 1, 8, 8, 2, 320, 1000, 152, 0, 256))
    14
    >>> window_bits(Core(16, 1, 8, 8, 2, 320, 1000, 152, 0, 2000), 64, peek=True)
    15
    >>> window_bits(Core(16, 1, 8, 8, 2, 320, 256, 152, 0, 1000, tiles=4), peek=True)
    16
    """
    used = [
        _log2(core.depth(image) * stride(core.word_bits(image)))
        for image in IMAGES
        if core.depth(image)
    ]
    if ledger_depth:
        used.append(_log2(ledger_depth * stride(64)))
    if peek:
        words = core.tiles << bank_bits(core)
        used.append(_log2(words * stride(core.word * core.data_bits)))
    return max(LEAST_WINDOW_BITS, *used)


def bank_bits(core: Core) -> int:
    """Bits of a word's number in a bank of the scratchpad; in its window the bank stands above.

    >>> bank_bits(Core(16, 1, 8, 8, 2, 320, 256, 152, 0, 1000, tiles=4))
    10
    """
    return _log2(core.scratch_depth)


def address_bits(core: Core, ledger_depth: int = 0, peek: bool = False) -> int:
    """Address bits that the slave needs at least (parameter AXI_ADDRESS_BITS).

    >>> address_bits(Core(16, 1, 8, 8, 2, 320, 1000, 152, 0, 256))
    17
    """
    return window_bits(core, ledger_depth, peek) + SLOT_BITS


def window_offset(image: str, bits: int) -> int:
    """Byte offset of an image's word 0, in slots of 2**bits bytes.

    >>> [hex(window_offset(image, 14)) for image in IMAGES]
    ['0x4000', '0x8000', '0xc000', '0x10000']
    """
    return (1 + IMAGES.index(image)) << bits


# ---------------------------------------------------------------------------------------- C header

_C_HEAD = """\
/* SPDX-License-Identifier: Apache-2.0 */
/* bramcast_registers.h: the AXI4-Lite register map of bramcast_axi; docs/axi.md explains it.
 *
 * Generated from pack/axi/registers.py by `python -m bramcast.pack.axi.registers`; do not edit.
 */
#ifndef BRAMCAST_REGISTERS_H
#define BRAMCAST_REGISTERS_H

"""


def c_header() -> str:
    """The text of pack/axi/bramcast_registers.h.

    >>> "#define BRAMCAST_REG_STATUS 0x44u" in c_header()
    True
    """
    lines = [
        f"#define BRAMCAST_IDENTIFICATION 0x{IDENTIFICATION:08X}u",
        f"#define BRAMCAST_INTERFACE {INTERFACE}u",
        f"#define BRAMCAST_IMAGE_FORMAT {FORMAT}u",
        f"#define BRAMCAST_IMAGE_COUNT {len(IMAGES)}",
        f"#define BRAMCAST_LEDGER_SLOT {LEDGER_SLOT}",
        f"#define BRAMCAST_SCRATCH_SLOT {SCRATCH_SLOT}",
        "",
        "/* registers: byte offsets, and the masks and lowest bits of their fields */",
    ]
    for register in REGISTERS:
        lines.append(f"#define BRAMCAST_REG_{register.name} 0x{register.offset:02X}u")
        for b in register.fields:
            stem = f"BRAMCAST_{register.name}_{b.name}"
            lines += [f"#define {stem}_MASK 0x{b.mask:08X}u", f"#define {stem}_LSB {b.lsb}"]
    return _C_HEAD + "\n".join(lines) + "\n\n#endif\n"


def markdown_table() -> str:
    """The register table of docs/axi.md."""
    rows = ["| offset | register | access | bits | meaning |", "| --- | --- | --- | --- | --- |"]
    for r in REGISTERS:
        whole = "" if r.fields else "31:0"
        text = f"{r.text} (with {r.needs} alone)" if r.needs else r.text
        rows.append(f"| 0x{r.offset:02X} | **{r.name}** | {r.access} | {whole} | {text} |")
        for b in r.fields:
            at = f"{b.lsb + b.bits - 1}:{b.lsb}" if b.bits > 1 else f"{b.lsb}"
            rows.append(f"| | {b.name} | {b.access} | {at} | {b.text} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(c_header())
