# SPDX-License-Identifier: Apache-2.0
"""A network of integers for one core: program, memories and cycles follow from its shape."""

from dataclasses import dataclass, replace

from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import DESCRIPTOR_WORDS, Descriptor, Nest, unrolled
from bramcast.pack.lower.copies import in_layout
from bramcast.pack.lower.core import core_of, needs_gates
from bramcast.pack.lower.layout import LaidOut
from bramcast.pack.lower.loops import roll
from bramcast.pack.lower.nests import Program, RowTable, link, lower
from bramcast.pack.lower.walks import Layout
from bramcast.pack.quantize.network import Network
from bramcast.pack.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A program with addresses, and the core that runs it.

    Attributes:
        network: with the layout's copies.
        used: words of each image that the network needs, by its name; no table: none.
        scratch: words of the scratchpad that are used.
    """

    network: Network
    layout: Layout
    program: Program
    descriptors: list[Descriptor]
    used: dict[str, int]
    scratch: int
    core: Core

    @property
    def cycles(self) -> int:
        """Predicted, of a frame."""
        return predict([d for _, d in unrolled(self.descriptors)], self.core).total


def lowered(network: Network, laid_out: LaidOut, recipe: Recipe) -> Lowered:
    """A network as a program for the core of the recipe.

    Args:
        network: as it was quantized.
        laid_out: for the core's LANES and TAPS.

    Raises:
        RangeError, RecipeError: the recipe's core is too small for it.
        UnsupportedLayer: the core's counters are.
    """
    laid = in_layout(network, laid_out.graph)
    layout, drain = laid_out.layout, recipe.core.drain
    program = lower(laid.graph, layout, laid.formats, laid.ops, drain)
    descriptors, scratch = link(laid.graph, layout, program)
    if needs_gates(recipe, descriptors):
        descriptors = roll(descriptors)
    return _sized(recipe, laid, layout, program, descriptors, scratch)


def drained(made: Lowered, recipe: Recipe) -> Lowered:
    """The same for a recipe that differs in RQ alone: another number of banks holds the biases.

    Blocks of biases are of whole sub-words, so bases and steps count in words of RQ entries.
    """
    before, after = made.program.rq, recipe.core.drain

    def moved(nest: Nest) -> Nest:
        base, step = nest.bias_base * before // after, nest.bias_step * before // after
        return replace(nest, bias_base=base, bias_step=step)

    biases = RowTable()
    biases.rows = [rows.reshape(-1, 2 * after) for rows in made.program.biases.rows]
    biases.owners = made.program.biases.owners
    biases.words = made.program.biases.words * before // after
    nests = [replace(n, nest=moved(n.nest)) for n in made.program.nests]
    program = replace(made.program, rq=after, biases=biases, nests=nests)
    descriptors = [moved(d) if isinstance(d, Nest) else d for d in made.descriptors]
    return _sized(recipe, made.network, made.layout, program, descriptors, made.scratch)


def _sized(
    recipe: Recipe,
    laid: Network,
    layout: Layout,
    program: Program,
    descriptors: list[Descriptor],
    scratch: int,
) -> Lowered:
    """With the core that it needs."""
    used = {
        "program": DESCRIPTOR_WORDS * len(descriptors),
        "weights": max(1, program.weights.words),
        "bias": program.biases.words,
    }
    if program.tables.words:
        used["table"] = program.tables.words
    core = core_of(recipe, used, scratch, descriptors)
    return Lowered(laid, layout, program, descriptors, used, scratch, core)
