# SPDX-License-Identifier: Apache-2.0
"""Streams of the benches: what cocotbext-axi is told of them."""

from cocotbext.axi import AxiStreamBus


class ElementBus(AxiStreamBus):  # type: ignore[misc]
    """A stream of one element per beat, of any width: TKEEP is ignored with BEAT = 1."""

    _optional_signals = [s for s in AxiStreamBus._optional_signals if s != "tkeep"]
