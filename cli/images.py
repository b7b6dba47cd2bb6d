# SPDX-License-Identifier: Apache-2.0
"""bramcast images: reads, checks, converts and compares image files, also those of other tools."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bramcast.cli.options import Json
from bramcast.cli.output import complain, give_stdout, say, say_json, table
from bramcast.pack.bundle.check import check_bundle
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.folder import is_stdout, named, replace_bytes
from bramcast.pack.bundle.formats.table import (
    NAMES,
    ImageFile,
    image_format,
    padded_depth,
    read_image,
    recognise,
)
from bramcast.pack.bundle.formats.text import read_source
from bramcast.pack.bundle.images import write_checked
from bramcast.pack.bundle.manifest import read_manifest, sha256
from bramcast.pack.bundle.words import Words, split_banks


def command(
    files: Annotated[list[Path], typer.Argument(help="Image files of any tool, or one bundle.")],
    to: Annotated[str | None, typer.Option("--to", help=f"Convert: {', '.join(NAMES)}.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The converted file; else text is printed."),
    ] = None,
    bits: Annotated[
        int | None, typer.Option("--bits", min=1, help="Bits of a word, where the file is silent.")
    ] = None,
    depth: Annotated[
        str | None,
        typer.Option("--depth", help="Fill up with zero words: a number, or 'power of two'."),
    ] = None,
    bank_bits: Annotated[
        int | None,
        typer.Option("--bank-bits", min=1, help="Cut words into files _bank0 (LSBs), _bank1 .."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare two files word by word.")
    ] = False,
    form: Annotated[
        str | None, typer.Option("--from", help="The files' format, if it is not recognised.")
    ] = None,
    json: Json = False,
) -> int:
    """Show, check, convert or compare image files; check all files of a bundle."""
    if len(files) == 1 and files[0].is_dir():
        if to or output or compare or bits or depth or bank_bits or form:
            raise InputError(f"{files[0]}: a bundle is checked as a whole; options are for files")
        return _bundle(files[0], json)
    if output is not None and to is None:
        raise InputError(f"-o {output} needs --to FORMAT: {', '.join(NAMES)}")
    if to is None and (depth or bank_bits):
        raise InputError("--depth and --bank-bits are for conversions: give --to FORMAT")
    if compare:
        if len(files) != 2 or to is not None:
            raise InputError("--compare takes two files and no --to")
        one, two = (_warned(read_image(file, form, bits)) for file in files)
        return _compare(one, two, json)
    if to is not None:
        if len(files) != 1:
            raise InputError("--to takes one file")
        output = _converted(to, output, bank_bits)
        give_stdout([output], json)
        image = _warned(_read_to_convert(files[0], form, bits))
        return _convert(image, to, output, bits, depth, bank_bits, json)
    return _show([_warned(read_image(file, form, bits)) for file in files], json)


def _warned(image: ImageFile) -> ImageFile:
    """Says what is wrong with a file that is read all the same."""
    for warning in image.content.warnings:
        complain(f"warning: {warning}")
    return image


def _converted(to: str, output: Path | None, bank_bits: int | None) -> Path:
    """Where a conversion goes: standard output if nothing else is said."""
    fmt = image_format(to)
    if output is None and fmt.binary:
        raise InputError(
            f"--to {fmt.name} makes no text: give -o FILE, or -o - for standard output"
        )
    if bank_bits is not None and (output is None or is_stdout(output)):
        raise InputError("--bank-bits makes several files: give -o FILE")
    return Path("-") if output is None else output


def _read_to_convert(path: Path, form: str | None, bits: int | None) -> ImageFile:
    """The file; ``bits`` is the new width unless the file leaves open where its words end."""
    source = read_source(path)
    fmt = image_format(form) if form is not None else recognise(source)
    return ImageFile(source, fmt, fmt.parse(source, bits if fmt.asks_bits else None))


# --- one file


@dataclass(frozen=True, slots=True)
class _Summary:
    """What is shown about an image file."""

    file: str
    format: str
    detail: str
    words: int
    bits: int
    first: int | None
    last: int | None
    gaps: int
    largest: int
    crc32: str
    sha256: str
    repeats: int
    warnings: list[str]


def _summary(image: ImageFile) -> _Summary:
    words, lines = image.content.words, image.content.lines
    given = np.flatnonzero(lines)
    first, last = (int(given[0]), int(given[-1])) if len(given) else (None, None)
    inside = (last - first + 1) if first is not None and last is not None else 0
    data = words.data.tobytes()
    return _Summary(
        file=str(image.path),
        format=image.format.name,
        detail=image.content.detail,
        words=len(words),
        bits=words.bits,
        first=first,
        last=last,
        gaps=inside - len(given),
        largest=_largest(words),
        crc32=f"{zlib.crc32(data):08X}",
        sha256=sha256(data),
        repeats=image.content.repeats,
        warnings=list(image.content.warnings),
    )


def _largest(words: Words) -> int:
    """The largest word as an unsigned number, 0 of none."""
    rows = np.arange(len(words))
    for column in range(words.data.shape[1] - 1, -1, -1):
        if len(rows) > 1:
            byte = words.data[rows, column]
            rows = rows[byte == byte.max()]
    return words.integer(int(rows[0])) if len(rows) else 0


def _show(images: list[ImageFile], json: bool) -> int:
    shown = [_summary(image) for image in images]
    if json:
        keys = _Summary.__slots__
        documents = [{key: getattr(s, key) for key in keys} for s in shown]
        for document in documents:
            document["largest"] = f"{document['largest']:X}"
        say_json({"files": documents})
        return 0
    columns = ("file", "format", "words", "bits", "given", "gaps", "largest", "CRC-32")
    rows = [
        (
            s.file, ", ".join(filter(None, (s.format, s.detail))), s.words, s.bits,
            "-" if s.first is None else f"{s.first:,}..{s.last:,}", s.gaps,
            _short(f"{s.largest:X}"), s.crc32,
        )
        for s in shown
    ]  # fmt: skip
    table("", columns, rows)
    for s in shown:
        say(f"SHA-256 {s.sha256}  {s.file}")
    for s in shown:
        if s.gaps:
            say(f"{s.file}: {s.gaps:,} words between the first and the last one are not given")
        if s.repeats:
            say(f"{s.file}: {s.repeats:,} words are given again later; the last one counts")
    return 0


def _short(digits: str) -> str:
    return digits if len(digits) <= 16 else f"{digits[:13]}..."


# --- conversion


def _convert(
    image: ImageFile,
    to: str,
    output: Path,
    bits: int | None,
    depth: str | None,
    bank_bits: int | None,
    json: bool,
) -> int:
    fmt = image_format(to)
    words = image.content.words
    if bits is not None and bits != words.bits:
        words = _widened(image, bits)
    if not len(words):
        raise InputError(f"{image.path}: no words to convert")
    n = _depth(image, len(words), depth)
    cut = bank_bits if bank_bits is not None and bank_bits < words.bits else None
    complaint = fmt.complaint(cut or words.bits, n)
    if complaint:
        hint = complaint.replace("(bank_bits)", "(--bank-bits)")
        raise InputError(f"{named(output)}: {hint}")
    banks = split_banks(words, cut) if cut else [words]
    made = [write_checked(bank, fmt, n) for bank in banks]
    paths = [_bank_path(output, k, fmt.suffix) for k in range(len(banks))] if cut else [output]
    for path, content in zip(paths, made, strict=True):
        replace_bytes(path, content)
    if json:
        say_json(
            {
                "files": [str(path) for path in paths],
                "format": fmt.name,
                "words": n,
                "bits": banks[0].bits,
                "banks": len(banks),
            }
        )
        return 0
    order = f" ({paths[0].name} holds bits 0..{banks[0].bits - 1})" if cut else ""
    say(
        f"{image.path} ({image.format.name}) -> {', '.join(map(named, paths))} ({fmt.name}): "
        f"{n:,} words of {banks[0].bits} bits{order}"
    )
    return 0


def _widened(image: ImageFile, bits: int) -> Words:
    """The words with another width; they must fit."""
    words = image.content.words
    n_bytes = -(-bits // 8)
    data = np.zeros((len(words), max(n_bytes, words.data.shape[1])), np.uint8)
    data[:, : words.data.shape[1]] = words.data
    above = data[:, n_bytes:].any(axis=1)
    if bits % 8:
        above |= data[:, n_bytes - 1] >> (bits % 8) > 0
    if above.any():
        at = int(np.argmax(above))
        raise InputError(
            f"{image.place(at)}: word {at} is 0x{words.integer(at):X}, more than {bits} bits"
        )
    return Words(bits, np.ascontiguousarray(data[:, :n_bytes]))


def _depth(image: ImageFile, words: int, depth: str | None) -> int:
    if depth is None:
        return words
    text = depth.replace("-", " ").replace("_", " ").strip()
    if text != "power of two" and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(f"--depth {depth}: expected a number of words or 'power of two'")
    try:
        return padded_depth(words, text if text == "power of two" else int(text))
    except ValueError as error:
        raise InputError(f"{image.path}: {error}; raise --depth") from None


def _bank_path(output: Path, bank: int, suffix: str) -> Path:
    """b.mif -> b_bank0.mif; a double suffix such as .lattice.mem stays whole."""
    suffix = suffix if output.name.endswith(suffix) else output.suffix
    stem = output.name.removesuffix(suffix)
    return output.with_name(f"{stem}_bank{bank}{suffix}")


# --- comparison


def _compare(one: ImageFile, two: ImageFile, json: bool) -> int:
    a, b = one.content.words, two.content.words
    n = max(len(a), len(b))
    n_bytes = max(a.data.shape[1], b.data.shape[1])
    both = []
    for words in (a, b):
        data = np.zeros((n, n_bytes), np.uint8)
        data[: len(words), : words.data.shape[1]] = words.data
        both.append(data)
    different = np.flatnonzero(np.any(both[0] != both[1], axis=1))
    widths = one.content.declared and two.content.declared and a.bits != b.bits
    equal = not len(different) and not widths
    if len(different):
        at = int(different[0])
        text = (
            f"differ: {len(different):,} of {n:,} words, first at address {at:,} (0x{at:X}): "
            f"{one.place(at)} has {_hex(both[0][at])}, {two.place(at)} has {_hex(both[1][at])}"
        )
    elif widths:
        text = f"differ: {one.path} states words of {a.bits} bits, {two.path} {b.bits}"
    else:
        text = f"equal: {min(len(a), len(b)):,} words"
        if len(a) != len(b):
            longer = one if len(a) > len(b) else two
            text += f"; {longer.path} has {abs(len(a) - len(b)):,} more, all zero"
    if json:
        document: dict[str, object] = {"equal": equal, "words": n, "different": len(different)}
        document["first_difference"] = None
        if len(different):
            at = int(different[0])
            document["first_difference"] = {
                "address": at,
                "values": [_hex(data[at]) for data in both],
                "places": [one.place(at), two.place(at)],
            }
        document["text"] = text
        say_json(document)
    else:
        say(text)
    return 0 if equal else 1


def _hex(data: np.ndarray) -> str:
    return f"0x{int.from_bytes(data.tobytes(), 'little'):X}"


# --- a bundle


def _bundle(bundle: Path, json: bool) -> int:
    states = check_bundle(bundle, read_manifest(bundle))
    wrong = sum(not state.equal for state in states)
    if json:
        rows = [
            {"image": s.image, "file": s.file, "format": s.format, "equal": s.equal,
             "detail": s.detail}
            for s in states
        ]  # fmt: skip
        say_json({"equal": not wrong, "files": rows})
        return 1 if wrong else 0
    table(
        "",
        ("image", "file", "format", "verdict", "detail"),
        [(s.image, s.file, s.format, "equal" if s.equal else "WRONG", s.detail) for s in states],
    )
    if wrong:
        complain(f"{wrong} of {len(states)} checks of {bundle} failed")
        return 1
    say(f"{bundle}: {len(states)} checks, all files say the same and are as packed")
    return 0
