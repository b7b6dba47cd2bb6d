# SPDX-License-Identifier: Apache-2.0
"""Limits on what packing may lose: those of the recipe's [pack], and what networks usually keep."""

from dataclasses import replace
from math import sqrt

from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.bundle.judgement import (
    CHANCE,
    USUAL_AGREEMENT,
    USUAL_DB,
    USUAL_GROWTH,
    USUAL_LOSS,
    has_classes,
    varying,
)
from bramcast.pack.bundle.manifest import BrokenLimit, Judgement
from bramcast.pack.graph.graph import Graph
from bramcast.pack.judge.against_float import Judged
from bramcast.pack.recipe.recipe import Recipe
from bramcast.pack.run.calibrate import FloatRun
from bramcast.pack.samples.inputs import Inputs


def check_limits(recipe: Recipe, graph: Graph, inputs: Inputs, floats: FloatRun) -> None:
    """Whether the samples can judge by the limits that the recipe gives.

    Raises:
        RecipeError: they can't; names the key.
    """
    limits, missing = recipe.pack, ""
    labels = [floats.accuracy is not None and n == inputs.y_of for n in range(len(graph.results))]
    if limits.min_snr is not None and varying(floats.outputs) is None:
        missing = "min_snr: the float network's outputs do not vary between the samples x"
    elif limits.max_accuracy_loss is not None and floats.accuracy is None:
        missing = "max_accuracy_loss: needs labels y that are classes"
    elif limits.min_agreement is not None and not any(
        has_classes(view.shape, graph.input_shape, labelled)
        for view, labelled in zip(graph.results, labels, strict=True)
    ):
        missing = "min_agreement: needs labels y, or an output of several numbers"
    if missing:
        raise RecipeError(
            f"{recipe.path}: pack.{missing}; see {inputs.path}, or leave the limit out"
        )


def within_limits(recipe: Recipe, judged: Judged) -> Judged:
    """The judgement with the limits that it does not keep."""
    broken = broken_limits(recipe, judged.judgement, judged.pairs)
    return replace(judged, judgement=replace(judged.judgement, broken=broken))


def broken_limits(
    recipe: Recipe, judgement: Judgement, pairs: tuple[int, int]
) -> list[BrokenLimit]:
    """The limits that a packed network does not keep.

    Args:
        pairs: how many samples only the float network has right, and only the packed one.
    """
    limits, found = recipe.pack, []

    def check(key: str, given: float | None, usual: float | None, value: float | None) -> None:
        limit = usual if given is None else given
        if value is None or limit is None:
            return
        bad = value > limit + 1e-9 if key.startswith("max") else value < limit - 1e-9
        if bad:
            found.append(BrokenLimit(key, limit, value, given is not None))

    growth = judgement.error_growth
    usual_db = USUAL_DB if growth is None or growth > USUAL_GROWTH else None
    check("min_snr", limits.min_snr, usual_db, judgement.snr)
    labels, same = judgement.accuracy is not None, judgement.agreement
    check(
        "min_agreement",
        limits.min_agreement,
        USUAL_AGREEMENT if labels else None,
        None if same is None else round(100 * same, 4),
    )
    if judgement.accuracy is not None and judgement.float_accuracy is not None:
        lost, won = pairs
        sure = lost - won > CHANCE * sqrt(lost + won)
        loss = round(100 * (judgement.float_accuracy - judgement.accuracy), 4)
        check("max_accuracy_loss", limits.max_accuracy_loss, USUAL_LOSS if sure else None, loss)
    return found
