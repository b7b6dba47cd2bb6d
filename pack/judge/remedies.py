# SPDX-License-Identifier: Apache-2.0
"""What may help a network that lost too much: lines for its recipe, and what they cost.

Named are those that go at the cause: at the input's rounding, or at a layer's. A remedy is a line
of ``_every``; nothing is taken by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.twins import has_gates
from bramcast.pack.judge.against_float import Judged
from bramcast.pack.lower.lowered_nest import LoweredNest
from bramcast.pack.passes.two_planes import can_split
from bramcast.pack.recipe.recipe import QuantizeSection, Recipe
from bramcast.pack.run.refine import LEAST_SAMPLES
from bramcast.pack.samples.inputs import Inputs

COARSE_DB = 15.0  # of what varies, in what the first layer makes of the rounded input
MOSTLY = 0.5  # share of the output's error
NAMED = 3  # remedies in a note


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change of the recipe.

    Attributes:
        line: the key and its value, as a line of TOML.
        cost: in cycles, words and otherwise, for people.
        quantize: the recipe's section with the line.
        of_input: it goes at the input's rounding; ``of_layers``: at the layers'.
    """

    line: str
    cost: str
    quantize: QuantizeSection
    of_input: bool = False
    of_layers: bool = False

    def applied(self, recipe: Recipe) -> Recipe:
        """The recipe with the line."""
        return replace(recipe, quantize=self.quantize)


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides which remedies a packed network has.

    Attributes:
        graph: as it was quantized.
        judged: how it did.
        two_planes: the input is sent as two planes.
        scales: each input feature can be multiplied by a power of two, and it would change some.
        offsets: input features stay far from zero, and the network can take that as a constant.
        refined: formats were chosen by the output's error already.
        nests: the program's.
    """

    recipe: Recipe
    graph: Graph
    inputs: Inputs
    judged: Judged
    two_planes: bool
    scales: bool
    offsets: bool
    refined: bool
    nests: Sequence[LoweredNest]


def remedies(now: Situation) -> list[Remedy]:
    """Every remedy that is legal and not yet taken, those first that go at the larger cause."""
    by_input = now.judged.judgement.input_share >= MOSTLY
    return sorted(_every(now), key=lambda r: not (r.of_input if by_input else r.of_layers))


def _every(now: Situation) -> Iterator[Remedy]:
    section, graph = now.recipe.quantize, now.graph
    if now.offsets:
        yield Remedy(
            'quantize.input_offsets = "auto"',
            f"{_free(graph)}, but for the border of a layer that pads; whoever sends the samples "
            "subtracts",
            replace(section, input_offsets="auto"),
            of_input=True,
        )
    if now.scales:
        yield Remedy(
            'quantize.input_exponents = "auto"',
            f"{_free(graph)}; whoever sends the samples multiplies by powers of two",
            replace(section, input_exponents="auto"),
            of_input=True,
        )
    if (
        section.activation_bits == 8
        and section.input is None
        and not now.two_planes
        and can_split(graph)
    ):
        cycles, words = _first_layers(now)
        yield Remedy(
            "quantize.input_planes = 2",
            f"about {cycles:,} cycles and {words:,} words of weights; two elements for each "
            "feature are sent",
            replace(section, input_planes=2),
            of_input=True,
        )
    worst = now.judged.judgement.worst_layer
    narrow = section.layers.get(worst or "")
    if worst and narrow and narrow.weight_bits in (2, 4) and narrow.weight is None:
        # A word holds 8 / bits steps.
        held = 8 // narrow.weight_bits
        words = (held - 1) * sum(_words(n) for n in now.nests if n.op.name == worst) // held
        yield Remedy(
            f'quantize.layers."{worst}".weight_bits = 8',
            f"no cycles, about {words:,} words of weights",
            replace(section, layers={**section.layers, worst: replace(narrow, weight_bits=8)}),
            of_layers=True,
        )
    if section.calibration != "error":
        yield Remedy(
            'quantize.calibration = "error"',
            _free(graph),
            replace(section, calibration="error", percentile=None),
            of_input=True,
            of_layers=True,
        )
    if not now.refined and len(now.inputs.calibration) >= LEAST_SAMPLES:
        yield Remedy(
            "quantize.refine = true",
            f"{_free(graph)}; packing takes longer",
            replace(section, refine=True),
            of_layers=True,
        )
    if section.activation_bits == 8 and section.input is None and not _by_hand(now.recipe):
        yield Remedy(
            "quantize.activation_bits = 16",
            f"{_free(graph)}, but those of the scratchpad and of tables are wider: a core with "
            "DATA_BITS = 16",
            replace(section, activation_bits=16),
            of_input=True,
            of_layers=True,
        )


def _free(graph: Graph) -> str:
    """What other formats cost. The first step of a loop shares the others' words where its formats
    allow it."""
    return "hardly any cycles and words" if has_gates(graph) else "no cycles, no words"


def _by_hand(recipe: Recipe) -> bool:
    """Whether formats of results are given, which have their bits."""
    layers = recipe.quantize.layers.values()
    return any(layer.output is not None or layer.table_input is not None for layer in layers)


def _first_layers(now: Situation) -> tuple[int, int]:
    """Cycles and words of weights of the nests that read the input: two planes take as much again.

    Exact where TAPS is 1 or divides the features of a pixel.
    """
    first = [n for n in now.nests if now.graph.input.index in now.graph.operands(n.op)]
    return sum(prod(n.nest.counts) for n in first), sum(_words(n) for n in first)


def _words(lowered: LoweredNest) -> int:
    """Steps of the weight image that a nest reads, each once."""
    nest = lowered.nest
    loops = zip(nest.counts, nest.weight_steps, strict=True)
    return prod(count for count, step in loops if step)


def advice(now: Situation, named: Sequence[Remedy]) -> list[str]:
    """What is bad beside broken limits, and the lines that may help; empty where all is well."""
    judgement, notes = now.judged.judgement, []
    readers = [op.name for op in now.graph.ops if now.graph.input.index in now.graph.operands(op)]
    measured = {n: v for n in readers if (v := now.judged.blame.varying[n]) is not None}
    first = min(measured, key=measured.__getitem__, default=None)
    if first is not None and judgement.input_share >= MOSTLY and measured[first] < COARSE_DB:
        notes.append(
            f"input: its rounding leaves layer {first!r} {measured[first]:.1f} dB of signal to "
            f"noise on what varies between samples, and is {100 * judgement.input_share:.0f} % of "
            "the output's error"
        )
    if (notes or judgement.broken) and named:
        by_input = judgement.input_share >= MOSTLY
        fitting = [r for r in named if (r.of_input if by_input else r.of_layers)]
        lines = "; ".join(f"{r.line} ({r.cost})" for r in fitting[:NAMED])
        notes.append(f"what may help: {lines}; --advise tries each")
    return notes
