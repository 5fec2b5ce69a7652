"""Which texts' neighbourhoods two layers agree on: counts, chance, p, ties, and what is refused."""

import numpy as np
import pytest
import torch
from comparing import comparison_of
from drawing import drawn_of_run, illegible
from scipy import stats

from layeratlas.affinity.matrix import compare
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import Neighbors
from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics import CKALinear, MutualKNN
from layeratlas.metrics.shared_neighbors import shared_by_item

CPU = torch.device("cpu")
BEST_PATH = Neighbors(cells=None, extremes=4)


def side(seed: int, n=40, layers=3, width=6, shared=0.0) -> Activations:
    """Noise, with a part that all sides and layers share."""
    common = torch.randn(n, width, generator=torch.Generator().manual_seed(99))
    own = torch.Generator().manual_seed(seed)
    drawn = [shared * common + torch.randn(n, width, generator=own) for _ in range(layers)]
    return Activations({f"block_{i}": x for i, x in enumerate(drawn, 1)}, layers)


def asked(a, b, k=5, analysis=BEST_PATH):
    signer = Signer(MutualKNN(k=k), CPU)
    return analysis(comparison_of(compare(signer, a, b), a, b, signer))


def nearest(x: torch.Tensor, k: int) -> list[list[int]]:
    """By brute force: cosines."""
    x = x.double() / x.double().norm(dim=1, keepdim=True)
    cosines = x @ x.T
    cosines.fill_diagonal_(-2)
    return cosines.argsort(dim=1, descending=True)[:, :k].tolist()


def test_every_count_and_list_is_that_of_brute_force():
    a, b = side(1, shared=1.5), side(2, shared=1.5, layers=4)
    found = asked(a, b)
    items, extremes = found.parts["items"], found.parts["extremes"]
    for (layer_a, layer_b), rows in items.groupby(["layer_a", "layer_b"]):
        near_a, near_b = nearest(a.layers[layer_a], 5), nearest(b.layers[layer_b], 5)
        expected = [len({*x} & {*y}) for x, y in zip(near_a, near_b, strict=True)]
        assert rows["shared"].tolist() == expected
        law = stats.hypergeom(39, 5, 5)
        np.testing.assert_allclose(rows["p"], [sum(law.pmf(m) for m in range(count, 6)) for count in expected])
        for row in extremes[(extremes["layer_a"] == layer_a) & (extremes["layer_b"] == layer_b)].itertuples():
            x, y = near_a[int(row.id)], near_b[int(row.id)]
            assert row.both == [str(one) for one in x if one in y]
            assert row.only_a == [str(one) for one in x if one not in y]
            assert row.only_b == [str(one) for one in y if one not in x]


def test_the_mean_over_texts_is_the_metric_itself():
    a, b = side(1, shared=1.0), side(2, shared=1.0)
    signer = Signer(MutualKNN(k=5), CPU)
    affinity = compare(signer, a, b)
    for row in BEST_PATH(comparison_of(affinity, a, b, signer)).table.itertuples():
        cell = affinity.matrix[affinity.layers_a.index(row.layer_a), affinity.layers_b.index(row.layer_b)]
        assert row.shared / 5 == pytest.approx(cell, abs=1e-6)


def test_a_row_for_each_layer_of_a_on_a_path_that_never_runs_backwards_and_no_more_rows_than_asked_for():
    found = asked(side(1, layers=4), side(2, layers=3))
    assert found.table["layer_a"].tolist() == ["block_1", "block_2", "block_3", "block_4"]
    assert found.table["depth_b"].is_monotonic_increasing
    assert len(found.parts["items"]) == 4 * 40
    assert len(found.parts["extremes"]) == 4 * 2 * 4
    assert found.parts["counts"].groupby("layer_a")["items"].sum().tolist() == [40] * 4
    np.testing.assert_allclose(found.parts["counts"].groupby("layer_a")["chance"].sum(), 40)


def test_most_and_least_are_the_ends_of_the_order():
    found = asked(side(1, shared=1.0), side(2, shared=1.0))
    for cell, rows in found.parts["extremes"].groupby(["layer_a", "layer_b"]):
        items = found.parts["items"].set_index(["layer_a", "layer_b"]).loc[cell]["shared"].sort_values()
        assert rows[rows["agree"] == "most"]["shared"].tolist() == items.iloc[::-1][:4].tolist()
        assert rows[rows["agree"] == "least"]["shared"].tolist() == items.iloc[:4].tolist()


def test_chosen_cells_are_those_and_a_layer_that_is_not_there_is_named():
    a, b = side(1), side(2)
    found = asked(a, b, analysis=Neighbors(cells=[["block_3", "block_1"]], extremes=2))
    assert found.table[["layer_a", "layer_b"]].to_numpy().tolist() == [["block_3", "block_1"]]
    assert "the most of these cells" in found.sentences[0]
    with pytest.raises(ConfigError, match="cells: side b has no layer 'block_9'; there are block_1, block_2, block_3"):
        asked(a, b, analysis=Neighbors(cells=[["block_1", "block_9"]], extremes=2))
    for cells in ([], [["block_1"]]):
        with pytest.raises(ConfigError, match="expected null or pairs such as"):
            Neighbors(cells=cells, extremes=2).require(MutualKNN(k=5), 40)


def test_a_metric_without_lists_is_refused_before_a_model_is_loaded():
    with pytest.raises(ConfigError, match=r"analysis.neighbors: cka_linear keeps no lists of neighbours; metric=mutual_knn does"):
        BEST_PATH.require(CKALinear(), 40)


def test_sides_that_hold_the_same_vectors_agree_by_construction_which_is_no_finding():
    a = side(1)
    with pytest.raises(Undefined, match="every neighbourhood agrees by construction"):
        asked(a, a)


def test_ties_share_their_credit_and_have_no_p():
    """Four equal vectors on one side: any of three is the nearest."""
    x = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0.1], [0, 0, 1], [0, 0.1, 1]])
    metric = MutualKNN(k=1)
    tied, untied = metric.signature(x), metric.signature(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    shared = shared_by_item(tied, untied, 1)
    others = untied.indices[:4, 0].tolist()
    assert shared[:4].tolist() == pytest.approx([1 / 3 if other < 4 else 0 for other in others])
    assert float(shared.mean()) == pytest.approx(float(metric.affinity([tied], [untied])[0, 0]))
    a, b = (Activations({"block_1": y}, 1) for y in (x, torch.randn(8, 3, generator=torch.Generator().manual_seed(0))))
    p = asked(a, b, k=1).parts["items"]["p"]
    assert p[:4].isna().all()
    assert p[4:].notna().all()


def test_p_of_a_text_holds_its_level_where_partners_are_dealt_out_at_random():
    """Signals on both sides, and none in common: the share of small p is what the hypergeometric law says, over many worlds."""
    shares, expected = [], 0.0
    for world in range(25):
        a, b = side(2 * world + 1000, n=30, layers=1), side(2 * world + 1001, n=30, layers=1)
        row = asked(a, b, k=4).table.iloc[0]
        shares.append(row["small_p_share"])
        expected = row["small_p_share_chance"]
    assert 0 < expected <= 0.05
    assert np.mean(shares) == pytest.approx(expected, abs=4 * np.std(shares) / np.sqrt(len(shares)))


def test_a_text_that_is_near_all_others_is_a_hub():
    flat = asked(side(1, n=60), side(2, n=60)).table["hubness_a"].max()
    x = torch.randn(60, 40, generator=torch.Generator().manual_seed(3))
    x[0] = 0.01 * x[0]
    hub = Activations({"block_1": torch.cat([x, x.mean(dim=0, keepdim=True) + 0.3 * x[:1]])}, 1)
    other = Activations({"block_1": torch.randn(61, 40, generator=torch.Generator().manual_seed(4))}, 1)
    assert asked(hub, other).table["hubness_a"].iloc[0] > flat


@pytest.mark.pictures
def test_its_charts_hold_what_it_found_and_its_pictures_can_be_read_in_a_column(tmp_path):
    found = asked(side(0, shared=1.0), side(1, shared=1.0))
    charts, drawn = drawn_of_run(tmp_path / "run", "neighbors", found)
    assert charts[0]["series"][0]["y"] == found.table["shared"].tolist()
    assert charts[0]["series"][1]["y"] == found.table["shared_chance"].tolist()
    assert [one["y"] for one in charts[3]["series"]] == [found.table[f"hubness_{name}"].tolist() for name in "ab"]
    assert {name: illegible(figure) for name, figure in drawn.items()} == {"neighbors": [], "neighbors_texts": []}
