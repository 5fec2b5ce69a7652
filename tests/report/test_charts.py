"""The charts that a run's page draws: the numbers of the analyses' tables, and no others."""

import numpy as np
import pandas as pd
import pytest
from drawing import SMALLEST, smallest_print
from pages_by_hand import influence_tables, neighbors_tables, paged_run, with_tables

import layeratlas
from layeratlas.report.analyses import alignment, diagonal, geometry, influence, neighbors, phases, stability, subspace
from layeratlas.report.charts import Chart, Series
from layeratlas.report.figures import affinity_figure
from layeratlas.runs import writing


@pytest.fixture
def run_with(tmp_path):
    """A run that has this table too."""

    def call(name: str, table: pd.DataFrame):
        folder = paged_run(tmp_path / "run")
        run = layeratlas.read_run(folder)
        file = writing.write_table(folder, name, table)
        result = {key: value for key, value in run.result.items() if key != "checksums"}
        files = [folder / written for written in run.result["checksums"] if written != "result.json"]
        writing.write_result(folder, result, [*files, file])
        return layeratlas.read_run(folder)

    return call


def test_a_chart_keeps_gaps_and_what_was_not_computed():
    series = Series("s", [0, 1], [None, np.float64(2)], low=[None, 1.5], high=[None, 2.5])
    (one,) = Chart("title", "depth", "y", [series]).plain()["series"]
    assert np.isnan(one["y"][0])
    assert one["y"][1] == 2
    assert one["low"][1:] == [1.5]
    assert one["labels"] is None


def test_each_number_of_the_geometry_is_a_chart_of_both_sides(run_with):
    rows = {"side": list("aabbb"), "layer": ["block_1", "block_2", "block_1", "block_2", "block_3"], "depth": [0.5, 1, 0.3, 0.6, 1]}
    table = pd.DataFrame({**rows, "anisotropy": [0.1, 0.2, 0.3, 0.4, 0.5], "kurtosis": [1.0, 2, 3, 4, 5]})
    drawn = [chart.plain() for chart in geometry.charts(run_with("geometry", table))]
    assert [chart["title"] for chart in drawn] == ["anisotropy", "kurtosis"]
    a, b = drawn[0]["series"]
    assert (a["x"], a["y"]) == ([0, 1], [0.1, 0.2])
    assert (b["x"], b["y"], b["labels"]) == ([0, 0.5, 1], [0.3, 0.4, 0.5], ["block_1", "block_2", "block_3"])


def test_each_statistic_of_an_alignment_is_a_chart_with_the_baselines_that_it_has(run_with):
    row = {"value": 0.5, "chance": 0.1, "baseline_group": np.nan, "baseline_length": 0.2, "value_length_residual": 0.4}
    row |= {"ci_low": 0.4, "ci_high": 0.6}
    layers = [{"layer": "embed", "flag": "one"}, {"layer": "block_1", "flag": ""}]
    rows = [row | {"statistic": statistic} | layer for statistic in "xy" for layer in layers]
    drawn = [chart.plain() for chart in alignment.charts(run_with("alignment", pd.DataFrame(rows)))]
    assert [chart["title"] for chart in drawn] == ["x", "y"]
    assert [one["y"][0] for one in drawn[0]["series"]] == [0.5, 0.4, 0.2, 0.1]
    assert drawn[0]["ticks"] == ["embed", "block_1"]
    assert "one vector at embed" in drawn[0]["note"]


@pytest.mark.parametrize("absent", [[], ["k"]])  # a metric without neighbours has no such column
def test_halves_are_no_part_of_the_curve_over_fewer_items(run_with, absent):
    row = {"mean_affinity": 0.3, "contrast": 0.1, "mean_chance": 0.05}
    varied = [("n", 40, np.nan), ("n", 20, np.nan), ("half", 20, 0)]
    rows = [row | {"varied": what, "n": n, "split": split, "k": 3} for what, n, split in varied]
    table = pd.DataFrame(rows).drop(columns=absent)
    (chart,) = [chart.plain() for chart in stability.charts(run_with("stability", table))]
    assert chart["series"][0]["x"] == [20, 40]


def test_a_logarithmic_axis_has_no_place_for_0():
    curve = Series("s", [0, 1], [1.0, 2.0], low=[-0.5, 1.5], high=[2.0, 2.5])
    assert Chart("cost", "block", "nats", [curve], logarithmic=True).plain()["logarithmic"]
    with pytest.raises(ValueError, match="cost: a logarithmic axis has no place for values of 0 or below"):
        Chart("cost", "block", "nats", [Series("s", [0, 1], [0.0, 2.0])], logarithmic=True).plain()


def test_a_run_without_a_swap_margin_has_no_chart_of_it(tmp_path):
    run = layeratlas.read_run(paged_run(tmp_path / "run"))
    assert diagonal.charts(run) == []
    run.result["statistics"]["diagonal"]["swap"]["by_depth"] = {"depth": [0.5, 1.0], "margin": [0.1, 0.2]}
    (chart,) = diagonal.charts(run)
    assert chart.plain()["series"][0]["y"] == [0.1, 0.2]


@pytest.fixture
def neighbours(tmp_path):
    run = layeratlas.read_run(paged_run(tmp_path / "run", n=30, k=4, texts=["A text of $5 and {braces}.", "हिन्दी में एक वाक्य"]))
    return with_tables(run.folder, "neighbors", neighbors_tables(run), {"k": 4})


def test_neighbours_in_common_are_drawn_beside_chance_and_counted_where_most_are_shared(neighbours):
    shared, small, histogram, hubs = (chart.plain() for chart in neighbors.charts(neighbours))
    table = neighbours.table("neighbors")
    assert shared["series"][0]["y"] == table["shared"].tolist()
    assert shared["series"][1]["y"] == table["shared_chance"].tolist()
    assert [one["name"] for one in small["series"]] == ["texts of small p", "by chance", "share none", "share none, by chance"]
    best = table.loc[table["shared"].idxmax()]
    rows = neighbours.table("neighbors_counts").pipe(
        lambda rows: rows[(rows["layer_a"] == best["layer_a"]) & (rows["layer_b"] == best["layer_b"])]
    )
    assert histogram["series"][0]["style"] == "bars"
    assert histogram["series"][0]["y"] == rows["items"].tolist()
    assert [one["y"] for one in hubs["series"]] == [table["hubness_a"].tolist(), table["hubness_b"].tolist()]


def test_the_picture_of_a_text_quotes_its_neighbours_and_no_formula_or_letter_that_it_cannot_draw(neighbours):
    figure = neighbors.texts_figure(neighbours)
    said = [text.get_text() for text in figure.axes[0].texts]
    best = neighbours.table("neighbors").pipe(lambda table: table.loc[table["shared"].idxmax()])
    chosen = neighbors._middling(neighbours, best)
    lists = neighbours.neighbors()
    place, item = neighbours.affinity.index.get_loc(best["layer_a"]), int(chosen.removeprefix("item-"))
    both = set(lists["a"][place][item]) & set(lists["b"][neighbours.affinity.columns.get_loc(best["layer_b"])][item])
    assert str(len(both)) in said
    assert str(4 - len(both)) in said
    assert "letters that this" in " ".join(said)
    figure.canvas.draw()


def test_pictures_that_quote_texts_are_left_out_with_them(neighbours):
    from layeratlas.report.figures import lacking, possible

    assert "neighbors_texts" in [view.name for view in possible(neighbours)]
    for views in (possible(neighbours, texts=False), lacking(neighbours, texts=False)):
        assert [view.name for view in views] == ["affinity", "depth_curves", "neighbors"]


def test_the_swap_margin_without_each_group_stands_on_the_band_of_random_groups(tmp_path):
    run = layeratlas.read_run(paged_run(tmp_path / "run"))
    run = with_tables(run.folder, "influence", influence_tables(run))
    groups, accounts = (chart.plain() for chart in influence.charts(run))
    assert groups["ticks"] == ["north", "south", "west"]
    assert groups["series"][0]["y"] == run.table("influence")["swap_margin_change"].tolist()
    np.testing.assert_allclose(groups["series"][1]["high"], 0.001 + 2 * 0.004)
    best = run.arrays["affinity"].argmax(axis=1)
    share = run.table("influence_accounts").query("account == 'token count'")["share"].to_numpy().reshape(run.affinity.shape)
    assert accounts["series"][0]["y"] == share[np.arange(len(best)), best].tolist()
    influence.influence_figure(run).canvas.draw()


def test_a_run_without_a_swap_margin_shows_the_mean_of_its_cells_without_each_group(tmp_path):
    run = layeratlas.read_run(paged_run(tmp_path / "run"))
    tables = influence_tables(run)
    margin = [column for column in tables["influence"] if column.startswith("swap")]
    run = with_tables(run.folder, "influence", {"influence": tables["influence"].drop(columns=margin)})
    (only,) = influence.charts(run)
    assert "mean affinity" in only.title
    influence.influence_figure(run).canvas.draw()


@pytest.mark.parametrize("shape", [(6, 4), (30, 18), (80, 80), (80, 12)])
def test_a_matrix_and_its_curves_can_be_read_at_the_width_of_a_column(shape, tmp_path):
    run = layeratlas.read_run(paged_run(tmp_path / "run", rows=shape[0], columns=shape[1]))
    run.result["statistics"]["diagonal"]["swap"]["by_depth"] = {"depth": [0.5, 1.0], "margin": [0.1, 0.2]}
    for drawn in (affinity_figure(run), diagonal.depth_curves_figure(run)):
        assert smallest_print(drawn) > SMALLEST
        assert drawn.get_figheight() / drawn.get_figwidth() < 2.6


def test_pictures_of_the_analyses_can_be_read_at_the_width_of_a_column(neighbours, tmp_path):
    run = with_tables(neighbours.folder, "influence", influence_tables(neighbours))
    row = {"anisotropy": 0.1, "kurtosis": 3.0, "uniformity": -1.0}
    geometry_rows = [row | {"side": side, "layer": f"block_{i}", "depth": i / 3} for side in "ab" for i in (1, 2, 3)]
    curve = {"mean_affinity": 0.3, "contrast": 0.1, "mean_chance": 0.05, "split": np.nan, "k": 3}
    stable = pd.DataFrame([curve | {"varied": "n", "n": n} for n in (40, 20)])
    run = with_tables(run.folder, "geometry", {"geometry": pd.DataFrame(geometry_rows)})
    run = with_tables(run.folder, "stability", {"stability": stable}, {"reliability": 0.9})
    pictures = [neighbors.neighbors_figure, neighbors.texts_figure, influence.influence_figure, geometry.geometry_figure]
    for draw in [*pictures, stability.stability_figure]:
        assert smallest_print(draw(run)) > SMALLEST, draw.__name__


def test_single_pairs_are_counted_at_the_block_where_they_are_farthest_above_wrong_partners(run_with, tmp_path):
    row = {"statistic": "x", "value": 0.5, "chance": 0.1, "baseline_group": np.nan, "baseline_length": 0.2}
    row |= {"value_length_residual": 0.4, "ci_low": 0.4, "ci_high": 0.6, "flag": ""}
    run = run_with("alignment", pd.DataFrame([row | {"layer": "block_1"}]))
    rng = np.random.default_rng(0)
    layers = {"embed": (np.nan, 0.9), "block_1": (0.5, 0.4), "block_2": (1.0, 0.2)}
    items = [
        pd.DataFrame(
            {"layer": name, "depth": depth, "cosine": rng.normal(mean, 0.05, 50), "cosine_of_wrong": rng.normal(0, 0.05, 50)}
        )
        for name, (depth, mean) in layers.items()
    ]
    run = with_tables(run.folder, "alignment", {"alignment": run.table("alignment"), "alignment_items": pd.concat(items)})
    bars, wrong = alignment.charts(run)[-1].plain()["series"]
    edges = alignment.histogram_edges(items[1][["cosine", "cosine_of_wrong"]].to_numpy())
    assert bars["style"] == "bars"
    assert bars["y"] == np.histogram(items[1]["cosine"], edges)[0].tolist()
    assert sum(bars["y"]) == sum(wrong["y"]) == 50


def test_each_removal_of_a_subspace_is_a_curve_and_random_directions_are_a_band(run_with):
    row = {"statistic": "probe", "chance": 0.5, "ci_low": 0.8, "ci_high": 1.0}
    told = [("none", 0, 0.9), ("LanguageMeans", 1, 0.6), ("random_directions", 1, 0.85), ("random_directions", 1, 0.95)]
    rows = [
        row | {"layer": layer, "removal": of, "rank": rank, "value": v} for layer in ("block_1", "block_2") for of, rank, v in told
    ]
    (chart,) = (chart.plain() for chart in subspace.charts(run_with("subspace", pd.DataFrame(rows))))
    assert [one["name"] for one in chart["series"]] == [
        "as they are",
        "without LanguageMeans, rank 1",
        "without random directions",
        "chance, as they are",
    ]
    assert chart["ticks"] == ["block_1", "block_2"]
    assert chart["series"][2]["low"] == [0.85, 0.85]
    assert chart["series"][2]["high"] == [0.95, 0.95]
    assert chart["series"][1]["y"] == [0.6, 0.6]


def test_published_and_sound_correlations_of_phases_are_two_charts(run_with):
    row = {"statistic": "centroid_asymmetry", "preference": "per_token", "ci_low": -0.1, "ci_high": 0.3}
    kinds = ("published", "pooled", "within", "partial")
    rows = [
        row | {"estimator": kind, "layer": f"block_{i}", "depth": i / 2, "r": 0.1 * i + place}
        for place, kind in enumerate(kinds)
        for i in (1, 2)
    ]
    run = run_with("phases", pd.DataFrame([*rows, rows[0] | {"preference": "total", "r": 9.0}]))
    run.result["statistics"]["phases"] = {"preference": "per_token", "published": {"pattern": "FLAT"}}
    published, sound = (chart.plain() for chart in phases.charts(run))
    assert published["series"][0]["y"] == [0.1, 0.2]
    assert "FLAT" in published["note"]
    assert [one["name"] for one in sound["series"]] == ["over all pairs", "within categories", "given lengths and category"]
    assert sound["series"][0]["low"] is None
    assert sound["series"][2]["y"] == pytest.approx([3.1, 3.2])
