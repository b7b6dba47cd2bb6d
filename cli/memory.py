# SPDX-License-Identifier: Apache-2.0
"""bramcast memory: how the core's memories lie in a device."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bramcast.cli.options import Device, Json
from bramcast.cli.output import complain, progress, say, say_json, table
from bramcast.golden.load import load
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.packages import torch_needed
from bramcast.pack.device.devices import FAMILIES, PARTS, Part, find_part, plain_family
from bramcast.pack.device.memory import DeviceFit, Placed, place_bundle
from bramcast.pack.recipe.recipe import read_recipe

if TYPE_CHECKING:
    from bramcast.pack.fit.suggest import Variant


def command(
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle folder, written by 'bramcast pack'.")
    ] = None,
    device: Device = "7series",
    behind: Annotated[
        int | None,
        typer.Option("--behind", min=1, help="At most so many block RAMs one behind the other."),
    ] = None,
    worth: Annotated[
        int | None,
        typer.Option("--worth", min=1, help="LUTs that a block RAM is worth (by family)."),
    ] = None,
    updatemem: Annotated[
        bool,
        typer.Option("--updatemem", help="Images in lanes without parity bits, for updatemem."),
    ] = False,
    frames: Annotated[
        int, typer.Option("--frame-depth", min=0, help="FRAME_DEPTH of the core: frame FIFO.")
    ] = 0,
    suggest: Annotated[
        Path | None,
        typer.Option("--suggest", help="Recipe: lay it out for other lanes and taps, too."),
    ] = None,
    devices: Annotated[bool, typer.Option("--devices", help="List the parts that are known.")] = (
        False
    ),
    json: Json = False,
) -> int:
    """Which block RAMs the core takes, how full they are, and whether they fit."""
    if devices:
        return _list(json)
    if bundle is None:
        raise InputError("give a bundle folder, or --devices for the list of parts")
    part = find_part(device)
    if worth is not None:
        part = replace(part, family=replace(part.family, worth=worth))
    images = plain_family(part.family) if updatemem else part.family
    if frames and (frames < 16 or frames & (frames - 1)):
        raise InputError(f"--frame-depth {frames}: 0, or a power of two from 16 on")
    machine = load(bundle)
    assert machine.manifest is not None
    placement = place_bundle(machine.manifest, machine.program, part, images, behind, frames)
    variants = None
    if suggest is not None:
        recipe = read_recipe(suggest)
        with torch_needed("--suggest, which quantizes the network,"):
            from bramcast.pack.fit.suggest import suggest as suggested
        with progress(json) as report:
            variants = suggested(recipe, part, images, behind, report)
    if json:
        say_json(_document(bundle, placement, variants))
    else:
        _print(placement, updatemem)
        if variants is not None:
            _print_variants(variants, part)
    if placement.fits is False:
        complain(
            f"{part.name} has {part.count} {part.family.unit}, the core takes {placement.units}"
        )
        return 1
    return 0


def _list(json: bool) -> int:
    if json:
        say_json(
            {name: [p.family.name, p.count, p.luts, p.ffs, p.dsps] for name, p in PARTS.items()}
        )
        return 0
    for family in FAMILIES.values():
        mine = [part for part in PARTS.values() if part.family is family]
        lut = family.lut_ram.unit if family.lut_ram else "LUT"
        columns = ("part", family.unit, lut, "FF", family.dsp)
        rows = [(p.name, p.count, p.luts, p.ffs, p.dsps) for p in mine]
        say(f"{family.name}: {family.title} (from {family.source})")
        table("", columns, rows)
    return 0


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _print(placement: DeviceFit, updatemem: bool) -> None:
    part, family = placement.part, placement.part.family
    rows = []
    for placed in placement.memories:
        memory = placed.memory
        copies = f" x {memory.copies}" if memory.copies > 1 else ""
        rows.append(
            (
                memory.name,
                f"{memory.depth:,} x {memory.width}{copies}",
                placed.units,
                _percent(placed.fill),
                placed.mix.behind if placed.mix else 1,
                placed.waste.why(placed.bits) if placed.bits else "in flip-flops",
            )
        )
    columns = ("memory", "words x bits", family.unit, "fill", "behind", "waste")
    table("", columns, rows)
    for placed in placement.memories:
        if placed.memory.block:
            assert placed.mix is not None
            each = " each" if placed.memory.copies > 1 else ""
            say(f"{placed.memory.name}: {placed.mix.text()}{each}")
    luts = sum(p.luts for p in placement.memories)
    mux = sum(p.mux_luts for p in placement.memories)
    unit = family.lut_ram.unit if family.lut_ram else "LUT"
    text = f"{part.name}: {placement.units:,}"
    if part.count is not None:
        text += f" of {part.count:,} {family.unit} ({_percent(placement.units / part.count)})"
    else:
        text += f" {family.unit}"
    text += f", {luts:,} {unit} as memory, about {mux:,} {unit} for multiplexers"
    verdict = {True: "; fits", False: "; does not fit", None: ""}[placement.fits]
    say(text + verdict)
    for note in family.notes:
        say(f"note: {note}")
    if updatemem:
        say(
            "updatemem: image memories in banks of 32 bits or less, no parity bits; their places, "
            "which an .mmi file names, are known to Vivado after place and route only"
        )


def _memory(placed: Placed) -> dict[str, object]:
    memory, waste = placed.memory, placed.waste
    return {
        "name": memory.name,
        "words": memory.depth,
        "bits": memory.width,
        "copies": memory.copies,
        "units": placed.units,
        "luts": placed.luts,
        "mux_luts": placed.mux_luts,
        "fill": placed.fill,
        "net_bits": memory.net,
        "occupied_bits": placed.bits,
        "waste_bits": {name: getattr(waste, name) for name in waste.__slots__},
        "behind": placed.mix.behind if placed.mix else 1,
        "pieces": [
            {
                "primitive": p.block.name if p.block else "LUT",
                "shape": list(p.shape) if p.block else None,
                "bit": p.bit,
                "bits": p.width,
                "word": p.word,
                "words": p.depth,
            }
            for p in (placed.mix.pieces if placed.mix else ())
        ],
    }


def _document(
    bundle: Path, placement: DeviceFit, variants: "list[Variant] | None"
) -> dict[str, object]:
    part = placement.part
    document: dict[str, object] = {
        "bundle": str(bundle),
        "device": part.name,
        "family": part.family.name,
        "unit": part.family.unit,
        "units": placement.units,
        "available": part.count,
        "fits": placement.fits,
        "memories": [_memory(placed) for placed in placement.memories],
    }
    if variants is not None:
        document["suggest"] = [
            {
                "lanes": v.candidate.core.lanes,
                "taps": v.candidate.core.taps,
                "weights_depth": v.weights.memory.depth,
                "room": v.room,
                "fill": v.weights.fill,
                "units": v.candidate.units,
                "fits": v.candidate.memories.fits,
                "cycles": v.candidate.cycles,
            }
            for v in variants
        ]
    return document


def _print_variants(variants: "list[Variant]", part: Part) -> None:
    rows = [
        (
            v.candidate.core.lanes, v.candidate.core.taps, v.weights.memory.depth, v.room,
            _percent(v.weights.fill), v.weights.units, v.candidate.units, v.candidate.cycles,
            v.weights.waste.why(v.weights.bits, 2),
        )
        for v in variants
    ]  # fmt: skip
    unit = part.family.unit
    columns = (
        "lanes", "taps", "weights", "room to", "fill", unit, "in all", "cycles",
        "waste of the weights",
    )  # fmt: skip
    table("", columns, rows)
