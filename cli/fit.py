# SPDX-License-Identifier: Apache-2.0
"""bramcast fit: which shape of the core suits a network and a part."""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bramcast.cli.options import Device, Json
from bramcast.cli.output import complain, give_stdout, progress, say, say_json, table
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.folder import replace_bytes
from bramcast.pack.bundle.packages import torch_needed
from bramcast.pack.device.devices import Part, find_part
from bramcast.pack.recipe.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    from bramcast.pack.fit.candidates import Candidate, Tried
    from bramcast.pack.fit.choose import Wish
    from bramcast.pack.fit.shapes import Shape
    from bramcast.pack.fit.write_recipe import Written


def command(
    recipe: Annotated[Path, typer.Argument(help="Recipe (TOML).")],
    device: Device,
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="So many inferences per second are enough: the smallest."),
    ] = None,
    multipliers: Annotated[
        int | None, typer.Option("--multipliers", min=1, help="At most so many multipliers.")
    ] = None,
    within: Annotated[
        float,
        typer.Option("--within", help="Percent slower that count as fast; the smallest of those."),
    ] = 1.0,
    clock: Annotated[float, typer.Option("--clock-mhz", help="Clock of the core.")] = 100.0,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw all shapes: .png, .svg or .pdf.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the chosen [core] into the recipe.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it into a copy of the recipe.")
    ] = None,
    json: Json = False,
) -> int:
    """Try every shape of the core for a network, and choose the one that suits a part."""
    for name, value in (("--rate", rate), ("--clock-mhz", clock)):
        if value is not None and not 0 < value < inf:
            raise InputError(f"{name} {value:g}: must be above 0")
    if not 0 <= within < inf:
        raise InputError(f"--within {within:g}: must be 0 or above")
    if write and output is not None:
        raise InputError("--write changes the recipe, -o writes a copy: give one of them")
    part = find_part(device)
    steered = rate is not None or multipliers is not None
    if (write or output is not None) and not _counted(part) and not steered:
        raise InputError(
            f"--device {device}: a family has no counts, so every shape fits and the largest is "
            "the fastest: name a part, or give --rate or --multipliers"
        )
    give_stdout([output, picture], json)
    read = read_recipe(recipe)
    target = recipe if write else output
    with torch_needed("fit, which quantizes the network,"):
        from bramcast.pack.fit.choose import Wish
    from bramcast.api.shapes import fit_shapes

    if picture is not None:
        from bramcast.pack.fit.picture import check_target

        check_target(picture)
    with progress(json) as report:
        found = fit_shapes(read, part, Wish(clock, rate, within), multipliers, report)
    tried, front, chosen, wish = found.tried, found.front, found.chosen, found.wish
    written = None
    if picture is not None:
        from bramcast.pack.fit.picture import draw_shapes

        draw_shapes(tried.candidates, front, chosen, wish, picture)
    if target is not None and chosen is not None:
        from bramcast.pack.fit.write_recipe import with_shape

        written = with_shape(read, chosen.shape, target)
        replace_bytes(target, written.text.encode())
    if json:
        say_json(_document(read, part, tried, front, chosen, wish, target))
    else:
        _print(read, tried, front, chosen, wish)
        _print_ends(chosen, target, written, picture)
    if found.complaint is not None:
        complain(found.complaint)
        return 1
    return 0


def _counted(part: Part) -> bool:
    return part.count is not None


def _print(
    recipe: Recipe,
    tried: "Tried",
    front: Sequence["Candidate"],
    chosen: "Candidate | None",
    wish: "Wish",
) -> None:
    names = [use.name for use in front[0].uses]
    tiled = any(c.shape.tiles > 1 for c in tried.candidates)
    rows = [
        (
            c.shape.lanes, c.shape.taps, *([_tiles(c.shape)] if tiled else []), c.shape.rq,
            c.shape.multipliers, c.cycles,
            float(wish.per_second(c.cycles)), *(use.taken for use in c.uses),
            ("estimated " if c.estimated else "") + ("chosen" if c is chosen else ""),
        )
        for c in front
    ]  # fmt: skip
    part = front[0].memories.part
    lacking = [c for c in tried.candidates if c.lacking]
    count = len(tried.candidates) + len(tried.refused)
    say(
        f"{recipe.name}, {part.name}: {count} shapes tried, {len(lacking)} do not fit, "
        f"{len(tried.refused)} have no program"
        + (f", {tried.skipped} can't be better than these" if tried.skipped else "")
        + f"; at {wish.clock_mhz:g} MHz, one frame after the "
        "other"
    )
    if not lacking or front[0].lacking == ():
        say("no other shape is faster and smaller than these:")
    else:
        say("none of these fits; no other shape is faster and smaller:")
    shape = ("lanes", "taps", *(["tiles"] if tiled else []), "RQ")
    columns = (*shape, "multipliers", "cycles", "inferences/s", *names, "")
    table("", columns, rows)
    if lacking:
        say("")
        table("", ("does not fit", "RQ", "takes"), list(_lacking_rows(lacking)))
    for refused in tried.refused:
        say(f"{refused.shape}: {refused.why}")
    _print_notes(tried, lacking)


def _tiles(shape: "Shape") -> str:
    return f"{shape.tiles} in pairs" if shape.pairs else str(shape.tiles)


def _print_notes(tried: "Tried", lacking: Sequence["Candidate"]) -> None:
    part = tried.candidates[0].memories.part
    dsp = part.family.dsp
    if not any(c.area.dsps for c in tried.candidates):
        say(f"note: {part.name} has no {dsp}: multipliers are made of LUTs, and counted so")
    elif any(use.name == dsp for c in lacking for use in c.lacking):
        say(f"note: multipliers beyond {part.name}'s {dsp} do not fit: none is made of LUTs")
    if any(c.estimated for c in tried.candidates):
        say(
            "note: estimated: larger than the cores that the formula of LUTs and flip-flops was "
            "fitted on, or of another family"
        )


def _lacking_rows(lacking: Sequence["Candidate"]) -> list[tuple[str, str, str]]:
    """One row for lanes x taps x tiles: what the RQ that lacks least takes too much of."""
    groups: dict[str, list[Candidate]] = {}
    for c in lacking:
        groups.setdefault(c.shape.form, []).append(c)
    rows = []
    for form, some in groups.items():
        least = min(some, key=lambda c: c.excess)
        rqs = ", ".join(str(c.shape.rq) for c in some)
        takes = ", ".join(str(use) for use in least.lacking)
        rows.append((form, rqs, takes + (" or more" if len(some) > 1 else "")))
    return rows


def _print_ends(
    chosen: "Candidate | None",
    target: Path | None,
    written: "Written | None",
    picture: Path | None,
) -> None:
    if chosen is not None:
        from bramcast.pack.fit.write_recipe import core_lines, in_toml

        say(f"chosen: [core] {in_toml(core_lines(chosen.shape))}")
    if written is not None:
        for key in written.dropped:
            say(f"core.{key} is left out: the number was for another shape")
        say(f"written to {target}")
    if picture is not None:
        say(f"drawn to {picture}")


def _document(
    recipe: Recipe,
    part: Part,
    tried: "Tried",
    front: Sequence["Candidate"],
    chosen: "Candidate | None",
    wish: "Wish",
    target: Path | None,
) -> dict[str, object]:
    return {
        "recipe": str(recipe.path),
        "device": part.name,
        "family": part.family.name,
        "clock_mhz": wish.clock_mhz,
        "shapes": [_candidate(c, c in front, wish) for c in tried.candidates],
        "refused": [
            {
                "lanes": r.shape.lanes,
                "taps": r.shape.taps,
                "tiles": r.shape.tiles,
                "pairs": r.shape.pairs,
                "rq": r.shape.rq,
                "why": r.why,
            }
            for r in tried.refused
        ],
        "skipped": tried.skipped,
        "chosen": None if chosen is None else _candidate(chosen, chosen in front, wish),
        "written": str(target) if target is not None and chosen is not None else None,
    }


def _candidate(candidate: "Candidate", on_front: bool, wish: "Wish") -> dict[str, object]:
    core = candidate.core
    return {
        "lanes": core.lanes,
        "taps": core.taps,
        "tiles": core.tiles,
        "pairs": core.pairs,
        "rq": core.rq,
        "multipliers": candidate.shape.multipliers,
        "cycles": candidate.cycles,
        "inferences_per_second": wish.per_second(candidate.cycles),
        "uses": [
            {"resource": use.name, "taken": use.taken, "available": use.there}
            for use in candidate.uses
        ],
        "fits": not candidate.lacking,
        "lacks": [use.name for use in candidate.lacking],
        "front": on_front,
        "estimated": candidate.estimated,
        "depths": {
            name: getattr(core, f"{name}_depth")
            for name in ("program", "weights", "bias", "table", "scratch")
        },
    }
