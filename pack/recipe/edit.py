# SPDX-License-Identifier: Apache-2.0
"""Writes a changed copy of a recipe that keeps its author's text."""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import tomlkit

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.recipe.recipe import PATHS, Recipe


def with_widths(recipe: Recipe, widths: Mapping[str, int], target: Path) -> str:
    """The recipe's TOML with the widths of some layers' weights, for a file ``target``.

    Raises:
        InputError: the recipe can't be read once more.
    """
    document = copied(recipe, target)
    narrow = {name: bits for name, bits in widths.items() if bits < 8}
    if narrow:
        layers = table_of(table_of(document, "quantize"), "layers")
        for name, bits in narrow.items():
            table_of(layers, name)["weight_bits"] = bits
        table_of(document, "core")["narrow"] = True
    return tomlkit.dumps(document)


def copied(recipe: Recipe, target: Path) -> tomlkit.TOMLDocument:
    """The recipe's TOML for a file ``target``, which may be itself.

    Comments and order stay; relative paths are those seen from the target's folder.

    Raises:
        InputError: the recipe can't be read once more.
    """
    if not recipe.path.is_file():
        raise InputError(f"{recipe.path}: is no file, so no changed copy can be made of it")
    document = tomlkit.parse(recipe.path.read_bytes().decode("utf-8-sig"))
    if recipe.path.resolve() == target.resolve():
        return document
    model = table_of(document, "model")
    old, new = recipe.path.parent.resolve(), target.parent.resolve()
    if old != new:
        for key in PATHS:
            if key in model:
                model[key] = _moved(str(model[key]), old, new)
        if "python" in model:
            file, _, name = str(model["python"]).rpartition(":")
            model["python"] = f"{_moved(file, old, new)}:{name}"
    if "name" not in model:  # it is made of the file's name, and that is another one
        model["name"] = recipe.name
    return document


def table_of(parent: MutableMapping[str, Any], key: str) -> MutableMapping[str, Any]:
    """A table of a document or table, in whatever form it stands; made where it is absent."""
    if key not in parent:
        parent[key] = tomlkit.table(is_super_table=key == "layers")
    table = parent[key]
    assert isinstance(table, MutableMapping)
    return table


def _moved(path: str, old: Path, new: Path) -> str:
    if os.path.isabs(path):
        return path
    return Path(os.path.relpath(old / path, new)).as_posix()
