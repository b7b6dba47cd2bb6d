"""How long the core takes, from the program and the core's parameters alone."""

from collections.abc import Sequence

from bramcast.pack.descriptor import Descriptor, Input
from bramcast.pack.manifest import Core

MAX_CYCLES = 1 << 26  # a longer program is refused
NEST_CYCLES = 64  # more than any gap between two nests


def cycle_bound(program: Sequence[Descriptor], core: Core) -> int:
    """An upper bound on the cycles of one frame whose input comes and whose results go unhindered.

    Exact up to the gaps between nests: a pixel takes its taps or, if that is longer, the cycles
    in which its lanes are requantized (or leave on the stream, one lane a cycle).
    """
    total = 0
    for d in program:
        total += NEST_CYCLES
        if isinstance(d, Input):
            total += d.run * d.runs
        else:
            drain = core.lanes if d.stream else -(-core.lanes // core.rq)
            total += d.pixels * max(d.taps, drain)
    return total
