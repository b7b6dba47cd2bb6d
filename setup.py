# SPDX-License-Identifier: Apache-2.0
"""The long description of the package: README.md as it can be read where the repository is not.

A package index shows the text alone: a picture or a link that is relative to the repository leads
nowhere there. Where ``BRAMCAST_FILES`` is the address of the files of this version, as a release
job knows it, they get it in front; else a picture is its description, a link its text.
"""

import os
import re
from pathlib import Path

from setuptools import setup

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:)([^)\s]+)\)")


def described(text: str, files: str = "") -> str:
    """A page whose pictures and links lead somewhere wherever it is read.

    >>> described("See ![the page](docs/report.png), [docs](docs/a.md#b), [w](ftp://x).")
    'See *Picture: the page*, docs, [w](ftp://x).'
    >>> described("![the page](docs/report.png) [there](#here)", "ftp://x/v1/")
    '![the page](ftp://x/v1/docs/report.png) [there](#here)'

    Args:
        files: address of the repository's files; empty if it is not known.
    """

    def absolute(found: re.Match[str]) -> str:
        picture, label, target = found.groups()
        if target.startswith("#"):
            return found[0]
        if files:
            return f"{picture}[{label}]({files.rstrip('/')}/{target})"
        return f"*Picture: {label}*" if picture else label

    return _LINK.sub(absolute, text)


if __name__ == "__main__":
    readme = (Path(__file__).resolve().parent / "README.md").read_text(encoding="utf-8")
    setup(
        long_description=described(readme, os.environ.get("BRAMCAST_FILES", "")),
        long_description_content_type="text/markdown",
    )
