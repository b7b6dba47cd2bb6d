# SPDX-License-Identifier: Apache-2.0
"""Texts of the written folder that are files here: NAME.in, in which @word@ stands for a value."""

import re
from importlib.resources import files

_PLACE = re.compile(r"@([a-z][a-z0-9_]*)@")


def filled(name: str, values: dict[str, object]) -> str:
    """The text of a template, each ``@word@`` in it taken from ``values``.

    Raises:
        KeyError: a word that has no value.

    >>> filled("Makefile", {"name": "net", "bench": "bench.sv"}).splitlines()[1][:38]
    '# Simulates net_top with bench.sv, in '
    """
    text = (files("bramcast.sim.folder") / f"{name}.in").read_text(encoding="utf-8")
    return _PLACE.sub(lambda found: str(values[found[1]]), text)


def without_licence(text: str) -> str:
    """A part of a file, without the line that stands at the file's top already.

    >>> without_licence("// SPDX-License-Identifier: Apache-2.0\\n  wire a;\\n")
    '  wire a;\\n'
    """
    return text.partition("\n")[2] if "SPDX-License" in text.partition("\n")[0] else text
