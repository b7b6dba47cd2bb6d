# SPDX-License-Identifier: Apache-2.0
"""bramcast patch: a bundle's images into a finished bitstream."""

from pathlib import Path
from typing import Annotated

import typer

from bramcast.cli.options import AllowModified, Json
from bramcast.cli.output import give_stdout, say, say_json, table
from bramcast.golden.load import load
from bramcast.pack.bitstream.patch import patch, read_bitstream
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.folder import is_stdout, named, replace_bytes
from bramcast.pack.bundle.images import load_images


def command(
    bitstream: Annotated[
        Path, typer.Argument(help="Bitstream built from a 'bramcast hdl --patchable' folder.")
    ],
    bundle: Annotated[Path, typer.Argument(help="Bundle whose images it gets.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The patched bitstream.")],
    allow_modified: AllowModified = False,
    json: Json = False,
) -> int:
    """Put new weights, biases, tables and program into a bitstream: no synthesis, no routing."""
    give_stdout([output], json)
    if not is_stdout(output) and output.exists() and output.samefile(bitstream):
        raise InputError(
            f"{output}: is the bitstream with the pattern, which the next patch needs, too: give "
            "another file with -o"
        )
    content = read_bitstream(bitstream)
    manifest = load(bundle, allow_modified).manifest
    assert manifest is not None
    done = patch(bitstream, content, manifest, load_images(bundle, manifest, allow_modified))
    replace_bytes(output, done.content)
    family = done.format.family
    if json:
        say_json(
            {
                "bitstream": str(bitstream),
                "bundle": str(bundle),
                "output": str(output),
                "family": family.name,
                "images": [
                    {
                        "name": image.name,
                        "words": image.words,
                        "bits": image.bits,
                        "copies": image.copies,
                        "blocks": image.blocks,
                    }
                    for image in done.images
                ],
                "blocks": done.blocks,
                "verified_words": done.words,
            }
        )
        return 0
    rows = [(i.name, i.words, i.bits, i.copies, i.blocks) for i in done.images]
    table("", ("image", "words", "bits", "copies", family.block), rows)
    say(f"{done.words:,} words read back from the new file, all equal to {bundle}")
    say(f"written to {named(output)}")
    return 0
