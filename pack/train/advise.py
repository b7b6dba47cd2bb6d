# SPDX-License-Identifier: Apache-2.0
"""Tries each remedy: the network packed with one more line in its recipe, to a temporary place."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bramcast.pack.bundle.errors import UserError
from bramcast.pack.bundle.manifest import Judgement, Manifest
from bramcast.pack.pipeline import Packed, pack
from bramcast.pack.recipe.recipe import PackSection
from bramcast.pack.run.calibrate import Progress, silent


@dataclass(frozen=True, slots=True)
class Trial:
    """What a line of the recipe gives.

    Attributes:
        line: "" for the recipe as it is.
        judgement: None where the network can't be packed so.
        cycles: of a frame.
        words: used of each memory, by name, with ``scratch``.
        scratch_bits: of a word of the scratchpad.
        problem: why it can't be packed.
    """

    line: str
    judgement: Judgement | None = None
    cycles: int = 0
    words: dict[str, int] | None = None
    scratch_bits: int = 0
    problem: str = ""


def measured(line: str, manifest: Manifest, cycles: int) -> Trial:
    """A packed network as a line of the table."""
    words = {image.name: image.used for image in manifest.images}
    core = manifest.core
    return Trial(
        line,
        manifest.judgement,
        cycles,
        words | {"scratch": manifest.scratch_words},
        core.word * core.data_bits,
    )


def advise(
    packed: Packed, cycles: Callable[[Path], int], progress: Progress = silent
) -> list[Trial]:
    """Pack the network with each of its remedies.

    Depths are those that each needs, and limits of the recipe stop nothing.

    Args:
        cycles: the cycles of a frame of a bundle.
    """
    trials = []
    for done, remedy in enumerate(packed.remedies):
        progress("trying remedies", done, len(packed.remedies))
        recipe = remedy.applied(packed.recipe)
        core = replace(
            recipe.core, program_depth=None, weights_depth=None, bias_depth=None,
            table_depth=None, scratch_depth=None,
        )  # fmt: skip
        recipe = replace(recipe, core=core, pack=PackSection())
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / "bundle"
            try:
                tried = pack(recipe, bundle)
                trials.append(measured(remedy.line, tried.manifest, cycles(bundle)))
            except UserError as error:
                trials.append(Trial(remedy.line, problem=str(error)))
    progress("trying remedies", len(packed.remedies), len(packed.remedies))
    return trials
