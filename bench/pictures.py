# SPDX-License-Identifier: Apache-2.0
"""Draws docs/frames_*.svg: short, long and aborted frames, as the core handles them.

    make pictures

The core runs on Icarus with a layer of 4 inputs and 6 outputs; what stands on its ports is drawn.
Rests, cycles in which nothing changes, are cut out, and rows in which nothing ever does.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
import wavedrom

from bramcast.golden.load import load
from bramcast.pack.bundle.manifest import IMAGES
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.run.cosim import core_parameters
from bramcast.sim.run.runner import Tests, build, run

DOCS = Path(__file__).resolve().parents[1] / "docs"
Trace = dict[str, list[str]]  # a port's values, one per cycle


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn: the frames' lengths, and the beat behind which abort_i comes."""

    title: str
    frames: str
    abort: str = ""


SCENES = {
    "short": Scene("a short frame (a) and a whole one (b); INPUT wants 4 elements", "2,4"),
    "long": Scene("a long frame (a) and a whole one (b); INPUT wants 4 elements", "6,4"),
    "abort_input": Scene("abort_i in the middle of a frame (a); b is the next one", "4,4", "s1"),
    "abort_results": Scene("abort_i in the middle of results; b is the next frame", "4,4", "m1"),
}
ROWS = (
    "s_axis_tvalid", "s_axis_tready", "s_axis_tdata", "s_axis_tlast", "taken_o", "dropped_o",
    "busy_o", "abort_i", "aborting_o", "m_axis_tvalid", "m_axis_tdata", "m_axis_tlast",
    "m_axis_tuser[16]", "done_o",
)  # fmt: skip
SVG, HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
ElementTree.register_namespace("", SVG[1:-1])
ElementTree.register_namespace("xlink", HREF[1:-5])
STILL = 2  # cycles of a rest that are drawn before it is cut


def traces(folder: Path) -> dict[str, Trace]:
    """What stands on the ports in the scenes, from Icarus."""
    torch.manual_seed(0)
    torch.save(torch.nn.Linear(4, 6).state_dict(), folder / "layer.pth")
    np.savez(folder / "x.npz", x=np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32))
    (folder / "layer.toml").write_text(
        '[model]\ncheckpoint = "layer.pth"\ninputs = "x.npz"\n[core]\nlanes = 4\nrq = 1\n'
    )
    pack(read_recipe(folder / "layer.toml"), folder / "bundle")
    core = load(folder / "bundle").core
    made = build("bramcast_core", core_parameters(core), "icarus")
    found = {}
    for name, scene in SCENES.items():
        out = folder / f"{name}.json"
        run(
            made,
            "bramcast_core",
            "icarus",
            Tests(
                "bramcast.sim.benches.bench_timing",
                env={
                    "TIMING_FRAMES": scene.frames,
                    "TIMING_ABORT": scene.abort,
                    "TIMING_OUT": str(out),
                },
                plusargs={n: folder / "bundle" / f"{n}.mem" for n in IMAGES if core.depth(n)},
            ),
            work=folder / name,
        ).check()
        found[name] = json.loads(out.read_text())
    return found


def waves(title: str, trace: Trace) -> dict[str, object]:
    """A trace in WaveDrom's words; a rest longer than STILL cycles becomes one with a gap."""
    rows = {**trace, "m_axis_tuser[16]": [v[0] for v in trace["m_axis_tuser"]]}
    for stream in ("s_axis", "m_axis"):  # what stands beside a low TVALID means nothing
        for port in (f"{stream}_tlast", "m_axis_tuser[16]"):
            if port.startswith(stream):
                rows[port] = [
                    v if valid == "1" else "0"
                    for v, valid in zip(rows[port], rows[f"{stream}_tvalid"], strict=True)
                ]
    names = [name for name in ROWS if len(set(rows[name])) > 1]
    columns = list(zip(*(rows[name] for name in names), strict=True))
    shown: list[int] = []
    gaps: set[int] = set()
    still = 0
    for cycle, column in enumerate(columns):
        still = still + 1 if cycle and column == columns[cycle - 1] else 0
        if still < STILL:
            shown.append(cycle)
        elif still == STILL:
            shown.append(cycle)
            gaps.add(cycle)
    signals: list[dict[str, object]] = [
        {"name": "clk", "wave": "".join("|" if c in gaps else "p" if i == 0 else "."
                                        for i, c in enumerate(shown))}
    ]  # fmt: skip
    for row, name in enumerate(names):
        wave, data, last = "", [], None
        for cycle in shown:
            value = columns[cycle][row]
            if cycle in gaps:
                wave += "|"
            elif value == last:
                wave += "."
            elif name.endswith("tdata"):
                wave += "=" if value else "0"
                data += [value] if value else []
            else:
                wave += value
            last = value
        signals.append({"name": name, "wave": wave} | ({"data": data} if data else {}))
    return {"signal": signals, "head": {"text": title}, "config": {"hscale": 1}}


def picture(title: str, trace: Trace) -> str:
    """An SVG, without the hundred shapes that WaveDrom defines and this one does not use."""
    drawn = wavedrom.render(json.dumps(waves(title, trace))).tostring()
    root = ElementTree.fromstring(drawn)
    used = {n.get(HREF, "").removeprefix("#") for n in root.iter()}
    for shapes in root.iter(f"{SVG}defs"):
        for shape in list(shapes):
            if shape.tag == f"{SVG}g" and shape.get("id") not in used:
                shapes.remove(shape)
    root.insert(0, ElementTree.Element(f"{SVG}rect", width="100%", height="100%", fill="#ffffff"))
    return ElementTree.tostring(root, "unicode") + "\n"


def pictures(folder: Path) -> dict[str, str]:
    """The SVG of each scene, by the name of its file in docs/."""
    found = traces(folder)
    return {f"frames_{n}.svg": picture(s.title, found[n]) for n, s in SCENES.items()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for file, text in pictures(Path(scratch)).items():
            (DOCS / file).write_text(text)
