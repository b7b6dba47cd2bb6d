# SPDX-License-Identifier: Apache-2.0
"""A recipe that nobody has written: a network's file, its samples and some keys in its place."""

import re
from collections.abc import Sequence
from pathlib import Path

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.recipe.found import builder_of
from bramcast.pack.recipe.recipe import Recipe, read_recipe, recipe_of
from bramcast.pack.recipe.setting import Setting

COMMAND = Path("command line")  # in place of the recipe's path; files are seen from here
SAVED = {".onnx": "onnx", ".pt2": "exported"}  # the network with its weights, by suffix
CHECKPOINTS = (".pth", ".pt", ".ckpt", ".safetensors", ".tar", ".bin", ".pkl")
_PYTHON = re.compile(r"(?P<file>.+\.py)(?::(?P<name>\w+))?")


def recipe_for(
    network: str,
    weights: Path | None = None,
    inputs: Path | None = None,
    settings: Sequence[Setting] = (),
) -> Recipe:
    """The recipe of a file, or the one that stands for a network and its samples.

    >>> recipe = recipe_for("nets/a.py:build", Path("b.pth"), Path("x.npz"))
    >>> recipe.name, recipe.model.python, str(recipe.file(recipe.model.inputs))
    ('b', 'nets/a.py:build', 'x.npz')
    >>> recipe_for("a.onnx", inputs=Path("x.npz"), settings=[lanes_setting(8)]).core.lanes
    8

    Args:
        network: a recipe; .onnx; .pt2; FILE.py:NAME with ``weights``, where NAME may be missing if
            there is but one; or the checkpoint of an MLP.
        weights: the checkpoint of a FILE.py:NAME.
        inputs: samples (.npz); a recipe names its own otherwise.
        settings: take the place of what the recipe says.

    Raises:
        InputError: no samples, no weights, or weights where none can be.
        RecipeError: a key or a value is wrong; names the recipe's or the setting's.
    """
    python, suffix = _PYTHON.fullmatch(network), Path(network).suffix.lower()
    if python is None and suffix not in (*SAVED, *CHECKPOINTS):
        path = Path(network)
        if weights is not None:
            raise InputError(
                f"{weights}: the recipe {path} names its weights; to take others, give "
                f"--set model.checkpoint={weights}, seen from the recipe's folder"
            )
        own = [] if inputs is None else [_inputs(inputs, path)]
        return read_recipe(path, [*own, *settings])
    if python is not None and weights is None:
        raise InputError(f"{network}: its checkpoint is missing: give it behind the model's file")
    if python is None and weights is not None:
        raise InputError(
            f"{weights}: {network} has its weights already; a checkpoint belongs to FILE.py:NAME"
        )
    if inputs is None:
        raise InputError(
            f"{network}: samples are missing: give --inputs X.npz, or give a recipe (TOML), which "
            "names both"
        )
    model = {"inputs": str(inputs), "name": (weights or Path(network)).stem}
    if python is not None:
        file = python["file"]
        name = python["name"] or builder_of(Path(file))
        model |= {"python": f"{file}:{name}", "checkpoint": str(weights)}
    else:
        model[SAVED.get(suffix, "checkpoint")] = network
    return recipe_of({"model": model}, COMMAND, settings)


def is_python(network: str) -> bool:
    """Whether a network is named by its Python file, so that its weights are elsewhere."""
    return _PYTHON.fullmatch(network) is not None


def lanes_setting(count: int) -> Setting:
    """What --lanes says."""
    return Setting(("core", "lanes"), count, f"--lanes {count}")


def _inputs(inputs: Path, recipe: Path) -> Setting:
    """--inputs as a recipe has it, which sees files from its own folder."""
    seen = inputs if recipe.parent == Path(".") else inputs.absolute()
    return Setting(("model", "inputs"), str(seen), f"--inputs {inputs}")
