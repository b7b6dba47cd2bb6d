# SPDX-License-Identifier: Apache-2.0
"""Chooses how many rows of each picture a tile has, by the cycles of the whole program.

A layer whose operand moves on by a strip when its own result does runs in all tiles at once; at the
others the strips change, and all tiles compute the same. Where that costs least no single rule
says: ceil(H / TILES) fits a chain that halves 32 rows again and again, and spoils one from 49 rows
to 25; working back from the last picture leaves tiles idle through all that come before. So each
family of pictures that must have the same strips is tried with a few heights, others as they are,
until nothing gets better, from several beginnings.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from bramcast.pack.graph.classes import Classes
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Add, Product
from bramcast.pack.graph.views import is_point
from bramcast.pack.lower.lowered_nest import LoweredNest
from bramcast.pack.lower.nests import dry_run
from bramcast.pack.lower.tiles import NoStrips, tiled, tiled_nest
from bramcast.pack.lower.walks import Layout

FAR = 1 << 40  # cycles of what can't be done
NEST = 18  # cycles between two nests, about
FACTORS = (1, 2, 4, 8, 16, 32)  # by which pictures further on are smaller
SWEEPS = 4

Choice = dict[int, int]  # family -> rows of a strip; not in it: all in one bank


def with_strips(graph: Graph, layout: Layout) -> Layout:
    """The layout with strips, where it is one for several tiles."""
    if layout.tiles == 1:
        return layout
    search = _Search(graph, layout)
    found = (search.descended(start) for start in search.starts())
    _, best = min(found, key=lambda one: one[0])
    while True:
        made = replace(layout, strips=search.strips(best))
        try:
            tiled(graph, made, search.nests)
        except NoStrips:  # a buffer can't be in all banks: do without the frame, then without any
            best = {} if search.frame not in best else _without(best, search.frame)
            continue
        return made


def _without(choice: Choice, family: int) -> Choice:
    return {key: h for key, h in choice.items() if key != family}


class _Search:
    def __init__(self, graph: Graph, layout: Layout) -> None:
        self.graph, self.layout = graph, layout
        self.nests = dry_run(graph, layout)
        self.families = _families(graph, layout)
        of = {index: family for family, members in self.families.items() for index in members}
        self.frame = of.get(graph.input.index, -1)
        self.of_op: dict[str, list[LoweredNest]] = {}
        for lowered in self.nests:
            self.of_op.setdefault(lowered.op.name, []).append(lowered)
        self.reads = {
            op.name: sorted({of[i] for i in (*graph.operands(op), op.out.index) if i in of})
            for op in graph.ops
        }
        self.heights = {
            family: graph.tensors[members[0]].height for family, members in self.families.items()
        }
        self.touching = {
            family: [name for name, read in self.reads.items() if family in read]
            for family in self.families
        }
        self.candidates = {family: self._candidates(family) for family in self.families}
        self.costs: dict[tuple[str, tuple[int | None, ...]], int] = {}

    def starts(self) -> Iterable[Choice]:
        """Where to begin: nothing in strips; the same rule for all pictures."""
        yield {}
        for factor in FACTORS:
            found = {}
            for family in self.families:
                heights = self.candidates[family]
                wanted = self._height(family, factor)
                if wanted in heights:
                    found[family] = wanted
                elif heights:
                    found[family] = heights[0]
            yield found

    def _height(self, family: int, factor: int) -> int:
        smaller = -(-self.heights[family] // factor)
        return factor * -(-smaller // self.layout.tiles)

    def _candidates(self, family: int) -> list[int]:
        """Rows that strips of a family's pictures may have, the fewest first."""
        height, found = self.heights[family], set()
        for factor in FACTORS:
            h = self._height(family, factor)
            if h < height and self._fits(family, h):
                found.add(h)
        return sorted(found)

    def _fits(self, family: int, h: int) -> bool:
        places = [self.layout.placements[i] for i in self.families[family]]
        return all(h * place.row_pitch % self.layout.taps == 0 for place in places)

    def strips(self, choice: Choice) -> Mapping[int, int]:
        return {index: h for family, h in choice.items() for index in self.families[family]}

    def cost(self, name: str, choice: Choice) -> int:
        """About the cycles of an operation."""
        key = name, tuple(choice.get(family) for family in self.reads[name])
        if key not in self.costs:
            self.costs[key] = self._cost(name, choice)
        return self.costs[key]

    def _cost(self, name: str, choice: Choice) -> int:
        layout = replace(self.layout, strips=self.strips(choice))
        total = 0
        for lowered in self.of_op[name]:
            try:
                made = tiled_nest(layout, lowered).nests
            except NoStrips:
                return FAR
            for nest in (n.nest for n in made):
                group = layout.word if nest.lanewise else layout.lanes
                drain = max(1, group // max(1, layout.lanes // 4))
                total += nest.pixels * max(nest.taps, drain) + NEST
        return total

    def total(self, choice: Choice, names: Iterable[str] | None = None) -> int:
        return sum(self.cost(name, choice) for name in names or self.of_op)

    def descended(self, choice: Choice) -> tuple[int, Choice]:
        """The best choice on the way down from this one, and its cycles."""
        for _ in range(SWEEPS):
            changed = False
            for family, names in self.touching.items():
                options: list[Choice] = [_without(choice, family)]
                options += [{**choice, family: h} for h in self.candidates[family]]
                now = self.total(choice, names)
                best = min(options, key=lambda option: self.total(option, names))
                if self.total(best, names) < now:
                    choice, changed = best, True
            if not changed:
                break
        return self.total(choice), choice


def _families(graph: Graph, layout: Layout) -> dict[int, list[int]]:
    """Tensors whose strips must be equal, by one of them; without those that can't have any."""
    tied = Classes(len(graph.tensors))
    by_buffer: dict[int, list[int]] = {}
    for index, place in layout.placements.items():
        by_buffer.setdefault(place.buffer, []).append(index)
    for members in by_buffer.values():
        tied.join(members)
    for op in graph.ops:
        if isinstance(op, Add | Product):
            tied.join(
                t.index for view in op.views if not is_point(view) for t in graph.owners(view)
            )
    families: dict[int, list[int]] = {}
    for index in layout.placements:
        families.setdefault(tied.find(index), []).append(index)
    return {
        family: members
        for family, members in families.items()
        if all(_in_rows(graph, layout, index, by_buffer) for index in members)
        and len({graph.tensors[i].height for i in members}) == 1
        and not any(tensor.index in members for tensor in graph.sent)
    }


def _in_rows(graph: Graph, layout: Layout, index: int, by_buffer: Mapping[int, list[int]]) -> bool:
    """Whether a tensor's buffer holds rows of one picture, and nothing else."""
    place, height = layout.placements[index], graph.tensors[index].height
    others = [layout.placements[i] for i in by_buffer[place.buffer]]
    alike = all(
        other.row_pitch == place.row_pitch and other.base < place.row_pitch for other in others
    )
    return height > 1 and alike and place.row_pitch > 0
