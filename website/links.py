# SPDX-License-Identifier: Apache-2.0
"""Checks that every link and picture of a built site leads to a file and an anchor that are there.

    python website/links.py build/site

Addresses elsewhere are not fetched. Exit code 1 names each that leads nowhere.
"""

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name in ("href", "src") and tag != "iframe":
                self.targets.append(value)
            elif name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)


@cache
def _read(page: Path) -> _Page:
    found = _Page()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def broken(site: Path) -> list[str]:
    """Each link that leads nowhere, with the page that has it."""
    found = []
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":  # its addresses are those of a server's root
            continue
        for target in _read(page).targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
            there = there / "index.html" if there.is_dir() else there
            if not there.is_file():
                found.append(f"{page.relative_to(site)}: {target}: no such file")
            elif parts.fragment and there.suffix == ".html" and parts.fragment != "__":
                if unquote(parts.fragment) not in _read(there).anchors:
                    found.append(f"{page.relative_to(site)}: {target}: no such anchor")
    return found


def main() -> int:
    site = Path(sys.argv[1]).resolve()
    found = broken(site)
    for line in found:
        print(line)
    print(f"{len(list(site.rglob('*.html')))} pages, {len(found)} links that lead nowhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
