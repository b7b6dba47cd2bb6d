# SPDX-License-Identifier: Apache-2.0
"""Retraining with the core's own arithmetic, for a module in memory or what a recipe names."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from bramcast.api.bars import Progress, reporting
from bramcast.api.given import given, samples
from bramcast.pack.bundle.packages import torch_needed

if TYPE_CHECKING:  # torch
    from bramcast.api.given import Network
    from bramcast.pack.train.qat import Wrapped


def qat(
    network: "Network",
    x: Any = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    weight_bits: Literal[2, 4, 8] | None = None,
    lanes: int | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = None,
) -> "Wrapped":
    """Wrap a trained network so that it computes as the core does, bit for bit, and still trains.

    Args:
        network: an nn.Module, whose parameters get the gradients; or a path as ``cast`` takes it.
        x: samples by which formats are chosen, as ``cast`` takes them.
        weights: the checkpoint of a MODEL.py:NAME.
        weight_bits: of all Linear and convolutions to which no setting gives a width.
        lanes, settings: as ``cast`` takes them.

    Returns:
        An nn.Module to train, whose ``.module`` is the network. ``cast`` of it gives a bundle with
        the very numbers that it computes; ``.save`` writes what packs so (docs/retraining.md).

    Raises:
        UserError: what ``cast`` would say, and for recurrent layers.
    """
    with torch_needed("retraining"):
        from bramcast.pack.read.network import read_model, unwrapped
        from bramcast.pack.train.qat import load, wrap

    what = given(network, samples(x), weights=weights, lanes=lanes, settings=settings)
    with reporting(progress) as report:
        if what.source is not None:  # the module itself, never a copy: it is to be trained
            return wrap(unwrapped(network), what.recipe, what.inputs, weight_bits, report)
        if what.inputs is None:
            return load(what.recipe, weight_bits, report)
        source = read_model(what.recipe, what.inputs.x.shape[1:])
        return wrap(source.module, what.recipe, what.inputs, weight_bits, report)
