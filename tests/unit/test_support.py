# SPDX-License-Identifier: Apache-2.0
"""What the tests share among themselves belongs to the same network."""

import networks
import pytest
import support
import torch
from support import _content, write_recipe
from torch import nn

from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe


def content(module, shape=(3, 19, 17)):
    return _content(module, (torch.zeros((2, *shape)),))


@pytest.mark.parametrize("name", networks.SHAPES)
def test_networks_of_the_same_content_alone_have_the_same_key(name):
    same, other = networks.build(name), networks.build(name, seed=1)
    key = content(same)
    assert key is not None and key == content(networks.build(name))
    if any(True for _ in same.parameters()):
        assert key != content(other)
        next(same.parameters()).data.flatten()[0] += 1
        assert key != content(same)


def test_shapes_attributes_and_classes_count():
    module = networks.build("VggCeil")
    keys = [content(module), content(module, (3, 19, 18)), content(networks.build("Grouped"))]
    module.train()
    keys.append(content(module))
    module.eval()
    module.power = 2
    keys.append(content(module))
    assert len(set(keys)) == 5
    assert content(nn.Sequential(type("Mine", (nn.ReLU,), {"__module__": __name__})())) is None


@pytest.mark.parametrize("held", [torch.sigmoid, [torch.tanh], {"a": 1}])
def test_an_attribute_whose_content_is_not_known_is_exported_anew(held):
    module = networks.Between(held)
    assert content(module, (5,)) is None
    assert content(networks.Between(nn.Tanh()), (5,)) is not None


def test_a_network_is_exported_once_whatever_its_core(tmp_path, monkeypatch):
    calls, real = [], support._export
    monkeypatch.setattr(support, "_export", lambda *a: calls.append(a) or real(*a))
    monkeypatch.setattr(support, "_exports", {})
    for lanes, seed in ((4, 0), (16, 0), (4, 1)):
        recipe = write_recipe(tmp_path / "r", "VggCeil", f"[core]\nlanes = {lanes}\n", seed=seed)
        pack(read_recipe(recipe), tmp_path / "b")
    assert len(calls) == 2
