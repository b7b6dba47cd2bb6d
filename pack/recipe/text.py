# SPDX-License-Identifier: Apache-2.0
"""A recipe as TOML: what ``read_recipe`` reads back as the same recipe."""

import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from bramcast.pack.recipe.recipe import (
    PATHS,
    SECTIONS,
    LayerSection,
    OutputLimits,
    Recipe,
    defaults,
)


def recipe_text(recipe: Recipe) -> str:
    """The recipe without keys that have their default.

    >>> from bramcast.pack.recipe.recipe import ModelSection, QuantizeSection
    >>> section = QuantizeSection(layers={"fc.1": LayerSection(weight_bits=4)})
    >>> print(recipe_text(Recipe(ModelSection(inputs="x.npz", onnx="a.onnx"), section)))
    [model]
    inputs = "x.npz"
    onnx = "a.onnx"
    <BLANKLINE>
    [quantize.layers."fc.1"]
    weight_bits = 4
    <BLANKLINE>
    """
    blocks = []
    for name, kind in SECTIONS.items():
        lines = _lines(getattr(recipe, name), defaults(kind))
        if lines:
            blocks.append([f"[{name}]", *lines])
    for layer, section in recipe.quantize.layers.items():
        key = json.dumps(layer, ensure_ascii=False)
        blocks.append([f"[quantize.layers.{key}]", *_lines(section, defaults(LayerSection))])
    for output, limits in recipe.regress.outputs.items():
        key = json.dumps(output, ensure_ascii=False)
        blocks.append([f"[regress.outputs.{key}]", *_lines(limits, defaults(OutputLimits))])
    return "\n".join("\n".join(block) + "\n" for block in blocks)


def _lines(section: Any, default: Any) -> list[str]:
    keys = [f.name for f in fields(section) if f.name not in ("layers", "outputs")]
    changed = [k for k in keys if getattr(section, k) != getattr(default, k)]
    return [f"{k} = {_value(getattr(section, k))}" for k in changed]


def _value(value: Any) -> str:
    """JSON writes numbers, booleans, lists and strings as TOML does."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def moved(recipe: Recipe, path: Path) -> Recipe:
    """The recipe for another place: the same files, seen from there."""
    folder = path.parent.resolve()

    def seen(name: str | None) -> str | None:
        if name is None:
            return None
        return Path(os.path.relpath(recipe.file(name).resolve(), folder)).as_posix()

    model = recipe.model
    python = model.python
    if python is not None:
        file, _, name = python.partition(":")
        python = f"{seen(file)}:{name}"
    files = {key: seen(getattr(model, key)) for key in PATHS}
    model = replace(model, python=python, name=recipe.name, **files)  # type: ignore[arg-type]
    return replace(recipe, model=model, path=path)
