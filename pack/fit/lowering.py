# SPDX-License-Identifier: Apache-2.0
"""A network for many shapes of the core: quantized once, laid out and lowered for each."""

from dataclasses import replace

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.bundle.program import MAX_CYCLES
from bramcast.pack.fit.shapes import Shape
from bramcast.pack.graph.ops import Product
from bramcast.pack.lower.copies import Plan, plan_layout
from bramcast.pack.lower.lowered import Lowered, drained, lowered
from bramcast.pack.prepare import Prepared, in_integers, prepare, settle
from bramcast.pack.quantize.network import Network
from bramcast.pack.quantize.rules import rules_of
from bramcast.pack.read.network import LoadedNetwork
from bramcast.pack.recipe.recipe import CoreSection, Recipe
from bramcast.pack.run.calibrate import Progress, silent
from bramcast.pack.run.execute import one_thread
from bramcast.pack.samples.inputs import Inputs

_Key = tuple[int, int, int, bool]  # lanes, taps, tiles, pairs: what a layout is made for


class Lowering:
    """One network, whose program for any shape is what ``pack`` would make of it.

    Its integers are the same in every shape. Only where a layout takes joined products apart, whose
    parts need formats, they are chosen once more.
    """

    def __init__(
        self,
        prepared: Prepared,
        network: Network,
        progress: Progress = silent,
        again: bool = True,
    ) -> None:
        """
        Args:
            network: what ``prepared`` was quantized to.
            again: False: shapes that need other formats are refused, which is quicker.
        """
        self.recipe, self._prepared, self._progress = prepared.recipe, prepared, progress
        self._again = again
        self._networks = {_names(prepared): network}
        self._products = any(isinstance(op, Product) for op in prepared.joined.ops)
        self._own_key = self._key(self.recipe.core)
        self._own = Plan(prepared.graph, prepared.laid_out)
        self._last: tuple[_Key, Lowered] | None = None

    @classmethod
    @one_thread()
    def of(
        cls,
        recipe: Recipe,
        progress: Progress = silent,
        source: LoadedNetwork | None = None,
        inputs: Inputs | None = None,
    ) -> "Lowering":
        """A recipe's network, not judged.

        Args:
            source, inputs: as ``prepare`` takes them.

        Raises:
            UserError: the recipe can't be packed.
        """
        prepared = prepare(recipe, progress, source, inputs, judged=False)
        refined = settle(prepared, prepared.rules.weight_bits, progress)
        return cls(prepared, in_integers(prepared, refined), progress)

    @property
    def has_pictures(self) -> bool:
        """Whether a layer makes more than a row: whether tiles could be of use."""
        return any(op.out.height > 1 for op in self._prepared.graph.ops)

    @property
    def can_pair(self) -> bool:
        """Whether two tiles may share their multipliers, which hold two products of 8 bits."""
        return self.recipe.quantize.activation_bits == 8

    def _key(self, section: CoreSection) -> _Key:
        """Pairs change the layout of products of two tensors alone."""
        return section.lanes, section.taps, section.tiles, section.pairs and self._products

    def at(self, shape: Shape) -> Lowered:
        """The network as a program for a core of this shape; its depths are what is needed.

        Shapes that differ in RQ alone, or in pairs of a network without products of two tensors,
        cost next to nothing if one comes behind the other.

        Raises:
            UserError: there is none.
        """
        recipe = replace(self.recipe, core=shape.section(self.recipe.core))
        key = self._key(recipe.core)
        if self._last is not None and self._last[0] == key:
            made = drained(self._last[1], recipe)
        else:
            plan = self._own if key == self._own_key else plan_layout(self._prepared.joined, *key)
            made = lowered(self._network(plan), plan.laid_out, recipe)
            self._last = key, made
        if made.cycles > MAX_CYCLES:
            raise UnsupportedLayer(
                f"{made.cycles:,} cycles a frame, a run has at most {MAX_CYCLES:,}"
            )
        return made

    def _network(self, plan: Plan) -> Network:
        prepared = self._prepared
        if plan.graph is not prepared.graph:
            laid = plan.laid_out
            rules = rules_of(self.recipe, laid.graph)
            prepared = replace(prepared, graph=plan.graph, laid_out=laid, rules=rules)
        names = _names(prepared)
        if names not in self._networks:
            if not self._again:
                raise UnsupportedLayer("its products are taken apart in this shape")
            refined = settle(prepared, prepared.rules.weight_bits, self._progress)
            self._networks[names] = in_integers(prepared, refined)
        return self._networks[names]


def _names(prepared: Prepared) -> tuple[str, ...]:
    return tuple(op.name for op in prepared.graph.ops)
