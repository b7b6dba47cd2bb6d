# SPDX-License-Identifier: Apache-2.0
"""Is a program legal? The rules of docs/format.md, checked before golden and before the HDL.

A legal program computes the same in both: no address leaves its memory, nothing is read before it
is written, and no result depends on when it is written. What comes from a damaged file may be any
bits, so every check first bounds the numbers and only then lists addresses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.groups import Groups
from bramcast.golden.strips import tap_rows
from bramcast.pack.bundle.cycles import cycle_bound
from bramcast.pack.bundle.errors import InputError, ProgramError
from bramcast.pack.bundle.manifest import Core, Manifest
from bramcast.pack.bundle.program import (
    ADDRESS_BITS,
    ALL_BANKS,
    DESCRIPTOR_WORDS,
    INPUT_FIELDS,
    LOOP_FIELDS,
    LOOPS,
    MAX_CYCLES,
    NEST_FIELDS,
    OPCODE,
    TILED_INPUT_FIELDS,
    TILED_NEST_FIELDS,
    Descriptor,
    Input,
    Loop,
    Nest,
    Rows,
    split_program,
    unrolled,
)
from bramcast.pack.bundle.words import BIAS_BITS, ENTRY_BITS, Words, to_uint32

_STEP_LIMIT = 1 << 31
_COORDINATE = 1 << 15
MAX_NESTS = 4096  # more nests don't run in a legal program
_ROWS = 1 << 20  # of taps, of a nest with TILES > 1
_STRIPS = 1 << 9  # numbers of strips have ten bits


def check_core(core: Core) -> None:
    """Refuse parameters that no core can be built with.

    Raises:
        InputError: names the parameter.
    """
    rules = (
        ("lanes", core.lanes <= 64 and core.lanes.bit_count() == 1, "a power of two up to 64"),
        ("taps", core.taps in (1, 2, 4, 8), "1, 2, 4 or 8"),
        ("data_bits", core.data_bits in (8, 16), "8 or 16"),
        ("weight_bits", core.weight_bits == 8, "8"),
        ("program_depth", core.program_depth % DESCRIPTOR_WORDS == 0, "a multiple of 32"),
        ("table_depth", core.table_depth % 256 == 0, "a multiple of 256"),
        ("rq", core.rq <= core.lanes and core.rq.bit_count() == 1, "a power of two up to lanes"),
        ("tiles", core.tiles in (1, 2, 4, 8), "1, 2, 4 or 8"),
        ("pairs", not core.pairs or _may_pair(core), "false: pairs need tiles > 1 and 8-bit data"),
        (
            "scratch_depth",
            core.scratch_depth * core.word <= 1 << ADDRESS_BITS,
            f"at most 2**{ADDRESS_BITS} / (lanes * taps)",
        ),
    )
    for name, good, meaning in rules:
        if not good:
            raise InputError(f"core parameter {name} must be {meaning}, got {getattr(core, name)}")


def _may_pair(core: Core) -> bool:
    return core.tiles > 1 and core.data_bits == 8


@dataclass(frozen=True, slots=True)
class _Place:
    """A descriptor in the program image, for messages."""

    index: int
    tiled: bool = False

    def error(self, name: str, text: str) -> ProgramError:
        """The error for a field, with its line of program.mem."""
        known = {"opcode": OPCODE, **TILED_INPUT_FIELDS, **LOOP_FIELDS}
        if self.index:
            known |= {**NEST_FIELDS, **TILED_NEST_FIELDS} if self.tiled else NEST_FIELDS
        line = DESCRIPTOR_WORDS * self.index + known[name].word + 1
        what = f"nest {self.index}" if self.index else "input"
        return ProgramError(f"program line {line}, {what}, {name}: {text}")


def validate(images: Mapping[str, Words], core: Core) -> list[Input | Nest]:
    """What a program image runs, LOOPs unrolled, if it is legal.

    Args:
        images: all images of the core; every descriptor is judged by their depths.

    Returns:
        The input frame, then the nests in the order in which they run.

    Raises:
        ProgramError: the first rule that is broken, with the line of program.mem.
        InputError: impossible core parameters.
    """
    check_core(core)
    program = split_program(to_uint32(images["program"]), core.tiles > 1)
    if not isinstance(program[0], Input):
        raise ProgramError("program line 1: the first descriptor must be INPUT")
    for index, d in enumerate(program[1:], 1):
        if isinstance(d, Input):
            raise ProgramError(
                f"program line {DESCRIPTOR_WORDS * index + 1}, descriptor {index}: "
                "only the first descriptor may be INPUT"
            )
    _check_loops(program, core)
    running = unrolled(program)
    cycles = cycle_bound([d for _, d in running], core)
    if cycles > MAX_CYCLES:
        raise ProgramError(
            f"program lines 1-{DESCRIPTOR_WORDS * len(program)}: the run takes about {cycles} "
            f"cycles, more than {MAX_CYCLES} (2**{MAX_CYCLES.bit_length() - 1}); more lanes or "
            "taps (core.lanes, core.taps) make it shorter"
        )
    written = np.zeros(_subs(core) * core.tiles, np.bool_)
    for index, d in running:
        place = _Place(index, core.tiles > 1)
        if isinstance(d, Input):
            _check_input(place, d, core, written)
        else:
            _check_fields(place, d, core, last=index == len(program) - 1)
            _check_weights(place, d, len(images["weights"]))
            _check_bias_and_table(place, d, core, images)
            reads = _reads(place, d, core)
            missing = np.flatnonzero(reads & ~written)
            if missing.size:
                text = f"reads scratchpad {_sub_word(core, int(missing[0]))} before it is written"
                raise place.error("act_base", text)
            if not d.stream:
                writes = _writes(place, d, core)
                _check_hazard(place, d, core, reads, writes)
                written |= writes >= 0
    return [d for _, d in running]


def _check_loops(program: list[Descriptor], core: Core) -> None:
    """Rules 9 and 10, which say what can be unrolled."""
    inside, nests = 0, 0  # nests left in the loop's body; all that run
    count = 1
    for index, d in enumerate(program):
        place = _Place(index)
        if isinstance(d, Loop):
            if not core.gates:
                raise place.error("opcode", "LOOP needs a core with GATES")
            if inside:
                raise place.error("opcode", "a LOOP inside a LOOP")
            if index + d.length >= len(program) - 1:
                text = (
                    f"{d.length} nests, but only {len(program) - index - 2} stand before the last"
                )
                raise place.error("length", text)
            inside, count = d.length, d.count
        elif isinstance(d, Nest):
            nests += count if inside else 1
            for name in ("act_moves", "result_moves"):
                if getattr(d, name) and not inside:
                    raise place.error(name, "only inside a LOOP")
            inside = max(0, inside - 1)
    if nests > MAX_NESTS:
        raise ProgramError(
            f"program lines 1-{DESCRIPTOR_WORDS * len(program)}: {nests} nests would run, more "
            f"than {MAX_NESTS}"
        )


def _name(core: Core) -> str:
    """What a result address counts."""
    return "word" if core.taps == 1 else "sub-word"


def _subs(core: Core) -> int:
    """Sub-words of a bank of the scratchpad."""
    return core.scratch_depth * core.taps


def _sub_word(core: Core, number: int) -> str:
    """A sub-word among those of all banks, in words."""
    bank, address = divmod(number, _subs(core))
    return f"{_name(core)} {address}" + (f" of bank {bank}" if core.tiles > 1 else "")


def _check_input(place: _Place, d: Input, core: Core, written: NDArray[np.bool_]) -> None:
    if d.packets and sum(d.packets) >= d.elements:
        text = (
            f"{sum(d.packets)} elements in packets 0..{len(d.packets) - 1} leave nothing of the "
            f"frame's {d.elements} for the last one"
        )
        raise place.error("packets", text)
    if d.lead >= core.taps:
        raise place.error("lead", f"must be less than TAPS = {core.taps}, got {d.lead}")
    runs_of_bank = d.strip_runs or d.runs
    if d.strip_runs:
        if d.runs > core.tiles * d.strip_runs:
            text = f"{d.runs} runs, but {core.tiles} banks get {d.strip_runs} each"
            raise place.error("runs", text)
        if d.last_run > d.run:
            raise place.error("last_run", f"{d.last_run} elements, more than a run's {d.run}")
    end = d.result_base + runs_of_bank * d.span(core.word)
    if end > core.scratch_depth:
        raise place.error(
            "result_base",
            f"the frame fills words {d.result_base}..{end - 1}, "
            f"the scratchpad has {core.scratch_depth}",
        )
    unit = max(core.lanes, core.taps)  # the rest of a run's last word is not written
    for bank in range(core.tiles if d.strip_runs else 1):
        first = bank * _subs(core)
        runs = written[first + d.result_base * core.taps : first + end * core.taps]
        runs = runs.reshape(runs_of_bank, -1)[: max(0, d.runs - bank * runs_of_bank)]
        runs[:, : d.span(unit) * unit // core.lanes] = True
    if d.strip_runs and len(runs := _runs_of_last_bank(d, core, written)):
        last = replace(d, run=d.last_run)
        runs[-1, last.span(unit) * unit // core.lanes :] = False


def _runs_of_last_bank(d: Input, core: Core, written: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The sub-words of each run in the bank that gets the last one, a view: [runs, sub-words]."""
    bank, last = divmod(d.runs - 1, d.strip_runs)
    first = bank * _subs(core) + d.result_base * core.taps
    per_run = d.span(core.word) * core.taps
    return written[first : first + (last + 1) * per_run].reshape(last + 1, per_run)


def _check_fields(place: _Place, d: Nest, core: Core, last: bool) -> None:
    """Rules 1 and 5 to 8: single fields and what they say about each other."""

    def need(good: bool, name: str, text: str) -> None:
        if not good:
            raise place.error(name, text)

    width = core.group(d.lanewise)
    need(d.tail <= width, "tail", f"{d.tail} valid lanes, the core has {width}")
    need(d.narrow <= 2, "narrow", f"must be 0, 1 or 2 (8, 4 or 2 bits), got {d.narrow}")
    need(core.narrow or d.narrow == 0, "narrow", "the core takes 8-bit weights only")
    need(not last or d.stream, "stream", "the last nest must be a stream nest")
    need(d.stream or not d.packet_end, "packet_end", "only in a stream nest")
    need(not last or not d.packet_end, "packet_end", "the last nest ends a packet by itself")
    for stream, steps in (
        ("act", d.act_steps),
        ("weight", d.weight_steps),
        ("result", d.result_steps),
    ):
        for count, step, loop in zip(d.counts, steps, LOOPS, strict=False):
            name = f"{stream}_jump_{loop}"
            if count == 1:
                need(step == 0, name, f"the step is {step}, but the loop's count is 1")
            need(abs(step) < _STEP_LIMIT, name, f"the step {step} does not fit 32 bits")
    counts = dict(zip(LOOPS, d.counts, strict=True))
    axes = [("x", "ox", "kx", d.x_start, d.x_limit, d.x_step_ox, d.x_step_kx)]
    if d.rows is None:
        axes.insert(0, ("y", "oy", "ky", d.y_start, d.y_limit, d.y_step_oy, d.y_step_ky))
    for axis, outer, inner, start, limit, step_outer, step_inner in axes:
        for loop, step in ((outer, step_outer), (inner, step_inner)):
            good = counts[loop] > 1 or step == 0
            need(good, f"{axis}_step_{loop}", f"the step is {step}, but the loop's count is 1")
        need(limit >= 1, f"{axis}_limit", f"must be 1..{_COORDINATE - 1}, got {limit}")
        moves = [(counts[outer] - 1) * step_outer, (counts[inner] - 1) * step_inner]
        low = start + sum(min(0, m) for m in moves)
        high = start + sum(max(0, m) for m in moves)
        need(
            -_COORDINATE <= low and high < _COORDINATE,
            f"{axis}_start",
            f"the coordinate runs over {low}..{high}, outside -32768..32767",
        )
    unit, of = (core.word, "LANES") if d.lanewise else (core.taps, "TAPS")
    if d.lanewise and core.taps > 1:
        of = "LANES * TAPS"
    if d.rows is not None:
        _check_rows(need, d, d.rows, core, unit, of)
    need(d.act_base % unit == 0, "act_base", f"{d.act_base} is no multiple of {of}")
    for loop, step in zip(LOOPS, d.act_steps, strict=True):
        text = (
            f"a {'lane-wise' if d.lanewise else 'dense'} nest's step {step} is no multiple of {of}"
        )
        need(step % unit == 0, f"act_jump_{loop}", text)
    need(not (d.max and d.product), "product", "a max nest can't be one of products")
    if d.product:
        need(core.gates, "product", "products need a core with GATES")
        need(d.taps % 2 == 0, "product", f"products need an even number of taps, got {d.taps}")
    need(d.product or not d.factor_unsigned, "factor_unsigned", "only in a product nest")
    if d.max or d.product:
        kind = "max" if d.max else "product"
        text = f"a {kind} nest has no weights, so it must be 0"
        need(d.lanewise, kind, f"a {kind} nest must be lane-wise")
        need(d.narrow == 0, "narrow", text)
        need(d.weight_base == 0, "weight_base", text)
        for loop, step in zip(LOOPS, d.weight_steps, strict=True):
            need(step == 0, f"weight_jump_{loop}", text)
    need(d.lo <= d.hi, "lo", f"lo {d.lo} is above hi {d.hi}")
    top = 1 << core.data_bits
    if d.table:
        text = f"before a table: {-top // 2}..{top - 1}, not {d.lo}..{d.hi}"
        need(-top // 2 <= d.lo and d.hi < top, "lo", text)
    else:
        need(d.table_base == 0, "table_base", "must be 0 without a table")
        fits = (-top // 2 <= d.lo and d.hi < top // 2) or (0 <= d.lo and d.hi < top)
        text = f"{d.lo}..{d.hi} fits {core.data_bits} bits neither signed nor unsigned"
        need(d.stream or fits, "lo", text)
    need(not d.y_unsigned or (d.stream and d.table), "y_unsigned", "only with stream and table")
    if d.stream:
        need(d.result_base == 0, "result_base", "must be 0 in a stream nest")
        for loop, step in zip(LOOPS, d.result_steps, strict=False):
            need(step == 0, f"result_jump_{loop}", "must be 0 in a stream nest")


_Need = Callable[[bool, str, str], None]


def _check_rows(need: _Need, d: Nest, rows: Rows, core: Core, unit: int, of: str) -> None:
    """Rules 11 to 13: strips."""
    for loop, step in (("oy", rows.step_oy), ("ky", rows.step_ky)):
        good = d.counts[LOOPS.index(loop)] > 1 or step == 0
        need(good, f"row_step_{loop}", f"the step is {step}, but the loop's count is 1")
    for name, value in (
        ("span", rows.span),
        ("row_start", rows.start),
        ("row_step_oy", rows.step_oy),
        ("row_step_ky", rows.step_ky),
    ):
        text = f"a {'lane-wise' if d.lanewise else 'dense'} nest's {value} is no multiple of {of}"
        trivial = (rows.start, rows.step_oy, rows.step_ky) == (0, 0, 0)
        need(trivial or value % unit == 0, name, text)
    bank = core.scratch_depth * core.word
    text = f"{rows.span} elements, more than the {bank} of a bank"
    need(rows.span <= bank, "span", text)
    whole = rows.span * core.tiles
    need(1 <= rows.limit <= whole, "row_limit", f"must be 1..{whole}, got {rows.limit}")
    need(d.counts[1] * d.counts[3] <= _ROWS, "count_oy", f"more than {_ROWS} rows of taps")
    moves = [(d.counts[1] - 1) * rows.step_oy, (d.counts[3] - 1) * rows.step_ky]
    low = (rows.start + sum(min(0, m) for m in moves)) // rows.span
    high = (rows.start + sum(max(0, m) for m in moves)) // rows.span
    text = f"the rows run over strips {low}..{high}, outside -{_STRIPS}..{_STRIPS - 1}"
    need(-_STRIPS <= low and high < _STRIPS, "strip_start", text)
    banks = d.bank < core.tiles or d.bank == ALL_BANKS
    need(banks, "bank", f"must be 0..{core.tiles - 1}, or {ALL_BANKS} for all, got {d.bank}")
    need(not d.strips or d.bank == 0, "bank", "must be 0 in a nest of strips")
    need(not d.stream or not d.strips, "strips", "a stream nest is none of strips")
    need(not d.stream or d.bank == 0, "bank", "must be 0 in a stream nest")
    need(not d.strips or d.weight_steps[1] == 0, "weight_jump_oy", "strips share their weights")
    need(not (core.pairs and d.strips and d.product), "product", "with PAIRS none of strips")


def _span(counts: tuple[int, ...], steps: tuple[int, ...], base: int) -> tuple[int, int]:
    """Lowest and highest address of an affine loop nest, in exact integers."""
    moves = [(count - 1) * step for count, step in zip(counts, steps, strict=True)]
    return base + sum(min(0, m) for m in moves), base + sum(max(0, m) for m in moves)


def _check_weights(place: _Place, d: Nest, depth: int) -> None:
    low, high = _span(d.counts, d.weight_steps, d.weight_base)
    if not (d.max or d.product) and (low < 0 or high >= depth << d.narrow):
        what = "words" if d.narrow == 0 else f"words of {1 << d.narrow} steps"
        raise place.error(
            "weight_base", f"reads weights {low}..{high}, the image has {depth} {what}"
        )


def _check_bias_and_table(place: _Place, d: Nest, core: Core, images: Mapping[str, Words]) -> None:
    groups, depth = d.counts[0], len(images["bias"])
    if groups == 1 and d.bias_step:
        raise place.error("bias_step", f"the step is {d.bias_step}, but there is one group only")
    high = d.bias_base + (groups - 1) * d.bias_step + (d.tail - 1) // core.rq
    if groups > 1:
        width = core.group(d.lanewise)
        high = max(high, d.bias_base + (groups - 2) * d.bias_step + (width - 1) // core.rq)
    if high >= depth:
        raise place.error(
            "bias_base", f"reads biases {d.bias_base}..{high}, the image has {depth} words"
        )
    tables = len(images["table"]) // 256 if "table" in images else 0
    if d.table and d.table_base >= tables:
        raise place.error("table_base", f"table {d.table_base}, the image holds {tables}")


@dataclass(frozen=True, slots=True)
class _Axis:
    """Two loops of one coordinate, and the address offsets of their valid taps.

    The coordinate is start + o * step_o + k * step_k, valid in 0..limit-1; the address moves by
    o * act_o + k * act_k.
    """

    count_o: int
    count_k: int
    start: int
    limit: int
    step_o: int
    step_k: int
    act_o: int
    act_k: int

    def _runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For each k with valid taps: k, first and last valid o."""
        k = np.arange(self.count_k, dtype=np.int64)
        at = self.start + k * self.step_k  # coordinate at o = 0
        if self.step_o == 0:
            keep = (at >= 0) & (at < self.limit)
            first = np.zeros_like(k)
            last = np.full_like(k, self.count_o - 1)
        else:
            bounds = (-at, self.limit - 1 - at)  # of o * step_o
            low, high = bounds if self.step_o > 0 else (-bounds[1], -bounds[0])
            step = abs(self.step_o)
            first = np.maximum(-(-low // step), 0)
            last = np.minimum(high // step, self.count_o - 1)
            keep = first <= last
        return k[keep], first[keep], last[keep]

    def span(self) -> tuple[int, int] | None:
        """Lowest and highest offset; None if no tap is valid."""
        k, first, last = self._runs()
        if not k.size:
            return None
        ends = np.concatenate([k * self.act_k + o * self.act_o for o in (first, last)])
        return int(ends.min()), int(ends.max())

    def offsets(self) -> NDArray[np.int64]:
        """All different offsets, sorted. The caller has checked that the span is small."""
        if self.count_k > self.count_o:  # the loop below runs over the shorter one
            return self._swapped().offsets()
        span = self.span()
        if span is None:
            return np.zeros(0, np.int64)
        low, high = span
        seen = np.zeros(high - low + 1, np.bool_)
        for k, first, last in zip(*(a.tolist() for a in self._runs()), strict=True):
            start, end = (k * self.act_k + o * self.act_o - low for o in (first, last))
            if start > end:
                start, end = end, start
            seen[start : end + 1 : abs(self.act_o) or 1] = True
        return np.flatnonzero(seen) + low

    def _swapped(self) -> "_Axis":
        return _Axis(
            *(self.count_k, self.count_o, self.start, self.limit),
            *(self.step_k, self.step_o, self.act_k, self.act_o),
        )


def _plus_affine(offsets: NDArray[np.int64], count: int, step: int) -> NDArray[np.int64]:
    """All different sums of ``offsets`` and 0, step, .. (count - 1) * step; sorted."""
    if count == 1 or step == 0 or not offsets.size:
        return offsets
    return _sums(offsets, np.sort(np.arange(count, dtype=np.int64) * step))


def _sums(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """All different sums of two sorted, non-empty sets of offsets."""
    low = int(a[0] + b[0])
    seen = np.zeros(int(a[-1] + b[-1]) - low + 1, np.bool_)
    if len(a) > len(b):
        a, b = b, a
    pattern = np.zeros(int(b[-1] - b[0]) + 1, np.bool_)
    pattern[b - b[0]] = True
    dense = pattern.size < 16 * len(b)  # shifting the whole pattern is cheaper than single sums
    for shift in (a - a[0]).tolist():
        if dense:
            seen[shift : shift + pattern.size] |= pattern
        else:
            seen[b - b[0] + shift] = True
    return np.flatnonzero(seen) + low


def _axes(d: Nest) -> tuple[_Axis, _Axis]:
    _, n_oy, n_ox, n_ky, n_kx, _ = d.counts
    s = d.act_steps
    y = _Axis(n_oy, n_ky, d.y_start, d.y_limit, d.y_step_oy, d.y_step_ky, s[1], s[3])
    x = _Axis(n_ox, n_kx, d.x_start, d.x_limit, d.x_step_ox, d.x_step_kx, s[2], s[4])
    return y, x


def _row_offsets(d: Nest, core: Core) -> tuple[NDArray[np.int64], tuple[int, int] | None]:
    """What a nest's rows add to its addresses, TILES > 1; banks lie one behind the other.

    Returns:
        All different ones, sorted; the lowest and the highest within a bank, None without any.
    """
    rows = tap_rows(d, core)
    valid = rows.valid
    if not valid.any():
        return np.zeros(0, np.int64), None
    offsets = rows.offsets[valid]
    bank = _subs(core) * core.lanes
    return np.unique(offsets + rows.banks[valid] * bank), (int(offsets.min()), int(offsets.max()))


def _reads(place: _Place, d: Nest, core: Core) -> NDArray[np.bool_]:
    """The sub-words that valid taps read: bool [TILES * scratch_depth * TAPS]."""
    reads = np.zeros(_subs(core) * core.tiles, np.bool_)
    y, x = _axes(d)
    if d.rows is None:
        spans, rows = (y.span(), x.span()), None
    else:
        rows, span = _row_offsets(d, core)
        spans = (span, x.span())
    if spans[0] is None or spans[1] is None:
        return reads
    rest = _span((d.counts[0], d.counts[5]), (d.act_steps[0], d.act_steps[5]), d.act_base)
    low, high = (rest[i] + spans[0][i] + spans[1][i] for i in (0, 1))
    if low < 0 or high >= core.scratch_depth * core.word:
        raise place.error(
            "act_base",
            f"valid taps read elements {low}..{high}, "
            f"the scratchpad has {core.scratch_depth * core.word}",
        )
    columns = _plus_affine(x.offsets(), d.counts[5], d.act_steps[5])
    offsets = _sums(y.offsets() if rows is None else rows, columns)
    groups, step = Groups.of(d, core), d.act_steps[0]
    if not d.lanewise:
        subs = max(1, core.taps // core.lanes)  # those of TAPS elements
        parts = [(_plus_affine(offsets, d.counts[0], step), subs)]
    else:
        parts = [(offsets + (d.counts[0] - 1) * step, groups.last_subs)]
        if d.counts[0] > 1:
            parts.append((_plus_affine(offsets, d.counts[0] - 1, step), groups.subs))
    for elements, subs in parts:
        first = (elements + d.act_base) // core.lanes
        for i in range(subs):
            reads[first + i] = True
    return reads


def _writes(place: _Place, d: Nest, core: Core) -> NDArray[np.int64]:
    """Which pixel (g, oy, ox) writes each sub-word, -1 if none: int64 [TILES * depth * TAPS]."""
    groups, depth, name = Groups.of(d, core), _subs(core), _name(core)
    last = d.result_base + (d.counts[0] - 1) * d.result_steps[0]
    low, high = _span(d.counts[1:3], d.result_steps[1:], last)
    high += groups.last_subs - 1
    if d.counts[0] > 1:
        counts = (d.counts[0] - 1, *d.counts[1:3])
        others = _span(counts, d.result_steps, d.result_base)
        low, high = min(low, others[0]), max(high, others[1] + groups.subs - 1)
    if low < 0 or high >= depth:
        raise place.error(
            "result_base", f"writes {name}s {low}..{high}, the scratchpad has {depth}"
        )
    writer = np.full(depth * core.tiles, -1, np.int64)
    if groups.rows <= len(writer):
        pixels = groups.count * groups.pixels
        whole = np.repeat(np.arange(pixels - groups.pixels), groups.subs)
        rest = np.repeat(np.arange(pixels - groups.pixels, pixels), groups.last_subs)
        writer[groups.addresses(d, core, depth)] = np.concatenate([whole, rest])
    if np.count_nonzero(writer >= 0) != groups.rows:
        raise place.error("result_base", f"writes a scratchpad {name} twice")
    return writer


def _check_hazard(
    place: _Place, d: Nest, core: Core, reads: NDArray[np.bool_], writer: NDArray[np.int64]
) -> None:
    """Rule 3: a sub-word that is read and written belongs to one pixel of a lane-wise nest."""
    both = np.flatnonzero(reads & (writer >= 0))
    if not both.size:
        return
    if not d.lanewise:
        text = f"writes scratchpad {_sub_word(core, int(both[0]))}, which it also reads"
        raise place.error("result_base", text)
    n_g, _, n_ox, _, n_kx, n_ci = d.counts
    x = d.x_start + np.arange(n_ox)[:, None] * d.x_step_ox + np.arange(n_kx) * d.x_step_kx
    rows, valid_x = tap_rows(d, core), (x >= 0) & (x < d.x_limit)
    row_offsets, n_oy = rows.offsets + rows.banks * _subs(core) * core.lanes, len(rows.valid)
    groups = Groups.of(d, core)
    count = groups.count * groups.pixels
    pixels, taps = np.arange(count), np.arange(d.taps)
    by_tap = d.taps <= count  # vectorise over the longer one
    for i in range(min(d.taps, count)):
        pixel, tap = (pixels, taps[i]) if by_tap else (pixels[i], taps)
        rest, ox = np.divmod(pixel, n_ox)
        g, oy = np.divmod(rest, n_oy)
        rest, ci = np.divmod(tap, n_ci)
        ky, kx = np.divmod(rest, n_kx)
        s = d.act_steps
        element = d.act_base + g * s[0] + row_offsets[oy, ky] + ox * s[2] + kx * s[4] + ci * s[5]
        counts = rows.valid[oy, ky] & valid_x[ox, kx]
        for sub in range(groups.subs):
            mine = counts & ((g < n_g - 1) | (sub < groups.last_subs))
            word = element // core.lanes + sub
            owner = writer[np.where(mine, word, 0)]
            clash = mine & (owner >= 0) & (owner != pixel)
            if np.any(clash):
                here = _sub_word(core, int(word[np.flatnonzero(clash)[0]]))
                text = f"scratchpad {here} is written by one pixel, read by another"
                raise place.error("result_base", text)


# --------------------------------------------------------------------------- what a bit stands for


def describe_bit(
    images: Mapping[str, Words],
    core: Core,
    image: str,
    line: int,
    bit: int,
    manifest: Manifest | None = None,
) -> str:
    """What one bit of an image stands for, in words.

    Args:
        image: program, weights, bias or table.
        line: line of the .mem file, from 1.
        bit: from 0, the least significant.

    Returns:
        E.g. ``"weights.mem:9 bit 3: nest 2 (fc1), group 0, lane 0, tap ky 0 kx 0 ci 4"``. Contains
        ``padding lane`` or ``unused`` where no valid result depends on the bit.

    Raises:
        ValueError: there is no such bit.
        ProgramError: the program is not legal.
    """
    if not (1 <= line <= len(images[image]) and 0 <= bit < images[image].bits):
        raise ValueError(f"{image}.mem has no line {line} with a bit {bit}")
    program = validate(images, core)
    descriptors = split_program(to_uint32(images["program"]), core.tiles > 1)
    find: dict[str, Callable[[], str]] = {
        "program": lambda: _program_bit(descriptors, line - 1, bit, core.tiles > 1),
        "weights": lambda: _weight_bit(program, core, line - 1, bit, manifest),
        "bias": lambda: _bias_bit(program, core, line - 1, bit, manifest),
        "table": lambda: _table_bit(program, core, line - 1, bit, manifest),
    }
    return f"{image}.mem:{line} bit {bit}: {find[image]()}"


def _nest_name(index: int, manifest: Manifest | None) -> str:
    if manifest is None or index > len(manifest.nests):
        return f"nest {index}"
    return f"nest {index} ({manifest.layers[manifest.nests[index - 1].layer].name})"


def _program_bit(program: list[Descriptor], word: int, bit: int, tiled: bool) -> str:
    index, offset = divmod(word, DESCRIPTOR_WORDS)
    if index >= len(program):
        return "unused word behind the last descriptor"
    d = program[index]
    layouts = {Input: INPUT_FIELDS, Loop: LOOP_FIELDS, Nest: NEST_FIELDS}
    if tiled:
        layouts |= {Input: TILED_INPUT_FIELDS, Nest: TILED_NEST_FIELDS}
    layout = layouts[type(d)]
    what = "input" if isinstance(d, Input) else "loop" if isinstance(d, Loop) else f"nest {index}"
    if offset == 0 and bit < 4:
        return f"{what}, opcode bit {bit}"
    for name, f in layout.items():
        if f.word == offset and f.lsb <= bit < f.lsb + f.bits:
            return f"{what}, {name} bit {bit - f.lsb}"
    return f"{what}, reserved bit (must be 0)"


def _weight_bit(
    program: list[Input | Nest], core: Core, word: int, bit: int, manifest: Manifest | None
) -> str:
    element, inner = divmod(bit, core.weight_bits)
    padding = ""
    for index, d in enumerate(program):
        if not isinstance(d, Nest) or d.max or d.product:
            continue
        step = (word << d.narrow) + inner // (core.weight_bits >> d.narrow)
        indices = _solve(d, step)
        if not len(indices):
            continue
        name, groups = _nest_name(index, manifest), Groups.of(d, core)
        part, lane = divmod(element, groups.width)
        useful = [i for i in indices.tolist() if lane < groups.valid(i[0])]
        if not useful:
            padding = f"{name}, padding lane {lane} of group {indices[0][0]}"
            continue
        g, _, _, ky, kx, ci = useful[0]
        channel = _channel(manifest, index, g * groups.width + lane)
        neighbour = "" if groups.width == core.word else f" + {part}"
        return f"{name}, group {g}, lane {lane}{channel}, tap ky {ky} kx {kx} ci {ci}{neighbour}"
    return padding or "unused word"


def _channel(manifest: Manifest | None, index: int, position: int) -> str:
    if manifest is None or index > len(manifest.nests):
        return ""
    channels = manifest.nests[index - 1].channels
    return f" (channel {channels[position]})" if position < len(channels) else ""


def _solve(d: Nest, word: int) -> NDArray[np.int64]:
    """Loop indices with this weight address, 0 where a step is 0: int64 [n, 6]."""
    counts = [c if s else 1 for c, s in zip(d.counts, d.weight_steps, strict=True)]
    address = np.full(1, d.weight_base, np.int64)
    for count, step in zip(counts, d.weight_steps, strict=True):
        address = (address[:, None] + np.arange(count) * step).reshape(-1)
    hits = np.flatnonzero(address == word)
    found = np.stack(np.unravel_index(hits, counts), axis=1).astype(np.int64)
    if d.weight_steps[0] == 0 and len(found):  # every group reads the word
        groups = np.repeat(np.arange(d.counts[0]), len(found))
        found = np.tile(found, (d.counts[0], 1))
        found[:, 0] = groups
    return found


def _bias_bit(
    program: list[Input | Nest], core: Core, word: int, bit: int, manifest: Manifest | None
) -> str:
    entry, position = divmod(bit, ENTRY_BITS)
    part = f"bias bit {position}" if position < BIAS_BITS else f"shift bit {position - BIAS_BITS}"
    padding = ""
    for index, d in enumerate(program):
        if not isinstance(d, Nest):
            continue
        start = d.bias_base + np.arange(d.counts[0]) * d.bias_step
        name, groups = _nest_name(index, manifest), Groups.of(d, core)
        words = groups.width // core.rq
        for g in np.flatnonzero((start <= word) & (word < start + words)).tolist():
            lane = (word - int(start[g])) * core.rq + entry
            if lane < groups.valid(g):
                channel = _channel(manifest, index, g * groups.width + lane)
                return f"{name}, group {g}, lane {lane}{channel}, {part}"
            padding = f"{name}, padding lane {lane} of group {g}, {part}"
    return padding or "unused word"


def _table_bit(
    program: list[Input | Nest], core: Core, word: int, bit: int, manifest: Manifest | None
) -> str:
    table, entry = divmod(word, 256)
    part = "" if core.data_bits == 8 else ", start" if bit < 16 else ", slope"
    users = [
        _nest_name(i, manifest)
        for i, d in enumerate(program)
        if isinstance(d, Nest) and d.table and d.table_base == table
    ]
    return f"{', '.join(users)}, table {table}, entry {entry}{part}" if users else "unused table"
