# SPDX-License-Identifier: Apache-2.0
"""The wheel holds every source file of the folders; the licence stands in every source."""

import ast
import doctest
import hashlib
import importlib.util
import re
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from support import FOLDERS, ROOT, built_wheel

from bramcast.pack.bundle.formats.c_header import header_text
from bramcast.pack.bundle.formats.table import image_format
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import write_project

SHIPPED = {".py", ".sv", ".svh", ".cpp", ".c", ".csv", ".h", ".html", ".in"}
SOURCES = SHIPPED | {".v", ".vhd", ".tcl", ".sdc", ".xdc", ".sh", ".mk"}
LICENCE = "SPDX-License-Identifier: Apache-2.0"
LICENCE_LINE = re.compile(rf"(#|//|--|<!--|/\*|\{{#) {LICENCE}( \*/| -->| -#\}})?")
BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_gru"


def sources():
    """Names in the wheel that the folders call for."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in SHIPPED or path.name == "py.typed":
                yield "bramcast/" + path.relative_to(ROOT).as_posix().removeprefix("root/")


def test_every_folder_is_a_typed_package():
    for folder in FOLDERS:
        assert (ROOT / folder / "__init__.py").is_file()
        assert (ROOT / folder / "py.typed").is_file()


@pytest.mark.slow
@pytest.mark.ci
def test_the_wheel_holds_every_source_file(tmp_path):
    archive = zipfile.ZipFile(built_wheel(tmp_path))
    names = archive.namelist()
    assert {n for n in names if ".dist-info/" not in n} == set(sources())
    (metadata,) = (n for n in names if n.endswith(".dist-info/METADATA"))
    text = archive.read(metadata).decode()
    assert "License-Expression: Apache-2.0\n" in text and "License-File: LICENSE\n" in text
    assert "Author: bramcast contributors\n" in text
    assert metadata.replace("METADATA", "licenses/LICENSE") in names
    # What an index shows: the README, without what leads nowhere from there.
    assert "Description-Content-Type: text/markdown\n" in text
    shown = text.split("\n\n", 1)[1]
    assert shown.startswith("# bramcast\n") and "*Picture: A word of weights.mem" in shown
    assert not RELATIVE.search(shown)


# ---------------------------------------------------------------- description, extras, citation

RELATIVE = re.compile(r"\]\((?!\w+:|#)")
USERS = ("torch", "onnx", "board", "sim", "plot", "dask", "report", "notebook")  # verbs and calls


def setup_script():
    spec = importlib.util.spec_from_file_location("bramcast_setup", ROOT / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pictures_and_links_of_the_readme_lead_somewhere_wherever_it_is_read():
    module, readme = setup_script(), (ROOT / "README.md").read_text()
    assert doctest.testmod(module) == (0, 2)
    assert len(RELATIVE.findall(readme)) > 20
    known = module.described(readme, "ftp://somewhere/v1")
    assert not RELATIVE.search(known)
    for target in re.findall(r"ftp://somewhere/v1/([^)#\s]+)", known):
        assert (ROOT / target).exists(), target
    unknown = module.described(readme)
    assert not RELATIVE.search(unknown) and "![" not in unknown
    assert unknown.count("*Picture: ") == readme.count("![")


def test_all_is_what_the_extras_for_users_have_together():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = extras["optional-dependencies"]
    assert set(extras["all"]) == {need for name in USERS for need in extras[name]}
    assert set(USERS) == set(extras) - {"all", "train", "bench", "synth", "tools", "docs", "dev"}


def test_the_citation_is_that_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(cited) >= {"cff-version", "message", "title", "authors"}  # what the format asks for
    assert cited["version"] == project["version"] and cited["title"] == project["name"]
    assert cited["license"] == project["license"] and cited["authors"] == project["authors"]
    assert cited["abstract"] == project["description"] + "."
    assert set(cited["keywords"]) <= set(project["keywords"])


# ---------------------------------------------------------------- licence


def lacking(folder: Path, among=None) -> list[str]:
    """Source files without the licence's line at the top, behind a shebang where there is one."""
    found = []
    for path in sorted(folder.rglob("*") if among is None else among):
        if path.suffix not in SOURCES and path.name != "Makefile":
            if path.suffix or not path.is_file() or path.read_bytes()[:2] != b"#!":
                continue
        lines = path.read_text().splitlines()
        line = lines[1:2] if lines and lines[0].startswith("#!") else lines[:1]
        if not line or not LICENCE_LINE.fullmatch(line[0]):
            found.append(path.relative_to(folder).as_posix())
    return found


def ours():
    """Every file of the checkout that is ours and no old bundle, without what tools left there."""
    yield from (ROOT / "Makefile", ROOT / "setup.py", ROOT / ".ci" / "run")
    for folder in (*FOLDERS, "bench", "examples", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if "__pycache__" not in path.parts and not path.is_relative_to(ROOT / "tests/data"):
                yield path


def test_every_source_file_names_the_licence():
    paths = list(ours())
    assert len([p for p in paths if p.suffix in SOURCES]) > 250
    assert lacking(ROOT, paths) == []


def test_a_source_file_without_the_licence_is_found(tmp_path):
    good = {
        "a.py": f'# {LICENCE}\n"""Doc."""\n', "b.sv": f"// {LICENCE}\n", "weights.mem": "00\n",
        "run": f"#!/bin/sh\n# {LICENCE}\n", "Makefile": f"# {LICENCE}\n", "notes": "text\n",
        "d.html": f"{{# {LICENCE} -#}}\n", "c.h": f"/* {LICENCE} */\n",
    }  # fmt: skip
    bad = {
        "e.py": f'"""Doc."""\n# {LICENCE}\n', "f.sv": "", "g.tcl": f"# {LICENCE} OR MIT\n",
        "h": "#!/bin/sh\n", "i.c": f"/* {LICENCE}-only */\n", "sub/Makefile": "all:\n",
    }  # fmt: skip
    (tmp_path / "sub").mkdir()
    for name, text in (good | bad).items():
        (tmp_path / name).write_text(text)
    assert lacking(tmp_path) == sorted(bad)


def test_docstrings_stay_the_first_statement():
    for path in (p for p in ours() if p.suffix == ".py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path


@pytest.mark.parametrize("options", [{}, {"axi": True}, {"serial": True}, {"patchable": True}])
def test_what_is_written_for_vendors_tools_names_the_licence(tmp_path, options):
    write_project(BUNDLE, tmp_path / "hdl", HdlOptions(**options))
    assert {p.suffix for p in (tmp_path / "hdl").iterdir()} >= {
        ".sv", ".v", ".vhd", ".tcl", ".sdc", ".xdc",
    }  # fmt: skip
    assert lacking(tmp_path / "hdl") == []


def test_a_bundles_header_names_the_licence_of_its_text_only():
    manifest = read_manifest(BUNDLE)
    lines = header_text(load_images(BUNDLE, manifest), manifest.core).decode().splitlines()
    assert lines[0] == f"/* {LICENCE} */"
    assert any("network's own" in line for line in lines[:4])
    # What holds nothing but somebody's words says nothing about their licence.
    words = next(iter(load_images(BUNDLE, manifest).values()))
    assert "SPDX" not in image_format("h").write(words, len(words)).decode()


def test_the_licence_is_the_standard_text():
    # sha256sum of /usr/share/common-licenses/Apache-2.0, as Debian and apache.org have it
    known = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == known
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert project["authors"] == [{"name": "bramcast contributors"}]


def test_nobody_is_told_to_install_a_name_that_is_not_ours():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = extras["optional-dependencies"]
    texts = [p for p in ours() if p.suffix in (".py", ".sv", ".html")]
    texts += [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "Makefile"]
    told = 0
    for path in texts:
        text = path.read_text()
        assert not re.search(r"pip install '?bramcast\[\w[\w,]*\]'?(?! @)", text), path
        for match in re.finditer(r"pip install[^'\n]* '\.\[([a-z,]+)\]'", text):
            told += 1
            assert set(match[1].split(",")) <= set(extras), (path, match[0])
    assert told >= 15
    assert any(need.startswith("torch") for need in extras["onnx"])
