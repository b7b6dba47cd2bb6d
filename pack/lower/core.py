# SPDX-License-Identifier: Apache-2.0
"""The core that a program needs, and its images' words."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from bramcast.pack.bundle.errors import RangeError, RecipeError
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import Descriptor, Loop, Nest, encode_program
from bramcast.pack.bundle.words import Words, from_uint32, pack_bias, pack_lanes
from bramcast.pack.device.memory import MEMORIES, free_depth
from bramcast.pack.lower.nests import Program
from bramcast.pack.recipe.recipe import Recipe


def images_of(program: Program, descriptors: list[Descriptor], recipe: Recipe) -> dict[str, Words]:
    entries = program.biases.table(2 * program.rq).reshape(-1, 2)
    weights = program.weights.table(program.word)
    if not len(weights):
        weights = np.zeros((1, program.word), np.int64)
    tables, bits = program.tables.table(1), recipe.quantize.activation_bits
    return {
        "program": from_uint32(encode_program(descriptors)),
        "weights": pack_lanes(weights, recipe.quantize.weight_bits),
        "bias": pack_bias(entries[:, 0].copy(), entries[:, 1].copy(), program.rq),
        **({"table": pack_lanes(tables, bits, signed=False)} if len(tables) else {}),
    }


def core_of(
    recipe: Recipe, used: dict[str, int], scratch: int, descriptors: list[Descriptor]
) -> Core:
    section = recipe.core

    def depth(name: str, needed: int, given: int | Literal["auto"] | None, what: str) -> int:
        if given is None or given == "auto":
            return max(2, needed)
        if given < needed:
            raise RangeError(
                f"{recipe.path}: core.{name}_depth = {given}, but the network needs {needed} {what}"
            )
        return given

    auto = [n for n in MEMORIES if getattr(section, f"{n}_depth") == "auto"]
    core = Core(
        lanes=section.lanes,
        taps=section.taps,
        data_bits=recipe.quantize.activation_bits,
        weight_bits=recipe.quantize.weight_bits,
        rq=section.drain,
        program_depth=depth("program", used["program"], section.program_depth, "program words"),
        weights_depth=depth("weights", used["weights"], section.weights_depth, "weight words"),
        bias_depth=depth("bias", used["bias"], section.bias_depth, "bias words"),
        table_depth=depth("table", used["table"], section.table_depth, "table words")
        if "table" in used
        else section.table_depth
        if isinstance(section.table_depth, int)
        else 0,
        scratch_depth=depth("scratch", scratch, section.scratch_depth, "scratchpad words"),
        narrow=needs_narrow(recipe),
        gates=needs_gates(recipe, descriptors),
        tiles=section.tiles,
        pairs=section.pairs,
    )
    free: dict[str, Any] = {f"{name}_depth": free_depth(core, name) for name in auto}
    return replace(core, **free)


def needs_gates(recipe: Recipe, descriptors: list[Descriptor]) -> bool:
    """Whether the core must know products of two tensors and LOOP: said so, or needed."""
    needed = any(isinstance(d, Loop) or (isinstance(d, Nest) and d.product) for d in descriptors)
    if needed and recipe.core.gates is False:
        raise RecipeError(
            f"{recipe.path}: core.gates = false, but the network multiplies tensors by each other"
        )
    return needed or bool(recipe.core.gates)


def needs_narrow(recipe: Recipe) -> bool:
    """Whether the core must take narrow weights: said so, or needed by a layer."""
    needed = any(layer.bits < 8 for layer in recipe.quantize.layers.values())
    if needed and recipe.core.narrow is False:
        raise RecipeError(f"{recipe.path}: core.narrow = false, but a layer has narrow weights")
    return needed or bool(recipe.core.narrow)
