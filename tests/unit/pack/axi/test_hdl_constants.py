# SPDX-License-Identifier: Apache-2.0
"""The SystemVerilog constants are generated from the Python field layout."""

import re
import subprocess
import sys

from bramcast.hw import FOLDER
from bramcast.pack.axi.hdl_constants import systemverilog_package
from bramcast.pack.bundle.program import INPUT_FIELDS, NEST_FIELDS


def test_package_file_is_what_the_field_layout_gives() -> None:
    text = (FOLDER / "bramcast_pkg.sv").read_text()
    assert text == systemverilog_package(), (
        "hw/bramcast_pkg.sv is out of date: "
        "python -m bramcast.pack.axi.hdl_constants > hw/bramcast_pkg.sv"
    )


def test_running_the_module_prints_the_package() -> None:
    command = [sys.executable, "-m", "bramcast.pack.axi.hdl_constants"]
    assert subprocess.check_output(command, text=True) == systemverilog_package()


def test_every_field_has_its_three_numbers() -> None:
    found = dict(re.findall(r"localparam int (\w+) = (\d+);", systemverilog_package()))
    for prefix, layout in (("NEST", NEST_FIELDS), ("INPUT", INPUT_FIELDS)):
        for name, field in layout.items():
            numbers = [int(found[f"{prefix}_{name.upper()}_{n}"]) for n in ("WORD", "LSB", "BITS")]
            assert numbers == [field.word, field.lsb, field.bits]
