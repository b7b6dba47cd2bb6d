# SPDX-License-Identifier: Apache-2.0
"""Image files of other tools: what is tolerated, what is refused, and what the words are then."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import ROOT
from unit.pack.look.test_export_words import READERS

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.formats.table import (
    RECIPE_NAMES,
    TABLE,
    check_written,
    image_format,
    read_image,
    recognise,
)
from bramcast.pack.bundle.formats.text import ImageSource
from bramcast.pack.bundle.words import Words

COE = "memory_initialization_radix={};\nmemory_initialization_vector={}"
MIF = "WIDTH=8;\nDEPTH=8;\nADDRESS_RADIX={};\nDATA_RADIX={};\nCONTENT BEGIN\n{}\nEND;\n"
LATTICE = "#Format={}\n#Depth=8\n#Width=8\n#AddrRadix=3\n#DataRadix=3\n#Data\n{}"
GOWIN = "#File_format={}\n#Address_depth=8\n#Data_width=8\n{}"
ZERO = [0] * 8


def parse(name, text, bits=None):
    raw = text if isinstance(text, bytes) else text.encode()
    return image_format(name).parse(ImageSource(Path("f"), raw), bits)


def put(**words):
    """Eight words, those at the addresses a1, a2 .. as given."""
    return [words.get(f"a{i}", 0) for i in range(8)]


READ = [
    # $readmemh: IEEE 1800-2017, 21.4
    ("mem", "12 3f\n\tFF\f00\n", None, [0x12, 0x3F, 0xFF, 0]),
    ("mem", "// one\n1_2 /* two\n lines */ 3F // end", None, [0x12, 0x3F]),
    ("mem", "@2 12\n34 @0 56\r\n", None, [0x56, 0, 0x12, 0x34]),
    ("mem", "@A 1", None, [0] * 10 + [1]),
    ("mem", "11 22\n@1\n33", None, [0x11, 0x33]),
    ("mem", "00000001\n000000ff", 8, [1, 255]),
    ("mem", b"\xef\xbb\xbf12\r\n34\r\n", None, [0x12, 0x34]),
    ("mem", b"12\r34\r", None, [0x12, 0x34]),
    ("mem", "", None, []),
    ("memb", "1010_0101 // x\n11111111\n@3 1", None, [0xA5, 0xFF, 0, 1]),
    # .coe: UG896
    ("coe", COE.format(16, "\n12,\n3F,\n\nff;\n"), None, [0x12, 0x3F, 0xFF]),
    ("coe", "; hello\n" + COE.format(" 2 ", " 101, 011 ;"), None, [5, 3]),
    ("coe", COE.format(10, "255 0\n17;").upper(), None, [255, 0, 17]),
    ("coe", COE.format(16, "1,2;  3 words? no").replace("\n", " "), None, [1, 2]),
    ("coe", COE.format("16;  radix", "1\r\n;\r\n; the end").replace("radix;", "radix"), None, [1]),
    # .mif: srec_mif(5)
    ("mif", MIF.format("HEX", "HEX", "0:1;2 : FF;\n3:2 3\n4;"), None,
     [1, 0, 255, 2, 3, 4, 0, 0]),
    ("mif", MIF.format("UNS", "BIN", "[0..7] : 0;\n2 : 101;"), None, put(a2=5)),
    ("mif", MIF.format("HEX", "UNS", "[0..7] : 5 6;"), None, [5, 6] * 4),
    ("mif", MIF.format("DEC", "DEC", "0 : -1 -128 127;"), None, [255, 128, 127] + [0] * 5),
    ("mif", MIF.format("BIN", "OCT", "101 : 377 17;"), None, put(a5=0o377, a6=0o17)),
    ("mif", MIF.format("OCT", "HEX", "7 : 0A;"), None, put(a7=10)),
    ("mif", "% two\nlines % depth = 8; -- x\nwidth = 8;\ncontent\nbegin\n1 : a;\nend;", None,
     put(a1=10)),
    # Quartus' .hex: addresses count words
    ("hex", ":0200000001020000FB"[:9] + "0102FB\n:02000100FFFFFF\n:00000001FF", None,
     [0x0102, 0xFFFF]),
    ("hex", ":0400000001020304F2\r\n:00000001FF\r\n", 16, [0x0102, 0x0304]),
    ("hex", ":0400000001020304F2\n:00000001FF\n", 8, [1, 2, 3, 4]),
    ("hex", ":020000040000FA\n:01000300AA52\n:00000001FF\n", None, [0, 0, 0, 0xAA]),
    # Lattice: srec_mem(5)
    ("lattice", LATTICE.format("Hex", "3b # x\n\nF // y\n"), None, [0x3B, 0xF] + [0] * 6),
    ("lattice", LATTICE.format("bin", "11011\n11111010"), None, [0b11011, 0b11111010] + [0] * 6),
    ("lattice", LATTICE.format("AddrHex", "1:03 F3 3E\n7 : 3b\n"), None,
     put(a1=3, a2=0xF3, a3=0x3E, a7=0x3B)),
    # Gowin
    ("gowin", GOWIN.format("Hex", "3b\r\nFF\r\n"), None, [0x3B, 0xFF] + [0] * 6),
    ("gowin", GOWIN.format("Bin", "1\n10"), None, [1, 2] + [0] * 6),
    ("gowin", GOWIN.format("AddrHex", "5:aa\n0:1"), None, put(a5=0xAA, a0=1)),
    # raw binary
    ("bin", b"\x01\x02\x03\x04", 16, [0x0201, 0x0403]),
]  # fmt: skip


@pytest.mark.parametrize("name, text, bits, words", READ)
def test_files_within_the_documented_grammars_are_read(name, text, bits, words):
    content = parse(name, text, bits)
    assert [content.words.integer(i) for i in range(len(content.words))] == words
    if bits:
        assert content.words.bits == bits


@pytest.mark.parametrize(
    "name, text, lines",
    [
        ("mem", "// c\n1 2\n@5\n3", [2, 2, 0, 0, 0, 4]),
        ("mem", "/* a\nb */ 1\n\n2", [2, 4]),
        ("coe", COE.format(16, "\n1,\n2,3;"), [3, 4, 4]),
        ("mif", MIF.format("HEX", "HEX", "0 : 1\n2;\n[4..6] : 3;"), [6, 7, 0, 0, 8, 8, 8, 0]),
        ("mif", MIF.format("HEX", "HEX", "-- c\n\n1:1;").replace("\n", "\r\n"),
         [0, 8, 0, 0, 0, 0, 0, 0]),
        ("lattice", LATTICE.format("Hex", "\n1\n2"), [8, 9, 0, 0, 0, 0, 0, 0]),
        ("gowin", GOWIN.format("AddrHex", "1:1\n0:2"), [5, 4, 0, 0, 0, 0, 0, 0]),
        ("hex", "\n:0100020011EC\n:00000001FF", [0, 0, 2]),
    ],
)  # fmt: skip
def test_every_word_knows_its_line(name, text, lines):
    assert parse(name, text).lines.tolist() == lines


def test_a_word_that_is_given_again_counts_last():
    content = parse("mem", "1 2 3 @1 9")
    assert content.words.data[:, 0].tolist() == [1, 9, 3] and content.repeats == 1


REFUSED = [
    ("mem", "12\nx4", None, "2: 'x' in 'x4' is not a hexadecimal digit (an undefined digit"),
    ("mem", "zz", None, "1: 'z' in 'zz' is not a hexadecimal digit (a high-impedance"),
    ("mem", "0x12", None, "1: '0x12': words have no prefix 0x"),
    ("mem", "1,2", None, "1: ',' in '1,2' is not a hexadecimal digit (words are separated by"),
    ("mem", "12\n# hi", None, "2: '#' in '#' is not"),
    ("mem", "@ 2", None, "1: expected an address behind @ (hexadecimal), got ''"),
    ("mem", "@-1 2", None, "1: expected an address behind @"),
    ("mem", "1\n@FFFFFFFF 2", None, "2: 4,294,967,296 words; images have at most"),
    ("mem", "1\n@FFFFFFFFFFFFFFFFF 2", None, "2: an address behind @ FFFFFFFFFFFFFFFFF is beyond"),
    ("mem", "1\n/* 2\n3", None, "2: a comment begins here and does not end"),
    ("mem", "1\n/*/ 2", None, "2: a comment begins here and does not end"),
    ("mem", "3FFFF\n40000", 18, "2: 40000 needs more than 18 bits"),
    ("mem", b"1\n\x002", None, "2: byte 0x00: not a text file"),
    ("mem", "1".encode("utf-16"), None, "1: UTF-16 text"),
    ("mem", "1\n" + "0" * 5000, None, "2: a word of 5,000 digits; at most 4,096"),
    ("memb", "102", None, "1: '2' in '102' is not a binary digit"),
    ("coe", "1,g;", None, "1: expected 'memory_initialization_radix = 16;', got '1,g;'"),
    ("coe", "; nothing\n", None, "2: expected 'memory_initialization_radix = 16;', got ''"),
    ("coe", "memory_initialization_radix=16", None, "1: memory_initialization_radix has no semi"),
    ("coe", COE.format(8, "1;"), None, "1: memory_initialization_radix is 2, 10 or 16, got '8'"),
    ("coe", COE.format(16, "\n1,\n,2;"), None, "4: a comma without a value"),
    ("coe", COE.format(16, "\n1,\n2,\n,;"), None, "4: a comma without a value"),
    ("coe", COE.format(16, "\n,;"), None, "3: a comma without a value"),
    ("coe", "1\n2;\n3", None, "3: text behind the vector's semicolon"),
    ("coe", COE.format(10, "\n1\n2\nA\n"), None, "5: 'A' in 'A' is not a decimal digit"),
    ("coe", COE.format(16, "1;\n2;"), None, "3: text behind the vector's semicolon"),
    ("coe", COE.format(10, "1,\n-2;"), None, "3: '-' in '-2' is not a decimal digit (words are"),
    ("coe", "memory_initialization_vector=1;", None, "1: memory_initialization_radix must stand"),
    ("coe", "; c\ncoefdata=1;", None, "2: unknown keyword 'coefdata'"),
    ("mif", "WIDTH=8;\nDEPTH=4;\n", None, "2: expected 'CONTENT BEGIN'"),
    ("mif", "DEPTH=8;\nCONTENT BEGIN 0:1; END;", None, "2: WIDTH is missing before CONTENT"),
    ("mif", MIF.format("HEX", "HEX", "8 : 1;"), None, "6: address 8 (0x8) is outside DEPTH=8"),
    ("mif", MIF.format("HEX", "HEX", "[6..8] : 1;"), None, "6: address 8 (0x8) is outside"),
    ("mif", MIF.format("HEX", "HEX", "[3..2] : 1;"), None, "6: the range ends at 2, before"),
    ("mif", MIF.format("HEX", "HEX", "1 : 100;"), None, "6: 100 needs more than 8 bits"),
    ("mif", MIF.format("HEX", "DEC", "1 : -129;"), None, "6: -129 needs more than 8 bits"),
    ("mif", MIF.format("HEX", "UNS", "1 : -1;"), None, "6: '-' in '-1' is not a decimal digit"),
    ("mif", MIF.format("HEX", "HEX", "1 = 1;"), None, "6: expected 'address : word;', got '1 = 1'"),
    ("mif", MIF.format("HEX", "ROMAN", "1:1;"), None, "4: DATA_RADIX is BIN, OCT, DEC, UNS or HEX"),
    ("mif", MIF.format("HEX", "HEX", "% no end\n1:1;"), None, "6: a comment begins here and does"),
    ("mif", MIF.format("HEX", "HEX", "1:1;")[:-5], None, "7: expected 'END;'"),
    ("mif", MIF.format("HEX", "HEX", "1:1;") + "2:2;", None, "7: text behind 'END;'"),
    ("mif", MIF.format("HEX", "HEX", "1:1;"), 9, "1: WIDTH is 8, expected 9"),
    ("mif", "WIDTH=8;\nDEPTH=99999999999;\nCONTENT BEGIN\nEND;", None, "2: DEPTH 99999999999 is"),
    ("mif", "WIDTH=16000;\nDEPTH=9999999;\nCONTENT BEGIN\nEND;", None, "2: 9,999,999 words of 16,"),
    ("hex", ":01000000AA54\n:00000001FF", None, "1: checksum 54, expected 55"),
    ("hex", ":01000000AA55\n", None, " the end record ':00000001FF' is missing"),
    ("hex", ":02000000AA54\n", None, "1: the record says 2 bytes of data and has 1"),
    ("hex", ":00000001FF\n:01000000AA55\n", None, "2: text behind the end record of line 1"),
    ("hex", ":0400000001020304F2\n:0400040001020304EE\n:00000001FF", 32,
     "2: addresses count bytes here; Quartus' .hex counts words of 32 bits"),
    ("hex", ":0400000001020304F2\n:0400020001020304F0\n:0400030001020304EF\n:00000001FF", 16,
     "2: a word of this record is given again"),
    ("hex", ":03000000010203F7\n:00000001FF", 16, "1: 3 bytes are no whole number of words of 2"),
    ("hex", "@0 12", None, "1: expected a record ':LLAAAATT..CC'"),
    ("lattice", "#Depth=8\n#Width=8\n12", None, "3: expected '#Format=...' in the header"),
    ("lattice", "// hi\n" + LATTICE.format("Hex", "1"), None, "1: expected '#Format=...'"),
    ("lattice", LATTICE.format("Dec", "1"), None, "1: Format is Bin, Hex or AddrHex, got 'Dec'"),
    ("lattice", LATTICE.format("Hex", "1 2"), None, "7: more than one word in a line"),
    ("lattice", LATTICE.format("Hex", "1\n" * 9), None, "15: more words than Depth=8"),
    ("lattice", LATTICE.format("Hex", "100"), None, "7: 100 needs more than 8 bits"),
    ("lattice", LATTICE.format("AddrHex", "1\n"), None, "7: expected 'address:word', got '1'"),
    ("lattice", LATTICE.format("AddrHex", "8:1"), None, "7: address 8 (0x8) is outside a depth"),
    ("lattice", LATTICE.format("AddrHex", "1:1 2\n2:3"), None, "7: address 2 is given again"),
    ("gowin", GOWIN.format("Hex", "1 // no comments"), None, "4: more than one word"),
    ("gowin", "#File_format=Hex\n#Depth=8\n1", None, "2: unknown key 'depth' of a Gowin header"),
    ("bin", b"\x01\x02\x03", 16, " 3 bytes are no whole number of words of 2 bytes"),
    ("bin", b"\x01\xff", 12, " word 0 has more than 12 bits"),
    ("bin", b"\x01\x02\x03", None, " raw binary does not say how wide its words are"),
    ("npz", b"PK\x03\x04" + b"x" * 40, None, " not an .npz file"),
    ("h", "int x;", None, " expected '#define IMAGE_BITS ..'"),
]  # fmt: skip


@pytest.mark.parametrize("name, text, bits, message", REFUSED)
def test_what_tools_read_differently_is_refused_with_its_line(name, text, bits, message):
    with pytest.raises(InputError, match="^" + re.escape(f"f:{message}")):
        parse(name, text, bits)


COMMA = "a comma behind the last word, with none after it"
SEMICOLON = "no semicolon behind the last word; is the file cut off here?"
BARE = "no memory_initialization_radix and no memory_initialization_vector: read as hexadecimal"


@pytest.mark.parametrize(
    "text, want, lines, warnings",
    [
        (COE.format(16, "\n0a,\nff,\n;\n"), [10, 255], [3, 4], [f"4: {COMMA}"]),
        (COE.format(16, "\n0a ff,;"), [10, 255], [3, 3], [f"3: {COMMA}"]),
        (COE.format(10, "\r\n1,\r\n250\r\n"), [1, 250], [3, 4], [f"4: {SEMICOLON}"]),
        (COE.format(2, "\n1,\n10,\n"), [1, 2], [3, 4], [f"4: {SEMICOLON}", f"4: {COMMA}"]),
        ("00A1\nFFFF\n", [0xA1, 0xFFFF], [1, 2], [f"1: {BARE} words", f"2: {SEMICOLON}"]),
        ("; mine\n\n10,\n11,\n;\n", [16, 17], [3, 4], [f"3: {BARE} words", f"4: {COMMA}"]),
        ("fe", [0xFE], [1], [f"1: {BARE} words", f"1: {SEMICOLON}"]),
        (COE.format(16, "\n1,\n2;\n; the end"), [1, 2], [3, 4], []),
    ],
)
def test_a_coe_file_as_it_is_found_is_read_with_a_warning(text, want, lines, warnings):
    content = parse("coe", text)
    assert [content.words.integer(i) for i in range(len(content.words))] == want
    assert content.lines.tolist() == lines
    assert list(content.warnings) == [f"f:{warning}" for warning in warnings]


def page(name):
    return (ROOT / "docs" / name).read_text()


def lacks(fmt):
    """What an entry of the table of formats still needs."""
    try:
        recognise(ImageSource(Path(f"x{fmt.suffix}"), fmt.write(Words(8, ZEROS), 4)))
    except InputError:
        yield f"pack/bundle/formats/table.py: a sign by which {fmt.suffix} is recognised (_SIGNS)"
    parsers = [image_format(name).parse for name, *_ in REFUSED]
    if fmt.parse not in parsers:
        yield f"REFUSED: a file of {fmt.name} that is wrong, and what is said of it"
    if fmt.name not in READERS:
        yield f"tests/unit/pack/look/test_export_words.py: a foreign reader of {fmt.name} (READERS)"
    if f"`{fmt.name}`" not in page("images.md") or f"`{fmt.suffix}`" not in page("images.md"):
        yield f"docs/images.md: a row with `{fmt.name}` and `{fmt.suffix}`"
    if fmt.in_bundle and f"`{fmt.name}`" not in page("recipe.md"):
        yield f"docs/recipe.md: `{fmt.name}` in the row `images.formats`"
    if f"`{fmt.name}`" not in page("inspect.md"):
        yield f"docs/inspect.md: `{fmt.name}` among what export writes"


ZEROS = np.zeros((4, 1), np.uint8)


@pytest.mark.parametrize("fmt", TABLE, ids=lambda f: f.name)
def test_a_format_is_wherever_it_must_be(fmt):
    assert "\n".join(lacks(fmt)) == ""


def test_what_a_new_format_lacks_is_named():
    new = replace(TABLE[0], name="larch", suffix=".larch", write=lambda words, depth: b"<larch>",
                  parse=lambda source, bits: None)  # fmt: skip
    assert list(lacks(new)) == [
        "pack/bundle/formats/table.py: a sign by which .larch is recognised (_SIGNS)",
        "REFUSED: a file of larch that is wrong, and what is said of it",
        "tests/unit/pack/look/test_export_words.py: a foreign reader of larch (READERS)",
        "docs/images.md: a row with `larch` and `.larch`",
        "docs/recipe.md: `larch` in the row `images.formats`",
        "docs/inspect.md: `larch` among what export writes",
    ]


@pytest.mark.parametrize("fmt", TABLE, ids=lambda f: f.name)
@pytest.mark.parametrize("renamed", [False, True])
def test_files_are_recognised_by_their_content(fmt, renamed):
    words = Words(16, np.arange(40, dtype=np.uint8).reshape(20, 2))
    path = Path(f"x{fmt.suffix}" if not renamed or fmt.name in ("bin", "memb") else "x.dat")
    found = recognise(ImageSource(path, fmt.write(words, 20)))
    family = {"updatemem": "mem", "lattice_bin": "lattice", "lattice_addr": "lattice",
              "gowin_bin": "gowin", "gowin_addr": "gowin"}  # fmt: skip
    assert found.name == family.get(fmt.name, fmt.name)


def test_vivados_own_mif_is_binary_digits():
    assert recognise(ImageSource(Path("x.mif"), b"0101\n1111\n")).name == "memb"
    assert recognise(ImageSource(Path("x.mem"), b"0101\n1111\n")).name == "mem"


@pytest.mark.parametrize("raw", [b"hello world", b"\x7fELF\x00\x01", b"int main() {}"])
def test_other_files_are_not_guessed(raw):
    with pytest.raises(InputError, match="f: no format recognised|f:1: byte 0x"):
        recognise(ImageSource(Path("f"), raw))


def test_what_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match=re.escape(f"{path}: not a regular file")):
            read_image(path)
    huge = tmp_path / "huge.mem"
    with huge.open("wb") as file:
        file.truncate(1 << 27)
    with pytest.raises(InputError, match="huge.mem: 134,217,728 bytes; images have at most"):
        read_image(huge)


@pytest.mark.parametrize(
    "name, text",
    [
        ("mem", b"/*" * 500_000),
        ("mem", b"@0 1 " * 200_000),
        ("mif", MIF.format("HEX", "HEX", "[0..7]:0;" * 100_000).encode()),
        (
            "mif",
            MIF.replace("=8;\nAD", f"={1 << 24};\nAD").format("HEX", "HEX", "[0..FFFFFF]:0;" * 9),
        ),
        ("mif", b"%" * 1_000_001),
        ("coe", b"memory_initialization_radix=16;\n" * 30_000),
        ("coe", COE.format(16, ", " * 500_000 + ";")),
        ("lattice", LATTICE.format("AddrHex", "0:1\n" * 100_000)),
        ("hex", b":0100000000FF\n" * 70_000),
        ("h", b"#define IMAGE_BITS 8\n" + b"static const uint32_t image[1] = {" * 30_000),
    ],
)
def test_hostile_files_take_linear_time(name, text):
    """Quadratic readers would need hours for these."""
    try:
        parse(name, text)
    except InputError as error:
        assert str(error).startswith("f:")


def test_a_strict_reader_takes_only_what_bramcast_writes():
    words = Words(8, np.array([[1], [2]], np.uint8))
    for name in RECIPE_NAMES:
        fmt = image_format(name)
        raw = fmt.write(words, 2)
        assert check_written(ImageSource(Path("f"), raw), fmt, 8, 2) == words
        if name != "npz":
            with pytest.raises(InputError, match=r"f:\d+: (expected|text behind)"):
                check_written(ImageSource(Path("f"), raw + b"\n"), fmt, 8, 2)
        with pytest.raises(InputError, match="f: 2 words, expected 3|DEPTH|[dD]epth"):
            check_written(ImageSource(Path("f"), raw), fmt, 8, 3)


def test_formats_say_what_they_cannot_hold():
    assert "at most 256 bits, not 512" in image_format("lattice").complaint(512, 4)
    assert "at most 65536 words, not 65537" in image_format("lattice").complaint(8, 65537)
    assert "multiple of 8 bits, not 36" in image_format("hex").complaint(36, 4)
    assert "at most 64 bits, not 72" in image_format("updatemem").complaint(72, 4)
    assert image_format("lattice").complaint(256, 65536) is None
    with pytest.raises(InputError, match="unknown image format 'xls'; known are mem, memb"):
        image_format("xls")
    assert image_format("efinix") is image_format("mem")
