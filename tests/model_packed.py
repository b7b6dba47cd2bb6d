# SPDX-License-Identifier: Apache-2.0
"""Packs a module as Python's API does, and compares the words with the graph, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from bramcast.api.given import ARRAYS, given
from bramcast.pack.pipeline import Packed, pack
from bramcast.pack.run.calibrate import silent
from bramcast.pack.samples.inputs import inputs_of
from bramcast.sim.regress.agree import compare_with_graph


def model_packed(model: nn.Module, x: np.ndarray, folder: Path, **options: Any) -> Packed:
    """What was packed for samples ``x``; ``options`` are those of ``given``.

    Raises:
        UserError: bramcast refuses the model.
        AssertionError: golden and the graph differ.
    """
    what = given(model, inputs_of({"x": x}, ARRAYS), **options)
    packed = pack(what.recipe, folder, source=what.source, inputs=what.inputs)
    agreement = compare_with_graph(packed, folder, silent)
    assert agreement.mismatches == 0, agreement.text
    return packed
