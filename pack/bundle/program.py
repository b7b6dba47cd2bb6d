# SPDX-License-Identifier: Apache-2.0
"""The program image: one descriptor of 32 words for the input frame and one for each loop nest.

This file is the only home of the field layout. ``hw/bramcast_pkg.sv`` and the C header are
generated from ``FIELDS``; ``docs/format.md`` explains it with a worked example.

A nest stores *jumps*, not steps: ``jump[l]`` is what an address moves by when loop ``l`` advances
and every loop inside it falls back to zero, so the core needs one adder for each stream:

    jump[l] = step[l] - sum((count[m] - 1) * step[m] for m > l)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import ProgramError

DESCRIPTOR_WORDS = 32
OP_INPUT = 1
OP_NEST = 2
OP_LOOP = 3
LOOPS = ("g", "oy", "ox", "ky", "kx", "ci")  # outermost first
ADDRESS_BITS = 24
MOST_PACKETS = 12  # of a frame
MAX_CYCLES = 1 << 26  # of a run: a damaged count must not keep golden or a simulator for hours


@dataclass(frozen=True, slots=True)
class Field:
    """Where a number lies in a descriptor: ``bits`` bits of word ``word`` from bit ``lsb`` up."""

    word: int
    lsb: int
    bits: int
    signed: bool = False

    @property
    def min(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1


def _word(word: int, signed: bool = False) -> Field:
    return Field(word, 0, 32, signed)


def _half(word: int, high: bool, signed: bool = False) -> Field:
    return Field(word, 16 if high else 0, 16, signed)


OPCODE = Field(0, 0, 4)

NEST_FIELDS: dict[str, Field] = {
    "lanewise": Field(0, 4, 1),
    "max": Field(0, 5, 1),
    "x_unsigned": Field(0, 6, 1),
    "stream": Field(0, 7, 1),
    "table": Field(0, 8, 1),
    "last": Field(0, 9, 1),
    "y_unsigned": Field(0, 10, 1),
    "narrow": Field(0, 11, 2),  # log2 of the weights that a lane finds in one word
    "product": Field(0, 13, 1),
    "factor_unsigned": Field(0, 14, 1),
    "act_moves": Field(0, 15, 1),
    "result_moves": Field(0, 25, 1),
    "packet_end": Field(0, 27, 1),
    "tail": Field(0, 16, 9),  # valid lanes of the last group, minus 1
    **{f"count_{n}": _half(1 + i // 2, bool(i % 2)) for i, n in enumerate(LOOPS)},  # minus 1
    "act_base": _word(4, signed=True),  # padding may start before word 0
    **{f"act_jump_{n}": _word(5 + i, signed=True) for i, n in enumerate(LOOPS)},
    "weight_base": _word(11),
    **{f"weight_jump_{n}": _word(12 + i, signed=True) for i, n in enumerate(LOOPS)},
    "result_base": _word(18),
    **{f"result_jump_{n}": _word(19 + i, signed=True) for i, n in enumerate(LOOPS[:3])},
    "y_start": _half(22, False, signed=True),
    "y_limit": _half(22, True, signed=True),
    "y_step_oy": _half(23, False, signed=True),
    "y_step_ky": _half(23, True, signed=True),
    "x_start": _half(24, False, signed=True),
    "x_limit": _half(24, True, signed=True),
    "x_step_ox": _half(25, False, signed=True),
    "x_step_kx": _half(25, True, signed=True),
    "lo": _word(26, signed=True),
    "hi": _word(27, signed=True),
    "bias_base": _word(28),
    "bias_step": _word(29),
    "table_base": _word(30),
}

INPUT_FIELDS: dict[str, Field] = {
    "run": _word(1),  # elements of a run, minus 1
    "runs": _word(2),  # minus 1
    "lead": Field(3, 0, 3),
    "packets": Field(6, 0, 4),  # minus 1
    **{f"packet_{k}": _word(7 + k) for k in range(MOST_PACKETS - 1)},  # elements, minus 1
    "result_base": _word(18),
}

# In the program of a core with TILES > 1 these stand beside the others, or in their place. Offsets
# are elements of a strip; what stands before them is a number of strips.
MOVED_FIELDS = {
    "bias_base": Field(28, 0, 24),
    "bias_step": Field(29, 0, 10),
    "table_base": Field(30, 0, 10),
}
_Y_FIELDS = ("y_start", "y_limit", "y_step_oy", "y_step_ky")
STRIP_FIELDS: dict[str, Field] = {
    "strips": Field(0, 26, 1),
    "row_start": Field(22, 0, 22),
    "strip_start": Field(22, 22, 10, signed=True),
    "row_step_oy": Field(23, 0, 22),
    "strip_step_oy": Field(23, 22, 10, signed=True),
    "row_step_ky": Field(31, 0, 22),
    "strip_step_ky": Field(31, 22, 10, signed=True),
    "strip_limit": Field(28, 24, 4),
    "bank": Field(28, 28, 4),
    "span": Field(29, 10, 22),
    "row_limit": Field(30, 10, 22),
}
TILED_NEST_FIELDS: dict[str, Field] = {
    **{name: field for name, field in NEST_FIELDS.items() if name not in _Y_FIELDS},
    **MOVED_FIELDS,
    **STRIP_FIELDS,
}
TILED_INPUT_FIELDS: dict[str, Field] = {
    **INPUT_FIELDS,
    "strip_runs": _word(4),  # runs of a strip, minus 1
    "last_run": _word(5),  # elements of the last run, minus 1
}
ALL_BANKS = 8

LOOP_FIELDS: dict[str, Field] = {
    "count": _half(1, False),  # minus 1
    "length": _half(1, True),  # minus 1
    "act_step": _word(4, signed=True),
    "result_step": _word(18, signed=True),
}


@dataclass(frozen=True, slots=True)
class Input:
    """Takes one frame from the input stream into the scratchpad.

    ``runs`` runs of ``run`` elements each; a run starts in element ``lead`` of a new word, behind
    zeros, and its last unit (max(LANES, TAPS) elements) is filled up with zeros. Words are written
    one after another from word ``result_base``. ``lead`` is less than TAPS.

    With TILES > 1 ``strip_runs`` runs go to each bank, one bank after the other, and the last run
    has ``last_run`` elements; 0: all runs go to the first bank, the last one like the others.

    Where an input's TLAST counts (TLAST_ENDS = 2) the frame is several packets, one behind the
    other: ``packets`` are the elements of all but the last one.
    """

    run: int
    runs: int
    result_base: int
    lead: int = 0
    strip_runs: int = 0
    last_run: int = 0
    packets: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        """Of a frame.

        >>> Input(run=10, runs=3, result_base=0, last_run=4).elements
        24
        """
        return self.run * (self.runs - 1) + (self.last_run or self.run)

    @property
    def packet_elements(self) -> tuple[int, ...]:
        """Of each packet of a frame.

        >>> Input(run=10, runs=3, result_base=0, packets=(12, 4)).packet_elements
        (12, 4, 14)
        """
        return (*self.packets, self.elements - sum(self.packets))

    @property
    def tlast_ends(self) -> int:
        """TLAST_ENDS of a core for such frames: 2, if each of several packets has a TLAST."""
        return 2 if self.packets else 1

    def span(self, elements: int) -> int:
        """Words or units of so many elements that a run reaches into.

        >>> Input(run=10, runs=49, result_base=0, lead=1).span(4)
        3
        """
        return -(-(self.lead + self.run) // elements)


@dataclass(frozen=True, slots=True)
class Loop:
    """Runs the ``length`` nests behind it ``count`` times.

    From iteration to iteration the activation base of nests with ``act_moves`` moves by
    ``act_step`` elements, the result base of those with ``result_moves`` by ``result_step``
    sub-words.
    """

    count: int
    length: int
    act_step: int = 0
    result_step: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """How a nest of a core with TILES > 1 walks over the rows of a picture that lies in strips.

    Bank b holds elements b * span .. of the picture's rows, one behind the other. A tap reads, of
    tile 0, from element u = start + oy * step_oy + ky * step_ky of these: in bank u // span, and
    u % span behind where the rest of the address points. Of tile t of a nest of *strips* it is
    element u + t * span. It counts where that is at least 0 and less than ``limit``.

    Attributes:
        span: elements of the rows of a strip.
        start, step_oy, step_ky, limit: elements.
    """

    span: int = 1
    start: int = 0
    step_oy: int = 0
    step_ky: int = 0
    limit: int = 1


@dataclass(frozen=True, slots=True)
class Nest:
    """One loop nest. Tuples follow ``LOOPS``: (g, oy, ox, ky, kx, ci), outermost first.

    Attributes:
        counts: iterations of each loop, 1..65536.
        act_base, act_steps: first activation and step of each loop, in scratchpad *elements*. A
            lane-wise nest reads whole words: multiples of LANES * TAPS; a dense one reads TAPS
            neighbours: multiples of TAPS.
        weight_base, weight_steps: in steps of the weight image: a word holds 2**narrow of them.
        result_base, result_steps: in scratchpad *sub-words* of LANES elements, loops g, oy, ox
            only. 0 if ``stream``.
        y_start, y_step_oy, y_step_ky, y_limit: a tap counts only where
            0 <= y_start + oy * y_step_oy + ky * y_step_ky < y_limit; likewise x with ox and kx.
        lo, hi: clamp of the requantized value, 32 bits signed.
        bias_base, bias_step: in words of the bias image (RQ entries each); group g starts at
            bias_base + g * bias_step, its lane i is entry i % RQ of word i // RQ.
        tail: valid lanes of the last group, 1..LANES, lane-wise 1..LANES * TAPS. Lanes from
            ``tail`` up are written as zero, as far as their sub-word is written at all, and do
            not leave on the stream.
        table_base: number of the 256-entry table that is applied after the clamp, if ``table``.
        lanewise: one activation word per tap, lane by lane, instead of one broadcast element.
        max: maximum of the taps instead of multiply-add (lane-wise only, no weights).
        product: taps 0, 2, .. are factors of taps 1, 3, .. (lane-wise only, no weights).
        factor_unsigned: the factors are read as unsigned numbers.
        act_moves, result_moves: the base moves with the iterations of the Loop around the nest.
        x_unsigned: activations are read as unsigned numbers.
        y_unsigned: a table's results leave the stream as unsigned numbers.
        narrow: 0, 1, 2: weights of 8, 4 or 2 bits; step s uses bits (s % 2**narrow) * (8 >> narrow)
            and up of each lane in word s >> narrow.
        stream: results leave on the output stream, sign-extended to 32 bits.
        last: the program ends here; the last beat carries TLAST.
        packet_end: the last beat carries TLAST, too: an output ends, and another one follows.
        rows: with TILES > 1, and only then, the rows of its operand; no y_* are used.
        strips: every tile computes the results of its own strip, and writes them to its own bank.
            Else all compute the same.
        bank: which bank that is written to: 0..TILES - 1, or ALL_BANKS.
        behind_loop: no field: ``unrolled`` marks the nest before which a LOOP descriptor is read.
    """

    counts: tuple[int, ...]
    act_base: int
    act_steps: tuple[int, ...]
    weight_base: int
    weight_steps: tuple[int, ...]
    result_base: int
    result_steps: tuple[int, ...]
    lo: int
    hi: int
    bias_base: int
    bias_step: int
    tail: int
    y_start: int = 0
    y_limit: int = 1
    y_step_oy: int = 0
    y_step_ky: int = 0
    x_start: int = 0
    x_limit: int = 1
    x_step_ox: int = 0
    x_step_kx: int = 0
    table_base: int = 0
    narrow: int = 0
    lanewise: bool = False
    max: bool = False
    product: bool = False
    factor_unsigned: bool = False
    act_moves: bool = False
    result_moves: bool = False
    x_unsigned: bool = False
    y_unsigned: bool = False
    table: bool = False
    stream: bool = False
    last: bool = False
    packet_end: bool = False
    rows: Rows | None = None
    strips: bool = False
    bank: int = 0
    behind_loop: bool = False

    def __post_init__(self) -> None:
        if not (len(self.counts) == len(self.act_steps) == len(self.weight_steps) == len(LOOPS)):
            raise ValueError("a nest has six loops")
        if len(self.result_steps) != 3:
            raise ValueError("results are addressed by the loops g, oy, ox")

    @property
    def taps(self) -> int:
        """Clock cycles' worth of taps behind one result word."""
        return self.counts[3] * self.counts[4] * self.counts[5]

    @property
    def pixels(self) -> int:
        """Groups of results: groups * output positions."""
        return self.counts[0] * self.counts[1] * self.counts[2]


Descriptor = Input | Loop | Nest


def jumps_from_steps(counts: Sequence[int], steps: Sequence[int]) -> list[int]:
    """What an address moves by when each loop advances.

    >>> jumps_from_steps((2, 3, 4), (100, 10, 1))
    [77, 7, 1]
    """
    moved = 0
    jumps = []
    for count, step in zip(reversed(counts), reversed(steps), strict=True):
        jumps.append(step - moved)
        moved += (count - 1) * step
    return jumps[::-1]


def steps_from_jumps(counts: Sequence[int], jumps: Sequence[int]) -> list[int]:
    """The inverse of ``jumps_from_steps``.

    >>> steps_from_jumps((2, 3, 4), [77, 7, 1])
    [100, 10, 1]
    """
    moved = 0
    steps = []
    for count, jump in zip(reversed(counts), reversed(jumps), strict=True):
        steps.append(jump + moved)
        moved += (count - 1) * steps[-1]
    return steps[::-1]


def _put(words: list[int], name: str, field: Field, value: int) -> None:
    if not field.min <= value <= field.max:
        raise ProgramError(
            f"descriptor field {name} can't hold {value}: its range is {field.min}..{field.max}"
        )
    words[field.word] |= (value & ((1 << field.bits) - 1)) << field.lsb


def _get(words: Sequence[int], field: Field) -> int:
    value = (words[field.word] >> field.lsb) & ((1 << field.bits) - 1)
    if field.signed and value >> (field.bits - 1):
        value -= 1 << field.bits
    return value


def _row_values(rows: Rows) -> dict[str, int]:
    """The fields of a nest that its rows are."""
    values = {"span": rows.span}
    for name in ("start", "step_oy", "step_ky", "limit"):
        strip, row = divmod(getattr(rows, name), rows.span)
        values |= {f"strip_{name}": strip, f"row_{name}": row}
    return values


def _rows(values: dict[str, int]) -> Rows:
    """The inverse of ``_row_values``."""
    span = values["span"]
    names = ("start", "step_oy", "step_ky", "limit")
    return Rows(span, *(values[f"strip_{n}"] * span + values[f"row_{n}"] for n in names))


def _nest_values(nest: Nest) -> dict[str, int]:
    values: dict[str, int] = {}
    for f in fields(nest):
        if f.name in TILED_NEST_FIELDS or f.name in NEST_FIELDS:
            values[f.name] = int(getattr(nest, f.name))
    if nest.rows is not None:
        values |= _row_values(nest.rows)
    values["tail"] = nest.tail - 1
    streams = (
        ("act", nest.counts, nest.act_steps),
        ("weight", nest.counts, nest.weight_steps),
        ("result", nest.counts[:3], nest.result_steps),
    )
    for stream, counts, steps in streams:
        for loop, jump in zip(LOOPS, jumps_from_steps(counts, steps), strict=False):
            values[f"{stream}_jump_{loop}"] = jump
    for loop, count in zip(LOOPS, nest.counts, strict=True):
        values[f"count_{loop}"] = count - 1
    return values


def encode(descriptor: Descriptor) -> list[int]:
    """The descriptor's 32 words, each 0..2**32-1.

    Raises:
        ProgramError: a number does not fit its field.
    """
    words = [0] * DESCRIPTOR_WORDS
    if isinstance(descriptor, Input):
        if len(descriptor.packets) >= MOST_PACKETS:
            raise ProgramError(
                f"{len(descriptor.packets) + 1} packets of a frame, the most are {MOST_PACKETS}"
            )
        _put(words, "opcode", OPCODE, OP_INPUT)
        values = {
            "run": descriptor.run - 1,
            "runs": descriptor.runs - 1,
            "lead": descriptor.lead,
            "result_base": descriptor.result_base,
            "packets": len(descriptor.packets),
            **{f"packet_{k}": 0 for k in range(MOST_PACKETS - 1)},
            **{f"packet_{k}": size - 1 for k, size in enumerate(descriptor.packets)},
        }
        layout = INPUT_FIELDS
        if descriptor.strip_runs:
            layout = TILED_INPUT_FIELDS
            values |= {
                "strip_runs": descriptor.strip_runs - 1,
                "last_run": descriptor.last_run - 1,
            }
    elif isinstance(descriptor, Loop):
        _put(words, "opcode", OPCODE, OP_LOOP)
        values = {
            "count": descriptor.count - 1,
            "length": descriptor.length - 1,
            "act_step": descriptor.act_step,
            "result_step": descriptor.result_step,
        }
        layout = LOOP_FIELDS
    else:
        _put(words, "opcode", OPCODE, OP_NEST)
        values = _nest_values(descriptor)
        layout = NEST_FIELDS if descriptor.rows is None else TILED_NEST_FIELDS
    for name, field in layout.items():
        _put(words, name, field, values[name])
    return words


def _packets(got: dict[str, int]) -> tuple[int, ...]:
    """Elements of all packets of a frame but the last.

    Raises:
        ProgramError: more than there are words for, or a word of none is set.
    """
    count = got["packets"]
    if count >= MOST_PACKETS:
        raise ProgramError(f"descriptor word 6: {count + 1} packets, the most are {MOST_PACKETS}")
    for k in range(count, MOST_PACKETS - 1):
        if got[f"packet_{k}"]:
            raise ProgramError(f"descriptor word {7 + k} is set, but there is no packet {k}")
    return tuple(got[f"packet_{k}"] + 1 for k in range(count))


def decode(words: Sequence[int], tiled: bool = False) -> Descriptor:
    """The descriptor in 32 words. Does not judge it: that is the validator's work.

    Args:
        tiled: it is one of a core with TILES > 1.

    Raises:
        ProgramError: unknown opcode, or a bit set that belongs to no field.
    """
    opcode = _get(words, OPCODE)
    layouts = {
        OP_INPUT: TILED_INPUT_FIELDS if tiled else INPUT_FIELDS,
        OP_NEST: TILED_NEST_FIELDS if tiled else NEST_FIELDS,
        OP_LOOP: LOOP_FIELDS,
    }
    if opcode not in layouts:
        raise ProgramError(f"unknown opcode {opcode} (1 is INPUT, 2 is NEST, 3 is LOOP)")
    layout = layouts[opcode]
    used = [0] * DESCRIPTOR_WORDS
    for field in (OPCODE, *layout.values()):
        used[field.word] |= ((1 << field.bits) - 1) << field.lsb
    for index, (word, mask) in enumerate(zip(words, used, strict=True)):
        if word & ~mask:
            raise ProgramError(f"reserved bits are set in descriptor word {index}: {word:#010x}")
    got = {name: _get(words, field) for name, field in layout.items()}
    if opcode == OP_INPUT:
        frame = Input(
            got["run"] + 1,
            got["runs"] + 1,
            got["result_base"],
            got["lead"],
            packets=_packets(got),
        )
        if not tiled:
            return frame
        strip_runs, last_run = got["strip_runs"] + 1, got["last_run"] + 1
        return replace(frame, strip_runs=strip_runs, last_run=last_run)
    if opcode == OP_LOOP:
        return Loop(got["count"] + 1, got["length"] + 1, got["act_step"], got["result_step"])
    counts = tuple(got[f"count_{loop}"] + 1 for loop in LOOPS)
    steps = {
        stream: tuple(
            steps_from_jumps(counts[:n], [got[f"{stream}_jump_{loop}"] for loop in LOOPS[:n]])
        )
        for stream, n in (("act", 6), ("weight", 6), ("result", 3))
    }
    flags: tuple[str, ...] = ("lanewise", "max", "product", "factor_unsigned")
    flags += ("act_moves", "result_moves")
    flags += ("x_unsigned", "y_unsigned", "table", "stream", "last", "packet_end")
    set_flags: dict[str, Any] = {name: bool(got[name]) for name in flags}
    nest = Nest(
        counts=counts,
        act_base=got["act_base"],
        act_steps=steps["act"],
        weight_base=got["weight_base"],
        weight_steps=steps["weight"],
        result_base=got["result_base"],
        result_steps=steps["result"],
        lo=got["lo"],
        hi=got["hi"],
        bias_base=got["bias_base"],
        bias_step=got["bias_step"],
        tail=got["tail"] + 1,
        table_base=got["table_base"],
        narrow=got["narrow"],
        **set_flags,
    )
    names = [n for n in got if n[:2] in ("y_", "x_") and "unsigned" not in n]
    coordinates: dict[str, Any] = {name: got[name] for name in names}
    if tiled:
        if not got["span"]:
            raise ProgramError("descriptor word 29: span is 0; a strip has 1 element or more")
        coordinates |= {"rows": _rows(got), "strips": bool(got["strips"]), "bank": got["bank"]}
    return replace(nest, **coordinates)


def unrolled(program: Sequence[Descriptor]) -> list[tuple[int, Input | Nest]]:
    """What runs, in order: each INPUT and nest with the number of its descriptor.

    Bases of nests inside a Loop are those of the iteration.

    >>> nest = Nest((1,) * 6, 8, (0,) * 6, 0, (0,) * 6, 4, (0,) * 3, 0, 1, 0, 0, 1, act_moves=True)
    >>> [(i, d.act_base) for i, d in unrolled([Loop(3, 1, act_step=10), nest])]
    [(1, 8), (1, 18), (1, 28)]
    """
    result: list[tuple[int, Input | Nest]] = []
    index = 0  # of the next descriptor
    while index < len(program):
        first = program[index]
        index += 1
        if not isinstance(first, Loop):
            result.append((index - 1, first))
            continue
        body = list(enumerate(program[index : index + first.length], index))
        index += first.length
        for i in range(first.count):
            for number, d in body:
                if isinstance(d, Nest):
                    act = d.act_base + i * first.act_step * d.act_moves
                    out = d.result_base + i * first.result_step * d.result_moves
                    entered = i == 0 and number == index - first.length
                    d = replace(d, act_base=act, result_base=out, behind_loop=entered)
                if not isinstance(d, Loop):
                    result.append((number, d))
    return result


def encode_program(program: Iterable[Descriptor]) -> NDArray[np.uint32]:
    """All descriptors' words one after another, uint32 [32 * len(program)]."""
    return np.array([word for d in program for word in encode(d)], dtype=np.uint32)


def split_program(words: NDArray[np.uint32], tiled: bool = False) -> list[Descriptor]:
    """The descriptors of a program image, up to and including the one marked ``last``.

    Args:
        words: uint32 [depth], the whole image; what follows the last descriptor must be zero.
        tiled: it is one of a core with TILES > 1.

    Raises:
        ProgramError: no ``last`` nest, an unknown opcode, reserved bits set. Names the image line.
    """
    program: list[Descriptor] = []
    for start in range(0, len(words) - DESCRIPTOR_WORDS + 1, DESCRIPTOR_WORDS):
        chunk = [int(w) for w in words[start : start + DESCRIPTOR_WORDS]]
        try:
            program.append(decode(chunk, tiled))
        except ProgramError as error:
            raise ProgramError(
                f"program lines {start + 1}-{start + DESCRIPTOR_WORDS}, "
                f"descriptor {len(program)}: {error}"
            ) from None
        last = program[-1]
        if isinstance(last, Nest) and last.last:
            rest = np.flatnonzero(words[start + DESCRIPTOR_WORDS :])
            if rest.size:
                line = start + DESCRIPTOR_WORDS + int(rest[0]) + 1
                raise ProgramError(f"program line {line}: data behind the last descriptor")
            return program
    raise ProgramError("the program has no nest that is marked last")
