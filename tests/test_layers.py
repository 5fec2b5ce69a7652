import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layeratlas.errors import ConfigError
from layeratlas.layers import EMBED, FINAL_NORM, all_layers, block, depth, select

FIVE = ["embed", "block_1", "block_2", "block_3", "block_4", "block_5", "final_norm"]
quick = settings(deadline=None, derandomize=True, max_examples=40)


def test_layers_are_named_in_the_order_of_the_forward_pass():
    assert all_layers(5, final_norm=True) == FIVE
    assert all_layers(5, final_norm=False) == FIVE[:-1]
    assert (EMBED, block(12), FINAL_NORM) == ("embed", "block_12", "final_norm")


def test_the_depth_of_a_block_is_its_share_of_all_blocks():
    assert [depth(name, 5) for name in FIVE[1:-1]] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert depth("block_30", 30) == 1.0


@pytest.mark.parametrize("name", ["embed", "final_norm", "block", "block_", "block_x", "my_block_3", "block_3_mlp"])
def test_what_is_no_block_has_no_depth(name):
    assert math.isnan(depth(name, 5))


@pytest.mark.parametrize(
    ("wanted", "selected"),
    [
        ("blocks", ["block_1", "block_2", "block_3", "block_4", "block_5"]),
        ("all", FIVE),
        ("hidden_states", ["embed", "block_1", "block_2", "block_3", "block_4", "final_norm"]),
        ("hidden_states_without_embed", ["block_1", "block_2", "block_3", "block_4", "final_norm"]),
        ("every_1", ["block_1", "block_2", "block_3", "block_4", "block_5"]),
        ("every_2", ["block_2", "block_4", "block_5"]),
        ("every_3", ["block_3", "block_5"]),
        ("every_5", ["block_5"]),
        ("every_12", ["block_5"]),
        ("block_4", ["block_4"]),
        ("embed", ["embed"]),
        (["final_norm", "block_2"], ["final_norm", "block_2"]),
    ],
)
def test_presets_and_names_select_layers(wanted, selected):
    assert select(wanted, FIVE) == selected


def test_every_nth_block_that_divides_the_depth_names_the_last_block_once():
    assert select("every_4", all_layers(12, final_norm=True)) == ["block_4", "block_8", "block_12"]


def test_hidden_states_of_a_network_without_a_final_norm_end_in_its_last_block():
    assert select("hidden_states", all_layers(3, final_norm=False)) == ["embed", "block_1", "block_2", "block_3"]


@quick
@given(n_blocks=st.integers(1, 90), stride=st.integers(1, 100), final_norm=st.booleans())
def test_every_preset_selects_distinct_layers_of_the_network_in_their_order(n_blocks, stride, final_norm):
    available = all_layers(n_blocks, final_norm=final_norm)
    for preset in ("blocks", "all", "hidden_states", "hidden_states_without_embed", f"every_{stride}"):
        selected = select(preset, available)
        assert selected == [name for name in available if name in selected]
        assert selected


@quick
@given(n_blocks=st.integers(1, 90))
def test_hidden_states_are_as_many_as_hugging_face_returns(n_blocks):
    assert len(select("hidden_states", all_layers(n_blocks, final_norm=True))) == n_blocks + 1


@pytest.mark.parametrize(
    ("wanted", "unknown"),
    [
        ("block_6", "'block_6'"),
        ("last", "'last'"),
        ("every_0", "'every_0'"),
        ("every_-1", "'every_-1'"),
        ("", "''"),
        (["block_1", "block_0", "block_99"], "'block_0', 'block_99'"),
    ],
)
def test_a_layer_that_the_model_lacks_is_named_with_what_there_is(wanted, unknown):
    expected = (
        rf"^layers: no layer {unknown}; this model has embed \.\. final_norm \(5 blocks\); presets are blocks, all, hidden_states"
    )
    with pytest.raises(ConfigError, match=expected):
        select(wanted, FIVE)


@pytest.mark.parametrize("wanted", [[], ["block_1", "block_1"]])
def test_no_layers_and_repeated_layers_are_refused(wanted):
    with pytest.raises(ConfigError, match=r"^layers: expected one or more distinct names; got \["):
        select(wanted, FIVE)
