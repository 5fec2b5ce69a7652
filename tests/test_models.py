import pytest

from conftest import ARCHITECTURES


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_loads_and_names_its_layers(load, architecture):
    model = load(architecture)
    blocks = ["embed", "block_1", "block_2", "block_3"]
    assert model.layers == blocks + ([] if architecture == "bert" else ["final_norm"])
