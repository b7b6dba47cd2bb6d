# SPDX-License-Identifier: Apache-2.0
"""manifest.json: names, shapes and formats for people and tools. The arithmetic is in the images.

The only home of JSON in bramcast. Reading is strict: an unknown or missing key, a wrong type or a
newer ``format`` is refused with the file's name.
"""

import hashlib
import re
from dataclasses import field, replace
from math import prod
from pathlib import Path
from typing import Annotated

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)
from pydantic.dataclasses import dataclass

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.bundle.swap import finish

FORMAT = 1
MANIFEST_NAME = "manifest.json"

_STRICT = ConfigDict(extra="forbid")
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Exponent = Annotated[int, Field(ge=-30, le=30)]
Offset = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, config=_STRICT)
class Core:
    """Parameters of the synthesized core: what the images are laid out for.

    Depths are in words of the respective memory; ``scratch_depth`` in activation words.
    ``narrow``: the lanes can take 4- and 2-bit weights. ``gates``: the core knows products of two
    tensors and LOOP. ``tiles``: strips of a picture computed at once, each in a scratchpad bank of
    its own. ``pairs``: two tiles share their multipliers.
    """

    lanes: Positive
    taps: Positive
    data_bits: Positive
    weight_bits: Positive
    rq: Positive
    program_depth: Positive
    weights_depth: Positive
    bias_depth: Positive
    table_depth: Count
    scratch_depth: Positive
    narrow: bool = False
    gates: bool = False
    tiles: Positive = 1
    pairs: bool = False

    @model_serializer(mode="wrap")
    def _without_tiles(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """A core of one tile is as it always was."""
        written: dict[str, object] = write(self)
        new = {"tiles": self.tiles > 1, "pairs": self.pairs}
        return {key: value for key, value in written.items() if new.get(key, True)}

    @property
    def word(self) -> int:
        """Elements of a scratchpad word and of a weight word."""
        return self.lanes * self.taps

    @property
    def multipliers(self) -> int:
        """Multiplications of a cycle."""
        return self.word * self.tiles

    @property
    def built_multipliers(self) -> int:
        """Multipliers that it has: with pairs each of them makes two multiplications a cycle."""
        return self.multipliers // 2 if self.pairs else self.multipliers

    def group(self, lanewise: bool) -> int:
        """Results that a tile computes side by side: those of a word if lane-wise, else LANES."""
        return self.word if lanewise else self.lanes

    def word_bits(self, image: str) -> int:
        """Bits of one word of an image.

        >>> c = Core(16, 1, 8, 8, 2, 64, 64, 64, 0, 64)
        >>> [c.word_bits(i) for i in IMAGES]
        [32, 128, 72, 8]
        >>> Core(16, 1, 16, 8, 2, 64, 64, 64, 256, 64).word_bits("table")
        32
        """
        return {
            "program": 32,
            "weights": self.lanes * self.taps * self.weight_bits,
            "bias": 36 * self.rq,
            "table": 8 if self.data_bits == 8 else 2 * self.data_bits,  # start and slope
        }[image]

    def depth(self, image: str) -> int:
        """Words of an image (0: the core is built without that memory)."""
        return {
            "program": self.program_depth,
            "weights": self.weights_depth,
            "bias": self.bias_depth,
            "table": self.table_depth,
        }[image]


IMAGES = ("program", "weights", "bias", "table")


@dataclass(frozen=True, config=_STRICT)
class Format:
    """A tensor's fixed-point format as it stands in JSON; ``q`` is the same as a QFormat."""

    bits: Annotated[int, Field(ge=2, le=48)]
    frac: Annotated[int, Field(ge=-1000, le=1000)]
    signed: bool

    @property
    def q(self) -> QFormat:
        return QFormat(self.bits, self.frac, self.signed)


@dataclass(frozen=True, config=_STRICT)
class ImageInfo:
    """One memory image: ``words`` lines of ``bits`` bits, ``used`` of them mean something.

    ``files`` maps each written file's name to its SHA-256; ``sha256`` is that of NAME.mem. Files
    NAME_bankK hold ``bank_bits`` bits of each word (0: the image is not cut).
    """

    name: str
    words: Count
    used: Count
    bits: Positive
    sha256: str
    files: dict[str, str]
    bank_bits: Count = 0


@dataclass(frozen=True, config=_STRICT)
class Frame:
    """How a stream's elements map to an array of one sample.

    The stream runs over y, x, c (c fastest); element (y, x, c) is the array's flat element
    y * strides[0] + x * strides[1] + c * strides[2] (C order, no batch axis).

    ``planes`` = 2 means that each feature c of the array is sent as two stream channels, 2c (hi)
    and 2c + 1 (lo): hi = round(value / lsb), lo = the rest in lsb * 2**-plane_shift.

    Before that ``offsets[c]`` is subtracted from feature c of each pixel (empty: nothing), and then
    it is multiplied by 2**exponents[c] (empty: by 1), both in float64.

    ``name`` is that of one of several outputs, empty where there is one. Of an output whose
    channels lie at no even distance ``places[c]`` stands for c * strides[2] (empty: the same).
    """

    shape: list[Positive]
    dims: list[Positive]
    strides: list[Count]
    format: Format
    planes: Positive = 1
    plane_shift: Count = 0
    exponents: list[Exponent] = Field(default_factory=list)
    offsets: list[Offset] = Field(default_factory=list)
    name: str = ""
    places: list[Count] = Field(default_factory=list)

    @model_serializer(mode="wrap")
    def _as_ever(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Most have neither name nor places: these are as they always were."""
        written: dict[str, object] = write(self)
        return {k: v for k, v in written.items() if v or k not in ("name", "places")}

    @property
    def channel_places(self) -> list[int]:
        """Where channel c of pixel (0, 0) lies in the flat array of a sample."""
        return self.places or [c * self.strides[2] for c in range(self.dims[2])]


@dataclass(frozen=True, config=_STRICT)
class NestInfo:
    """What a descriptor of the program computes.

    ``channels[i]`` is the layer's output channel in lane i % n of group i // n, n being
    ``Core.group`` of the nest, or -1 for a padding lane. The nest's pixel (oy, ox) is the layer's
    (origin[0] + oy * stride[0], origin[1] + ox * stride[1]): a layer may be several nests that
    share its pixels out. With ``columns`` a lane's pixel lies that much further right; behind the
    end of a row it is none of the layer's, and never read.
    """

    layer: Count
    channels: list[int]
    origin: tuple[Count, Count] = (0, 0)
    stride: tuple[Positive, Positive] = (1, 1)
    columns: list[Count] = field(default_factory=list)

    @model_serializer(mode="wrap")
    def _without_columns(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Most nests have none: these are as they always were."""
        written: dict[str, object] = write(self)
        return written if self.columns else {k: v for k, v in written.items() if k != "columns"}


@dataclass(frozen=True, config=_STRICT)
class LayerInfo:
    """A layer of the network as its author knows it.

    ``shape`` is (y, x, c) of the result, ``macs`` the multiply-adds that the network counts
    (Conv and Linear only), ``source`` the file and line in the model. ``snr`` is the signal to
    noise of the quantized results against the real ones on calibration samples, decibels.
    ``reads`` are the layers whose results it reads, by index; -1 is the input. ``varying`` is the
    same for what varies between samples, ``share`` how much of the output's error its own rounding
    brings, 0..1. ``strip_rows`` is how many rows of the result a core with tiles has in each bank;
    0, and not in the file: they are not shared out.
    """

    name: str
    op: str
    shape: list[Positive]
    format: Format
    macs: Count
    source: str
    snr: float | None = None
    reads: list[Annotated[int, Field(ge=-1)]] = Field(default_factory=list)
    varying: float | None = None
    share: float = 0.0
    strip_rows: Count = 0

    @model_serializer(mode="wrap")
    def _without_strips(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Of a core with one tile layers are as they always were."""
        written: dict[str, object] = write(self)
        return (
            written if self.strip_rows else {k: v for k, v in written.items() if k != "strip_rows"}
        )

    @property
    def strips(self) -> str:
        """How its rows are shared out, for people; "" if they are not.

        >>> layer = LayerInfo("a", "Conv2d", [30, 8, 4], Format(8, 4, True), 0, "", strip_rows=8)
        >>> layer.strips
        '8 rows x 4'
        """
        if not self.strip_rows:
            return ""
        rows = "row" if self.strip_rows == 1 else "rows"
        return f"{self.strip_rows} {rows} x {-(-self.shape[0] // self.strip_rows)}"


@dataclass(frozen=True, config=_STRICT)
class BrokenLimit:
    """A limit that the packed network does not keep: ``key`` of the recipe's [pack].

    ``limit`` and ``value`` are decibels, percent or points. ``given``: the recipe has it; else it
    is what networks usually keep.
    """

    key: str
    limit: float
    value: float
    given: bool


@dataclass(frozen=True, config=_STRICT)
class OutputJudgement:
    """``snr`` and ``agreement`` of one of several outputs, as of a network with one."""

    name: str
    snr: float | None = None
    agreement: float | None = None


@dataclass(frozen=True, config=_STRICT)
class Judgement:
    """How near the packed network comes to the float one on ``samples`` of the recipe's ``x``.

    ``snr``: signal to noise of the output in decibels, the signal being what varies between
    samples, so null where nothing does. ``agreement``: share of samples with the same class, where
    the output can be classes. ``accuracy`` and ``float_accuracy`` are of these samples.
    ``error_growth``: percent by which an autoencoder's squared error against its input is larger.
    ``worst_layer`` is the layer whose rounding brings most of the output's error, ``input_share``
    the share of the input's rounding.

    Of several ``outputs`` ``snr`` is that of the worst one; ``agreement`` and both accuracies are
    those of the one with labels, without labels ``agreement`` is the least of all.
    """

    samples: Positive
    snr: float | None = None
    agreement: float | None = None
    accuracy: float | None = None
    float_accuracy: float | None = None
    error_growth: float | None = None
    worst_layer: str | None = None
    input_share: float = 0.0
    broken: list[BrokenLimit] = Field(default_factory=list)
    outputs: list[OutputJudgement] = Field(default_factory=list)

    @model_serializer(mode="wrap")
    def _as_of_one(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """One output is not told twice."""
        written: dict[str, object] = write(self)
        return written if self.outputs else {k: v for k, v in written.items() if k != "outputs"}


@dataclass(frozen=True, config=_STRICT)
class Manifest:
    """Everything about a bundle that people and tools want to know.

    ``nests[i]`` belongs to descriptor i + 1 of the program (descriptor 0 is the input frame).
    ``output.dims``/``strides`` place results in the output array as for a Frame; results leave
    nest by nest (those marked stream), group by group, y, x, then lane. Of several outputs the
    first is ``output``, the others follow it, one by one; so do several inputs in a frame.
    ``float_results`` is the
    SHA-256 of the file of pack/bundle/float_results.py, ``sha256`` the file's own: see
    ``as_written``.
    """

    format: int
    name: str
    bramcast: str
    core: Core
    images: list[ImageInfo]
    input: Frame
    output: Frame
    layers: list[LayerInfo]
    nests: list[NestInfo]
    parameters: Count
    macs: Count
    scratch_words: Positive
    float_accuracy: float | None = None
    judgement: Judgement | None = None
    float_results: str | None = None
    sha256: str | None = field(default=None, compare=False)
    more_outputs: list[Frame] = Field(default_factory=list)
    more_inputs: list[Frame] = Field(default_factory=list)

    @model_serializer(mode="wrap")
    def _as_of_one(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """What only networks with several inputs or outputs have stands only there, and the sum is
        the last key."""
        written: dict[str, object] = write(self)
        own = written.pop("sha256")
        several = {key: written.pop(key) for key in ("more_inputs", "more_outputs")}
        return written | {key: more for key, more in several.items() if more} | {"sha256": own}

    @property
    def inputs(self) -> list[Frame]:
        """All inputs, in the order in which they come."""
        return [self.input, *self.more_inputs]

    @property
    def outputs(self) -> list[Frame]:
        """All outputs, in the order in which they leave."""
        return [self.output, *self.more_outputs]

    @property
    def output_elements(self) -> int:
        """Results of a sample: of all outputs."""
        return sum(prod(frame.shape) for frame in self.outputs)

    @property
    def output_layers(self) -> list[LayerInfo]:
        """The layer of each output: of several those that no other one reads."""
        if not self.more_outputs:
            return self.layers[-1:]
        read = {number for layer in self.layers for number in layer.reads}
        return [layer for number, layer in enumerate(self.layers) if number not in read]

    def image(self, name: str) -> ImageInfo:
        """The entry of one image, e.g. ``weights``."""
        return next(image for image in self.images if image.name == name)


_ADAPTER: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def read_manifest(bundle: Path) -> Manifest:
    """Read BUNDLE/manifest.json.

    Raises:
        InputError: missing, not JSON, an unknown or missing key, or a newer format number.
    """
    path = bundle / MANIFEST_NAME
    if not bundle.is_dir():
        raise InputError(f"{bundle}: no such bundle folder; make one with 'bramcast pack'")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is no file; give a folder written by 'bramcast pack'")
    try:
        finish(bundle)  # a replacement that was killed
        text = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; is {bundle} a folder written by 'bramcast pack'?"
        ) from None
    try:
        manifest = _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {place or 'document'}: {first['msg']}") from None
    if manifest.format != FORMAT:
        raise InputError(
            f"{path}: format {manifest.format}, this bramcast reads format {FORMAT}; repack it"
        )
    return manifest


# The file's own sum is its last key, and the sum is that of the file with zeros in its place.
_OWN_SUM = re.compile(rb'("sha256": ")[0-9a-f]{64}("\n\}\n)\Z')
_NO_SUM = "0" * 64


def manifest_json(manifest: Manifest) -> str:
    """The text of manifest.json, with its own sum."""
    text = _ADAPTER.dump_json(replace(manifest, sha256=_NO_SUM), indent=1) + b"\n"
    own = sha256(text).encode()
    return _OWN_SUM.sub(lambda found: found[1] + own + found[2], text).decode()


def as_written(text: bytes, manifest: Manifest) -> bool:
    """Whether the bytes of a manifest.json are those that were written, if they say so.

    Args:
        manifest: what was read from them; without ``sha256`` nothing is known, and it is True.
    """
    if manifest.sha256 is None:
        return True
    bare = _OWN_SUM.sub(lambda found: found[1] + _NO_SUM.encode() + found[2], text)
    return sha256(bare) == manifest.sha256


def sha256(data: bytes) -> str:
    """SHA-256 of a file's bytes, 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()
