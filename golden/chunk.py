# SPDX-License-Identifier: Apache-2.0
"""The state of some samples that run side by side."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.arith import Workspace

ViewCall = Callable[[], object]  # a call on views of a chunk


@dataclass(slots=True)
class Chunk:
    """State of one chunk of samples: the scratchpad and where results go."""

    words: NDArray[np.integer]  # [words + 1, elements of a word, samples], the last word is zero
    subs: NDArray[np.integer]  # the same by sub-words, [(words + 1) * TAPS, LANES, samples]
    beats: NDArray[np.int64]  # [beats, samples]
    kept: dict[int, NDArray[np.int32]]  # descriptor -> [samples, rows, LANES]
    work: Workspace
    samples: int
    frame: NDArray[np.integer]  # where the frames go, [samples, runs, run]
    steps: list[ViewCall]
