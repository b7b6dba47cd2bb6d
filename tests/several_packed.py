# SPDX-License-Identifier: Apache-2.0
"""Packs a network of several.py for a core and compares the words with the graph, bit for bit."""

from pathlib import Path

from several import write_recipe

from bramcast.pack.pipeline import Packed, pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.regress.agree import compare_with_graph


def packed_like_the_graph(
    name: str, core: tuple[int, int, int, int], folder: Path
) -> tuple[Packed, Path]:
    """What was packed, and its bundle; ``core`` is lanes, taps, bits of an element, tiles."""
    lanes, taps, bits, tiles = core
    extra = f"[core]\nlanes = {lanes}\ntaps = {taps}\ntiles = {tiles}\n"
    extra += f"[quantize]\nactivation_bits = {bits}\n"
    bundle = folder / "bundle"
    packed = pack(read_recipe(write_recipe(folder, name, extra)), bundle)
    agreement = compare_with_graph(packed, bundle, lambda what, done, of: None)
    assert agreement.elements > 0 and agreement.mismatches == 0, agreement.text
    return packed, bundle
