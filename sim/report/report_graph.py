# SPDX-License-Identifier: Apache-2.0
"""The network as a picture: layers in boxes, Q formats on the edges. Gives SVG text.

A long chain is cut into columns, where only one result leads from one to the next. Layers stand
below what they read; an edge that passes others by runs beside them, one that leads
to the next time step runs up on the left, dashed.
"""

from dataclasses import dataclass
from html import escape
from itertools import pairwise

from bramcast.sim.report.anatomy import Anatomy

BOX, HIGH, ROW, GAP, LANE = 236, 40, 74, 26, 15  # pixels
SHORT, LONG = 7, 12  # rows that need no second column; rows of a column
LEAST = 0.62  # of that; a narrower window scrolls instead of making letters smaller

CHARACTER, LINE = 7.4, 14  # pixels that a label's character and line take at most


@dataclass(slots=True)
class _Labels:
    """Formats beside the edges, none over another or over a box.

    Attributes:
        taken: left, top, right, bottom of what stands already.
    """

    taken: list[tuple[float, float, float, float]]

    def place(self, x: float, y: float, text: str, anchor: str = "start") -> str:
        """The label as near to (x, y) as there is room, above it or below."""
        width = CHARACTER * len(text)
        left = x - width if anchor == "end" else x
        for shift in sorted(range(-40 * LINE, 41 * LINE, LINE // 2), key=abs):
            top = y + shift - LINE + 3
            right, bottom = left + width, top + LINE
            if top >= 0 and not any(
                left < x1 and x0 < right and top < y1 and y0 < bottom
                for x0, y0, x1, y1 in self.taken
            ):
                self.taken.append((left, top, right, bottom))
                return _label(x, y + shift, text, anchor)
        return ""  # the table names the format, too


@dataclass(frozen=True, slots=True)
class _Edge:
    source: int  # -1 is the input
    target: int
    label: str


@dataclass(frozen=True, slots=True)
class _Network:
    """Parts by number, -1 is the input, and what leads from one to another.

    Attributes:
        rank: row of each, below all that it reads.
        back: edges to the next time step.
    """

    rank: dict[int, int]
    down: list[_Edge]
    back: list[_Edge]

    @classmethod
    def of(cls, anatomy: Anatomy) -> "_Network":
        edges = [
            _Edge(read, number, _format(anatomy, read))
            for number, part in enumerate(anatomy.parts)
            for read in part.reads
        ]
        down = [e for e in edges if e.source < e.target]
        rank = {-1: 0}
        for number in range(len(anatomy.parts)):
            rank[number] = 1 + max((rank[e.source] for e in down if e.target == number), default=0)
        return cls(rank, down, [e for e in edges if e.source >= e.target])

    def gates(self) -> dict[int, int]:
        """Rows before which the network can be cut: all that crosses comes from this one part."""
        found = {}
        for row in range(1, max(self.rank.values()) + 1):
            over = [e for e in (*self.down, *self.back) if self._crosses(e, row)]
            sources = {e.source for e in over}
            straight = not any(e in self.back for e in over)
            if straight and len(sources) == 1 and self.rank[min(sources)] == row - 1:
                found[row] = sources.pop()
        return found

    def _crosses(self, edge: _Edge, row: int) -> bool:
        return (self.rank[edge.source] < row) != (self.rank[edge.target] < row)

    def piece(self, first: int, end: int, entry: int) -> "_Network":
        """The rows from ``first`` up to ``end``, with the part before them that they read."""
        rank = {node: row - first + 1 for node, row in self.rank.items() if first <= row < end}
        rank = {entry: 0} | rank

        def inside(e: _Edge) -> bool:
            return e.source in rank and e.target in rank and e.target != entry

        down = [e for e in self.down if inside(e)]
        return _Network(rank, down, [e for e in self.back if inside(e)])


def graph_svg(anatomy: Anatomy) -> str:
    """SVG of the network's parts: a column, or several where it is long, each a picture."""
    whole = _Network.of(anatomy)
    gates = whole.gates()
    rows = max(whole.rank.values()) + 1
    cuts = _cuts(rows, sorted(gates))
    pieces = []
    for first, end in pairwise([0, *cuts, rows]):
        entry = gates[first] if first else -1
        piece = whole.piece(first, end, entry) if first else whole.piece(1, end, -1)
        pieces.append(_column(anatomy, piece, entry, gates.get(end), not first))
    return "".join(pieces)


def _cuts(rows: int, gates: list[int]) -> list[int]:
    """Rows at which columns begin: as many as are read at a glance, about as long as each other.

    >>> _cuts(5, [1, 2, 3, 4]), _cuts(10, [*range(1, 10)]), _cuts(10, [2, 9]), _cuts(30, [])
    ([], [3, 7], [2], [])
    """
    if rows <= SHORT:
        return []
    columns = max(3, -(-rows // LONG))
    wanted = [rows * number / columns for number in range(1, columns)]
    usable = [gate for gate in gates if 2 <= gate <= rows - 2]
    return sorted({min(usable, key=lambda gate: abs(gate - w)) for w in wanted if usable})


def _column(
    anatomy: Anatomy, network: _Network, entry: int, leaves: int | None, first: bool
) -> str:
    """A picture of consecutive rows.

    Args:
        entry: the part that they read, in row 0.
        leaves: the part that the next column reads; None in the last one.
        first: ``entry`` is the input itself, else a reference to another column.
    """
    parts, rank, down, back = anatomy.parts, network.rank, network.down, network.back
    place = _places(rank, down)
    passing = [e for e in down if rank[e.target] - rank[e.source] > 1]
    right, left = _lanes(passing, rank), _lanes(back, rank)
    margin = 20 + LANE * (max(left.values(), default=-1) + 1) + (70 if left else 0)
    columns = 1 + max(column for column, _ in place.values())
    width = margin + columns * (BOX + GAP) + LANE * (max(right.values(), default=-1) + 1) + 70
    height = ROW * max(rank.values()) + HIGH + 50

    def corner(node: int) -> tuple[float, float]:
        column, row = place[node]
        return margin + column * (BOX + GAP), 10 + ROW * row

    corners = [corner(node) for node in place]
    labels = _Labels([(x, y, x + BOX, y + HIGH) for x, y in corners])
    body, formats = [], []  # formats stand over the edges
    for e in down:
        (x0, y0), (x1, y1) = corner(e.source), corner(e.target)
        x0, y0, x1 = x0 + BOX / 2, y0 + HIGH, x1 + BOX / 2
        if e not in passing:
            middle = (y0 + y1) / 2
            body.append(_path(f"M{x0},{y0} C{x0},{middle} {x1},{middle} {x1},{y1 - 3}"))
            formats.append(labels.place((x0 + x1) / 2 + 7, middle + 4, e.label))
            continue
        lane = margin + columns * (BOX + GAP) + LANE * right[e]
        body.append(
            _path(
                f"M{x0},{y0} C{x0},{y0 + 20} {lane},{y0} {lane},{y0 + 26} L{lane},{y1 - 30} "
                f"C{lane},{y1 - 4} {x1 + 34},{y1 - 24} {x1 + 34},{y1 - 3}"
            )
        )
        formats.append(labels.place(lane + 5, (y0 + y1) / 2 + 4, e.label))
    for e in back:
        (x0, y0), (x1, y1) = corner(e.source), corner(e.target)
        lane = margin - 12 - LANE * left[e]
        body.append(
            _path(
                f"M{x0},{y0 + 24} C{lane},{y0 + 24} {lane},{y0 + 20} {lane},{y0 + 4} "
                f"L{lane},{y1 + 34} C{lane},{y1 + 14} {lane},{y1 + 14} {x1 - 3},{y1 + 14}",
                "back",
            )
        )
        if e is next(other for other in back if other.source == e.source):
            formats.append(labels.place(lane - 5, (y0 + y1) / 2 + 20, e.label, "end"))
    if first:
        frame = anatomy.manifest.input
        planes = f", {frame.planes} planes" if frame.planes > 1 else ""
        dims = [" x ".join(str(n) for n in one.dims) for one in anatomy.manifest.inputs]
        shape = " and ".join(dims)
        body.append(_box(*corner(entry), "input", f"{shape}{planes}", "io"))
    else:
        body.append(_box(*corner(entry), parts[entry].name, "from the column before", "io"))
    for number in rank:
        if number == entry:
            continue
        layer = parts[number].layers[0]
        shape = " x ".join(str(n) for n in layer.shape)
        kind = "macs" if parts[number].macs else "plain"
        body.append(_box(*corner(number), parts[number].name, f"{layer.op}  {shape}", kind))
    end = len(parts) - 1 if leaves is None else leaves
    x, y = corner(end)
    body.append(_path(f"M{x + BOX / 2},{y + HIGH} L{x + BOX / 2},{y + HIGH + 26}"))
    formats.append(labels.place(x + BOX / 2 + 7, y + HIGH + 20, _format(anatomy, end)))
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" '
        'refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z"/>'
        "</marker></defs>"
    )
    return (
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'style="min-width:{LEAST * width:.0f}px" role="img" aria-label="the network">'
        f"{tip if first else ''}{''.join(body + formats)}</svg>"
    )


def _format(anatomy: Anatomy, part: int) -> str:
    if part < 0:
        return str(anatomy.manifest.input.format.q)
    return str(anatomy.parts[part].layers[0].format.q)


def _places(rank: dict[int, int], down: list[_Edge]) -> dict[int, tuple[int, int]]:
    """(column, row) of each node; a node takes the column of the first one that it reads."""
    rows: dict[int, list[int]] = {}
    for node, row in rank.items():
        rows.setdefault(row, []).append(node)
    place: dict[int, tuple[int, int]] = {}
    for row, nodes in sorted(rows.items()):
        taken: set[int] = set()
        for node in nodes:
            wanted = [place[e.source][0] for e in down if e.target == node]
            column = min(wanted, default=0)
            while column in taken:
                column += 1
            taken.add(column)
            place[node] = (column, row)
    return place


def _lanes(edges: list[_Edge], rank: dict[int, int]) -> dict[_Edge, int]:
    """A lane for each edge, so that edges side by side don't run over each other."""
    lanes: dict[_Edge, int] = {}
    for e in sorted(edges, key=lambda e: abs(rank[e.target] - rank[e.source])):
        low, high = sorted((rank[e.source], rank[e.target]))
        taken = {
            lane
            for other, lane in lanes.items()
            if min(rank[other.source], rank[other.target]) <= high
            and max(rank[other.source], rank[other.target]) >= low
        }
        lanes[e] = next(i for i in range(len(edges)) if i not in taken)
    return lanes


def _path(points: str, kind: str = "edge") -> str:
    return f'<path class="{kind}" d="{points}" marker-end="url(#tip)"/>'


def _label(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text class="format" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _box(x: float, y: float, name: str, what: str, kind: str) -> str:
    shown = name if len(name) <= 30 else name[:14] + "…" + name[-14:]
    return (
        f'<g class="{kind}"><title>{escape(name)}</title><rect x="{x}" y="{y}" width="{BOX}" '
        f'height="{HIGH}" rx="6"/><text class="name" x="{x + 10}" y="{y + 17}">{escape(shown)}'
        f'</text><text class="what" x="{x + 10}" y="{y + 32}">{escape(what)}</text></g>'
    )
