# SPDX-License-Identifier: Apache-2.0
"""Writes tensors of a network's file as text, CSV, numpy arrays, a C header or TensorRT's .wts.

As fixed point they are written as memory images, too: every format of ``image_formats``. Nothing is
abbreviated, and without a given precision a number is the shortest decimal that reads back as the
same float.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import CheckpointError, InputError
from bramcast.pack.bundle.folder import named, replace_bytes, replace_folder
from bramcast.pack.bundle.formats.table import NAMES, image_format
from bramcast.pack.bundle.qformat import QFormat, parse_format
from bramcast.pack.look.export_words import (
    Span,
    image_bytes,
    image_suffix,
    integers_needed,
    rows_of,
)
from bramcast.pack.read.tensors import RECURRENT, StoredTensor, Tensors, chosen, read_tensors
from bramcast.pack.recipe.recipe import Recipe

FORMATS = ("text", "csv", "npy", "npz", "h", "wts")
SUFFIXES = {".csv": "csv", ".npy": "npy", ".npz": "npz", ".h": "h", ".wts": "wts"}
GATES = {"GRU": "rzn", "LSTM": "ifgo"}  # in PyTorch's order
EXPORTED_FILE = re.compile(r".+\.npy")
_IMAGES = ", ".join(NAMES)
MOST_BITS = 32  # of an integer, those of numpy's largest type here


@dataclass(frozen=True, slots=True, eq=False)
class NamedValues:
    """Values under a name: a whole tensor, a slice of it or a gate."""

    name: str
    values: NDArray[Any]
    title: str = ""  # of a gate


@dataclass(frozen=True, slots=True, eq=False)
class ValueBlock:
    """What is written together: one part, or the gates of one tensor side by side."""

    name: str
    dtype: str
    parts: tuple[NamedValues, ...]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: file or folder, names with shapes, and what to know about them.

    Attributes:
        words, word_bits: of a memory image; 0 otherwise.
        spans: where each tensor lies in a memory image.
    """

    path: Path
    format: str
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...]
    words: int = 0
    word_bits: int = 0
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Style:
    """How numbers are written.

    Attributes:
        precision: digits behind the point; None is the shortest that reads back the same.
        scientific: with an exponent.
        columns: values (of each gate) in a line; None is a line for each row of a matrix.

    >>> style = Style()
    >>> style.number(np.float32(0.1)), style.number(np.float32(1e-7)), style.number(np.int64(3))
    ('0.1', '0.0000001', '3')
    >>> Style(precision=3).number(np.float32(-2)), Style(scientific=True).number(np.float32(1e-7))
    ('-2.000', '1e-07')
    """

    precision: int | None = None
    scientific: bool = False
    columns: int | None = None

    def number(self, value: Any) -> str:
        """One number as decimal text."""
        if isinstance(value, (np.integer, np.bool_)):
            return str(int(value))
        if self.scientific:
            if self.precision is not None:
                return f"{float(value):.{self.precision}e}"
            return np.format_float_scientific(value, trim="-")
        if self.precision is not None:
            return f"{float(value):.{self.precision}f}"
        return np.format_float_positional(value, trim="-")


@dataclass(frozen=True, slots=True)
class Integers:
    """Integers instead of floats.

    Attributes:
        fmt: their fixed-point format; images need one, None is floats.
        word_bits: of an image's word, a multiple of the format's; a value a word if absent.
        pad_rows: in an image each row of a tensor begins with a new word (``rows_of``).
    """

    fmt: QFormat | None = None
    word_bits: int | None = None
    pad_rows: bool = False


@dataclass(frozen=True, slots=True)
class NetworkOf:
    """What is known of the network that tensors belong to; see ``read_tensors``."""

    state: str | None = None
    recipe: Recipe | None = None
    model: str | None = None


def export(
    path: Path | Tensors,
    output: Path,
    names: Sequence[str] = (),
    *,
    cut: str | None = None,
    gates: bool = False,
    format: str | None = None,
    style: Style = Style(),  # noqa: B008 (frozen)
    integers: Integers = Integers(),  # noqa: B008 (frozen)
    network: NetworkOf = NetworkOf(),  # noqa: B008 (frozen)
) -> Exported:
    """Write tensors into one file, or several ``.npy`` into a folder; all or nothing.

    Args:
        path: of the network's file; or what has been read already.
        names: names, globs or /regular expressions/; all tensors without any.
        cut: a slice like ``0:4,:,1``, for each tensor.
        gates: split weights and biases of GRU and LSTM into their gates.
        format: one of FORMATS or of the image formats; by ``output``'s suffix where absent, else
            text. What both have (npz, h) is an image if the words' bits are given.
        integers: instead of floats, and how an image's words are filled with them.
        network: what is known of the network that the tensors belong to.

    Raises:
        UserError: whatever is wrong with the file, the names, the slice or the numbers.
    """
    fmt, word_bits, pad_rows = integers.fmt, integers.word_bits, integers.pad_rows
    own = SUFFIXES.get(output.suffix.lower())
    format = format or own or image_suffix(output.name) or "text"
    if format not in FORMATS and format not in NAMES:
        raise InputError(
            f"--format {format}: there are {', '.join(FORMATS)}, and memory images with --q: "
            f"{', '.join(n for n in NAMES if n not in FORMATS)}"
        )
    image = format in NAMES and (format not in FORMATS or word_bits is not None)
    if word_bits is not None and not image:
        raise InputError(f"--word-bits {word_bits} is for memory images, not {format}: {_IMAGES}")
    if pad_rows and not image:
        raise InputError(f"--pad-rows is for memory images, not {format}: {_IMAGES}")
    if image and style != Style():
        raise InputError(
            f"{named(output)}: --precision, --scientific and --columns are for numbers to read; a "
            "word of a memory image is as wide as --word-bits says"
        )
    read = path
    if not isinstance(read, Tensors):
        read = read_tensors(read, network.state, network.recipe, network.model)
    wanted = set(chosen([t.name for t in read.tensors], names, read.path))
    notes = list(read.notes)
    blocks = [
        _block(read.path, t, cut, gates, fmt, notes) for t in read.tensors if t.name in wanted
    ]
    if gates and all(len(b.parts) == 1 for b in blocks):
        raise CheckpointError(
            f"{read.path}: none of these tensors belongs to a GRU or LSTM: --gates has nothing to "
            f"split ({', '.join(b.name for b in blocks[:4])})"
        )
    parts = [part for block in blocks for part in block.parts]
    if image:
        if fmt is None:
            name = parts[0].name if len(parts) == 1 else "TENSOR"
            said = (" --gates" if gates else "") + (f' --slice "{cut}"' if cut is not None else "")
            said += " --pad-rows" if pad_rows else ""
            raise integers_needed(read.path, output, format, name, word_bits, said)
        return _image(format, output, parts, fmt, word_bits, pad_rows, notes)
    if format == "npy" and len(parts) > 1:
        replace_folder(output, lambda folder: _npy_files(folder, parts, fmt), EXPORTED_FILE)
    else:
        if output.is_dir():
            raise InputError(f"{output}: is a folder; give a file (only several .npy are a folder)")
        content = _content(format, read.path, blocks, parts, style, fmt)
        replace_bytes(output, content)
    return Exported(
        output,
        format,
        tuple(p.name for p in parts),
        tuple(p.values.shape for p in parts),
        tuple(notes),
    )


def integer_format(text: str) -> QFormat:
    """The format of the integers that are written.

    >>> integer_format("Q1.6"), str(integer_format(" UQ-1.9"))
    (QFormat(bits=8, frac=6, signed=True), 'UQ-1.9')

    Raises:
        InputError: it is none, or has fewer than 2 or more than 32 bits.
    """
    try:
        return parse_format(text.strip(), MOST_BITS)
    except ValueError:
        raise InputError(
            f"{text!r} is no fixed-point format: Qm.n has a sign, m integer and n fraction bits "
            f"(Q1.6 has 8 bits), UQm.n has no sign; 2 to {MOST_BITS} bits in all"
        ) from None


# --- what is written ---------------------------------------------------------------------------


def _block(
    path: Path, tensor: StoredTensor, cut: str | None, gates: bool, fmt: QFormat | None,
    notes: list[str],
) -> ValueBlock:  # fmt: skip
    if tensor.problem:
        raise CheckpointError(f"{path}: {tensor.name} {tensor.problem}")
    parts = _gates(tensor) if gates else ()
    parts = parts or (NamedValues(tensor.name, np.asarray(tensor.values)),)
    if cut is not None:
        parts = tuple(replace(p, values=_slice(path, p, cut)) for p in parts)
    if fmt is not None:
        parts = tuple(replace(p, values=_integers(path, p, fmt, notes)) for p in parts)
    return ValueBlock(tensor.name, str(fmt) if fmt is not None else tensor.dtype, parts)


def _gates(tensor: StoredTensor) -> tuple[NamedValues, ...]:
    """A recurrent layer's tensor [gates * H, ...] gate by gate: w_ir, w_iz, w_in."""
    owner, _, last = tensor.name.rpartition(".")
    found = RECURRENT.fullmatch(last)
    letters = GATES.get(tensor.layer.removesuffix("Cell"))
    if found is None or letters is None or len(tensor.values) % len(letters):
        return ()
    tail = (found[3] or "") + (found[4] or "")
    start = f"{owner}." if owner else ""
    stem = f"{found[1][0]}_{found[2][0]}"
    split = np.split(np.asarray(tensor.values), len(letters))
    return tuple(
        NamedValues(f"{start}{stem}{g}{tail}", v, stem + g)
        for g, v in zip(letters, split, strict=True)
    )


def parse_slice(text: str) -> tuple[int | slice, ...]:
    """Indices as they are written between brackets.

    >>> parse_slice("0:4,:,1")
    (slice(0, 4, None), slice(None, None, None), 1)

    Raises:
        InputError: something else than integers and colons.
    """
    result: list[int | slice] = []
    for piece in text.strip().strip("[]").split(","):
        fields = [field.strip() for field in piece.split(":")]
        try:
            numbers = [int(field) if field else None for field in fields]
        except ValueError:
            numbers = []
        first = numbers[0] if len(numbers) == 1 else None
        if first is not None:
            result.append(first)
        elif 2 <= len(numbers) <= 3 and (len(numbers) < 3 or numbers[2] != 0):
            result.append(slice(*numbers))
        else:
            raise InputError(f'--slice {text!r}: give indices and ranges like "0:4,:,1"')
    return tuple(result)


def _image(
    format: str, output: Path, parts: Sequence[NamedValues], fmt: QFormat, word_bits: int | None,
    pad_rows: bool, notes: list[str],
) -> Exported:  # fmt: skip
    """Write a memory image; ``parts`` hold integers of ``fmt`` already."""
    if output.is_dir():
        raise InputError(f"{output}: is a folder; give a file")
    tensors = [np.asarray(part.values, np.int64) for part in parts]
    content, words, spans = image_bytes(output, format, tensors, fmt, word_bits, pad_rows)
    replace_bytes(output, content)
    lanes = words.bits // fmt.bits
    for part in () if pad_rows else parts:
        rows, length = rows_of(part.values)
        if rows > 1 and length % lanes:
            notes.append(
                f"{part.name}: a row of {length:,} values does not end with a word of {lanes}: the "
                "next one begins inside it; --pad-rows begins each row with a new word"
            )
    names, shapes = tuple(p.name for p in parts), tuple(t.shape for t in tensors)
    name = image_format(format).name
    return Exported(output, name, names, shapes, tuple(notes), len(words), words.bits, spans)


def _slice(path: Path, part: NamedValues, text: str) -> NDArray[Any]:
    index = parse_slice(text)
    shape = part.values.shape
    try:
        result = np.asarray(part.values[index])
    except IndexError as error:
        raise InputError(
            f"{path}: {part.name} has shape {shape}: --slice {text!r} does not fit ({error})"
        ) from None
    if not result.size:
        raise InputError(f"{path}: {part.name} has shape {shape}: --slice {text!r} leaves nothing")
    return result


def _integers(path: Path, part: NamedValues, fmt: QFormat, notes: list[str]) -> NDArray[np.int64]:
    if not np.isfinite(part.values).all():
        raise CheckpointError(
            f"{path}: {part.name} has NaN or infinite values: no {fmt} holds them"
        )
    values = np.asarray(part.values, np.float64)
    low, high = (fmt.min - 0.5) * fmt.lsb, (fmt.max + 0.5) * fmt.lsb
    saturated = int(((values < low) | (values >= high)).sum())
    if saturated:
        notes.append(f"{part.name}: {saturated:,} of {values.size:,} values saturate in {fmt}")
    return fmt.quantize(values)


# --- formats -----------------------------------------------------------------------------------


def _content(
    format: str, path: Path, blocks: Sequence[ValueBlock], parts: Sequence[NamedValues],
    style: Style, fmt: QFormat | None,
) -> bytes:  # fmt: skip
    if format in ("npy", "npz"):
        buffer = io.BytesIO()
        if format == "npy":
            np.save(buffer, _narrow(parts[0].values, fmt))
        else:
            taken = {p.name: _narrow(p.values, fmt) for p in parts}
            for name in {"file", "allow_pickle"} & taken.keys():
                raise InputError(f"numpy has no place for an array named {name!r}: use .npy")
            np.savez(buffer, **taken)  # type: ignore[arg-type]  # the stub takes names for flags
        return buffer.getvalue()
    if format == "wts":
        return wts(path, parts).encode()
    if format == "h":
        return header(path, blocks, style, fmt).encode()
    return (csv_text(blocks, style) if format == "csv" else text(blocks, style)).encode()


def _narrow(values: NDArray[Any], fmt: QFormat | None) -> NDArray[Any]:
    """Integers of a format in the narrowest type of numpy that holds them."""
    if fmt is None:
        return values
    bits = next(b for b in (8, 16, 32) if b >= fmt.bits)
    return values.astype(f"{'i' if fmt.signed else 'u'}{bits // 8}")


def _npy_files(folder: Path, parts: Sequence[NamedValues], fmt: QFormat | None) -> None:
    taken: dict[str, str] = {}
    for part in parts:
        file = f"{part.name.replace('/', '_')}.npy"
        if file in taken:
            raise InputError(
                f"{taken[file]!r} and {part.name!r} would both be {file}; export them one by one"
            )
        taken[file] = part.name
        content = io.BytesIO()  # numpy does not say that a disk is full
        np.save(content, _narrow(part.values, fmt))
        (folder / file).write_bytes(content.getvalue())


def _lines(block: ValueBlock, style: Style) -> list[list[list[str]]]:
    """Lines of a block; each has a list of numbers for each part."""
    flat = []
    for part in block.parts:
        columns = style.columns or (part.values.shape[-1] if part.values.ndim > 1 else 1)
        numbers = [style.number(v) for v in part.values.ravel()]
        flat.append([numbers[i : i + columns] for i in range(0, len(numbers), columns)])
    return [list(line) for line in zip(*flat, strict=True)]


def text(blocks: Sequence[ValueBlock], style: Style) -> str:
    """Right-aligned columns, a ``#`` line before each tensor and each matrix of a larger one."""
    lines: list[str] = []
    for block in blocks:
        shape = "x".join(map(str, block.parts[0].values.shape)) or "scalar"
        titles = " | ".join(part.title for part in block.parts)
        each = f"each {shape}" if len(block.parts) > 1 else shape
        lines.append(f"# {block.name}  {each}  {block.dtype}")
        if len(block.parts) > 1:
            lines.append(f"# {titles}")
        rows = _lines(block, style)
        width = max((len(n) for row in rows for group in row for n in group), default=0)
        dims = block.parts[0].values.shape
        matrix = dims[-2] if len(dims) > 2 and style.columns is None else 0
        for number, row in enumerate(rows):
            if matrix and number % matrix == 0:
                index = np.unravel_index(number // matrix, dims[:-2])
                lines.append(f"# [{', '.join(str(int(i)) for i in index)}, :, :]")
            lines.append(" | ".join(" ".join(f"{n:>{width}}" for n in group) for group in row))
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def csv_text(blocks: Sequence[ValueBlock], style: Style) -> str:
    """Rows of numbers; a first column with the name where there are several tensors.

    Gates stand side by side under a line of their names.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for block in blocks:
        lead = [block.name] if len(blocks) > 1 else []
        rows = _lines(block, style)
        if len(block.parts) > 1:
            titles = [
                part.title + (f"[{i}]" if len(group) > 1 else "")
                for part, group in zip(block.parts, rows[0], strict=True)
                for i in range(len(group))
            ]
            writer.writerow([*lead, *titles])
        for row in rows:
            writer.writerow([*lead, *(n for group in row for n in group)])
    return file.getvalue()


def wts(path: Path, parts: Sequence[NamedValues]) -> str:
    """The weight file of TensorRT's samples: ``name count hex hex ...``, float32, big-endian.

    Raises:
        CheckpointError: a name with blanks, or values beyond float32.
    """
    lines = [str(len(parts))]
    for part in parts:
        if not part.name or any(c.isspace() for c in part.name):
            raise CheckpointError(f"{path}: {part.name!r}: a .wts file has no names with blanks")
        with np.errstate(over="ignore"):
            single = part.values.ravel().astype(np.float32)
        if (np.isinf(single) & np.isfinite(part.values.ravel())).any():
            raise CheckpointError(f"{path}: {part.name} has values beyond float32")
        digits = single.astype(">f4").tobytes().hex()
        words = [digits[i : i + 8] for i in range(0, len(digits), 8)]
        lines.append(" ".join([part.name, str(single.size), *words]))
    return "\n".join(lines) + "\n"


def header(path: Path, blocks: Sequence[ValueBlock], style: Style, fmt: QFormat | None) -> str:
    """A C header with an initialized array for each tensor or gate.

    Raises:
        CheckpointError: two names that are the same in C.
    """
    lines = [
        "/* Written by bramcast export; C order. */", "#pragma once", "", "#include <math.h>",
        "#include <stdint.h>", "",
    ]  # fmt: skip
    taken: dict[str, str] = {}
    for block in blocks:
        for part in block.parts:
            name = c_name(part.name)
            if name in taken:
                raise CheckpointError(
                    f"{path}: {taken[name]!r} and {part.name!r} are both {name} in C; export them "
                    "one by one"
                )
            taken[name] = part.name
            lines += _array(name, part, block.dtype, style, fmt)
    return "\n".join(lines)


def _array(
    name: str, part: NamedValues, dtype: str, style: Style, fmt: QFormat | None
) -> list[str]:
    values = _narrow(part.values, fmt)
    shape = values.shape or (1,)
    sizes = "".join(f"[{length}]" for length in shape)
    lines = [f"/* {part.name}, {dtype} */"]
    if fmt is not None:
        lines = [f"/* {part.name}, {fmt}: value = integer * 2**{-fmt.frac} */"]
        lines += [f"#define {name.upper()}_FRAC {fmt.frac}"]
    kind = {"f": "double" if values.dtype == np.float64 else "float", "b": "uint8_t"}.get(
        values.dtype.kind, f"{values.dtype.name}_t"
    )
    lines.append(f"static const {kind} {name}{sizes} = {{")
    single = kind == "float"
    literals = iter([_literal(v, style, single) for v in values.ravel()])
    lines += _nested(literals, shape, style.columns, "    ")
    return [*lines, "};", ""]


def _nested(
    literals: Iterator[str], shape: tuple[int, ...], columns: int | None, indent: str
) -> list[str]:
    """Initializers with braces around each axis but the first."""
    if len(shape) > 1:
        inner = [_nested(literals, shape[1:], columns, indent + "    ") for _ in range(shape[0])]
        return [line for rows in inner for line in (f"{indent}{{", *rows, f"{indent}}},")]
    flat = [next(literals) for _ in range(shape[0])]
    each = columns or 8
    return [indent + ", ".join(flat[i : i + each]) + "," for i in range(0, len(flat), each)]


def _literal(value: Any, style: Style, single: bool) -> str:
    """A number as C has it; the least integers are expressions, as limits.h has them.

    >>> _literal(np.float32(-2), Style(), True), _literal(np.int32(-(2**31)), Style(), False)
    ('-2.0f', '(-2147483647 - 1)')
    """
    if isinstance(value, (np.integer, np.bool_)):
        number = int(value)
        if number in (-(1 << 31), -(1 << 63)):
            return f"({number + 1}{'LL' if number < -(1 << 31) else ''} - 1)"
        return f"{number}{'LL' if abs(number) >= 1 << 31 else ''}"
    if not np.isfinite(value):
        return "NAN" if np.isnan(value) else "-INFINITY" if value < 0 else "INFINITY"
    written = style.number(value)
    if not set(written) & set(".e"):
        written += ".0"
    return written + ("f" if single else "")


def c_name(name: str) -> str:
    """A tensor's name as an identifier of C.

    >>> c_name("features.0.weight"), c_name("0.weight")
    ('features_0_weight', 't0_weight')
    """
    result = re.sub(r"\W", "_", name, flags=re.ASCII)
    return result if not result[:1].isdigit() and result else f"t{result}"
