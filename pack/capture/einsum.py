# SPDX-License-Identifier: Apache-2.0
"""Sums of products of data and a constant, named by letters: a Linear or a scale. Imports torch.

bct,co->bot  the data's c is summed, o comes from the constant
bct,c->bct   a factor for each c
"""

from math import prod
from typing import Any

import numpy as np
import torch

from bramcast.pack.capture.elementwise import add_scale
from bramcast.pack.capture.linear import add_matrix_product
from bramcast.pack.capture.state import MIXES, Capture, Handler, Site, as_numpy
from bramcast.pack.graph.tensor import ZERO, IntArray


def _einsum(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    equation, operands = str(a["equation"]).replace(" ", ""), list(a["tensors"])
    given, arrow, result = equation.partition("->")
    terms = given.split(",")
    data = [n for n, v in enumerate(operands) if isinstance(v, np.ndarray)]
    if not arrow or "." in equation or len(terms) != len(operands):
        raise site.refuse(f"einsum({equation!r}): write it with -> and without dots")
    if len(data) != 1 or len(operands) > 2:
        raise site.refuse(
            f"einsum({equation!r}) of several tensors of data (with a constant it is a Linear): "
            "write products with * and sums with sum(dim)"
        )
    of_data, view = terms.pop(data[0]), operands.pop(data[0])
    of_constant, constant = (terms[0], operands[0]) if terms else ("", torch.ones(()))
    batch, letters = of_data[:1], of_data[1:]
    twice = any(len(set(term)) < len(term) for term in (of_data, of_constant))
    if result[:1] != batch or batch in of_constant or twice:
        raise site.refuse(f"einsum({equation!r}): {MIXES}, and no letter may stand twice in a term")
    return contract(state, site, view, letters, constant, of_constant, result[1:])


def contract(
    state: Capture,
    site: Site,
    view: IntArray,
    letters: str,
    constant: torch.Tensor,
    of_constant: str,
    result: str,
) -> Any:
    """The sum over all letters that the result lacks.

    Args:
        letters: one for each axis of the view, the batch left out.
        of_constant: one for each axis of the constant.
    """
    kept = "".join(c for c in of_constant if c in letters or c in result)
    if kept != of_constant:  # what is summed in the constant alone
        constant = torch.einsum(f"{of_constant}->{kept}", constant)
    shared = [c for c in letters if c in kept and c in result]
    if shared and len(shared) < len(kept):
        raise site.refuse(
            f"an einsum in which {', '.join(shared)} stands in the data, the constant and the "
            "result, so that each has weights of its own: write a Conv1d with groups"
        )
    if shared:
        ordered = constant.permute([kept.index(c) for c in shared])
        sizes = [view.shape[n] if c in shared else 1 for n, c in enumerate(letters)]
        view = add_scale(state, site, view, as_numpy(ordered).reshape(sizes), 0.0)
        if not isinstance(view, np.ndarray):
            raise site.refuse("a constant of zeros")
        kept, constant = "", torch.ones(())
    lead, summed = [c for c in letters if c in result], [c for c in letters if c not in result]
    own = [c for c in kept if c not in letters]
    size = {c: int(n) for c, n in zip(letters, view.shape, strict=True)}
    size |= {c: int(n) for c, n in zip(kept, constant.shape, strict=True)}
    numbers = view.transpose([letters.index(c) for c in lead + summed])
    if summed or own:
        # One weight for each of the result's own letters and each that is summed.
        weight = as_numpy(constant.permute([kept.index(c) for c in (*own, *summed) if c in kept]))
        there = [size[c] if c in kept else 1 for c in (*own, *summed)]
        full = np.broadcast_to(weight.reshape(there), [size[c] for c in (*own, *summed)]).copy()
        outputs, fan_in = prod(size[c] for c in own), prod(size[c] for c in summed)
        shape = tuple(size[c] for c in lead)
        flat = np.ascontiguousarray(numbers).reshape(*shape, fan_in)
        made = add_matrix_product(
            state, site, flat, full.reshape(outputs, fan_in), np.zeros(outputs), (*shape, outputs)
        )
        if not isinstance(made, np.ndarray):  # of nothing but zeros
            made = np.full((*shape, outputs), ZERO, np.int64)
        numbers = made.reshape([size[c] for c in lead + own])
    order = lead + own
    return np.ascontiguousarray(numbers.transpose([order.index(c) for c in result]))


EINSUM: dict[str, Handler] = {"einsum": _einsum}
