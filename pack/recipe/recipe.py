# SPDX-License-Identifier: Apache-2.0
"""The recipe: a TOML file beside the model that says what to pack and for which core.

A new key is a field here, with its type and default; tests/unit/pack/recipe/test_keys.py names what
is then missing.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass

from bramcast.pack.activations.table import BETWEEN
from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.bundle.formats.table import RECIPE_NAMES
from bramcast.pack.bundle.formats.text import MAX_BITS, MAX_DEPTH
from bramcast.pack.bundle.qformat import QFormat, parse_format
from bramcast.pack.recipe.setting import Setting

_STRICT = ConfigDict(extra="forbid")

MOST_BYTES = 1 << 20  # of a recipe
SOURCES = (
    "python and checkpoint (a PyTorch model), checkpoint alone (a chain of Linear layers), onnx, "
    "or exported (torch.export)"
)


def _known_activation(name: str) -> str:
    if name not in BETWEEN:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(BETWEEN)}")
    return name


@dataclass(frozen=True, config=_STRICT)
class ModelSection:
    """[model]: where the network comes from, one of four ways, and its samples.

    Attributes:
        python: FILE:NAME, a function or class that returns the nn.Module; its weights are in
            ``checkpoint``.
        checkpoint: alone, the state dict of a chain of Linear layers with ``activations`` between.
        onnx: an ONNX file, operator set 13 or newer.
        exported: a program that torch.export.save wrote.
        state: which state dict of the checkpoint, by the keys that lead to it.
        shrink: channels whose weights are all zero are not stored.
    """

    inputs: str
    python: str | None = None
    checkpoint: str | None = None
    onnx: str | None = None
    exported: str | None = None
    state: str | None = None
    activations: Annotated[str, AfterValidator(_known_activation)] | None = None
    name: str | None = None
    shrink: bool = False

    def complaint(self) -> str | None:
        """What is wrong with the sources: None if exactly one is given."""
        files = {"onnx": self.onnx, "exported": self.exported}
        given = [name for name, value in files.items() if value is not None]
        if self.python is not None or self.checkpoint is not None:
            given.append("python" if self.checkpoint is None else "checkpoint")
        if len(given) > 1:
            return f"{' and '.join(given)} are both given: keep one, {SOURCES}"
        if not given or given == ["python"]:
            return f"{'checkpoint' if given else 'no network'} is missing: give {SOURCES}"
        if self.state is not None and self.checkpoint is None:
            return "state chooses a state dict of a checkpoint, and there is none"
        if self.activations is not None and (self.checkpoint is None or self.python is not None):
            return "activations are for a checkpoint alone: else the network has its own"
        return None


PATHS = (
    "inputs",
    "checkpoint",
    "onnx",
    "exported",
)  # [model]'s files; ``python`` has a name behind


@dataclass(frozen=True, config=_STRICT)
class LayerSection:
    """[quantize.layers."NAME"]: what one layer does differently; formats are Qm.n or UQm.n.

    Attributes:
        weight: the format of all weights; implies ``weight_bits``.
        weight_frac: instead of it, the weights' fraction length, or one for each output channel.
        output: the result's format.
        table_input: the format of what a smooth activation's table sees.
        copies: how many elements a recurrent cell reads in place of its input's features.
    """

    weight_bits: Literal[2, 4, 8] | None = None
    weight: str | None = None
    weight_frac: int | tuple[int, ...] | None = None
    output: str | None = None
    table_input: str | None = None
    copies: Annotated[int, Field(ge=1)] | None = None

    @property
    def bits(self) -> int:
        """Width of a stored weight."""
        if self.weight is not None:
            return parse_format(self.weight).bits
        return self.weight_bits or 8

    @property
    def gives_width(self) -> bool:
        """Whether the width of the weights is given, by itself or by their format."""
        return (self.weight_bits, self.weight, self.weight_frac) != (None, None, None)

    def complaint(self, activation_bits: int) -> str | None:
        """What is wrong with the formats by themselves, with the key; None if nothing is."""
        for key, text in (("output", self.output), ("table_input", self.table_input)):
            if text is not None and (wrong := _wrong(text, (activation_bits,), "activation_bits")):
                return f"{key}: {wrong}"
        if self.weight is None:
            return None
        if self.weight_frac is not None:
            return "weight and weight_frac are both given: keep one"
        bits = (2, 4, 8) if self.weight_bits is None else (self.weight_bits,)
        wrong = _wrong(self.weight, bits, "weight_bits")
        if wrong is None and not parse_format(self.weight).signed:
            fmt = parse_format(self.weight)
            wrong = f"weights are signed: write {QFormat(fmt.bits, fmt.frac)}"
        return wrong and f"weight: {wrong}"


def _wrong(text: str, bits: tuple[int, ...], key: str) -> str | None:
    """What is wrong with a format that must have one of so many bits."""
    try:
        fmt = parse_format(text)
    except ValueError as error:
        return str(error)
    if fmt.bits in bits:
        return None
    allowed = " or ".join(str(b) for b in bits)
    return f"{text} has {fmt.bits} bits (the sign counts), {key} is {allowed}"


_Exponent = Annotated[int, Field(ge=-30, le=30)]


def _numbers(value: Any) -> Any:
    """Offsets as a recipe may give them."""
    one = isinstance(value, (int, float))
    numbers = [value] if one else value if isinstance(value, (list, tuple)) else []
    good = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in numbers)
    if value is None or value == "auto" or (numbers and good and all(map(isfinite, numbers))):
        return value
    raise ValueError('"auto", a finite number, or a list with one for each input feature')


_Offsets = Annotated[Literal["auto"] | float | tuple[float, ...] | None, BeforeValidator(_numbers)]


@dataclass(frozen=True, config=_STRICT)
class QuantizeSection:
    """[quantize]: ``input_planes`` 2 sends every input feature as two elements (more bits).

    Attributes:
        input: the input's format by hand: one plane, or with ``input_planes`` = 2 that of each of
            two planes, ``plane_shift`` bits apart.
        input_offsets: each input feature comes less a number, before ``input_exponents``: one for
            all, these, or "auto", the middle of each where that is far from zero.
        input_exponents: each input feature comes multiplied by its power of two: these, or
            "auto", those that bring all up to the largest one.
        refine: equalization, formats and biases by the error of the network's output; "auto" where
            it is not small anyway.
        calibration: an activation's format has the least squared error, or its range reaches the
            largest magnitude, or the ``percentile`` of the magnitudes.
        weight_formats: weights have a fraction length per output channel or per tensor.
    """

    weight_bits: Literal[8] = 8
    activation_bits: Literal[8, 16] = 8
    input_planes: Literal[1, 2, "auto"] = "auto"
    input: str | None = None
    plane_shift: int | None = Field(default=None, ge=1, le=7)
    input_exponents: Literal["auto"] | tuple[_Exponent, ...] | None = None
    input_offsets: _Offsets = None
    refine: bool | Literal["auto"] = "auto"
    calibration: Literal["error", "max", "percentile"] = "error"
    percentile: float | None = Field(default=None, gt=0, le=100)
    weight_formats: Literal["channel", "tensor"] = "channel"
    layers: dict[str, LayerSection] = Field(default_factory=dict)

    def complaint(self) -> str | None:
        """What is wrong with formats and their choice, with the key; None if nothing is."""
        if self.percentile is not None and self.calibration != "percentile":
            return 'percentile: only with calibration = "percentile"'
        if self.input is not None and (
            wrong := _wrong(self.input, (self.activation_bits,), "activation_bits")
        ):
            return f"input: {wrong}"
        two = self.input is not None and self.input_planes == 2
        if two and self.plane_shift is None:
            return "input: two planes by hand need plane_shift, too: how many bits they are apart"
        if two and self.input is not None and not parse_format(self.input).signed:
            return f"input: {self.input}: two planes are signed"
        if self.plane_shift is not None and not two:
            return "plane_shift: only with input and input_planes = 2"
        for name, layer in self.layers.items():
            if wrong := layer.complaint(self.activation_bits):
                return f'layers."{name}".{wrong}'
        return None


Auto = Literal["auto"] | None


@dataclass(frozen=True, config=_STRICT)
class CoreSection:
    """[core]: what the core is synthesized with. Depths: absent is what is needed; "auto" is that
    and what the block RAMs give for free. ``tiles``: strips of a picture computed at once;
    ``pairs``: two of them share their multipliers."""

    lanes: Literal[1, 2, 4, 8, 16, 32, 64] = 16
    taps: Literal[1, 2, 4, 8] = 1
    rq: Literal[1, 2, 4, 8, 16, 32, 64] | None = None
    narrow: bool | None = None
    gates: bool | None = None
    tiles: Literal[1, 2, 4, 8] = 1
    pairs: bool = False
    program_depth: Annotated[int, Field(ge=64, le=1 << 24, multiple_of=32)] | Auto = None
    weights_depth: Annotated[int, Field(ge=1, le=1 << 24)] | Auto = None
    bias_depth: Annotated[int, Field(ge=1, le=1 << 24)] | Auto = None
    table_depth: Annotated[int, Field(ge=0, le=1 << 24, multiple_of=256)] | Auto = None
    scratch_depth: Annotated[int, Field(ge=1, le=1 << 24)] | Auto = None

    @property
    def drain(self) -> int:
        """Lanes that the requantizer takes per cycle: 2 at 16 lanes, 8 at 64, if not given."""
        return self.rq if self.rq is not None else max(1, self.lanes // 8)

    def complaint(self, activation_bits: int) -> str | None:
        """What is wrong with keys that don't go together, with the key; None if nothing is."""
        if self.pairs and self.tiles == 1:
            return "pairs = true: two tiles share a multiplier, so tiles must be 2, 4 or 8"
        if self.pairs and activation_bits != 8:
            return (
                f"pairs = true: a multiplier holds two products of 8 bits only, and "
                f"quantize.activation_bits is {activation_bits}; leave pairs out"
            )
        return None


def _known_format(name: str) -> str:
    if name not in RECIPE_NAMES:
        raise ValueError(f"unknown image format {name!r}; known are {', '.join(RECIPE_NAMES)}")
    return name


@dataclass(frozen=True, config=_STRICT)
class ImagesSection:
    """[images]: what to write beside .mem, images.bin and the C header.

    Attributes:
        formats: names of pack/bundle/formats/table.py.
        bank_bits: wider words are cut into banks of so many bits.
        pad_depth: words of every file but NAME.mem.
    """

    formats: tuple[Annotated[str, AfterValidator(_known_format)], ...] = ("mem", "coe")
    bank_bits: int | None = Field(default=None, ge=1, le=MAX_BITS)
    pad_depth: Annotated[int, Field(ge=1, le=MAX_DEPTH)] | Literal["power of two"] | None = None


Verdict = Literal["drop-in", "repack", "resynthesize"]


@dataclass(frozen=True, config=_STRICT)
class OutputLimits:
    """[regress.outputs."NAME"]: limits of one of several outputs, beside the one with labels.

    Attributes:
        min_agreement: percent of samples with the old bundle's class.
        min_alike: decibels between the old bundle's results and the new one's.
        min_snr: decibels between the real and the quantized output.
    """

    min_agreement: float | None = Field(default=None, ge=0, le=100)
    min_alike: float | None = None
    min_snr: float | None = None


@dataclass(frozen=True, config=_STRICT)
class RegressSection:
    """[regress]: limits that a retrained network must keep.

    Attributes:
        max_accuracy_loss: points of accuracy against the old bundle.
        max_doubt: points of accuracy that may be lost for all that the samples can tell.
        max_class_loss: points that one class may lose; None: 5, unless chance explains them.
        min_agreement: percent of samples with the old bundle's class.
        max_error_growth: percent, of an autoencoder's mean squared error.
        max_saturation: percent of a layer's results at an end of their format.
        min_snr: decibels between the real and the quantized output.
        accept: the worst verdict that still passes.
        outputs: limits of single outputs, by their names.
    """

    max_accuracy_loss: float = Field(default=0.5, ge=0)
    max_doubt: float = Field(default=2.0, ge=0)
    max_class_loss: float | None = Field(default=None, ge=0)
    min_agreement: float | None = Field(default=None, ge=0, le=100)
    max_error_growth: float = Field(default=5.0, ge=0)
    max_saturation: float | None = Field(default=None, ge=0, le=100)
    min_snr: float | None = None
    accept: Verdict = "resynthesize"
    outputs: dict[str, OutputLimits] = Field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class PackSection:
    """[pack]: limits that the packed network must keep beside the float one.

    Attributes:
        min_snr: decibels of what varies between samples at the output.
        min_agreement: percent of samples with the float network's class.
        max_accuracy_loss: points of accuracy.
    """

    min_snr: float | None = Field(default=None, ge=0, le=150)
    min_agreement: float | None = Field(default=None, ge=0, le=100)
    max_accuracy_loss: float | None = Field(default=None, ge=0, le=100)


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """A whole recipe; paths are relative to ``path``'s folder."""

    model: ModelSection
    quantize: QuantizeSection = Field(default_factory=QuantizeSection)
    core: CoreSection = Field(default_factory=CoreSection)
    images: ImagesSection = Field(default_factory=ImagesSection)
    regress: RegressSection = Field(default_factory=RegressSection)
    pack: PackSection = Field(default_factory=PackSection)
    path: Path = Path("recipe.toml")

    @property
    def name(self) -> str:
        """The network's name: [model] name, or the recipe's file or folder name."""
        if self.model.name:
            return self.model.name
        stem = self.path.stem
        return self.path.resolve().parent.name if stem == "recipe" else stem

    def file(self, relative: str) -> Path:
        """A path of the recipe as seen from here."""
        return self.path.parent / relative


SECTIONS: dict[str, Any] = {f.name: f.type for f in fields(Recipe) if f.name != "path"}


def defaults(kind: Any) -> Any:
    """A section, or a layer's, whose keys all have their defaults; ``inputs``, which has none, "".

    >>> defaults(CoreSection).lanes, defaults(ModelSection).inputs
    (16, '')
    """
    return kind(inputs="") if kind is ModelSection else kind()


def _misplaced_flags(value: object, place: tuple[str, ...] = ()) -> Iterator[str]:
    """Keys with true or false in place of a number or a text: Python's True is a 1 as well.

    >>> list(_misplaced_flags({"core": {"lanes": True, "narrow": True}, "quantize": {"k": [1]}}))
    ['core.lanes']
    """
    if isinstance(value, bool):
        section = SECTIONS.get(place[0])
        types = {f.name: f.type for f in fields(section)} if section else {}
        if len(place) != 2 or bool not in (types.get(place[1]), *get_args(types.get(place[1]))):
            yield ".".join(place)
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _misplaced_flags(entry, (*place, str(key)))
    elif isinstance(value, list):
        for entry in value:
            yield from _misplaced_flags(entry, place)


def _unknown_key(place: tuple[int | str, ...]) -> str:
    """What is said about a key that there is not.

    >>> _unknown_key(("model", "checkpont"))[:39]
    "unknown key; did you mean 'checkpoint'?"
    >>> _unknown_key(("lanes",))
    "unknown key; did you mean 'core.lanes'?"
    >>> _unknown_key(("zzz",))
    'unknown key; known are model, quantize, core, images, regress, pack'
    """
    known = list(SECTIONS)
    if len(place) == 2 and place[0] in SECTIONS:
        known = [f.name for f in fields(SECTIONS[str(place[0])])]
    elif len(place) > 2:
        known = [f.name for f in fields(OutputLimits if place[0] == "regress" else LayerSection)]
    near = get_close_matches(str(place[-1]), known, 1)
    if len(place) == 1 and not near:
        homes = [n for n, kind in SECTIONS.items() if place[0] in {f.name for f in fields(kind)}]
        near = [f"{homes[0]}.{place[0]}"] if homes else near
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    return f"unknown key; known are {', '.join(known)}"


def _first_key(place: tuple[int | str, ...]) -> str:
    """A key of a section that has a value in its place.

    >>> _first_key(("core",)), _first_key(("quantize", "layers", "fc"))
    ('core.lanes', 'quantize.layers.fc.weight_bits')
    """
    kind = SECTIONS[str(place[0])] if len(place) == 1 else LayerSection
    return ".".join(map(str, (*place, fields(kind)[0].name)))


_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Recipe)


def read_recipe(path: Path, settings: Sequence[Setting] = ()) -> Recipe:
    """Read and check a recipe; a pipe's, too.

    Args:
        settings: take the place of what it says.

    Raises:
        InputError: the file is missing, larger than MOST_BYTES as devices are, or no TOML.
        RecipeError: an unknown key or a value out of range; names the key.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise InputError(
                f"{path}: more than {MOST_BYTES:,} bytes: no recipe; give one, which names the "
                "checkpoint (docs/recipe.md)"
            )
        data = tomllib.loads(raw.decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of a recipe (TOML)") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: not TOML: no text; give a recipe, which names the checkpoint (docs/recipe.md)"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}; texts and paths stand in quotes") from None
    return recipe_of(data, path, settings)


def recipe_of(
    data: Mapping[str, Any], path: Path, settings: Sequence[Setting] = (), source: bool = True
) -> Recipe:
    """A recipe of what its TOML holds.

    Args:
        path: of the recipe, or in its folder what stands in messages.
        settings: take the place of what ``data`` says.
        source: [model] names a network.

    Raises:
        RecipeError: an unknown key or a value out of range; names the key, or the setting.
    """
    for setting in settings:
        data = setting.applied(data)
    if "path" in data:
        raise RecipeError(f"{path}: path: unknown key")

    def named(place: tuple[int | str, ...]) -> str:
        keys = tuple(str(part) for part in place if part != "constrained-int")
        length = len(keys)
        given = [s.label for s in settings if s.keys[:length] == keys[: len(s.keys)]]
        return given[-1] if given else f"{path}: {'.'.join(keys)}"

    try:
        recipe = _ADAPTER.validate_python({**data, "path": path})
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"]
        if first["type"] == "missing":
            message += f"; a recipe needs [model] with inputs and {SOURCES}"
        elif first["type"] == "dataclass_type":
            message = f"is a section with keys: give one, as {_first_key(first['loc'])}"
        elif first["type"] == "unexpected_keyword_argument":
            message = _unknown_key(first["loc"])
        raise RecipeError(f"{named(first['loc'])}: {message}") from None
    for place in _misplaced_flags(data):
        where = named(tuple(place.split(".")))
        raise RecipeError(f"{where}: true or false in place of a number; write the number")
    complaint = recipe.model.complaint() if source else None
    if complaint:
        raise RecipeError(f"{path}: model: {complaint}")
    complaint = recipe.quantize.complaint()
    if complaint:
        raise RecipeError(f"{path}: quantize.{complaint}")
    if recipe.core.drain > recipe.core.lanes:
        raise RecipeError(f"{path}: core.rq: {recipe.core.drain} is more than lanes")
    complaint = recipe.core.complaint(recipe.quantize.activation_bits)
    if complaint:
        raise RecipeError(f"{path}: core.{complaint}")
    return recipe
