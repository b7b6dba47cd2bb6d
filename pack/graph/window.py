# SPDX-License-Identifier: Apache-2.0
"""What clips results, and what slides over pictures."""

from dataclasses import dataclass
from math import inf

import numpy as np

from bramcast.pack.graph.tensor import FloatArray


@dataclass(frozen=True, slots=True)
class Clamp:
    """An activation that clips: max(lo, min(hi, value)), real numbers."""

    lo: float = -inf
    hi: float = inf

    def then(self, other: "Clamp") -> "Clamp":
        """This clamp followed by ``other`` as one.

        >>> Clamp(lo=0.0).then(Clamp(-1.0, 6.0))
        Clamp(lo=0.0, hi=6.0)
        """
        lo = min(max(self.lo, other.lo), other.hi)
        return Clamp(lo, max(lo, min(self.hi, other.hi)))

    def apply(self, values: FloatArray) -> FloatArray:
        return np.clip(values, self.lo, self.hi)


NO_CLAMP = Clamp()


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window: (y, x) pairs; padding is (top, left, bottom, right)."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
