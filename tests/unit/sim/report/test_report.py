# SPDX-License-Identifier: Apache-2.0
"""The HTML report: what belongs to which layer, what the page says, how a browser shows it."""

import hashlib
import os
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
import several
from support import DIGITS, bramcast, in_all, text_recipe, write_recipe

import bramcast as api
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.device.devices import PARTS
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.report.anatomy import Span, dissect
from bramcast.sim.report.report import report_html
from bramcast.sim.report.report_graph import graph_svg
from bramcast.sim.report.report_plots import distribution, scratchpad

VOID = {"meta", "br", "link", "img", "input"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def bundles(folder):
    for name in ("dscnn", "gru"):
        pack(read_recipe(DIGITS / f"{name}.toml"), folder / name)
    return {name: folder / name for name in ("dscnn", "gru")}


@pytest.fixture(scope="module")
def page(bundles, folder):
    done = bramcast(
        "report", bundles["dscnn"], "--inputs", DIGITS / "dscnn.toml", "-o", folder / "dscnn.html"
    )
    assert done.returncode == 0, done.stderr
    return folder / "dscnn.html"


def test_each_word_belongs_to_one_layer(bundles):
    anatomy = dissect(bundles["dscnn"])
    names = [part.name for part in anatomy.parts]
    assert names == [layer.name for layer in anatomy.manifest.layers]
    weights = anatomy.manifest.image("weights")
    spans = sorted((s for p in anatomy.parts for s in p.words.get("weights", [])),
                   key=lambda s: s.first)  # fmt: skip
    assert all(a.end <= b.first for a, b in pairwise(spans))
    assert sum(s.end - s.first for s in spans) == weights.used
    # By hand: the stem has 24 x 1 x 3 x 3 weights, the classifier 10 x 48.
    by_name = {part.name: part for part in anatomy.parts}
    assert by_name["features.0"].weights.size == 24 * 9
    assert by_name["classifier"].weights.size == 10 * 48
    assert by_name["classifier"].reads == (names.index("pool"),)
    assert by_name["features.0"].reads == (-1,)
    # A classifier of 10 outputs on 16 lanes: 48 words, 48 cycles, one nest.
    assert [s.end - s.first for s in by_name["classifier"].words["weights"]] == [48]
    assert by_name["classifier"].busy == 48
    assert by_name["classifier"].share(16) == 480 / (48 * 16)


def test_weights_are_the_image_lines(bundles):
    """The classifier's integers, from weights.mem by hand: lane 0 is the last byte."""
    anatomy = dissect(bundles["dscnn"])
    part = anatomy.parts[-1]
    (span,) = part.words["weights"]
    lines = (bundles["dscnn"] / "weights.mem").read_text().split()[span.first : span.end]
    rows = np.array([list(bytes.fromhex(line))[::-1] for line in lines], np.uint8).view(np.int8)
    assert sorted(part.weights.tolist()) == sorted(rows[:, :10].reshape(-1).tolist())


def test_time_steps_are_one_part(bundles):
    anatomy = dissect(bundles["gru"])
    assert sum(len(part.layers) for part in anatomy.parts) == len(anatomy.manifest.layers)
    repeated = [part for part in anatomy.parts if len(part.layers) > 1]
    assert {len(part.layers) for part in repeated} == {6}
    state = next(part for part in repeated if part.layers[0].name == "gru.h")
    number = anatomy.parts.index(state)
    assert any(number in part.reads for part in repeated if part is not state)


def test_residents_are_where_results_go(tmp_path):
    recipe = write_recipe(tmp_path / "net", "Mlp96")
    pack(read_recipe(recipe), tmp_path / "bundle")
    anatomy = dissect(tmp_path / "bundle")
    frame, *others = anatomy.residents
    assert frame.part == -1 and frame.words == Span(0, 6)  # 96 elements in words of 16
    assert frame.cycles.end == anatomy.parts[0].cycles[-1].end
    assert len(others) == len(anatomy.parts) - 1  # the last layer streams
    for resident in others:
        assert resident.words.end <= anatomy.manifest.core.scratch_depth


def test_residents_of_a_core_with_tiles_lie_in_the_banks_that_are_written(tmp_path):
    """Against every sub-word that golden writes."""
    recipe = read_recipe(write_recipe(tmp_path / "net", "VggCeil", "[core]\ntiles = 4\n", 20))
    pack(recipe, tmp_path / "bundle")
    anatomy = dissect(tmp_path / "bundle")
    core, manifest = anatomy.manifest.core, anatomy.manifest
    frames = np.zeros((1, anatomy.machine.frame.elements), np.int64)
    results = anatomy.machine.run(frames, keep_layers=True).nests
    written = {}
    for info, made in zip(manifest.nests, results, strict=True):
        words = made.addresses[made.addresses >= 0] // core.taps
        found = written.setdefault(info.layer, (set(), set()))
        found[0].update((words // core.scratch_depth).tolist())
        found[1].update((words % core.scratch_depth).tolist())
    frame, *others = anatomy.residents
    assert len(others) == len(anatomy.parts) - 1
    for resident in others:
        banks, words = written[anatomy.parts[resident.part].indices[0]]
        assert set(resident.banks) == banks
        assert (resident.words.first, resident.words.end - 1) == (min(words), max(words))
    strips = [layer.strips for layer in manifest.layers]
    assert any(strips) and strips[-1] == ""
    assert frame.banks == (0, 1, 2, 3)
    page = report_html(tmp_path / "bundle")
    assert next(text for text in strips if text) in page and "bank after bank" in page
    assert f"<b>{core.lanes} x {core.taps} x 4</b><span>lanes x taps x tiles</span>" in page


class _Checker(HTMLParser):
    """Tags close in order; collects what a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not value.startswith("#"):
                self.fetched.append(value)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_self_contained(page, bundles):
    checker = _Checker()
    text = page.read_text()
    checker.feed(text)
    assert checker.open == [] and checker.fetched == []
    assert "url(http" not in text and "@import" not in text
    told = " ".join(checker.text)
    for layer in dissect(bundles["dscnn"]).manifest.layers:
        assert layer.name in told and str(layer.format.q) in told
    done = bramcast("golden", bundles["dscnn"], "--inputs", DIGITS / "dscnn.toml")
    accuracy = re.search(r"accuracy ([\d.]+ %)", done.stdout).group(1)
    cycles = re.search(r"([\d,]+) cycles", done.stdout).group(1)
    assert f"accuracy {accuracy}" in told and cycles in told
    assert len(re.findall(r'id="([^"]+)"', text)) == len(set(re.findall(r'id="([^"]+)"', text)))


def test_the_page_says_where_it_comes_from_and_what_fits(page, bundles):
    told = page.read_text()
    recipe = read_recipe(DIGITS / "dscnn.toml")
    digest = hashlib.sha256(recipe.file(recipe.model.checkpoint).read_bytes()).hexdigest()
    assert digest in told and "dscnn.toml" in told and "checkpoint = " in told
    assert "<dt>packed</dt>" in told
    assert all(f"<td>{name}</td>" in told for name in PARTS)
    (bundles["dscnn"] / "provenance.json").rename(bundles["dscnn"] / "hidden")
    try:
        assert "The bundle does not say" in report_html(bundles["dscnn"])
    finally:
        (bundles["dscnn"] / "hidden").rename(bundles["dscnn"] / "provenance.json")


def test_the_confusion_matrix_counts_golden_s_answers(page, bundles):
    inputs = read_inputs(DIGITS / "dscnn.toml")
    answers = api.Bundle.open(bundles["dscnn"]).predict(inputs.x).argmax(axis=1)
    (table,) = re.findall(r'<table class="matrix">(.*?)</table>', page.read_text(), re.DOTALL)
    rows = re.findall(r"<tr><th>\d+</th>(.*?)</tr>", table)
    cells = [re.findall(r"<td[^>]*>(\d*)</td>", row) for row in rows]
    for label, row in enumerate(cells):
        wanted = [int(((inputs.y == label) & (answers == a)).sum()) for a in range(10)]
        assert [int(cell or 0) for cell in row] == wanted


def test_one_spike_makes_the_scale_logarithmic(bundles):
    spiked = np.array([0] * 5000 + [3] * 40 + [9] * 11)
    flat = np.arange(-100, 100)
    assert ">log</text>" in distribution("a", spiked, QFormat(8, 0))
    assert ">log</text>" not in distribution("b", flat, QFormat(8, 0))


@pytest.mark.parametrize("name", ["chain", "dscnn", "gru", "decoder"])
def test_a_long_chain_is_drawn_in_columns(name, bundles, folder):
    if name in ("chain", "decoder"):
        text, shape = (DECODER, (2, 8, 8)) if name == "decoder" else (DEEP, (4, 4, 4))
        bundle, _ = written(folder / f"{name}_columns", text, shape)
    else:
        bundle = bundles[name]
    anatomy = dissect(bundle)
    columns = re.findall(r"<svg.*?</svg>", graph_svg(anatomy))
    boxes = [re.findall(r'<g class="(\w+)"><title>([^<]*)</title>', one) for one in columns]
    # Each part has one box, in order; a column begins with what it reads.
    real = [title for column in boxes for kind, title in column if kind != "io"]
    assert sorted(real) == sorted(part.name for part in anatomy.parts)
    if name in ("gru", "decoder"):
        assert len(columns) == {"gru": 1, "decoder": len(columns)}[name]
        return
    assert len(columns) == {"chain": 6, "dscnn": 3}[name]
    for before, column in pairwise(boxes):
        assert next(title for kind, title in column if kind == "io") == before[-1][1]


def test_names_are_escaped(bundles, tmp_path):
    shutil.copytree(bundles["dscnn"], tmp_path / "b")
    manifest = tmp_path / "b" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("features.0", "<script>x</script>"))
    text = report_html(tmp_path / "b", allow_modified=True)
    assert "<script" not in text and "&lt;script&gt;" in text


def test_without_inputs_and_with_an_older_bundle(bundles, folder):
    text = report_html(bundles["dscnn"])
    assert "not run: give --inputs" in text
    pack(read_recipe(DIGITS / "dscnn_retrained.toml"), folder / "twin")
    target = folder / "against.html"
    done = bramcast(
        "report", folder / "twin", "--inputs", DIGITS / "dscnn.toml", "--against",
        bundles["dscnn"], "-o", target,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "drop-in: same program" in target.read_text()


def test_wrong_calls(bundles, tmp_path):
    for arguments, word in (
        ((tmp_path / "none", "-o", tmp_path / "x.html"), "no such bundle"),
        ((bundles["dscnn"], "--sim", "-o", tmp_path / "x.html"), "--inputs"),
        ((bundles["dscnn"], "-o", tmp_path), "can't be written"),
    ):
        done = bramcast("report", *arguments)
        assert done.returncode == 2 and word in done.stderr, done.stderr
        assert not (tmp_path / "x.html").exists()


@pytest.fixture(scope="module")
def browser():
    """Chromium, headless."""
    if shutil.which("chromedriver") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "no browser: apt-get install chromium chromium-driver"
        )
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


OVERLAPS = """
const found = [];
for (const svg of document.querySelectorAll('svg')) {
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
  const boxes = texts.map(t => t.getBoundingClientRect());
  for (let i = 0; i < boxes.length; i++) for (let j = 0; j < i; j++) {
    const [a, b] = [boxes[i], boxes[j]];
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    // A line's box is higher than its letters: a quarter may overlap.
    if (wide > 0.5 && high > 0.25 * Math.min(a.height, b.height))
      found.push(texts[j].textContent + ' | ' + texts[i].textContent);
  }
}
return found;
"""
LETTERS = """
return Math.min(...[...document.querySelectorAll('.graphs text, .figure text')].map(t => {
  const scale = t.getScreenCTM();
  return parseFloat(getComputedStyle(t).fontSize) * Math.hypot(scale.a, scale.b);
}));
"""
DEEP = """
from torch import nn

def Net():
    layers = [part for _ in range(60) for part in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 16, 3))
"""
DECODER = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(2, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.up1, self.up2 = nn.ConvTranspose2d(16, 8, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.last = nn.Conv2d(10, 1, 1)

    def forward(self, x):
        a = torch.relu(self.down1(x))
        b = torch.relu(self.up1(torch.relu(self.down2(a))))
        c = torch.relu(self.up2(torch.cat([a, b], 1)))
        return torch.sigmoid(self.last(torch.cat([x, c], 1)))
"""


def written(folder, text, shape):
    """A bundle of a network in text with random weights."""
    import torch

    space = {}
    exec(text, space)
    torch.manual_seed(0)
    state = {k: v.numpy() for k, v in space["Net"]().state_dict().items()}
    x = np.random.default_rng(0).normal(size=(8, *shape))
    recipe = text_recipe(folder, text, x, state)
    pack(read_recipe(recipe), folder / "bundle")
    return folder / "bundle", recipe


@pytest.mark.parametrize(
    "name, width",
    [
        in_all(name, width, when=width == 500 and name != "gru")
        for name in ("mlp", "dscnn", "gru", "decoder", "deep")
        for width in (1400, 500)
    ],
)
def test_no_text_of_a_picture_lies_over_another(browser, name, width, folder):
    page = folder / f"{name}_overlaps.html"
    if not page.exists():
        if name in ("decoder", "deep"):
            text, shape = (DECODER, (2, 8, 8)) if name == "decoder" else (DEEP, (4, 4, 4))
            bundle, recipe = written(folder / f"{name}_net", text, shape)
        else:
            recipe, bundle = DIGITS / f"{name}.toml", folder / f"{name}_drawn"
            pack(read_recipe(recipe), bundle)
        page.write_text(report_html(bundle, read_inputs(recipe)))
    browser.set_window_size(width, 900)
    browser.get(page.as_uri())
    assert browser.execute_script(OVERLAPS) == []
    # Letters stay large enough to read: what is too wide scrolls.
    assert browser.execute_script(LETTERS) >= 6
    wide, seen = browser.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert wide <= seen


def test_formats_stand_over_all_edges(bundles):
    svg = graph_svg(dissect(bundles["gru"]))
    assert svg.rindex("<path class=") < svg.index('<text class="format"')


def test_few_words_have_few_ticks(tmp_path):
    small = DEEP[: DEEP.index("def Net")] + "Net = lambda: nn.Sequential(nn.Linear(6, 4))\n"
    anatomy = dissect(written(tmp_path / "net", small, (6,))[0])
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", scratchpad(anatomy))
    ticks = texts[texts.index("clock cycle of the frame") + 1 : texts.index("scratchpad word")]
    assert len(ticks) > 1 and len(set(ticks)) == len(ticks)
    assert all(float(tick).is_integer() for tick in ticks)


@pytest.mark.parametrize("name", ["dscnn", "gru"])
def test_a_browser_shows_it(browser, bundles, folder, name):
    target = folder / f"{name}_browser.html"
    target.write_text(report_html(bundles[name], read_inputs(DIGITS / f"{name}.toml")))
    browser.set_window_size(1366, 768)
    browser.get(target.as_uri())
    assert browser.title == f"digits_{name} - bramcast"
    wide, seen = browser.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert wide <= seen  # a laptop needs no horizontal scrolling
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('svg')].map(s => {"
        " const b = s.getBoundingClientRect(); return [b.width, b.height]; })"
    )
    assert len(boxes) > 5 and all(w > 100 and h > 20 for w, h in boxes)
    # Names in boxes of the graph stay inside their boxes.
    assert browser.execute_script(
        "return [...document.querySelectorAll('svg.graph g')].every(g => {"
        " const r = g.querySelector('rect').getBBox();"
        " return [...g.querySelectorAll('text')].every("
        "  t => t.getBBox().x + t.getBBox().width <= r.x + r.width); })"
    )
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []


CONTRAST = """
const light = c => {
  const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => {
    v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const page = light(getComputedStyle(document.body).backgroundColor);
const worst = {};
for (const e of document.querySelectorAll('p, td, th, b, span, small, h2, dt, dd, a, svg text')) {
  if (!e.textContent.trim() || e.closest('table.matrix')) continue;
  const style = getComputedStyle(e);
  const ink = e instanceof SVGElement ? style.fill : style.color;
  if (ink === 'rgb(255, 255, 255)') continue;  // a name in a bar of its own colour
  const [a, b] = [light(ink), page].sort((x, y) => y - x);
  worst[ink] = Math.min(worst[ink] ?? 99, (a + 0.05) / (b + 0.05));
}
return [page, worst];
"""


@pytest.mark.parametrize(
    "media, theme", [("screen", "light"), ("screen", "dark"), ("print", "dark")]
)
def test_letters_can_be_read_by_day_and_night_and_on_paper(browser, page, media, theme):
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})
    try:
        browser.set_window_size(1400, 900)
        browser.get(page.as_uri())
        ground, worst = browser.execute_script(CONTRAST)
        assert (ground < 0.1) == (theme == "dark" and media == "screen")
        assert len(worst) > 3 and min(worst.values()) >= 4.5, worst  # as WCAG asks of small text
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_paper_takes_the_whole_width(browser, page):
    """A4 at 96 dots an inch, without margins of 13 mm."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    screen = {"width": 695, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        browser.get(page.as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 695
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_each_of_several_outputs_is_told_about(folder):
    recipe = several.write_recipe(folder / "heads", "Heads")
    pack(read_recipe(recipe), folder / "heads" / "bundle")
    made = bramcast(
        "report", folder / "heads" / "bundle", "--inputs", recipe, "-o", folder / "h.html"
    )
    assert made.returncode == 0, made.stderr
    text = (folder / "h.html").read_text()
    for name in ("output0", "output1"):
        assert re.search(rf"Output {name}.*?dB of what varies against the float", text, re.S)
