# SPDX-License-Identifier: Apache-2.0
"""Pictures of the report, drawn with matplotlib as SVG text that goes into the page."""

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bramcast.pack.bundle.qformat import QFormat
from bramcast.sim.report.anatomy import Anatomy, ReportLayer, Span

BLUE, GREY, RED, PALE = "#2b6ca2", "#9aa1a9", "#c0392b", "#eaf1f7"
FREE, SOFT, EDGE = "#f2f2f2", "#444444", "#fefefe"
# What the page's style sheet has of its own, for light and dark.
_THEME = {
    "#000000": "var(--ink)", PALE: "var(--pale)", FREE: "var(--free)", SOFT: "var(--soft)",
    EDGE: "var(--page)", BLUE: "var(--blue)",
}  # fmt: skip
# Neighbouring layers must differ; ten hues that print, used again from the start.
HUES = (
    "#2b6ca3", "#e08a2e", "#3f9b57", "#b0496b", "#7b62a8",
    "#4fb0b5", "#b5a12d", "#8d5a3b", "#5d7fd1", "#92a05a",
)  # fmt: skip
BARS = 64
DOTS = 3000  # of a scatter
CELLS = 160  # of a strip of changed words
SPIKE = 8  # times as high as the next bar: the scale becomes logarithmic
_STYLE: Any = {
    "font.size": 8,
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "path.simplify": False,
}


def hue(part: int) -> str:
    """A part's colour in all pictures; the input is grey."""
    return GREY if part < 0 else HUES[part % len(HUES)]


def _svg(figure: Figure, name: str) -> str:
    """The figure as an element of a page; ``name`` makes the identifiers in it unique."""
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.S)
    for colour, mine in _THEME.items():
        text = text.replace(colour, mine)
    return re.sub(r'<g id="[^"]*"', "<g", text)  # every figure has a figure_1


def distribution(name: str, values: NDArray[np.int64], fmt: QFormat) -> str:
    """Histogram of integers over what their format can hold.

    Args:
        name: unique in the page.
        values: integers of any shape; at least one.
    """
    low, high = fmt.min, fmt.max
    if fmt.bits > 16:  # full-width results: as far as they reach
        low, high = int(values.min()), max(int(values.max()), int(values.min()) + 1)
    bars = min(BARS, high - low + 1)
    counts, edges = np.histogram(values, bins=bars, range=(low - 0.5, high + 0.5))
    with rc_context(_STYLE):
        figure = Figure(figsize=(2.5, 0.72), layout="constrained")
        axis = figure.subplots()
        axis.axvspan(low - 0.5, high + 0.5, color=PALE, linewidth=0)
        axis.stairs(counts, edges, fill=True, color=BLUE)
        ends = [low, high] if low >= 0 else [low, 0, high]
        axis.set_xticks(ends, [f"{end * fmt.lsb:.4g}" for end in ends])
        axis.set_xlim(low - 0.5, high + 0.5)
        if spike(counts):
            axis.set_yscale("log")
            axis.set_ylim(0.5, counts.max() * 1.6)
            axis.minorticks_off()
            axis.text(0.995, 0.97, "log", transform=axis.transAxes, ha="right", va="top",
                      fontsize=6.5, color=SOFT)  # fmt: skip
        else:
            axis.set_ylim(0, max(1, int(np.sort(counts)[-2] * 1.6), int(counts.max() * 0.3)))
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.tick_params(length=2, pad=1.5, labelsize=7)
        for end, mark in ((fmt.min, values == fmt.min), (fmt.max, values == fmt.max)):
            if fmt.bits <= 16 and mark.any() and end:
                axis.axvline(end, color=RED, linewidth=1.2)
        return _svg(figure, name)


def spike(counts: NDArray[np.integer]) -> bool:
    """Whether one bar leaves so little to the others that a linear scale would show nothing else.

    >>> spike(np.array([900, 10, 20, 15])), spike(np.array([90, 60, 20])), spike(np.array([5, 0]))
    (True, False, False)
    """
    largest, others = int(counts.max()), np.sort(counts)[:-1]
    return bool(others.any()) and largest > SPIKE * int(others.max())


def timeline(anatomy: Anatomy) -> str:
    """When each layer's nests run; how dark says how many multipliers are busy."""
    parts = anatomy.parts
    rows = len(parts)
    multipliers = anatomy.manifest.core.multipliers
    with rc_context(_STYLE):
        figure = Figure(figsize=(10, 0.55 + 0.235 * rows), layout="constrained")
        axis = figure.subplots()
        for row, part in enumerate(parts):
            share = part.share(multipliers)
            bars = [(s.first, s.end - s.first) for s in _joined(part.cycles)]
            axis.broken_barh(bars, (row - 0.38, 0.76), color=hue(row), alpha=0.35 + 0.65 * share)
            text = f"{part.busy:,} cycles" + (f", {100 * share:.0f} %" if share else "")
            _beside(axis, part.cycles[-1].end, row, text)
        axis.set_yticks(range(rows), [_short(p.name) for p in parts])
        axis.set_ylim(rows - 0.4, -0.6)
        total = anatomy.prediction.total
        axis.set_xlim(0, 1.22 * total)  # room for the text behind the last bars
        _whole_numbers(axis.xaxis)
        axis.set_xticks([tick for tick in axis.get_xticks() if 0 <= tick <= total])
        axis.set_xlabel("clock cycle of the frame")
        axis.tick_params(length=2)
        return _svg(figure, "timeline")


def _whole_numbers(axis: Any) -> None:
    """Ticks at whole numbers only, however few there are."""
    axis.set_major_locator(MaxNLocator(8, integer=True))
    axis.set_major_formatter("{x:,.0f}")


def _beside(axis: Any, x: float, y: float, text: str) -> None:
    """Text behind the end of a bar."""
    axis.annotate(
        text, (x, y), xytext=(4, 0), textcoords="offset points", va="center", ha="left",
        fontsize=7, color=SOFT,
    )  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= 28 else name[:13] + "…" + name[-13:]


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans with short gaps closed: hundreds of time steps would be as many shapes."""
    reach = max(1, (spans[-1].end - spans[0].first) // 400)
    joined = [spans[0]]
    for span in spans[1:]:
        if span.first - joined[-1].end <= reach:
            joined[-1] = Span(joined[-1].first, max(span.end, joined[-1].end))
        else:
            joined.append(span)
    return joined


def memory_map(anatomy: Anatomy) -> str:
    """Whose words lie where in each image."""
    images = [image for image in anatomy.manifest.images if image.words]
    with rc_context(_STYLE):
        figure = Figure(figsize=(10, 0.3 + 0.78 * len(images)), layout="constrained")
        axes = figure.subplots(len(images), 1, squeeze=False).ravel()
        for axis, image in zip(axes, images, strict=True):
            axis.barh(0, image.words, color=FREE, height=1, hatch="////", edgecolor="#cccccc",
                      linewidth=0)  # fmt: skip
            axis.barh(0, image.used, align="center", color="#c9ced3", height=1, linewidth=0)
            for number, part in enumerate(anatomy.parts):
                spans = part.words.get(image.name, [])
                axis.broken_barh(
                    [(s.first, s.end - s.first) for s in spans], (-0.5, 1), color=hue(number)
                )
            for name, span in _names(anatomy.parts, image.name):
                _name_in(axis, name, span, image.words)
            axis.set_xlim(0, image.words)
            axis.set_ylim(-0.5, 0.5)
            axis.set_yticks([])
            _whole_numbers(axis.xaxis)
            axis.tick_params(length=2, labelsize=7)
            full = 100 * image.used / image.words
            axis.set_title(
                f"{image.name}: {image.words:,} words of {image.bits} bits, {full:.0f} % used",
                loc="left", fontsize=8,
            )  # fmt: skip
        return _svg(figure, "memory")


def _names(parts: Sequence[ReportLayer], image: str) -> list[tuple[str, Span]]:
    """Names for the spans of an image; of parts that share words the widest, and how many more."""
    spans = [
        (part.name.split(" x ")[0], span) for part in parts for span in part.words.get(image, [])
    ]
    named: list[tuple[list[str], Span]] = []
    for name, span in sorted(spans, key=lambda s: s[1].first - s[1].end):  # the widest first
        shared = [names for names, other in named if _meet(other, span)]
        for names in shared[:1]:
            names.append(name)
        if not shared:
            named.append(([name], span))
    return [(f"{n[0]} +{len(n) - 1}" if len(n) > 1 else n[0], span) for n, span in named]


def _meet(one: Span, other: Span) -> bool:
    return one.first < other.end and other.first < one.end


def _name_in(axis: Any, name: str, span: Span, words: int) -> None:
    """A name, where there is room for it."""
    if (span.end - span.first) / words > 0.0075 * len(name) + 0.005:
        axis.text(
            (span.first + span.end) / 2, 0, name, ha="center", va="center", fontsize=7,
            color="white", clip_on=True,
        )  # fmt: skip


def scratchpad(anatomy: Anatomy) -> str:
    """Which tensor lies where in the scratchpad, bank after bank, and for how long."""
    core = anatomy.manifest.core
    depth = core.scratch_depth * core.tiles
    with rc_context(_STYLE):
        figure = Figure(figsize=(10, 2.6), layout="constrained")
        axis = figure.subplots()
        named: list[tuple[Span, Span]] = []  # where names stand, in words and cycles
        for resident in anatomy.residents:
            time, place = resident.cycles, resident.words
            for bank in resident.banks:
                axis.broken_barh(
                    [(time.first, time.end - time.first)],
                    (bank * core.scratch_depth + place.first, place.end - place.first),
                    facecolor=hue(resident.part), edgecolor=EDGE, linewidth=0.5, alpha=0.85,
                )  # fmt: skip
            first = resident.banks[0] * core.scratch_depth
            place = Span(first + place.first, first + place.end)
            name = (
                "input" if resident.part < 0 else anatomy.parts[resident.part].name.split(" x ")[0]
            )
            room = (time.end - time.first) / anatomy.prediction.total
            half = 0.0038 * len(name) * anatomy.prediction.total
            cycle, word = (time.first + time.end) / 2, (place.first + place.end) / 2
            box = (
                Span(int(cycle - half), int(cycle + half) + 1),
                Span(int(word - 0.04 * depth), int(word + 0.04 * depth) + 1),
            )
            # Phases of an upsampling lie between each other's words.
            free = not any(_meet(box[0], x) and _meet(box[1], y) for x, y in named)
            if free and room > 0.0075 * len(name) and (place.end - place.first) / depth > 0.06:
                named.append(box)
                axis.text(
                    (time.first + time.end) / 2, (place.first + place.end) / 2, name,
                    ha="center", va="center", fontsize=7, color="white", clip_on=True,
                )  # fmt: skip
        for bank in range(1, core.tiles):
            axis.axhline(bank * core.scratch_depth, color=SOFT, linewidth=0.5)
        axis.set_xlim(0, anatomy.prediction.total)
        axis.set_ylim(0, depth)
        _whole_numbers(axis.xaxis)
        _whole_numbers(axis.yaxis)
        axis.set_xlabel("clock cycle of the frame")
        axis.set_ylabel("scratchpad word")
        axis.tick_params(length=2)
        return _svg(figure, "scratchpad")


def losses(anatomy: Anatomy) -> str | None:
    """Signal to noise behind each layer, and how much of the output's error is its own rounding.

    None where pack has not measured it.
    """
    parts = anatomy.parts
    points = [
        (number, layer.snr)
        for number, part in enumerate(parts)
        for layer in part.layers[-1:]
        if layer.snr is not None
    ]
    if not points:
        return None
    judged = anatomy.manifest.judgement
    shares = [100 * sum(layer.share for layer in part.layers) for part in parts]
    of_input = 0.0 if judged is None else 100 * judged.input_share
    with rc_context(_STYLE):
        figure = Figure(figsize=(10, 0.7 + 0.2 * (len(parts) + 1)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for number, value in points:
            left.barh(number, max(value, 0.0), color=hue(number), height=0.7)
            _beside(left, max(value, 0.0), number, f"{value:.1f}")
        for number, share in [(-1, of_input), *enumerate(shares)]:
            right.barh(number, share, color=hue(number), height=0.7)
            _beside(right, share, number, f"{share:.1f}")
        left.set_yticks(range(-1, len(parts)), ["input", *(_short(p.name) for p in parts)])
        left.set_ylim(len(parts) - 0.4, -1.6)
        left.set_xlim(0, 1.12 * max(1.0, *(value for _, value in points)))
        right.set_xlim(0, 1.15 * max(1.0, of_input, *shares))
        left.set_xlabel("signal to noise behind the layer, dB")
        right.set_xlabel("share of the output's error that is its own rounding, %")
        for axis in (left, right):
            axis.tick_params(length=2)
        return _svg(figure, "losses")


def scatter(exact: NDArray[np.float64], got: NDArray[np.float64]) -> str:
    """Results of the integers over the float network's, of both shapes alike; a dot for each."""
    step = -(-exact.size // DOTS)
    x, y = exact.reshape(-1)[::step], got.reshape(-1)[::step]
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    edge = 0.03 * (high - low) or 1.0
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.0, 3.8), layout="constrained")
        axis = figure.subplots()
        ends = (low - edge, high + edge)
        axis.plot(ends, ends, color=GREY, linewidth=0.8)
        # A line of no length with round ends is a dot; all of them together are one shape.
        corners = np.repeat(np.stack([x, y], axis=1), 2, axis=0)
        dots = Path(corners, [Path.MOVETO, Path.LINETO] * len(x))
        axis.add_patch(
            PathPatch(dots, fill=False, edgecolor=BLUE, linewidth=2.2, capstyle="round", alpha=0.7)
        )
        axis.set_xlim(ends)
        axis.set_ylim(ends)
        axis.set_aspect("equal")
        axis.set_xlabel("float network")
        axis.set_ylabel("integers")
        axis.tick_params(length=2)
        return _svg(figure, "scatter")


def changes(name: str, changed: NDArray[np.bool_]) -> str:
    """Which words of an image differ: bool [words], drawn as runs of neighbours.

    Args:
        name: unique in the page.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 0.42), layout="constrained")
        axis = figure.subplots()
        axis.axvspan(0, len(changed), color=FREE, linewidth=0)
        cells = np.array_split(changed, min(CELLS, len(changed)))
        starts = np.cumsum([0, *(len(cell) for cell in cells)])
        for start, cell in zip(starts, cells, strict=False):
            if cell.any():
                axis.axvspan(start, start + len(cell), color=BLUE, linewidth=0,
                             alpha=0.25 + 0.75 * float(cell.mean()))  # fmt: skip
        axis.set_xlim(0, len(changed))
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        _whole_numbers(axis.xaxis)
        axis.set_xticks([0, len(changed)])
        axis.tick_params(length=2, labelsize=7)
        return _svg(figure, name)
