# SPDX-License-Identifier: Apache-2.0
"""bramcast inspect: what is in a checkpoint."""

from itertools import compress
from math import ceil, inf, log1p
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bramcast.cli.judged import judgement_json, judgement_lines
from bramcast.cli.options import Filter, Json, ModelName, RecipeFile, StateName
from bramcast.cli.output import complain, say, say_json, table
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.judgement import broken_text
from bramcast.pack.bundle.manifest import MANIFEST_NAME, read_manifest
from bramcast.pack.bundle.packages import torch_needed
from bramcast.pack.recipe.recipe import read_recipe

if TYPE_CHECKING:  # it needs torch
    from bramcast.pack.look.inspect import Inspection

BLOCKS = " ▁▂▃▄▅▆▇█"
HEIGHT = 4  # lines of a histogram in the terminal
SHOWN = 200  # histograms in the terminal
BINS = 64  # characters of a line


def command(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint, .safetensors, .onnx, .pt2, recipe or bundle.")
    ],
    picture: Annotated[
        Path | None, typer.Argument(help="With --histogram: .png, .svg or .pdf to draw.")
    ] = None,
    recipe: RecipeFile = None,
    model: ModelName = None,
    state: StateName = None,
    filter: Filter = None,
    bits: Annotated[int, typer.Option("--bits", help="Width of the formats: 2, 4, 8, 16.")] = 8,
    histogram: Annotated[
        bool,
        typer.Option("--histogram", help="Histograms, in the terminal or into the file PICTURE."),
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="Histograms with logarithmic counts.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="One table of 160 columns.")] = False,
    json: Json = False,
) -> int:
    """Every parameter: name, shape, range, statistics, proposed Q format, damage."""
    if (checkpoint / MANIFEST_NAME).is_file():
        if histogram or picture is not None:
            raise InputError(
                f"{checkpoint}: a bundle; --histogram draws a checkpoint's tensors, "
                "'bramcast report' a bundle's weights"
            )
        return _bundle(checkpoint, json)
    if picture is not None and not histogram:
        raise InputError(f"{picture}: a second file is where --histogram draws; add --histogram")
    if picture is not None and checkpoint.suffix.lower() in (".png", ".svg", ".pdf"):
        checkpoint, picture = picture, checkpoint  # --histogram out.png CHECKPOINT
    with torch_needed("inspecting", checkpoint):
        from bramcast.pack.look.inspect import inspect

        read = read_recipe(recipe) if recipe is not None else None
        found = inspect(checkpoint, filter or (), bits, state, read, model)
    files: list[Path] = []
    if picture is not None:
        from bramcast.pack.look.histograms import draw_histograms

        files = draw_histograms(found, picture, log)
    if json:
        say_json(_document(found, files, histogram))
        return 0
    if histogram and picture is None:
        _histograms(found, log)
    elif not histogram:
        _tables(found, bits, wide)
    _summary(found)
    for file in files:
        say(f"histograms drawn to {file}")
    return 0


def _bundle(bundle: Path, json: bool) -> int:
    """What packing said of a bundle: the judgement, the limits that are broken."""
    manifest = read_manifest(bundle)
    judgement = manifest.judgement
    if json:
        judged = None if judgement is None else judgement_json(judgement)
        say_json({"path": str(bundle), "name": manifest.name, "judgement": judged})
        return 0
    say(f"{bundle}: a bundle of {manifest.name}, packed by bramcast {manifest.bramcast}")
    if judgement is None:
        say("it was not judged against the float network: pack it again")
        return 0
    for line in judgement_lines(manifest, judgement):
        say(line)
    for broken in judgement.broken:
        complain(broken_text(broken))
    return 0


def _document(found: "Inspection", files: list[Path], histogram: bool) -> dict[str, object]:
    tensors: list[dict[str, object]] = []
    for t in found.tensors:
        s, p, h = t.statistics, t.proposal, t.half
        entry: dict[str, object] = {
            "name": t.name,
            "layer": t.layer,
            "kind": t.kind,
            "shape": list(t.shape),
            "dtype": t.dtype,
            "bytes": t.bytes,
            "min": s and s.low,
            "max": s and s.high,
            "smallest_nonzero": s and (s.smallest or None),
            "mean": s and s.mean,
            "std": s and s.std,
            "sparsity": t.sparsity,
            "nan": t.nan,
            "infinite": t.infinite,
            "made_of": list(t.made_of),
            "problem": t.problem or None,
            "format": p and str(p.fmt),
            "channel_fractions": p and p.channels,
            "underflow": p and p.underflow / t.count,
            "saturated": p and p.saturated / t.count,
            "float16_zero": h and h.zero / t.count,
            "float16_subnormal": h and h.subnormal / t.count,
            "float16_infinite": h and h.infinite / t.count,
        }
        if histogram and t.histogram is not None:
            bins = t.histogram
            entry["histogram"] = {"low": bins.low, "high": bins.high, "counts": bins.counts}
        tensors.append(entry)
    return {
        "path": str(found.path),
        "tensors": tensors,
        "tied": [{"names": g.names, "shared_memory": g.shared} for g in found.tied],
        "notes": found.notes,
        "parameters": found.parameters,
        "buffers": found.buffers,
        "bytes": found.bytes,
        "damaged": [t.name for t in found.damaged],
        "pictures": [str(file) for file in files],
    }


# --- tables ------------------------------------------------------------------------------------


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e7 else f"{value:.3g}"


def _share(count: int, of: int) -> str:
    """A share as percent: a dot for none, never rounded to 0 or 100."""
    if not count:
        return "."
    percent = 100 * count / of
    if count < of and percent > 99.95:
        return ">99.9%"
    return f"{percent:.1f}%" if percent >= 0.05 else "<0.1%"


def _tables(found: "Inspection", bits: int, wide: bool) -> None:
    names, values, formats = [], [], []
    halves = [(h.zero, h.subnormal, h.infinite) for t in found.tensors if (h := t.half)]
    lossy = [any(counts) for counts in zip(*halves, strict=True)] or [False] * 3
    for t in found.tensors:
        s, p, h = t.statistics, t.proposal, t.half
        names.append((t.name, "x".join(map(str, t.shape)) or "scalar"))
        numbers = (s.low, s.high, s.smallest, s.mean, s.std) if s else ()
        zeros = _share(t.zeros, t.count) if s else "-"
        values.append((*(map(_number, numbers) if s else ["-"] * 5), zeros))
        kind = t.layer if t.kind == "parameter" else f"{t.layer} buffer"
        row = [kind, t.dtype]
        if p is None:
            row += ["-"] * 4
        else:
            low, high = p.channels or ("", "")
            span = "" if p.channels is None else str(low) if low == high else f"{low}..{high}"
            losses = (_share(n, t.count) for n in (p.underflow, p.saturated))
            row += [str(p.fmt), span, *losses]
        counts = [_share(n, t.count) for n in (h.zero, h.subnormal, h.infinite)] if h else ["-"] * 3
        row += compress(counts, lossy)
        formats.append(row)
    first = ("tensor", "shape")
    ranges = ("min", "max", "smallest", "mean", "std", "zeros")
    chosen: tuple[str, ...] = ("layer", "stored", "format", "channels", "to 0", "saturate")
    chosen += tuple(compress(("f16 to 0", "f16 subn", "f16 inf"), lossy))
    if wide:
        joined = [(*n, *v, *f) for n, v, f in zip(names, values, formats, strict=True)]
        _aligned("", (*first, *ranges, *chosen), joined)
    else:
        joined = [(*n, *v) for n, v in zip(names, values, strict=True)]
        _aligned("Values", (*first, *ranges), joined)
        say("")
        joined = [(n[0], *f) for n, f in zip(names, formats, strict=True)]
        _aligned(f"Formats of {bits} bits", ("tensor", *chosen), joined)
    say("")
    if halves and not any(lossy):
        say("float16 would keep every value normal and finite")


def _aligned(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    left = ("tensor", "shape", "layer", "stored")
    table(title, columns, rows, [c for c in columns if c not in left])


def _summary(found: "Inspection") -> None:
    for t in found.tensors:
        if t.made_of:
            say(f"{t.name} is made of {', '.join(t.made_of)}")
    for group in found.tied:
        how = "share their memory" if group.shared else "have the same bits"
        say(f"tied: {', '.join(group.names)} {how}")
    for note in found.notes:
        say(f"note: {note}")
    size = found.bytes / 1024
    say(
        f"{found.path}: {len(found.tensors)} tensors, {found.parameters:,} parameters, "
        f"{found.buffers:,} values in buffers, {size:,.1f} KiB as stored"
    )
    for t in found.damaged:
        complain(f"damaged: {t.name}: {', '.join(t.flags)}")


# --- histograms in the terminal ----------------------------------------------------------------


def _histograms(found: "Inspection", log: bool) -> None:
    shown = found.drawable
    for t in shown[:SHOWN]:
        assert t.histogram is not None
        h, each = t.histogram, max(1, BINS // len(t.histogram.counts))
        counts = tuple(c for c in h.counts for _ in range(each))
        fmt = t.proposal.fmt if t.proposal else None
        say(f"{t.name} [{'x'.join(map(str, t.shape))}{f', {fmt}' if fmt else ''}]")
        for line in bars(counts, log):
            say(f"  {line}")
        ends = (fmt.min * fmt.lsb, fmt.max * fmt.lsb) if fmt else (inf, inf)
        say(f"  {ruler(h.low, h.high, *ends, len(counts))}")
        low, high = _number(h.low), _number(h.high)
        say(f"  {low}{high:>{max(1, len(counts) - len(low))}}")
        say("")
    if len(shown) > SHOWN:
        say(f"the first {SHOWN} of {len(shown)} tensors; choose with --filter, or draw a picture")
    scale = "logarithmic counts" if log else "counts"
    say(f"{scale}; a ruler shows zero (0) and where a format ends (|)")


def bars(counts: tuple[int, ...], log: bool = False) -> list[str]:
    """A histogram as lines of block characters, top first.

    >>> bars((0, 1, 32))
    ['  █', '  █', '  █', ' ▁█']
    """
    heights = [log1p(c) if log else float(c) for c in counts]
    top = max(heights) or 1.0
    eighths = [ceil(h / top * HEIGHT * 8 - 1e-9) for h in heights]
    return [
        "".join(BLOCKS[max(0, min(8, e - 8 * row))] for e in eighths)
        for row in reversed(range(HEIGHT))
    ]


def ruler(low: float, high: float, first: float, last: float, width: int) -> str:
    """An axis under a histogram: zero, and the ends of a format where they lie inside.

    >>> ruler(-1.0, 1.0, -0.5, 2.0, 9)
    '──|─0────'
    """
    line = ["─"] * width
    for value, mark in ((0.0, "0"), (first, "|"), (last, "|")):
        if low <= value <= high and high > low:
            line[round((value - low) / (high - low) * (width - 1))] = mark
    return "".join(line)
