# SPDX-License-Identifier: Apache-2.0
"""The register map: what is made from it is up to date."""

from support import ROOT

from bramcast.pack.axi.registers import c_header, markdown_table


def test_register_header_is_what_the_map_gives():
    text = (ROOT / "pack" / "axi" / "bramcast_registers.h").read_text()
    assert text == c_header(), (
        "pack/axi/bramcast_registers.h is out of date: "
        "python -m bramcast.pack.axi.registers > pack/axi/bramcast_registers.h"
    )


def test_the_documented_registers_are_those_of_the_map():
    assert markdown_table() in (ROOT / "docs" / "axi.md").read_text(), (
        "docs/axi.md lacks the table that bramcast.pack.axi.registers.markdown_table gives"
    )
