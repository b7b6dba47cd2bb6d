# SPDX-License-Identifier: Apache-2.0
"""Draws the histograms of an inspection with matplotlib (extra ``plot``)."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bramcast.pack.bundle.errors import InputError, ToolError
from bramcast.pack.bundle.folder import replace_bytes
from bramcast.pack.look.inspect import Histogram, Inspection, TensorReport

COLUMNS, ROWS = 4, 6  # panels of a page
SUFFIXES = (".png", ".svg", ".pdf")
BLUE, GREY, RED, GREEN = "#2b6ca3", "#8a8f98", "#c0392b", "#e3f0e3"


def draw_histograms(inspection: Inspection, target: Path, log: bool = False) -> list[Path]:
    """One panel for each tensor, 24 on a page; further pages are NAME-2.png and so on.

    Each panel marks what the proposed format can represent, and says how much is lost.

    Args:
        log: counts on a logarithmic axis.

    Returns:
        The files that were written.

    Raises:
        ToolError: matplotlib is not installed.
        InputError: a suffix other than .png, .svg, .pdf; nothing to draw; can't be written.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"{target}: pictures are written as {', '.join(SUFFIXES)}")
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise ToolError(
            "drawing needs matplotlib: pip install '.[plot]' in bramcast's checkout "
            "(--histogram without a file draws in the terminal)"
        ) from None
    shown = inspection.drawable
    if not shown:
        raise InputError(f"{inspection.path}: no tensor has several finite values to draw")
    size = COLUMNS * ROWS
    pages = [shown[start : start + size] for start in range(0, len(shown), size)]
    written = []
    with matplotlib.rc_context({"font.size": 8, "axes.linewidth": 0.6, "svg.hashsalt": "bramcast"}):
        for number, page in enumerate(pages, 1):
            name = target.name if number == 1 else f"{target.stem}-{number}{target.suffix}"
            title = inspection.path.name + (f", page {number} of {len(pages)}" * (len(pages) > 1))
            picture = _page(page, title, log, target.suffix[1:].lower())
            path = target.with_name(name)
            replace_bytes(path, picture)
            written.append(path)
    return written


def _page(reports: Sequence[TensorReport], title: str, log: bool, kind: str) -> bytes:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(COLUMNS, len(reports))
    rows = -(-len(reports) // columns)
    figure = Figure(
        figsize=(3.1 * columns + 0.4, 1.95 * rows + 0.9),
        layout=ConstrainedLayoutEngine(h_pad=0.09, w_pad=0.06),
    )
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, report in zip(axes, reports, strict=False):
        _panel(axis, report, log)
    for axis in axes[len(reports) :]:
        axis.set_axis_off()
    figure.supxlabel(
        "green: what the format represents, red: its ends; "
        + ("counts, logarithmic" if log else "counts"),
        fontsize=8,
        color=GREY,
    )
    buffer = io.BytesIO()
    stamp = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)  # same bytes each time
    figure.savefig(buffer, format=kind, dpi=130, metadata=stamp)
    return buffer.getvalue()


def _panel(axis: Any, report: TensorReport, log: bool) -> None:
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    histogram, proposal = report.histogram, report.proposal
    assert histogram is not None
    low, high, counts = _bars(histogram)
    edges = np.linspace(low, high, len(counts) + 1)
    left, right = low, high
    losses = ""
    if proposal is not None:
        fmt = proposal.fmt
        ends = fmt.min * fmt.lsb, fmt.max * fmt.lsb
        left, right = min(low, ends[0]), max(high, ends[1])
        axis.axvspan(*ends, color=GREEN, zorder=0, linewidth=0)
        for end in ends:
            axis.axvline(end, color=RED, linewidth=0.9, zorder=3)
        zero, cut = (n / report.count for n in (proposal.underflow, proposal.saturated))
        losses = str(fmt)
        for share, what in ((zero, "to 0"), (cut, "saturate")):
            if share:
                losses += f"  {f'{share:.1%}' if share >= 5e-4 else '<0.1%'} {what}"
    axis.stairs(counts, edges, fill=True, color=BLUE, zorder=2)
    if log:
        axis.set_yscale("log")
        axis.set_ylim(bottom=0.5, top=max(*counts, 10) * 1.5)
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
    margin = 0.03 * (right - left)
    axis.set_xlim(left - margin, right + margin)
    shape = "x".join(map(str, report.shape)) or "scalar"
    flags = f"  {', '.join(report.flags)}" if report.flags else ""
    axis.set_title(
        f"{_short(report.name)}", loc="left", fontsize=8.5, fontweight="bold", pad=13,
        color=RED if flags else "black",
    )  # fmt: skip
    axis.text(
        0, 1.03, f"{shape}  {losses}{flags}", transform=axis.transAxes, fontsize=7,
        color=RED if flags else GREY, va="bottom",
    )  # fmt: skip
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(length=2, width=0.5, labelsize=7)
    axis.locator_params(axis="x", nbins=5)
    if not log:
        axis.locator_params(axis="y", nbins=4, integer=True)


def _bars(histogram: Histogram) -> tuple[float, float, tuple[int, ...]]:
    """Ends and counts; a single value gets a bar of some width."""
    if histogram.low < histogram.high:
        return histogram.low, histogram.high, histogram.counts
    half = abs(histogram.low) * 0.02 or 0.02
    return histogram.low - half, histogram.low + half, histogram.counts


def _short(name: str, room: int = 40) -> str:
    """A long name without its middle."""
    return name if len(name) <= room else f"{name[: room // 2 - 2]}...{name[-(room // 2 - 1) :]}"
