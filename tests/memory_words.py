# SPDX-License-Identifier: Apache-2.0
"""Memory words of random bits, for tests of what reads and writes them."""

import numpy as np

from bramcast.pack.bundle.words import Words


def random_words(bits: int, n: int, seed: int = 1) -> Words:
    """``n`` words of any width; the bits above it in the last byte are zero."""
    data = np.random.default_rng(seed).integers(0, 256, (n, -(-bits // 8))).astype(np.uint8)
    data[:, -1] &= 255 >> (-bits % 8)
    return Words(bits, data)
