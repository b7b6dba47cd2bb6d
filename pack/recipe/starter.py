# SPDX-License-Identifier: Apache-2.0
"""A recipe to begin with: what was given, with a word on each key, and what there is to add."""

import tomllib
from pathlib import Path

from bramcast.pack.recipe.recipe import Recipe, recipe_of
from bramcast.pack.recipe.text import moved, recipe_text

COLUMN = 34  # where the words begin
WORDS = {
    "name": "of the network, and of its bundle",
    "python": "a function or class that returns the nn.Module",
    "checkpoint": "its weights",
    "inputs": "x: samples; y: labels; x_cal: samples for calibration",
    "lanes": "outputs side by side: twice as many, half the cycles",
    "taps": "inputs that each lane takes in a cycle",
}
MORE = """
# What else there is stands in docs/recipe.md. Often of use:
#
# [core]
# lanes = 16                      # outputs side by side; bramcast fit chooses for a part
#
# [quantize]
# activation_bits = 16            # where 8 bits lose too much; bramcast pack --advise tells
#
# [regress]
# max_accuracy_loss = 0.5         # points that a retrained network may lose
"""


def starter_text(recipe: Recipe, target: Path) -> str:
    """The TOML of a recipe for a file ``target``, from where its files are named.

    Raises:
        RecipeError: it would not be read back.
    """
    lines = []
    for line in recipe_text(moved(recipe, target)).splitlines():
        word = WORDS.get(line.partition(" = ")[0])
        lines.append(f"{line:<{COLUMN}}# {word}" if word else line)
    text = "\n".join(lines) + "\n" + MORE
    recipe_of(tomllib.loads(text), target)
    return text
