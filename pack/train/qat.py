# SPDX-License-Identifier: Apache-2.0
"""Retraining with the core's own arithmetic (quantization-aware training). Imports torch.

``wrap`` makes a module whose forward pass computes what the core will compute, bit for bit, and
whose gradients go to the parameters of the user's own network. What ``save`` writes packs to a
bundle that gives the same numbers.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from bramcast.pack.bundle.errors import InputError, RangeError, UnsupportedLayer
from bramcast.pack.bundle.folder import replace_bytes, replace_file
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.capture.traced import Origin, evaluate, leaves, source_of
from bramcast.pack.graph.ops import MaxPool, Op, Weighted
from bramcast.pack.graph.tensor import IntArray
from bramcast.pack.prepare import Prepared, prepare, settle
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.integers import multiplied_weight, pooling_gains, quantize
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.quantize.rules import rules_of
from bramcast.pack.read.network import LoadedNetwork, evaluating, read_model
from bramcast.pack.recipe.recipe import LayerSection, QuantizeSection, Recipe, read_recipe
from bramcast.pack.recipe.text import moved, recipe_text
from bramcast.pack.run import execute
from bramcast.pack.run.calibrate import Progress, silent
from bramcast.pack.samples.inputs import Inputs, read_inputs
from bramcast.pack.train.straight_through import Live, quantized_input, through_compute


def load(
    recipe: Recipe | Path | str,
    weight_bits: Literal[2, 4, 8] | None = None,
    progress: Progress = silent,
) -> "Wrapped":
    """``wrap`` for the network and the checkpoint that a recipe names."""
    recipe = _recipe(recipe)
    inputs = read_inputs(recipe.file(recipe.model.inputs))
    source = read_model(recipe, inputs.x.shape[1:])
    return _wrap(source, recipe, inputs, weight_bits, progress)


def wrap(
    module: nn.Module,
    recipe: Recipe | Path | str,
    inputs: Inputs | None = None,
    weight_bits: Literal[2, 4, 8] | None = None,
    progress: Progress = silent,
) -> "Wrapped":
    """Wrap a trained network so that it computes as the core does.

    Args:
        module: with its trained weights; its parameters are those that get the gradients.
        recipe: what ``bramcast pack`` takes; its formats, where it gives any, are kept.
        inputs: calibration samples; those of the recipe if not given.
        weight_bits: for all Linear and convolutions to which the recipe gives no width.

    Raises:
        UserError: whatever ``bramcast pack`` would say, and for recurrent layers.
    """
    recipe = _recipe(recipe)
    if inputs is None:
        inputs = read_inputs(recipe.file(recipe.model.inputs))
    return _wrap(
        LoadedNetwork(module, recipe.model.python or "model"), recipe, inputs, weight_bits, progress
    )


def _recipe(recipe: Recipe | Path | str) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else read_recipe(Path(recipe))


def _wrap(
    source: LoadedNetwork,
    recipe: Recipe,
    inputs: Inputs,
    weight_bits: Literal[2, 4, 8] | None,
    progress: Progress,
) -> "Wrapped":
    with evaluating(source.module):
        prepared = prepare(recipe, progress, source, inputs, trace=True)
    if weight_bits is not None:
        recipe = _with_weight_bits(recipe, prepared, weight_bits)
        prepared = replace(prepared, rules=rules_of(recipe, prepared.laid_out.graph))
        prepared = replace(prepared, recipe=recipe)
    # Of refining only the formats: the training moves the weights.
    formats = settle(prepared, prepared.rules.weight_bits, progress, formats_only=True).formats
    return Wrapped(source.module, recipe, prepared, formats)


def _equal(a: QuantizedOp, b: QuantizedOp) -> bool:
    """Whether two operations have the same integers."""
    none = np.zeros(0, np.int64)
    mine, other = (
        (q.weight, q.bias, q.border, q.shift, none if q.table is None else q.table) for q in (a, b)
    )
    same = all(np.array_equal(x, y) for x, y in zip(mine, other, strict=True))
    return same and (a.lo, a.hi, a.out) == (b.lo, b.hi, b.out)


def _with_weight_bits(recipe: Recipe, prepared: Prepared, bits: Literal[2, 4, 8]) -> Recipe:
    """The recipe with this width for each Linear or convolution to which it gives none."""
    named = dict(recipe.quantize.layers)
    for op in prepared.graph.ops:
        name = op.name if op.name in named else op.layer or op.name
        section = named.get(name, LayerSection())
        if op.macs and section.weight_bits is None and section.weight is None:
            named[name] = replace(section, weight_bits=bits)
    return replace(recipe, quantize=replace(recipe.quantize, layers=named))


class Wrapped(nn.Module):
    """A network that computes as the core does; ``module`` is the user's own.

    Its parameters are those of ``module``, and so are its gradients. BatchNorm works with its
    running statistics and Dropout is off, in ``train()`` as in ``eval()``: the core has neither.
    Formats of activations are those chosen at the start; they get coarser only where the weights
    leave no legal shift, as in ``bramcast pack``.

    Attributes:
        recipe: with the widths of the weights.
        untrained: names of parameters that get no gradient: those that the network does not use,
            or that end in a table of an activation.
    """

    def __init__(
        self, module: nn.Module, recipe: Recipe, prepared: Prepared, formats: Formats
    ) -> None:
        super().__init__()
        self.module = module
        self.recipe = recipe
        self._formats = formats
        traces = {op: _own_arrays(op) for op in prepared.graph.ops if isinstance(op, Weighted)}
        own = prepared.graph.with_ops(
            traces[op].op if op in traces else op for op in prepared.graph.ops
        )
        self._prepared = replace(prepared, graph=own)
        self._traces = [t for t in traces.values() if t.computations]
        found = {name for t in self._traces for c in t.computations for name in leaves(c)}
        self.untrained = tuple(
            name
            for name, p in module.named_parameters()
            if p.requires_grad and not _names(module, p) & found
        )
        self._formats = self._quantized().formats  # settled; what is wrong shows here

    def forward(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """Samples [N, *shape] to the real values of the core's results, float64 [N, *shape].

        Of several outputs these are a dictionary by name, as the bundle names them.

        float64, because results of 32 bits don't fit float32. A softmax at the end of the network,
        which the core leaves out, is there, so that its loss stays the same.
        """
        graph = self._prepared.graph
        state = self._quantized()
        steps = {step.op.out.index: step.result for step in self._steps(state, x)}
        found = execute.real_numbers(graph, state.ops, execute.leaving(graph, steps))
        flat = [
            result.reshape(len(x), -1)[:, torch.from_numpy(view.ravel() - tensor.first)]
            for view, tensor, result in zip(graph.results, graph.sent, found, strict=True)
        ]
        results = torch.cat(flat, dim=1).reshape(len(x), *graph.output.shape)
        whole = execute.with_softmax(graph, results)
        if not graph.parts:
            return whole
        cut = torch.split(whole, [part.elements for part in graph.parts], dim=1)
        return {
            part.name: piece.reshape(len(x), *part.shape)
            for part, piece in zip(graph.parts, cut, strict=True)
        }

    def layers(self, x: torch.Tensor) -> dict[str, IntArray]:
        """Every operation's integers, int64 [N, C, H, W], by its name in the bundle.

        Copies that a bundle's layout makes are not among them.
        """
        with torch.no_grad():
            steps = self._steps(self._quantized(), x)
            return {s.op.name: s.result.to(torch.int64).numpy() for s in steps}

    def save(self, path: Path | str) -> Recipe:
        """Write the network's state dict (``path`` with the suffix .pth) and a recipe for it.

        What weights meet on average, which some biases take, is measured anew; from then on this
        module computes with it.

        The recipe gives every format by hand, so that ``bramcast pack`` makes the integers that
        this module computes with; that is tried before anything is written.

        Raises:
            InputError: it would overwrite the recipe or checkpoint that all began with, or the
                network comes from a file that has no checkpoint.
            UnsupportedLayer: the trained weights would fold otherwise than those at the start.
        """
        recipe = self._saved_recipe(Path(path))
        self._check_saved(recipe)
        assert recipe.model.checkpoint is not None
        state = self.module.state_dict()
        replace_file(recipe.file(recipe.model.checkpoint), lambda file: torch.save(state, file))
        text = recipe_text(recipe).encode()
        replace_bytes(recipe.path, text)
        return recipe

    def settled(self) -> Recipe:
        """The recipe by which ``module``, as it is now, packs to what this module computes with.

        As with ``save``, but without a file: what weights meet is measured anew, and the integers
        are compared.

        Raises:
            UnsupportedLayer: the trained weights would fold otherwise than those at the start.
        """
        recipe = replace(self.recipe, quantize=self._by_hand())
        self._check_saved(recipe)
        return recipe

    def _saved_recipe(self, path: Path) -> Recipe:
        old = self.recipe
        if old.model.checkpoint is None:
            place = old.model.onnx or old.model.exported or "memory"
            raise InputError(
                f"{old.path}: the network comes from {place}, which can't take new weights; give "
                'its code: [model] python = "FILE:NAME"'
            )
        checkpoint = path.with_suffix(".pth")
        for ours, theirs in ((path, old.path), (checkpoint, old.file(old.model.checkpoint))):
            if ours.resolve() == theirs.resolve():
                raise InputError(f"{ours}: would be overwritten; save under another name")
        new = moved(replace(old, quantize=self._by_hand()), path)
        return replace(new, model=replace(new.model, checkpoint=checkpoint.name, state=None))

    def _by_hand(self) -> QuantizeSection:
        """[quantize] with the formats as they are now."""
        old, graph, planes = self.recipe, self._prepared.graph, self._prepared.planes
        state = self._quantized()
        given = old.quantize.layers
        layers = {}
        for op in graph.ops:
            section = given.get(op.name, given.get(op.layer, LayerSection()))
            if not graph.is_wide(op):
                section = replace(section, output=str(state.formats.of(op.out)))
            if op.activation is not None and not isinstance(op, MaxPool):
                section = replace(section, table_input=str(state.seen[op.name]))
            if section != LayerSection():
                layers[op.name] = section
        return replace(
            old.quantize,
            refine=False,
            input_planes=1 if planes is None else 2,
            input=str(state.formats.of(graph.input)),
            plane_shift=None if planes is None else planes.shift,
            layers=layers,
        )

    def _check_saved(self, recipe: Recipe) -> None:
        """What pack would make of the trained network must be what this module computes with."""
        with evaluating(self.module):
            source = LoadedNetwork(self.module, self.recipe.model.python or "model")
            prepared = prepare(recipe, silent, source, self._prepared.inputs, trace=True)
        formats = settle(prepared, prepared.rules.weight_bits, formats_only=True).formats
        graph = prepared.graph
        packed = quantize(graph, formats, prepared.rules.weight_bits)
        # What weights meet is another thing after the training.
        self._formats = replace(self._formats, reads=formats.reads)
        mine = self._quantized().ops
        if [*mine] != [*packed] or not all(_equal(mine[name], packed[name]) for name in mine):
            raise UnsupportedLayer(
                f"model {graph.name!r}: its trained weights fold otherwise than those at the start "
                "(a constant that was zero no longer is, or an activation's slope has changed); "
                "wrap it again and train on"
            )

    def _steps(self, state: "_State", x: torch.Tensor) -> Iterator[execute.Executed]:
        graph = self._prepared.graph
        if tuple(x.shape[1:]) != graph.input_shape:
            raise InputError(
                f"model {graph.name!r} takes samples of shape {graph.input_shape}, got "
                f"{tuple(x.shape[1:])}"
            )
        compute = through_compute(state.ops, state.seen, state.operand, state.live)
        return execute.run(graph, self._frame(x, state.formats), compute)

    def _frame(self, x: torch.Tensor, formats: Formats) -> torch.Tensor:
        """The input's integers [N, C, H, W]; two planes interleaved."""
        graph, planes = self._prepared.graph, self._prepared.planes
        t, fmt = graph.input, formats.of(graph.input)
        flat = x.double().reshape(len(x), -1)
        if graph.input_order.size:
            flat = flat[:, torch.from_numpy(graph.input_order)]
        if graph.input_offsets.size:
            flat = flat - torch.from_numpy(graph.input_offsets)
        if graph.input_exponents.size:
            flat = flat * torch.from_numpy(2.0**graph.input_exponents)
        coarse = quantized_input(flat, fmt)
        if planes is None:
            return coarse.reshape(len(x), t.channels, t.height, t.width).float()
        rest = (flat.detach() * 2.0**fmt.frac - coarse.detach()) * 2.0**planes.shift
        fine = quantized_input(rest, QFormat(fmt.bits, 0))
        parts = [p.reshape(len(x), t.channels // 2, t.height, t.width) for p in (coarse, fine)]
        return torch.stack(parts, dim=2).flatten(1, 2).float()

    def _quantized(self) -> "_State":
        """The integers of all operations for the parameters as they are now."""
        graph = self._prepared.graph
        live = self._live()
        formats = deepcopy(self._formats)
        ops = quantize(graph, formats, self._prepared.rules.weight_bits)
        gains = pooling_gains(graph, formats)
        operand, adjusted = {}, {}
        for op in graph.ops:
            if not isinstance(op, Weighted) or op.name not in live:
                continue
            ones = replace(op, weight=np.ones_like(op.weight))
            operand[op.name], factor = multiplied_weight(graph, formats, ones, gains)
            real = live[op.name]
            if real.weight is not None:
                real = replace(real, weight=real.weight * torch.from_numpy(factor))
            adjusted[op.name] = real
        seen = {op.name: _seen(self._prepared, formats, op, ops[op.name]) for op in graph.ops}
        return _State(formats, ops, seen, operand, adjusted)

    def _live(self) -> dict[str, Live]:
        """Folded weights and biases with gradients; their values go into the arrays of the graph,
        which are this module's own."""
        tensors: dict[str, torch.Tensor] = dict(self.module.named_buffers(remove_duplicate=False))
        tensors |= dict(self.module.named_parameters(remove_duplicate=False))
        strangers = [name for name, t in tensors.items() if t.device.type != "cpu"]
        if strangers:
            raise InputError(
                f"{strangers[0]} is on {tensors[strangers[0]].device}: retraining computes on the "
                "CPU; call model.cpu()"
            )
        values = iter(evaluate([c for t in self._traces for c in t.computations], tensors))
        live = {}
        for trace in self._traces:
            weight = next(values) if trace.weight is not None else None
            bias = next(values) if trace.bias is not None else None
            taps = next(values) if trace.tap_bias is not None else None
            for array, value in (
                (trace.op.weight, weight), (trace.op.bias, bias), (trace.op.tap_bias, taps),
            ):  # fmt: skip
                if value is not None:
                    if not bool(torch.isfinite(value).all()):
                        raise RangeError(
                            f"{trace.op.source}: layer {trace.op.name!r} has weights that are NaN "
                            "or infinite: lower the learning rate"
                        )
                    array[...] = value.detach().numpy()
            live[trace.op.name] = Live(weight, bias, taps)
        return live


@dataclass(frozen=True, slots=True, eq=False)
class _Trace:
    """How an operation's weights and biases come from the parameters; None for constants."""

    op: Weighted
    weight: Origin | None
    bias: Origin | None
    tap_bias: Origin | None

    @property
    def computations(self) -> list[Origin]:
        return [c for c in (self.weight, self.bias, self.tap_bias) if c is not None]


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """The quantized graph for one state of the parameters; see ``through_compute``."""

    formats: Formats
    ops: Mapping[str, QuantizedOp]
    seen: Mapping[str, QFormat]
    operand: Mapping[str, QFormat]
    live: Mapping[str, Live]


def _own_arrays(op: Weighted) -> _Trace:
    """An operation with arrays of its own, which are written to before each forward pass."""
    arrays = (op.weight, op.bias, op.tap_bias)
    weight, bias, taps = (np.array(a) for a in arrays)
    own = replace(op, weight=weight, bias=bias, tap_bias=taps)
    return _Trace(own, *(source_of(a) for a in arrays))


def _names(module: nn.Module, parameter: nn.Parameter) -> set[str]:
    """Everything that a parameter is called in a module."""
    return {n for n, p in module.named_parameters(remove_duplicate=False) if p is parameter}


def _seen(prepared: Prepared, formats: Formats, op: Op, made: QuantizedOp) -> QFormat:
    """The format of the clamp's result, which a table sees."""
    if op.activation is None:
        return made.out
    if isinstance(op, MaxPool):  # passes through what it reads
        return formats.of(prepared.graph.owners(op.view)[0])
    return formats.clamped(op)
