# SPDX-License-Identifier: Apache-2.0
"""A report as a value: shown in a notebook, written to a file."""

import os
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bramcast.pack.bundle.folder import replace_bytes


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML page that needs nothing but itself.

    >>> Page("<p>")
    Page(3 characters of HTML)
    """

    html: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file.

        Raises:
            InputError: it can't be written.
        """
        replace_bytes(Path(path), self.html.encode())
        return Path(path)

    def __repr__(self) -> str:
        return f"Page({len(self.html):,} characters of HTML)"

    def _repr_html_(self) -> str:
        """In a frame of its own: its styles are not the notebook's."""
        return (
            f'<iframe srcdoc="{escape(self.html)}" width="100%" height="800" '
            'style="border: 1px solid #8888"></iframe>'
        )
