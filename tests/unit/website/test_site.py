# SPDX-License-Identifier: Apache-2.0
"""The documentation's site: built without a warning, no link leads nowhere."""

import doctest
import importlib.util
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from support import ROOT

PAGES = ("dscnn", "gru", "mlp", "mlp_2", "drop_in", "worse")


def script(name):
    """A script of website/, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "website" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def need_mkdocs():
    """Without it a skip, but not in CI."""
    if importlib.util.find_spec("mkdocs") is None:
        skip = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        skip("MkDocs is not installed: make docs")


links = script("links")


def site_of(folder, **files):
    for name, text in files.items():
        path = folder / f"{name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return links.broken(folder)


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    (tmp_path / "p.png").touch()
    whole = '<a href="b.html#there">b</a><a href="#here" id="here">c</a><img src="p.png">'
    second = '<h2 id="there">x</h2><a href="w://x.y">z</a>'
    assert site_of(tmp_path, a=whole, b=second) == []
    broken = tmp_path / "broken"
    found = site_of(
        broken, b=second, a='<a href="b.html#gone">b</a><img src="q.png"><a href="c/">d</a>'
    )
    assert [line.partition(": ")[2] for line in found] == [
        "b.html#gone: no such anchor", "q.png: no such file", "c/: no such file",
    ]  # fmt: skip


def test_every_page_of_the_docs_has_its_place():
    text = (ROOT / "mkdocs.yml").read_text()
    docs = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    docs |= {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.ipynb")}
    nav = yaml.safe_load(text)["nav"]
    placed = set(re.findall(r"[\w/]+\.(?:md|ipynb)", str(nav)))
    assert placed - docs == {"index.md", "changelog.md"} and docs <= placed


def test_the_gallery_lists_its_pages():
    text = (ROOT / "docs" / "gallery.md").read_text()
    assert re.findall(r"\(gallery/(\w+)\.html\)", text) == list(PAGES)


def test_examples_of_the_hooks_run():
    need_mkdocs()
    assert doctest.testmod(script("hooks")).attempted >= 3
    assert doctest.testmod(script("hooks")).failed == 0


@pytest.mark.slow
@pytest.mark.ci
def test_pages_of_retrainings_name_no_folder_of_here(tmp_path):
    script("gallery").regressions(tmp_path)
    for page in ("drop_in", "worse"):
        text = (tmp_path / f"{page}.html").read_text()
        assert "In use: in_use." in text
        assert not re.search(r"/tmp|\.\./\.\./", text) and str(ROOT) not in text


@pytest.mark.slow
@pytest.mark.ci
def test_the_terminal_in_the_readme_is_what_the_commands_print(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "website"))
    terminal = script("terminal")
    lines = terminal.screen()
    assert terminal.drawn(lines) == (ROOT / "docs" / "regress.svg").read_text()
    # A good one passes, a bad one does not, and is told by its classes.
    verdicts = [line.partition(":")[0] for line in lines if re.match(r"(drop-in|worse):", line)]
    assert verdicts == ["drop-in", "worse"]
    assert [after for line, after in pairwise(lines) if line == "$ echo $?"] == ["0", "1"]
    assert all(
        any(f"class {n} (" in line and "BROKEN" in line for line in lines) for n in (3, 5, 8)
    )


@pytest.mark.slow
@pytest.mark.ci
def test_the_site_is_built_without_a_warning(tmp_path):
    need_mkdocs()
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    for name in PAGES:
        (gallery / f"{name}.html").write_text("<p>a report</p>")
    # One tutorial with a result; the others as they are in the repository.
    told = json.loads((ROOT / "docs" / "tutorials" / "board.ipynb").read_text())
    output = {"output_type": "stream", "name": "stdout", "text": ["three nests were equal\n"]}
    next(c for c in told["cells"] if c["cell_type"] == "code")["outputs"] = [output]
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "board.ipynb").write_text(json.dumps(told))
    env = os.environ | {"BRAMCAST_NOTEBOOKS": str(tmp_path / "notebooks")}
    env |= {"BRAMCAST_GALLERY": str(gallery), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", tmp_path / "site"],
        cwd=ROOT, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    assert links.broken(tmp_path / "site") == []
    reference = (tmp_path / "site" / "reference.html").read_text()
    for name in ("casting.cast", "bundle.Bundle.simulate", "shapes.fit", "tensors.export"):
        assert f'id="bramcast.api.{name}"' in reference
    tutorials = tmp_path / "site" / "tutorials"
    assert "three nests were equal" in (tutorials / "board.html").read_text()
    assert "A bad one" in (tutorials / "regress.html").read_text()
    index = (tmp_path / "site" / "index.html").read_text()
    assert 'href="regression.html"' in index and "<h1" in index  # README.md, its links moved
    # Nothing is fetched from elsewhere when a page is read.
    for page in Path(tmp_path / "site").rglob("*.html"):
        assert not re.search(r'<(?:script|link)[^>]*(?:src|href)="https?:', page.read_text()), page
