# SPDX-License-Identifier: Apache-2.0
"""Writes a shape into a recipe; comments, order and all that it does not decide stay."""

from dataclasses import dataclass
from pathlib import Path

import tomlkit

from bramcast.pack.fit.shapes import Shape, numbers, shape_of
from bramcast.pack.recipe.edit import copied, table_of
from bramcast.pack.recipe.recipe import CoreSection, Recipe


@dataclass(frozen=True, slots=True)
class Written:
    """A recipe's text; ``dropped``: depths that were given as numbers, for another shape."""

    text: str
    dropped: tuple[str, ...]


def core_lines(shape: Shape) -> dict[str, int | bool]:
    """What [core] says of a shape; RQ only where it is not lanes / 8, tiles where there are some.

    >>> core_lines(Shape(16, 4, 2)), core_lines(Shape(16, 1, 4))
    ({'lanes': 16, 'taps': 4}, {'lanes': 16, 'taps': 1, 'rq': 4})
    >>> core_lines(Shape(16, 1, 2, 4, True))
    {'lanes': 16, 'taps': 1, 'tiles': 4, 'pairs': True}
    """
    lines: dict[str, int | bool] = {"lanes": shape.lanes, "taps": shape.taps}
    if shape.tiles > 1:
        lines["tiles"] = shape.tiles
    if shape.pairs:
        lines["pairs"] = True
    if CoreSection(lanes=shape.lanes).drain != shape.rq:  # type: ignore[arg-type]
        lines["rq"] = shape.rq
    return lines


def with_shape(recipe: Recipe, shape: Shape, target: Path) -> Written:
    """The recipe's TOML with this shape, for a file ``target``.

    Depths in numbers go with another shape that was there.

    Raises:
        InputError: the recipe can't be read once more.
    """
    document = copied(recipe, target)
    core = table_of(document, "core")
    lines = core_lines(shape)
    dropped = numbers(recipe.core) if shape_of(recipe.core) != shape else []
    for key in dropped:
        del core[key]
    if "rq" in core and "rq" not in lines:
        lines["rq"] = shape.rq
    for key, value in (("tiles", shape.tiles), ("pairs", shape.pairs)):
        if key in core:
            lines[key] = value
    for key, value in lines.items():
        core[key] = value
    return Written(tomlkit.dumps(document), tuple(dropped))


def in_toml(lines: dict[str, int | bool]) -> str:
    """One line for people, as it stands in the recipe.

    >>> in_toml({"lanes": 16, "pairs": True})
    'lanes = 16, pairs = true'
    """
    return ", ".join(f"{key} = {str(value).lower()}" for key, value in lines.items())
