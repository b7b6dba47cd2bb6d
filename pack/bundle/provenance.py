# SPDX-License-Identifier: Apache-2.0
"""provenance.json: where a bundle comes from, for people. It is no image: nothing needs it.

It holds a date, so it is the one file in which two packings of the same network differ, and
``manifest.json`` does not know it.
"""

from dataclasses import field
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

PROVENANCE_NAME = "provenance.json"
_STRICT = ConfigDict(extra="ignore")


@dataclass(frozen=True, config=_STRICT)
class Provenance:
    """What a bundle was packed from, and by what.

    Attributes:
        command: as it was typed; null where a program packed it.
        recipe: the recipe's file name; null where there is none.
        recipe_text: TOML, without keys that have their default.
        files: names of the files that the recipe names, with their SHA-256.
        versions: of what computed: bramcast, Python, torch, numpy.
        packed: date and time, UTC, ISO 8601; SOURCE_DATE_EPOCH's where that is set.
    """

    command: str | None = None
    recipe: str | None = None
    recipe_text: str = ""
    files: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    packed: str = ""


_ADAPTER: TypeAdapter[Provenance] = TypeAdapter(Provenance)


def provenance_bytes(provenance: Provenance) -> bytes:
    """The file's content."""
    return _ADAPTER.dump_json(provenance, indent=1) + b"\n"


def read_provenance(bundle: Path) -> Provenance | None:
    """Where a bundle comes from; None where it does not say, or not in a way that can be read."""
    try:
        return _ADAPTER.validate_json((bundle / PROVENANCE_NAME).read_bytes())
    except (OSError, ValidationError):
        return None
