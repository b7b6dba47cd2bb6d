# SPDX-License-Identifier: Apache-2.0
"""Finds the widths of the layers' weights: the fewest bits that keep a limit.

Each layer's damage at 4 and at 2 bits alone gives the order, least damage per saved bit first. As
many narrowings as the limit allows are taken in this order (bisection), then single ones behind
the first that is too much. What decides at last is the network as ``pack`` would pack it, with
formats and biases chosen for its widths; narrowings are given back until it keeps the limit.
On the way only biases are corrected, which is what crude weights need most.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import InputError, RangeError
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Weighted
from bramcast.pack.graph.tensor import FloatArray
from bramcast.pack.lower.copies import in_layout
from bramcast.pack.lower.nests import lower
from bramcast.pack.prepare import Prepared, settle
from bramcast.pack.quantize.cache import IntegerCache
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.integers import quantize
from bramcast.pack.quantize.network import Network
from bramcast.pack.run.calibrate import Progress, integer_outputs, real_outputs, right_classes
from bramcast.pack.run.execute import one_thread
from bramcast.pack.run.refine import LEAST_SAMPLES
from bramcast.pack.run.score import Scorer

SENSITIVITY_SAMPLES = 256  # that each layer's damage is measured on
SLACK_SAMPLES = 3  # that may be lost beyond the limit before the network is packed
CORRECTION_SAMPLES = 64  # that biases are corrected on for each trial

Widths = Mapping[str, int]  # bits of a weight, by layer


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer with weights: ``weights`` numbers that its words hold; ``given`` by the recipe."""

    name: str
    weights: int
    bits: int
    given: bool


@dataclass(frozen=True, slots=True)
class Score:
    """How good a network is on one set of samples.

    Attributes:
        samples: the set's name.
        accuracy: share of right classes; None without labels.
        snr: the output's signal to noise against the float network, decibels.
        damage: what orders the narrowings: divergence of the classes in nats, or noise to signal.
    """

    samples: str
    accuracy: float | None
    snr: float
    damage: float


@dataclass(frozen=True, slots=True)
class Narrowing:
    """One point of the trade-off: the network after a narrowing.

    Attributes:
        layer, bits: what was narrowed (empty and 8 for the start).
        weight_bits: bits of all layers' weights.
        words: words of the weights' image.
        score: on the samples that decide, with the formats of the start.
    """

    layer: str
    bits: int
    weight_bits: int
    words: int
    score: Score


@dataclass(frozen=True, slots=True)
class Tuned:
    """The widths that were found, and how they came about.

    Attributes:
        layers: every layer with its width.
        steps: the narrowings that were kept, in order; the first is the start.
        reference: the float network on each set of samples (accuracy None without labels).
        before, after: the network at the start and the tuned one as ``pack`` packs them.
        words, word_bits: of the tuned weights' image.
    """

    layers: list[Layer]
    steps: list[Narrowing]
    reference: list[Score]
    before: list[Score]
    after: list[Score]
    weight_bits: int
    words: int
    word_bits: int


@dataclass(frozen=True, slots=True)
class Limit:
    """What a tuned network must keep: points of accuracy against float, or the output's SNR."""

    loss: float
    snr: float | None = None

    def kept(self, score: Score, exact: float | None, slack: float = 0.0) -> bool:
        """Whether a score is enough.

        Args:
            exact: the float network's accuracy.
            slack: what more of it may be lost, and ten times that many decibels.
        """
        if self.snr is not None and score.snr < self.snr - 10 * slack:
            return False
        if exact is None or score.accuracy is None:
            return True
        return score.accuracy >= exact - self.loss / 100 - slack - 1e-9


class _Samples:
    """Samples with the float network's results on them."""

    def __init__(
        self,
        name: str,
        prepared: Prepared,
        values: NDArray[np.floating],
        labels: NDArray[np.int64] | None,
    ) -> None:
        self.name, self.values, self.labels = name, values, labels
        self.planes, self._graph = prepared.planes, prepared.graph
        self._labelled = prepared.inputs.y_of
        self.exact = real_outputs(prepared.graph, values, self.planes)
        self.accuracy = self._accuracy(self.exact)

    def score(self, graph: Graph, formats: Formats, bits: Widths, known: IntegerCache) -> Score:
        """A quantized network's score.

        Args:
            bits: as ``quantize`` takes them.

        Raises:
            RangeError: no legal weights.
        """
        settled = formats.copy()
        ops = quantize(graph, settled, bits, known)
        got = integer_outputs(graph, ops, settled.of(graph.input), self.planes, self.values)
        pairs = list(zip(graph.cut(self.exact), graph.cut(got), strict=True))
        noise = [float(((b - a) ** 2).sum()) / max(float((a**2).sum()), 1e-30) for a, b in pairs]
        ratio = max(noise)  # of several outputs the worst
        snr = min(99.0, -10.0 * float(np.log10(max(ratio, 1e-30))))
        # Where classes do not differ the noise does.
        damage = ratio
        if self.labels is not None:
            damage = _divergence(*pairs[self._labelled]) + 1e-3 * ratio
        return Score(self.name, self._accuracy(got), snr, damage)

    def _accuracy(self, outputs: FloatArray) -> float | None:
        if self.labels is None:
            return None
        right = right_classes(self._graph, outputs, self.labels, self._labelled)
        return right / len(outputs)


def _divergence(exact: FloatArray, got: FloatArray) -> float:
    """Mean Kullback-Leibler divergence of the classes' probabilities, nats."""
    a, b = _log_softmax(exact), _log_softmax(got)
    return max(0.0, float((np.exp(a) * (a - b)).sum(axis=1).mean()))


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


@one_thread()
def tune(prepared: Prepared, limit: Limit, progress: Progress) -> Tuned:
    """The fewest weight bits that keep a limit.

    Layers whose width the recipe gives stay as they are. The samples that decide are ``x_cal``
    where it has labels, else ``x``; without labels those that calibrate. Labelled ``x`` that do
    not decide must keep the limit, too.

    Raises:
        InputError: nothing can be judged: no labels and no SNR to keep, or too few samples.
        RangeError: the network at full width does not keep the limit.
    """
    decide, others = _choose_samples(prepared, limit)
    search = _Search(prepared, limit, decide, others, progress)
    return search.run()


def _choose_samples(prepared: Prepared, limit: Limit) -> tuple[_Samples, list[_Samples]]:
    inputs = prepared.inputs
    own = inputs.calibration is not inputs.x
    classes = prepared.graph.results[inputs.y_of].size > 1
    if own and inputs.y_cal is not None and classes:
        name, values, labels = "x_cal", inputs.calibration, inputs.y_cal
    elif inputs.y is not None and classes:
        name, values, labels = "x", inputs.x, inputs.y
    else:
        name, values, labels = "x_cal" if own else "x", inputs.calibration, None
    if labels is None and limit.snr is None:
        raise InputError(
            f"{inputs.path}: has no labels (y, or y_cal for x_cal), so no accuracy can be judged: "
            "add them, or give --snr, the least signal to noise at the output in dB"
        )
    if len(values) < LEAST_SAMPLES:
        raise InputError(
            f"{inputs.path}: {name} has {len(values)} samples, which says too little about widths; "
            f"give at least {LEAST_SAMPLES}"
        )
    others = []
    if name == "x_cal" and labels is not None and inputs.y is not None:
        others.append(_Samples("x", prepared, inputs.x, inputs.y))
    return _Samples(name, prepared, values, labels), others


@dataclass(frozen=True, slots=True)
class _Move:
    """A layer is made ``bits`` wide; ``before`` it has ``wider``."""

    layer: str
    wider: int
    bits: int
    ratio: float  # damage per saved bit


class _Search:
    def __init__(
        self,
        prepared: Prepared,
        limit: Limit,
        decide: _Samples,
        others: list[_Samples],
        progress: Progress,
    ) -> None:
        self.prepared, self.limit, self.progress = prepared, limit, progress
        self.decide, self.others = decide, others
        graph = prepared.graph
        self.members: dict[str, list[Weighted]] = {}  # operations of each layer, in all time steps
        for op in graph.ops:
            if isinstance(op, Weighted) and not op.exact and op.macs:
                self.members.setdefault(op.layer or op.name, []).append(op)
        sections = prepared.recipe.quantize.layers
        self.named = {name: s.bits for name, s in sections.items() if s.gives_width}
        rules = prepared.rules.weight_bits
        self.given = {
            op.name: rules[op.name]
            for ops in self.members.values()
            for op in ops
            if op.name in self.named or op.layer in self.named
        }
        self.weights = {name: ops[0].weight.size for name, ops in self.members.items()}
        self.start = {name: self.named.get(name, 8) for name in self.members}
        self.known = IntegerCache()
        self.scores: dict[tuple[int, ...], Score | None] = {}

    def run(self) -> Tuned:
        settled = settle(self.prepared, self._bits(self.start), self.progress)
        self.graph, self.formats = settled.graph, settled.formats
        samples = self.decide.values[:CORRECTION_SAMPLES]
        self.judge = Scorer(self.graph, samples, self.prepared.planes, self._bits(self.start))
        self.judge.accept(self.graph, self.formats)
        before = self._packed(self.start)
        if before is None:
            raise AssertionError("the network at full width is legal")
        self._check_start(before)
        moves = self._moves()
        kept = self._narrow(moves)
        kept, after = self._give_back(kept, before)
        widths = self._after(kept)
        steps = [self._step(kept[:count]) for count in range(len(kept) + 1)]
        layers = [
            Layer(name, self.weights[name], widths[name], name in self.named)
            for name in self.members
        ]
        reference = [
            Score(s.name, s.accuracy, float("inf"), 0.0) for s in (self.decide, *self.others)
        ]
        word = self.prepared.laid_out.layout.word * self.prepared.recipe.quantize.weight_bits
        return Tuned(
            layers, steps, reference, before, after, self._count(widths), steps[-1].words, word
        )

    def _check_start(self, scores: Sequence[Score]) -> None:
        for score, samples in zip(scores, (self.decide, *self.others), strict=True):
            if self.limit.kept(score, samples.accuracy):
                continue
            path = self.prepared.recipe.path
            if self.limit.snr is not None and score.snr < self.limit.snr:
                raise RangeError(
                    f"{path}: the network as it is leaves {score.snr:.1f} dB signal to noise on "
                    f"{samples.name}, less than --snr {self.limit.snr:g}: ask for less"
                )
            assert samples.accuracy is not None and score.accuracy is not None
            raise RangeError(
                f"{path}: the network as it is loses "
                f"{100 * (samples.accuracy - score.accuracy):.2f} points against float on "
                f"{samples.name}, more than --loss {self.limit.loss:g}: allow more"
            )

    def _bits(self, widths: Widths) -> dict[str, int]:
        """Widths as ``quantize`` takes them."""
        mine = {op.name: widths[name] for name, ops in self.members.items() for op in ops}
        return {**mine, **self.given}

    def _count(self, widths: Widths) -> int:
        return sum(self.weights[name] * bits for name, bits in widths.items())

    def _score(self, widths: Widths, samples: _Samples | None = None) -> Score | None:
        """On the samples that decide, with the formats of the start; None if not legal."""
        key = tuple(widths.values())
        if samples is not None or key not in self.scores:
            bits, graph = self._bits(widths), self.graph
            try:
                if widths != self.start:
                    graph = self.judge.corrected(graph, self.formats, bits)
                made = (samples or self.decide).score(graph, self.formats, bits, self.known.fork())
            except RangeError:
                made = None
            if samples is not None:
                return made
            self.scores[key] = made
        return self.scores[key]

    def _moves(self) -> list[_Move]:
        """All narrowings, least damage per saved bit first; a layer's own ones in order."""
        few = self._few()
        free = [n for n in self.members if n not in self.named]
        base = self._score(self.start, few)
        assert base is not None
        moves: list[_Move] = []
        for done, name in enumerate(free, 1):
            damage = {8: 0.0}
            for bits in (4, 2):
                score = self._score({**self.start, name: bits}, few)
                if score is not None:
                    damage[bits] = max(score.damage - base.damage, 1e-9)
            moves += _hull(name, self.weights[name], damage)
            self.progress("measuring layers", done, len(free))
        return sorted(moves, key=lambda move: (move.ratio, -move.bits))

    def _few(self) -> _Samples:
        s = self.decide
        if len(s.values) <= SENSITIVITY_SAMPLES:
            return s
        chosen = np.random.default_rng(0).permutation(len(s.values))[:SENSITIVITY_SAMPLES]
        labels = None if s.labels is None else s.labels[chosen]
        return _Samples(s.name, self.prepared, s.values[chosen], labels)

    def _after(self, moves: Sequence[_Move]) -> dict[str, int]:
        return {**self.start, **{move.layer: move.bits for move in moves}}

    def _enough(self, moves: Sequence[_Move]) -> bool:
        score = self._score(self._after(moves))
        # Few samples: one more or less is chance, and better biases and formats are still to come.
        slack = SLACK_SAMPLES / len(self.decide.values)
        return score is not None and self.limit.kept(score, self.decide.accuracy, slack)

    def _narrow(self, moves: list[_Move]) -> list[_Move]:
        """The moves that the limit allows: the longest run, then single ones behind it."""
        count = _longest(len(moves), lambda n: self._enough(moves[:n]))
        kept = moves[:count]
        for done, move in enumerate(moves[count:], 1):
            if self._after(kept)[move.layer] == move.wider and self._enough([*kept, move]):
                kept.append(move)
            self.progress("narrowing", done, len(moves) - count)
        return kept

    def _packed(self, widths: Widths) -> list[Score] | None:
        """The network as ``pack`` would pack it, on all samples; None if not legal."""
        bits = self._bits(widths)
        try:
            settled = settle(self.prepared, bits)
            everywhere = (self.decide, *self.others)
            known = IntegerCache()
            return [s.score(settled.graph, settled.formats, bits, known) for s in everywhere]
        except RangeError:
            return None

    def _give_back(self, kept: list[_Move], before: list[Score]) -> tuple[list[_Move], list[Score]]:
        """The moves with which the packed network keeps the limit: a run, then single ones."""
        found: dict[int, list[Score] | None] = {0: before}
        tried = 0

        def packed(moves: Sequence[_Move]) -> list[Score] | None:
            """The scores if they are enough."""
            nonlocal tried
            tried += 1
            self.progress("packing", tried, max(tried, len(kept)))
            scores = self._packed(self._after(moves))
            pairs = zip(scores or (), (self.decide, *self.others), strict=False)
            enough = all(self.limit.kept(score, samples.accuracy) for score, samples in pairs)
            return scores if enough else None

        def enough(count: int) -> bool:
            if count not in found:
                found[count] = packed(kept[:count])
            return found[count] is not None

        count = len(kept) if enough(len(kept)) else _longest(len(kept) - 1, enough)
        moves, scores = kept[:count], found[count]
        assert scores is not None
        for move in kept[count + 1 :]:
            if self._after(moves)[move.layer] != move.wider:
                continue
            more = packed([*moves, move])
            if more is not None:
                moves, scores = [*moves, move], more
        return moves, scores

    def _step(self, moves: Sequence[_Move]) -> Narrowing:
        widths = self._after(moves)
        score = self._score(widths)
        assert score is not None
        formats = self.formats.copy()
        ops = quantize(self.graph, formats, self._bits(widths), self.known)
        network = Network(self.graph, formats, ops, self.prepared.planes)
        laid_out, drain = self.prepared.laid_out, self.prepared.recipe.core.drain
        laid = in_layout(network, laid_out.graph)
        program = lower(laid.graph, laid_out.layout, laid.formats, laid.ops, drain)
        words = len(program.weights.table(program.word))
        last = (moves[-1].layer, moves[-1].bits) if moves else ("", 8)
        return Narrowing(*last, self._count(widths), words, score)


def _hull(name: str, weights: int, damage: Mapping[int, float]) -> list[_Move]:
    """A layer's narrowings; two in one where the second costs less per bit than the first.

    >>> [(m.wider, m.bits) for m in _hull("a", 10, {8: 0.0, 4: 0.4, 2: 9.0})]
    [(8, 4), (4, 2)]
    >>> [(m.wider, m.bits) for m in _hull("a", 10, {8: 0.0, 4: 0.4, 2: 0.5})]
    [(8, 2)]
    """

    def move(wider: int, bits: int) -> _Move:
        cost = max(damage[bits] - damage[wider], 0.0)
        return _Move(name, wider, bits, cost / ((wider - bits) * weights))

    if 2 not in damage:
        return [move(8, 4)] if 4 in damage else []
    if 4 not in damage:
        return [move(8, 2)]
    first, second = move(8, 4), move(4, 2)
    return [first, second] if first.ratio < second.ratio else [move(8, 2)]


def _longest(count: int, enough: Callable[[int], bool]) -> int:
    """The largest n <= ``count`` that is enough, where 0 is and few more than enough are.

    >>> _longest(10, lambda n: n <= 7), _longest(10, lambda n: True), _longest(0, lambda n: True)
    (7, 10, 0)
    """
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        if enough(middle):
            low = middle
        else:
            high = middle - 1
    return low
