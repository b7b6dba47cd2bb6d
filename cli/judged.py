# SPDX-License-Identifier: Apache-2.0
"""What is said of a packed network beside the float one."""

from collections.abc import Sequence
from dataclasses import asdict

from bramcast.cli.output import percent
from bramcast.golden.beside_float import BesideFloat
from bramcast.pack.bundle.judgement import EQUAL_DB
from bramcast.pack.bundle.manifest import Judgement, Manifest, OutputJudgement


def judgement_lines(manifest: Manifest, judgement: Judgement) -> list[str]:
    """How near it comes, and whose rounding the rest is."""
    share = {layer.name: layer.share for layer in manifest.layers}
    lines = [
        f"beside the float network, {samples(judgement.samples)}: "
        + likeness(judgement.snr, judgement.agreement)
    ]
    if judgement.accuracy is not None:
        lines[0] += (
            f", accuracy {percent(judgement.accuracy)} (float {percent(judgement.float_accuracy)})"
        )
    if judgement.error_growth is not None:
        lines[0] += f", squared error against the input {judgement.error_growth:+.2f} %"
    lines += output_lines(judgement.outputs)
    if judgement.worst_layer is not None:
        worst = judgement.worst_layer
        lines.append(
            f"of the output's error {100 * share[worst]:.0f} % is layer {worst!r}, "
            f"{100 * judgement.input_share:.0f} % the rounding of the input"
        )
    return lines


def beside_line(beside: BesideFloat, count: int) -> str:
    """The judgement repeated on those of ``count`` samples whose float results are known.

    >>> beside_line(BesideFloat(2, 30.0, 0.5), 4)
    'beside the float network, 2 of 4 samples: 30.0 dB of what varies, same class 50.00 %'
    """
    known = samples(count) if beside.samples == count else f"{beside.samples:,} of {samples(count)}"
    text = f"beside the float network, {known}: {likeness(beside.snr, beside.agreement)}"
    return "\n".join([text, *output_lines(beside.outputs)])


def beside_json(beside: BesideFloat) -> dict[str, object]:
    """The same for --json: ``outputs`` only where there are several."""
    return _without_outputs(asdict(beside))


def judgement_json(judgement: Judgement) -> dict[str, object]:
    """What packing said, for --json: ``outputs`` only where there are several."""
    return _without_outputs(asdict(judgement))


def _without_outputs(found: dict[str, object]) -> dict[str, object]:
    return found if found["outputs"] else {k: v for k, v in found.items() if k != "outputs"}


def output_lines(outputs: Sequence[OutputJudgement]) -> list[str]:
    """A line for each of several outputs.

    >>> output_lines([OutputJudgement("boxes", 30.0, None)])
    ["  output 'boxes': 30.0 dB of what varies"]
    """
    return [f"  output {one.name!r}: {likeness(one.snr, one.agreement)}" for one in outputs]


def likeness(snr: float | None, agreement: float | None) -> str:
    """Signal to noise, and where there are classes how many are the same."""
    noise = "the outputs do not vary"
    if snr is not None:
        noise = f"{snr:.1f} dB of what varies" if snr < EQUAL_DB else "equal outputs"
    return noise if agreement is None else f"{noise}, same class {percent(agreement)}"


def samples(count: int) -> str:
    """A number of samples.

    >>> samples(1), samples(1200)
    ('1 sample', '1,200 samples')
    """
    return "1 sample" if count == 1 else f"{count:,} samples"
