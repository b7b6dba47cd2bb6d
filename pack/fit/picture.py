# SPDX-License-Identifier: Apache-2.0
"""Draws the shapes with matplotlib (extra ``plot``): inferences per second against resources."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.folder import replace_bytes
from bramcast.pack.bundle.packages import needed
from bramcast.pack.fit.candidates import Candidate
from bramcast.pack.fit.choose import Wish

SUFFIXES = (".png", ".svg", ".pdf")
BLUE, GREY, RED = "#2b6ca3", "#8a8f98", "#c0392b"


def check_target(target: Path) -> None:
    """Refuse what can't be drawn before all is computed.

    Raises:
        InputError: a suffix other than .png, .svg, .pdf.
        ToolError: matplotlib is not installed.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"{target}: pictures are written as {', '.join(SUFFIXES)}")
    with needed("drawing", "matplotlib", "plot"):
        import matplotlib  # noqa: F401


def draw_shapes(
    candidates: Sequence[Candidate],
    front: Sequence[Candidate],
    chosen: Candidate | None,
    wish: Wish,
    target: Path,
) -> None:
    """One panel for each resource but flip-flops; what the part has is a line.

    Raises:
        InputError, ToolError: as ``check_target``; or it can't be written.
    """
    check_target(target)
    import matplotlib
    from matplotlib.figure import Figure

    part = candidates[0].memories.part
    kind = target.suffix[1:].lower()
    with matplotlib.rc_context({"font.size": 8, "axes.linewidth": 0.6, "svg.hashsalt": "bramcast"}):
        uses = [c.uses[:-1] for c in candidates]
        panels = len(uses[0])
        figure = Figure(figsize=(3.5 * panels, 3.6), layout="constrained")
        for number, axis in enumerate(figure.subplots(1, panels, sharey=True)):
            use = uses[0][number]
            taken = {id(c): u[number].taken for c, u in zip(candidates, uses, strict=True)}
            _points(axis, candidates, front, chosen, wish, taken)
            if use.there is not None:
                axis.axvline(use.there, color=RED, linewidth=0.9, linestyle="--", zorder=1)
                axis.set_title(f"{use.name}: {part.name} has {use.there:,}", loc="left", fontsize=8)
            else:
                axis.set_title(use.name, loc="left", fontsize=8)
            if number == 0:
                axis.set_ylabel(f"inferences per second at {wish.clock_mhz:g} MHz")
        figure.supxlabel(
            "blue: fits, joined: the front (no other shape is faster and smaller); grey: does not "
            "fit" + ("" if chosen is None else f"; red: {chosen.shape}"),
            fontsize=8,
            color=GREY,
        )
        buffer = io.BytesIO()
        stamp = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        figure.savefig(buffer, format=kind, dpi=130, metadata=stamp)
    replace_bytes(target, buffer.getvalue())


def _points(
    axis: Any,
    candidates: Sequence[Candidate],
    front: Sequence[Candidate],
    chosen: Candidate | None,
    wish: Wish,
    taken: dict[int, int],
) -> None:
    """All shapes, and the steps of the front in this resource alone."""
    from matplotlib.ticker import StrMethodFormatter

    def draw(some: Sequence[Candidate], **how: Any) -> None:
        x = [max(1, taken[id(c)]) for c in some]
        axis.scatter(x, [wish.per_second(c.cycles) for c in some], linewidths=0, **how)

    draw([c for c in candidates if c.lacking], color=GREY, s=9, alpha=0.7)
    draw([c for c in candidates if not c.lacking], color=BLUE, s=9, alpha=0.5)
    draw(front, color=BLUE, s=22)
    steps, fastest = [], 0.0
    for c in sorted(front, key=lambda c: (taken[id(c)], c.cycles)):
        rate = wish.per_second(c.cycles)
        if rate > fastest:
            steps.append((max(1, taken[id(c)]), rate))
            fastest = rate
    axis.plot(*zip(*steps, strict=True), color=BLUE, linewidth=0.9, drawstyle="steps-post")
    if chosen is not None:
        draw([chosen], color=RED, s=46, zorder=4)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    for line in (axis.xaxis, axis.yaxis):
        line.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.grid(linewidth=0.3, color=GREY, alpha=0.4)
