"""What carries a similarity: planted groups and items are named, and lengths and tokens account for what they made."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from comparing import comparison_of, inference
from drawing import drawn_of_run, illegible

from layeratlas.affinity.matrix import compare
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import Influence
from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError
from layeratlas.metrics import CKALinear, CKALinearDebiased, MutualKNN
from layeratlas.statistics.left_out_groups import changes, groups_of, random_members

CPU = torch.device("cpu")
ASKED = Influence(groups=10, draws=12, items=8, cells=2, seed=0)
N = 60


def drawn(seed: int, n=N, width=5) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def sides(common: torch.Tensor, layers=3, noise=1.0) -> tuple[Activations, Activations]:
    """Both sides hold what is common in all layers, and noise of their own."""
    made = []
    for side in (10, 20):
        made.append(
            Activations({f"block_{i}": common + noise * drawn(side + i, len(common)) for i in range(1, layers + 1)}, layers)
        )
    return made[0], made[1]


def comparison(a, b, metric=None, **columns):
    signer = Signer((metric or MutualKNN(k=4)).with_slack(), CPU)
    made = comparison_of(compare(signer, a, b), a, b, signer)
    return replace(made, items=made.items.assign(**columns), pooling="last")


def test_a_group_that_alone_has_anything_in_common_carries_every_cell():
    """Items of group x share a strong signal; without them nothing is left but noise."""
    groups = np.array(["x", "y", "z"] * (N // 3))
    common = 6 * drawn(1) * torch.from_numpy(groups == "x")[:, None]
    asked = comparison(*sides(common), CKALinearDebiased(), group=groups.tolist())
    found = ASKED(asked)
    left = found.parts["cells"].groupby("group")["change"].median() + np.median(asked.affinity.matrix)
    assert left["x"] < 0.1 < 0.5 < left.drop("x").min()
    z = found.parts["cells"].groupby("group")["z"].median()
    assert z["x"] < -1.5 < z.drop("x").min()
    assert found.numbers["of_the_data"]


def test_changes_are_those_of_matrices_made_without_the_items():
    a, b = sides(drawn(1))
    groups = (["p"] * 20 + ["q"] * 25 + ["r"] * 15,)[0]
    asked = comparison(a, b, CKALinear(), group=groups)
    cells = ASKED(asked).parts["cells"]
    for name, members in groups_of(groups, 10).items():
        kept = torch.from_numpy(np.setdiff1d(np.arange(N), members))
        again = compare(asked.signer, a.some(kept), b.some(kept)).matrix - asked.affinity.matrix
        np.testing.assert_allclose(cells[cells["group"] == name]["change"], again.ravel(), atol=1e-6)


def test_lists_that_cannot_do_without_a_group_are_made_anew():
    """All listed neighbours of an item are of its own group."""
    groups = ["p"] * 25 + ["q"] * 25 + ["r"] * 10
    common = torch.zeros(N, 5)
    for place, (start, end) in enumerate([(0, 25), (25, 50), (50, 60)]):
        common[start:end, place] = 50
    a, b = sides(common)
    signer = Signer(MutualKNN(k=4), CPU)  # no slack
    made = comparison_of(compare(signer, a, b), a, b, signer)
    cells = ASKED(replace(made, items=made.items.assign(group=groups))).parts["cells"]
    assert np.isfinite(cells["change"]).all()


@pytest.mark.parametrize("worlds", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_random_groups_carry_nothing_in_many_worlds(worlds):
    """z of groups that are random themselves: mean 0, mean square 13/12 x 11/9, as mean and deviation are of 12 draws.

    What is common, both sides' noise and the draws are those of each world: with one noise for all, its items would stay the same.
    """
    z = []
    for world in range(worlds):
        common, *noise = (drawn(1000 * part + world) for part in (1, 2, 3))
        a, b = (Activations({"block_1": common + of_side}, 1) for of_side in noise)
        asked = replace(ASKED, items=0, seed=world)
        z.append(asked(comparison(a, b, CKALinearDebiased())).parts["cells"]["z"].to_numpy())
    slack = 3.5 / np.sqrt(worlds)
    assert abs(np.mean(z)) < slack / 3
    assert np.square(z).mean() == pytest.approx(13 / 12 * 11 / 9, rel=slack / 3)


def test_one_item_that_makes_layers_alike_is_named():
    common = torch.zeros(N, 5)
    common[17] = 40
    found = replace(ASKED, items=N)(comparison(*sides(common), CKALinear()))
    items = found.parts["items"]
    assert items.groupby(["layer_a", "layer_b"]).ngroups == 2
    for _, rows in items.groupby(["layer_a", "layer_b"]):
        assert rows.loc[rows["beyond"].idxmin(), "id"] == "17"


def test_as_many_single_items_as_asked_for_drawn_by_the_seed():
    a, b = sides(drawn(1))
    first, again = (ASKED(comparison(a, b)).parts["items"] for _ in range(2))
    other = replace(ASKED, seed=1)(comparison(a, b)).parts["items"]
    pd.testing.assert_frame_equal(first, again)
    assert first.groupby(["layer_a", "layer_b"]).size().tolist() == [8, 8]
    assert set(first["item"]) != set(other["item"])
    assert "items" not in replace(ASKED, items=0)(comparison(a, b)).parts


def test_what_length_made_length_accounts_for_and_what_it_did_not_make_it_does_not():
    tokens = np.random.default_rng(0).integers(5, 80, N)
    axis = drawn(5, n=1, width=5)
    by_length = torch.from_numpy((tokens - tokens.mean()) / tokens.std()).float()[:, None] * 4 * axis
    columns = {"tokens_a": tokens, "tokens_b": tokens}
    shares = {}
    for name, common in {"length": by_length, "content": 2 * drawn(6)}.items():
        found = ASKED(comparison(*sides(common), CKALinearDebiased(), **columns))
        shares[name] = found.parts["accounts"]["share"].median()
        assert found.numbers["accounts"]["token count"] == pytest.approx(shares[name])
    assert shares["length"] > 0.9
    assert abs(shares["content"]) < 0.1


def test_the_token_that_is_read_accounts_for_what_it_made():
    tokens = np.random.default_rng(0).integers(0, 6, N)
    by_token = 4 * drawn(7, n=6)[torch.from_numpy(tokens)]
    columns = {"last_token_id_a": tokens, "last_token_id_b": tokens}
    made = ASKED(comparison(*sides(by_token), CKALinearDebiased(), **columns)).parts["accounts"]
    assert made["account"].unique().tolist() == ["the token that is read"]
    assert made["share"].median() > 0.9
    other = ASKED(comparison(*sides(2 * drawn(6)), CKALinearDebiased(), **columns)).parts["accounts"]
    assert abs(other["share"].median()) < 0.15


def test_tokens_that_each_text_has_alone_account_for_nothing_and_are_left_out():
    columns = {"last_token_id_a": np.arange(N), "last_token_id_b": np.arange(N), "tokens_a": 7, "tokens_b": 7}
    found = ASKED(comparison(*sides(drawn(1)), **columns))
    assert "accounts" not in found.parts
    assert found.numbers["accounts"] == {}


def test_a_cell_that_is_not_above_chance_has_no_share():
    tokens = np.random.default_rng(0).integers(5, 80, N)
    a = Activations({"block_1": drawn(1)}, 1)
    b = Activations({"block_1": drawn(2)}, 1)
    made = comparison(a, b, tokens_a=tokens, tokens_b=tokens)
    p = {"p_fdr": np.array([[0.4]])}
    accounts = ASKED(replace(made, affinity=replace(made.affinity, inferred=p), inference=inference())).parts["accounts"]
    assert accounts["share"].isna().all()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["a", "b"] * 6, {"a": 6, "b": 6}),
        (["a"] * 12, {"items 1 to 3": 3, "items 4 to 6": 3, "items 7 to 9": 3, "items 10 to 12": 3}),
        (["a"] * 10 + ["b"] * 2, {"items 1 to 3": 3, "items 4 to 6": 3, "items 7 to 9": 3, "items 10 to 12": 3}),
        ([str(i) for i in range(12)], {"items 1 to 3": 3, "items 4 to 6": 3, "items 7 to 9": 3, "items 10 to 12": 3}),
    ],
)
def test_groups_of_the_data_where_they_can_be_left_out_and_runs_of_items_otherwise(labels, expected):
    assert {name: len(members) for name, members in groups_of(labels, 4).items()} == expected


def test_a_statistic_that_all_items_carry_alike_changes_by_nothing():
    groups = groups_of(["a", "b", "c"] * 4, 5)
    sets = random_members([4, 4, 4], 12, 5, np.random.default_rng(0))
    found = changes(np.array(1.0), lambda dropped: np.ones(len(dropped)), groups, sets)
    assert all(one.change == one.random == one.random_sd == 0 and np.isnan(one.z) for one in found.values())


def test_too_few_items_to_leave_any_out_are_refused():
    with pytest.raises(ConfigError, match=r"mutual_knn needs at least 11 items, and up to half are left out; got dataset.n=20"):
        ASKED.require(MutualKNN(k=10), 20)


@pytest.mark.pictures
def test_its_charts_hold_what_it_found_and_its_picture_can_be_read_in_a_column(tmp_path):
    found = ASKED(comparison(*sides(drawn(1)), CKALinearDebiased(), group=["x", "y", "z"] * (N // 3)))
    charts, pictures = drawn_of_run(tmp_path / "run", "influence", found, n=N)
    assert charts[0]["ticks"] == found.table["group"].tolist()
    assert charts[0]["series"][0]["y"] in (found.table[column].tolist() for column in found.table if str(column).endswith("change"))
    assert illegible(pictures["influence"]) == []
