# SPDX-License-Identifier: Apache-2.0
"""Chooses whose pixels lie side by side, by the cycles of the whole program.

Additions and time steps tie tensors together: those have as many pixels in a sub-word. One family
after the other takes the number with the fewest cycles, a larger one only where it is worth it.
What counts are the cycles with as many lanes requantized per cycle as a recipe has by default, an
eighth; with more nothing may be slower than with single pixels. A layout is one for any number.
"""

from collections.abc import Callable, Mapping

from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.graph.classes import Classes
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Add, Depthwise
from bramcast.pack.graph.twins import twins_of
from bramcast.pack.lower.beside import Unfit, can_widen
from bramcast.pack.lower.nests import dry_nests
from bramcast.pack.lower.walks import Lanewise, Layout

Made = tuple[Graph, Layout]
WORTH = 0.01  # of all cycles: zeros beside the weights take room in their memory


def fastest(
    graph: Graph,
    rows: Mapping[tuple[int, ...], int],
    first: Made,
    settle: Callable[[Mapping[int, int]], Made],
) -> Made:
    """The layout with the fewest cycles of those that ``settle`` makes; ``first`` where none has
    fewer.

    Args:
        rows: tensors that are phases of one picture, and how many of these are in each.
        settle: lays the graph out with so many pixels of some tensors side by side.
    """
    lanes, taps = first[1].lanes, first[1].taps
    families = _families(graph, rows, lanes) if lanes >= taps else {}
    best, chosen, usual = first, dict[int, int](), max(0, lanes.bit_length() - 4)
    plain = _cycles(first) if families else []
    least = plain[usual] if families else 0
    for members, counts in families.items():
        others = dict(chosen)
        for count in counts:
            trial = others | dict.fromkeys(members, count)
            try:
                made = settle(trial)
            except (Unfit, UnsupportedLayer):
                continue
            cycles = _cycles(made)
            both = zip(cycles[usual:], plain[usual:], strict=True)
            slower = any(now > before for now, before in both)
            if not slower and cycles[usual] * (1 + WORTH) <= least:
                best, chosen, least = made, trial, cycles[usual]
    return best


def _cycles(made: Made) -> list[int]:
    """Cycles of a frame, LOOPs unrolled, with 1, 2, 4 .. lanes requantized per cycle."""
    graph, layout = made
    nests = dry_nests(graph, layout)
    numbers = [1 << i for i in range(layout.lanes.bit_length())]
    cores = [
        Core(layout.lanes, layout.taps, 8, 8, rq, 1, 1, 1, 256, 1, gates=True, tiles=layout.tiles)
        for rq in numbers
    ]
    return [predict(nests, core).total for core in cores]


def _families(
    graph: Graph, rows: Mapping[tuple[int, ...], int], lanes: int
) -> dict[tuple[int, ...], list[int]]:
    """Tensors that have as many pixels in a sub-word as each other, and what these may be."""
    tied = Classes(len(graph.tensors))
    for op in graph.ops:
        if isinstance(op, Add) or (isinstance(op, Depthwise) and can_widen(op)):
            tied.join([op.out.index, *(graph.operands(op) - {graph.input.index})])
    for ops in twins_of(graph):  # one LOOP of the program
        tied.join(op.out.index for op in ops)
    across = {index: count for tensors, count in rows.items() for index in tensors}
    for tensors in rows:
        tied.join(tensors)
    families: dict[int, list[int]] = {}
    for index in range(len(graph.tensors)):
        families.setdefault(tied.find(index), []).append(index)
    found = {}
    for members in families.values():
        counts = [_counts(graph, index, lanes, across.get(index)) for index in members]
        fitting = [n for n in counts[0] if all(n in others for others in counts)]
        if fitting:
            found[tuple(members)] = fitting
    return found


def _counts(graph: Graph, index: int, lanes: int, across: int | None) -> list[int]:
    """How many pixels of a tensor may lie in a sub-word, but for one.

    Args:
        across: if it is one of several phases, how many of these it has.
    """
    op = graph.producer(graph.tensors[index])
    if op is None or not can_widen(op):
        return []
    readers = graph.consumers(graph.tensors[index])
    if any(isinstance(reader, Lanewise) and not can_widen(reader) for reader in readers):
        return []
    if across is not None:
        most, width = lanes // (op.out.channels // across), op.out.width * across
        powers = [n for n in (1 << i for i in range(1, 7)) if n <= most and n < 2 * width]
        return powers if across > 1 else []
    most, width = lanes // op.out.channels, op.out.width
    if graph.leaves(op):  # beats come pixel by pixel, and none too many
        return [n for n in range(2, most + 1) if width % n == 0 and not isinstance(op, Add)]
    return [n for n in (1 << i for i in range(1, 7)) if n <= most and n < 2 * width]
