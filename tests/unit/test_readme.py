# SPDX-License-Identifier: Apache-2.0
"""README and docs: links lead somewhere, commands and recipe keys exist."""

import re
import tomllib
from pathlib import Path

import pytest
from support import bramcast

from bramcast.pack.recipe.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *ROOT.glob("examples/*/*.md")]


def code_blocks(text):
    """Indented code blocks of a Markdown text."""
    for block in re.findall(r"(?:^    .*\n)+", text, flags=re.M):
        yield re.sub(r"^    ", "", block, flags=re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        # The gallery's pages are drawn by `make docs`, which follows every link of the site.
        assert (
            "://" in target or target.startswith("gallery/") or (page.parent / target).exists()
        ), target


def test_commands_and_options_exist():
    known: dict[str, str] = {}
    used = set()
    for page in PAGES:
        for block in code_blocks(page.read_text()):
            for verb, rest in re.findall(r"^(?:\S*/)?bramcast (\w+)(.*)$", block, flags=re.M):
                used.add(verb)
                if verb not in known:
                    done = bramcast(verb, "--help")
                    assert done.returncode == 0, f"{page.name}: bramcast {verb}"
                    known[verb] = done.stdout
                for option in re.findall(r" (--[a-z-]+)", rest.split("#")[0]):
                    assert option in known[verb], f"{page.name}: bramcast {verb} {option}"
    assert {"pack", "golden", "sim", "regress"} <= used


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for page in PAGES:
        for block in code_blocks(page.read_text()):
            for target in re.findall(r"^make ([a-z-]+)", block, flags=re.M):
                assert target in targets, f"{page.name}: make {target}"


def test_the_readmes_recipe_is_a_recipe(tmp_path):
    blocks = [b for b in code_blocks((ROOT / "README.md").read_text()) if "[model]" in b]
    assert len(blocks) == 1
    tomllib.loads(blocks[0])
    path = tmp_path / "recipe.toml"
    path.write_text(blocks[0])
    assert read_recipe(path).core.lanes == 16
