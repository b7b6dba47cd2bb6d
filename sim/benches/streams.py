# SPDX-License-Identifier: Apache-2.0
"""Streams of the benches: what cocotbext-axi is told of them."""

import random
from collections.abc import Iterator

from cocotbext.axi import AxiStreamBus


class ElementBus(AxiStreamBus):  # type: ignore[misc]  # cocotbext-axi has no types
    """A stream of one element per beat, of any width: TKEEP is ignored with BEAT = 1."""

    _optional_signals = [s for s in AxiStreamBus._optional_signals if s != "tkeep"]


def pauses(rng: random.Random, chance: float) -> Iterator[bool]:
    """Whether a source or a sink pauses, cycle by cycle."""
    while True:
        yield rng.random() < chance
