# SPDX-License-Identifier: Apache-2.0
"""A key of a recipe that is given elsewhere: on the command line, or in a call."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bramcast.pack.bundle.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Setting:
    """A key's value.

    Attributes:
        keys: from the section on.
        label: what it is called in messages.
    """

    keys: tuple[str, ...]
    value: Any
    label: str

    def applied(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """A recipe's data with this value, in place of what was there.

        >>> Setting(("core", "taps"), 4, "--set core.taps=4").applied({"core": {"lanes": 8}})
        {'core': {'lanes': 8, 'taps': 4}}

        Raises:
            RecipeError: what must be a section has a value.
        """
        first, *rest = self.keys
        if not rest:
            return {**data, first: self.value}
        inner = data.get(first, {})
        if not isinstance(inner, Mapping):
            raise RecipeError(f"{self.label}: {first} is a value, no section with keys in it")
        deeper = Setting(tuple(rest), self.value, self.label)
        return {**data, first: deeper.applied(inner)}


def parse_setting(text: str) -> Setting:
    """What KEY=VALUE says; the value is one of TOML's, or else text without quotes.

    >>> parse_setting("core.lanes=32")
    Setting(keys=('core', 'lanes'), value=32, label='--set core.lanes=32')
    >>> parse_setting('quantize.layers."fc.1".weight_bits = 4').keys
    ('quantize', 'layers', 'fc.1', 'weight_bits')
    >>> [parse_setting(s).value for s in ("images.formats=['mem', 'mif']", "model.name=my net")]
    [['mem', 'mif'], 'my net']

    Raises:
        RecipeError: it is no KEY=VALUE.
    """
    label = f"--set {text}"
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or "\n" in text:
        raise RecipeError(f"{label}: is no KEY=VALUE, as core.lanes=32 is one")
    for written in (value, json.dumps(value.strip(), ensure_ascii=False)):
        try:
            keys, found = _only(tomllib.loads(f"{key}={written}"))
        except tomllib.TOMLDecodeError:
            continue
        return Setting(keys, found, label)
    raise RecipeError(f"{label}: {key.strip()!r} is no key of TOML, as core.lanes is one")


def setting_of(key: str, value: Any) -> Setting:
    """A key as the table of docs/recipe.md has it, with a value of Python's.

    >>> setting_of("core.taps", 2)
    Setting(keys=('core', 'taps'), value=2, label="settings['core.taps']=2")

    Raises:
        RecipeError: it is no key.
    """
    label = f"settings[{key!r}]={value!r}"
    try:
        keys, _ = _only(tomllib.loads(f"{key}=0"))
    except tomllib.TOMLDecodeError:
        raise RecipeError(f"{label}: is no key of a recipe, as core.lanes is one") from None
    return Setting(keys, value, label)


def _only(data: dict[str, Any]) -> tuple[tuple[str, ...], Any]:
    """The keys that lead to the only value of a line of TOML; an inline table is one."""
    keys: list[str] = []
    value: Any = data
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        keys.append(name)
    return tuple(keys), value
