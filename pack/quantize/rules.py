# SPDX-License-Identifier: Apache-2.0
"""What the recipe says about formats, for the operations of a graph."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.bundle.qformat import QFormat, parse_format
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.grid import rounds_to
from bramcast.pack.graph.ops import MaxPool, Op, Weighted
from bramcast.pack.recipe.recipe import LayerSection, Recipe


@dataclass(frozen=True, slots=True)
class Rules:
    """How formats are chosen, and those that are given by hand: by name of the operation.

    Attributes:
        calibration, percentile: as in the recipe's [quantize].
        tensor_weights: one fraction length for all output channels of a layer.
        outputs: formats of results.
        table_inputs: formats of what smooth activations see.
        weight_fractions: fraction length of each output channel's weights.
        weight_bits: widths of weights where they are not 8.
        path: the recipe.
    """

    calibration: Literal["error", "max", "percentile"] = "error"
    percentile: float = 99.99
    tensor_weights: bool = False
    outputs: Mapping[str, QFormat] = field(default_factory=dict)
    table_inputs: Mapping[str, QFormat] = field(default_factory=dict)
    weight_fractions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    weight_bits: Mapping[str, int] = field(default_factory=dict)
    path: Path = Path("recipe.toml")

    @property
    def by_hand(self) -> bool:
        """Whether the format of any layer is given."""
        return bool(self.outputs or self.table_inputs or self.weight_fractions)


def rules_of(recipe: Recipe, graph: Graph) -> Rules:
    """The recipe's rules for a graph as it will be quantized.

    Args:
        graph: with the copies of its layout, which a recipe may name, too.

    Raises:
        RecipeError: a name that no operation has, or a format that its operation can't have.
    """
    section = recipe.quantize
    outputs: dict[str, QFormat] = {}
    tables: dict[str, QFormat] = {}
    fractions: dict[str, tuple[int, ...]] = {}
    bits: dict[str, int] = {}
    for name, layer in section.layers.items():
        place = f'{recipe.path}: quantize.layers."{name}"'
        mine = _named(graph, name, place, section.layers)
        weighted = [op for op in mine if isinstance(op, Weighted) and not op.exact]
        if (layer.weight_bits or layer.weight or layer.weight_frac is not None) and not weighted:
            raise RecipeError(
                f"{place}: no such layer with weights; there are {', '.join(_with_weights(graph))}"
            )
        for owner in weighted:
            bits[owner.name] = layer.bits
            given = _fractions(layer, owner, place)
            if given is not None:
                fractions[owner.name] = given
        for op in mine:
            if layer.output is not None:
                outputs[op.name] = _output(graph, op, parse_format(layer.output), place)
            if layer.table_input is not None:
                tables[op.name] = _table_input(op, parse_format(layer.table_input), place)
    return Rules(
        section.calibration,
        99.99 if section.percentile is None else section.percentile,
        section.weight_formats == "tensor",
        outputs,
        tables,
        fractions,
        bits,
        recipe.path,
    )


def _with_weights(graph: Graph) -> list[str]:
    ops = [op for op in graph.ops if isinstance(op, Weighted) and not op.exact]
    return [*dict.fromkeys(n for op in ops for n in (op.layer or op.name, op.name))]


def _named(graph: Graph, name: str, place: str, sections: Mapping[str, LayerSection]) -> list[Op]:
    """The operations that a name stands for: it, and those with its weights and no own section."""
    own = [op for op in graph.ops if op.name == name]
    found = own + [op for op in graph.ops if op.layer == name and op.name not in sections]
    if not any(name in (op.name, op.layer) for op in graph.ops):
        known = dict.fromkeys(n for op in graph.ops for n in (op.layer or op.name, op.name))
        raise RecipeError(f"{place}: no such layer; there are {', '.join(known)}")
    return found


def _fractions(layer: LayerSection, op: Weighted, place: str) -> tuple[int, ...] | None:
    outputs = len(op.weight)
    if layer.weight is not None:
        return (parse_format(layer.weight).frac,) * outputs
    if layer.weight_frac is None or isinstance(layer.weight_frac, int):
        return None if layer.weight_frac is None else (layer.weight_frac,) * outputs
    if len(layer.weight_frac) != outputs:
        raise RecipeError(
            f"{place}.weight_frac: {len(layer.weight_frac)} numbers for {outputs} output channels "
            f"of {op.name!r}"
        )
    return layer.weight_frac


def _output(graph: Graph, op: Op, fmt: QFormat, place: str) -> QFormat:
    if graph.is_wide(op):
        raise RecipeError(
            f"{place}.output: the last layer's results leave at 32 bits, their format follows from "
            "its weights': give weight or weight_frac"
        )
    if op.rounds is not None and fmt.frac != op.rounds:
        raise RecipeError(
            f"{place}.output: {fmt}: forward() rounds these results to {rounds_to(op)}, so the "
            f"format must have {op.rounds} fraction bits"
        )
    return fmt


def _table_input(op: Op, fmt: QFormat, place: str) -> QFormat:
    if op.activation is None:
        raise RecipeError(f"{place}.table_input: {op.name!r} has no activation that is a table")
    if not isinstance(op, MaxPool) and fmt.signed != (op.clamp.lo < 0):
        can = "can't" if fmt.signed else "can"
        raise RecipeError(
            f"{place}.table_input: {fmt}: what the table sees {can} be negative: write "
            f"{QFormat(fmt.bits, fmt.frac, not fmt.signed)}"
        )
    return fmt
