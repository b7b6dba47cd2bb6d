# SPDX-License-Identifier: Apache-2.0
"""What MkDocs reads beside docs/: README.md as the first page, the changelog, files, the gallery,
the tutorials with their results.

A link that leaves docs/ leads to a copy of the file in the site, so that none leads nowhere.
"""

import os
import re
from pathlib import Path
from posixpath import dirname, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
GALLERY = Path(os.environ.get("BRAMCAST_GALLERY", ROOT / "build" / "gallery"))
NOTEBOOKS = Path(os.environ.get("BRAMCAST_NOTEBOOKS", ROOT / "build" / "notebooks"))
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(!?\[[^\]]*\]\()(?!\w+:|#)([^)#\s]+)((?:#[^)\s]*)?\))")


def site_place(page: str, target: str) -> str:
    """Where in the site a link of a page leads, seen from the repository.

    Args:
        page: the page's path in the repository.
        target: as it is written there.

    >>> site_place("README.md", "docs/axi.md"), site_place("docs/boards/arty.md", "../patch.md")
    ('axi.md', 'patch.md')
    >>> site_place("docs/board.md", "../hw/x.sv"), site_place("docs/axi.md", "../README.md")
    ('files/hw/x.sv', 'index.md')
    """
    there = normpath(f"{dirname(page)}/{target}" if dirname(page) else target)
    if there in PAGES:
        return PAGES[there]
    return there.removeprefix("docs/") if there.startswith("docs/") else f"files/{there}"


def with_places(text: str, page: str, here: str) -> str:
    """A page's Markdown with links as they are in the site.

    Args:
        here: the page's own place in the site.

    >>> with_places("[a](docs/axi.md#b), [c](#d), [e](LICENSE)", "README.md", "index.md")
    '[a](axi.md#b), [c](#d), [e](files/LICENSE)'
    """

    def moved(found: re.Match[str]) -> str:
        target = relpath(site_place(page, found[2]), dirname(here) or ".")
        return f"{found[1]}{target}{found[3]}"

    return LINK.sub(moved, text)


def linked(text: str, page: str) -> set[str]:
    """Files outside docs/ to which a page links, by their path in the repository."""
    places = {site_place(page, found[2]) for found in LINK.finditer(text)}
    return {place.removeprefix("files/") for place in places if place.startswith("files/")}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Anchors are those of the repository's own pages: "Strips: TILES > 1" is strips-tiles--1."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what does not lie in docs/."""
    wanted: set[str] = set()
    for source, place in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=with_places(text, source, place)))
        wanted |= linked(text, source)
    for file in files.documentation_pages():
        if file.src_uri.endswith(".md") and file.src_uri not in PAGES.values():
            wanted |= linked(file.content_string, f"docs/{file.src_uri}")
    for name in sorted(wanted):
        path = ROOT / name
        if path.is_dir():
            path = path / "README.md"
        # A page of another place: as the text that it is.
        place = f"files/{path.relative_to(ROOT).as_posix()}"
        place = f"{place}.txt" if path.suffix == ".md" else place
        files.append(File.generated(config, place, abs_src_path=str(path)))
    for file in files.documentation_pages():
        executed = NOTEBOOKS / Path(file.src_uri).name
        if executed.suffix == ".ipynb" and executed.is_file():
            file.abs_src_path = str(executed)
    for path in sorted(GALLERY.glob("*.html")):
        files.append(File.generated(config, f"gallery/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links out of docs/ into links to the site's copies."""
    del config, files
    place = page.file.src_uri
    if not place.endswith(".md"):
        return markdown
    if place not in PAGES.values():
        markdown = with_places(markdown, f"docs/{place}", place)
    return re.sub(r"\((\S*files/[^)#\s]*?)(?:\.md|(?<=digits))\)", _as_text, markdown)


def _as_text(found: re.Match[str]) -> str:
    target = found[1]
    return f"({target}/README.md.txt)" if target.endswith("digits") else f"({target}.md.txt)"
