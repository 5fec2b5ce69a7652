"""The analysis `subspace` on made-up worlds in which each language's own part is known, and on tiny models' runs."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from drawing import drawn_of_run, illegible
from meeting_worlds import World, inferring
from safetensors import safe_open
from subspace_worlds import METRICS, REMOVALS, beyond_chance, small, subspace

import layeratlas
from layeratlas.arrays import Activations
from layeratlas.errors import ActivationError, ConfigError, Undefined
from layeratlas.metrics import CSLS, RetrievalAt1
from layeratlas.report.analyses.subspace import subspace_figure
from layeratlas.statistics.cross_fitting import halves
from layeratlas.statistics.linear_probe import fitted
from layeratlas.statistics.removals import BetweenLanguages, LanguageMeans, LeastSquares

APART = World(strengths=(0.0, 3.0), n=60, offset=4.0)


def with_groups(comparison, strength, *, shift=0.0):
    """Groups of items differ along one direction that both languages share; `shift` turns it in side b."""
    n, rng = len(comparison.items), np.random.default_rng(7)
    axis = torch.from_numpy(rng.standard_normal(24)).float()
    labels = torch.arange(n) % 2
    move = strength * torch.outer(labels.float() - 0.5, axis)
    layers = {side: {k: v + move for k, v in getattr(comparison, side).layers.items()} for side in "ab"}
    a, b = (Activations(layers[side], len(layers[side]), getattr(comparison, side).lengths) for side in "ab")
    return replace(comparison, a=a, b=b, items=comparison.items.assign(group=[f"g{i % 2}" for i in range(n)]))


def pick(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return table


@pytest.fixture(scope="module")
def found():
    return subspace()(APART.comparison(0, inferring(0)))


# --- what is planted ----------------------------------------------------------------------------------------------------------


def test_a_probe_tells_languages_apart_until_their_direction_is_taken_away_and_random_ones_change_nothing(found):
    probe = pick(found.table, statistic="language_probe", layer="block_1")
    before, least = (pick(probe, removal=name).iloc[0] for name in ("none", "least_squares"))
    assert before["value"] > 0.97
    assert before["ci_low"] > 0.9
    assert least["value"] < 0.75
    assert least["change_ci_high"] < 0
    assert least["beyond_control_ci_high"] < 0
    random = pick(probe, removal="random_directions")
    assert sorted(random["draw"]) == [1, 2, 3, 4, 5]
    assert (random["value"] > 0.9).all()
    assert least["control"] == pytest.approx(random["value"].mean())
    assert (least["control_low"], least["control_high"]) == (random["value"].min(), random["value"].max())


def test_a_probe_of_the_erasers_own_items_knows_nothing_afterwards_by_construction(found):
    same = pick(found.table, statistic="language_probe_same_items").set_index(["layer", "removal"])["value"]
    assert (same.loc["block_1", ["least_squares", "language_means", "between_languages", "centring"]] == 0.5).all()
    assert same["block_1", "none"] > 0.97


def test_retrieval_rises_once_the_offset_is_gone_and_its_chance_is_one_of_half_the_items(found):
    rows = pick(found.table, statistic="retrieval_at_1", layer="block_2").set_index("removal")
    assert rows["chance"].iloc[0] == pytest.approx(1 / 30)
    for removal in REMOVALS:
        assert rows.loc[removal.name, "change_ci_low"] > 0


def test_subtracting_means_leaves_centred_cosines_as_they_are_and_projecting_does_not(found):
    rows = pick(found.table, statistic="paired_cosine_centered").set_index(["removal", "layer"])["change"]
    assert rows["centring"].abs().max() < 1e-12
    assert rows["language_means"].abs().min() > 1e-6
    assert any(sentence.startswith("subtracting each language's mean leaves CKA") for sentence in found.sentences)


def test_the_energy_of_a_removal_is_the_share_of_squares_along_what_was_planted(found):
    energy = pick(found.table, statistic="language_probe", layer="block_1").set_index("removal")["energy"]
    a, b = (side.layers["block_1"].double() for side in APART.sides(0))
    axis = (a.mean(dim=0) - b.mean(dim=0)) / (a.mean(dim=0) - b.mean(dim=0)).norm()
    rows = torch.cat([a, b]) - torch.cat([a, b]).mean(dim=0)
    expected = float((rows @ axis).square().sum() / rows.square().sum())
    assert energy["language_means"] == pytest.approx(expected, abs=0.05)
    assert energy["none"] == energy["centring"] == 0


N, FRESH = 80, 4000


def one_world(seed: int, n: int) -> torch.Tensor:
    """Items of both languages in ONE world, whose concepts, offsets, own subspaces and groups' direction no seed changes."""
    fixed, rng = np.random.default_rng(0), np.random.default_rng([1, seed])
    concepts, own = fixed.standard_normal((8, 24)), fixed.standard_normal((2, 4, 24))
    offsets, axis = 2 * fixed.standard_normal((2, 1, 24)), fixed.standard_normal(24)
    groups = 0.8 * np.outer(np.arange(n) % 2 - 0.5, axis)
    shared = 0.7 * rng.standard_normal((n, 8)) @ concepts
    return torch.from_numpy(
        shared + groups + offsets + 0.5 * rng.standard_normal((2, n, 4)) @ own + rng.standard_normal((2, n, 24))
    )


def in_comparison(x: torch.Tensor):
    comparison = World(strengths=(0.0,), n=x.shape[1]).comparison(0, inferring(0, 20))
    a, b = (Activations({"block_1": side}, 1) for side in x)
    return replace(comparison, a=a, b=b, items=comparison.items.assign(group=[f"g{i % 2}" for i in range(x.shape[1])]))


def truth_of_probes(x: torch.Tensor, fresh: torch.Tensor, removal) -> dict[str, float]:
    """How often the very probes that the analysis fits on these items are right on many others."""
    right: dict[str, list[float]] = {"language_probe": [], "ab": []}
    labels, of_fresh = torch.arange(x.shape[1]) % 2, torch.arange(fresh.shape[1]) % 2
    for half in halves([f"g{i % 2}" for i in range(x.shape[1])], 5):
        erasers = removal.fit(x[:, half.fit]) if removal else [lambda side: side] * 2
        own, other = (torch.stack([eraser(side) for eraser, side in zip(erasers, sides, strict=True)]) for sides in (x, fresh))
        for train, _ in half.folds:
            probe = fitted(own[:, train].reshape(-1, 24), torch.arange(2).repeat_interleave(len(train)), 2)
            credits = [probe.credits(side, torch.full((len(side),), i)).mean() for i, side in enumerate(other)]
            right["language_probe"].append(float(np.mean(credits)))
            probe = fitted(own[0, train], labels[train], 2)
            right["ab"].append(float(probe.credits(other[1], of_fresh).mean()))
    return {name: float(np.mean(each)) for name, each in right.items()}


def table_of(found) -> pd.DataFrame:
    transfer = found.parts["transfer"].assign(statistic=lambda t: t["trained"] + t["tested"])
    rows = pd.concat([found.table, transfer])
    return rows[rows["draw"] == 0].set_index(["statistic", "removal"])


@pytest.mark.slow
def test_intervals_hold_the_truth_of_the_world():
    """Of cosines and retrieval the mean over 60 other samples of the same world, of probes what they are on new items."""
    analysis = subspace(removals=[LeastSquares()])
    tables = [table_of(analysis(in_comparison(one_world(seed, N)))) for seed in range(80)]
    fresh = one_world(1000, FRESH)
    for removal, name in ((None, "none"), (LeastSquares(), "least_squares")):
        truths = [truth_of_probes(one_world(seed, N), fresh, removal) for seed in range(20)]
        for statistic in ("language_probe", "ab"):
            held = [t.loc[statistic, name] for t in tables[:20]]
            inside = [row["ci_low"] <= truth[statistic] <= row["ci_high"] for row, truth in zip(held, truths, strict=True)]
            assert sum(inside) >= 17, (statistic, name)
        for statistic in (metric.name for metric in METRICS):
            for value, low, high in (("value", "ci_low", "ci_high"), ("change", "change_ci_low", "change_ci_high")):
                truth = np.mean([table.loc[(statistic, name), value] for table in tables[20:]])
                rows = [table.loc[statistic, name] for table in tables[:20]]
                inside = [row[low] - 1e-9 <= truth <= row[high] + 1e-9 for row in rows]
                assert sum(inside) >= 17, (statistic, name, value)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_transfer_finds_a_direction_of_groups_that_languages_share_and_none_where_there_is_none(strength):
    found = small(folds=5)(with_groups(APART.comparison(1, inferring(0)), strength))
    transfer = pick(found.parts["transfer"], layer="block_1", removal="least_squares").set_index(["trained", "tested"])
    assert (transfer["chance"] == 0.5).all()
    across = transfer.loc[[("a", "b"), ("b", "a")]]
    if strength:
        assert (across["ci_low"] > 0.5).all()
        assert "probe for group" in found.sentences[-1]
    else:
        assert ((across["ci_low"] < 0.5) & (across["ci_high"] > 0.5)).all()


@pytest.mark.nightly
def test_where_languages_and_groups_do_not_differ_intervals_leave_out_chance_at_their_level():
    shares = pd.DataFrame([beyond_chance(seed) for seed in range(400)]).mean()
    assert shares.max() <= 0.08, shares
    assert shares[["language_probe, none", "language_probe, least_squares"]].min() >= 0.025, shares


# --- what is written ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bases_are_those_of_all_items_and_say_where_they_come_from():
    comparison = APART.comparison(0, inferring(0))
    found = subspace(bases=True)(comparison)
    assert set(found.tensors) == {
        *("least_squares_1", "language_means_1", "between_languages_1", "centring_0_side_a", "centring_0_side_b"),
        *("leading_components_1_side_a", "leading_components_1_side_b"),
        *(f"random_directions_1_draw_{draw}" for draw in range(1, 6)),
    }
    written = found.tensors["least_squares_1"]
    x = torch.stack([side.layers["block_2"] for side in (comparison.a, comparison.b)]).double()
    eraser = LeastSquares().fit(x)[0]
    for part, expected in zip("ABmv", eraser, strict=True):
        np.testing.assert_allclose(written.arrays[f"block_2.{part}"], expected.numpy(), atol=1e-5)
    assert written.header["ids"] == [f"i{i}" for i in range(60)]
    assert written.header["applies_to"] == ["en", "de"]
    assert found.tensors["centring_0_side_b"].header["applies_to"] == ["de"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits():
    tables = [small()(APART.comparison(0, inferring(0))).table for _ in range(2)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_numbers_are_means_over_blocks_of_what_the_table_holds(found):
    rows = pick(found.table, statistic="mexa", removal="language_means")
    said = found.numbers["mexa"]["removals"]["language_means_1"]
    assert said["value"] == pytest.approx(rows["value"].mean())
    assert found.headline.value == found.numbers["language_probe"]["removals"]["least_squares_1"]["value"]
    assert "tells the languages of" in found.headline.sentence


@pytest.mark.slow
def test_two_texts_in_one_language_are_no_languages():
    comparison = APART.comparison(0, inferring(0))
    found = small()(replace(comparison, languages=dict.fromkeys("ab", comparison.languages["a"])))
    assert "tells the two texts of" in found.headline.sentence


# --- what cannot be told ------------------------------------------------------------------------------------------------------


def test_a_layer_with_one_vector_for_all_items_is_left_out_and_named():
    world = replace(APART, constant=(1,))
    found = small()(world.comparison(0, inferring(0)))
    assert set(found.table["layer"]) == {"block_2"}
    assert list(found.numbers["undefined"]) == ["block_1"]
    assert found.warnings[0].startswith("subspace, block_1: no languages to tell apart (side a: every item has the same vector")


def test_layers_that_all_say_nothing_make_no_analysis():
    with pytest.raises(Undefined, match="no layer has two languages to compare"):
        small()(replace(APART, constant=(1, 2)).comparison(0, inferring(0)))


@pytest.mark.slow
def test_languages_that_are_the_same_are_not_told_apart():
    comparison = APART.comparison(0, inferring(0))
    found = small()(replace(comparison, b=Activations(comparison.a.layers, 2, comparison.a.lengths)))
    probe = pick(found.table, statistic="language_probe")
    assert (probe["value"] == 0.5).all()
    assert (pick(probe, removal="least_squares")["energy"] == 0).all()


@pytest.mark.slow
def test_groups_that_are_too_small_are_named_and_one_group_has_no_transfer():
    comparison = APART.comparison(0, inferring(0))
    few = [f"rare{i}" if i < 3 else f"g{i % 2}" for i in range(60)]
    found = small()(replace(comparison, items=comparison.items.assign(group=few)))
    assert (found.parts["transfer"]["chance"] == 0.5).all()
    assert "subspace: transfer leaves out rare0, rare1, rare2: fewer than 8 items" in found.warnings
    found = small()(replace(comparison, items=comparison.items.assign(group="one")))
    assert found.parts == {}
    assert "subspace: no transfer, as that takes two groups of 8 items or more each" in found.warnings


@pytest.mark.slow
def test_without_groups_of_items_to_leave_out_there_are_no_intervals():
    found = small(removals=[LanguageMeans()])(APART.comparison(0, inferring(0, 0)))
    assert found.table[["ci_low", "change_ci_high", "beyond_control_ci_low"]].isna().all().all()
    assert found.headline.ci_low is None


def test_vectors_that_are_not_finite_are_refused_by_name():
    comparison = APART.comparison(0, inferring(0))
    comparison.b.layers["block_2"][3, 1] = torch.nan  # the side's own tensor
    with pytest.raises(ActivationError, match="subspace, side b, block_2: activations hold NaN"):
        small()(comparison)


def test_sides_with_different_layers_are_refused():
    comparison = APART.comparison(0, inferring(0))
    with pytest.raises(Undefined, match="the same layer on both sides"):
        small()(replace(comparison, b=comparison.b.select(["block_1"])))


@pytest.mark.parametrize(
    ("options", "n", "message"),
    [
        ({"removals": []}, 80, "analysis.subspace.removals: expected one or more, each once"),
        ({"removals": [LanguageMeans(), LanguageMeans()]}, 80, "expected one or more, each once"),
        ({"removals": [BetweenLanguages(rank=2)]}, 80, "two languages differ in one direction; BetweenLanguages expects rank: 1"),
        ({"metrics": [CSLS(k=30)]}, 40, "analysis.subspace.metrics: half of 40 items is too few: csls needs 30"),
        ({}, 19, "analysis.subspace.folds: two halves of 5 folds need 20 items; got 19"),
    ],
)
def test_what_no_run_can_answer_is_refused_before_a_model_is_loaded(options, n, message):
    with pytest.raises(ConfigError, match=message):
        subspace(**options).require(RetrievalAt1(), n)


# --- runs ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_in_two_languages_leaves_tables_bases_and_a_picture(command, tiny, tmp_path, checkpoint_folder):
    same = [*tiny, f"model_b.id={checkpoint_folder('llama')}", "language@language_b=de", "layers=all", "dataset.n=40"]
    assert command(*same, "analysis=[subspace]", "analysis.subspace.bases=true") == 0
    run = layeratlas.read_run(tmp_path / "out")
    assert {"subspace"} <= set(run.tables)
    assert run.result["headline"]["text"] == "language_probe after least_squares"
    with safe_open(tmp_path / "out" / "subspace_least_squares_1.safetensors", "np") as file:
        header = json.loads(file.metadata()["header"])
        assert file.get_tensor("block_1.A").shape == file.get_tensor("block_1.B").shape
    assert header["map"] == "h - A B'(h - m) + v"
    assert header["model"] == run.result["a"]["model"]
    assert header["ids"] == run.table("items")["id"].tolist()
    assert "language_probe" in [axes.get_title() for axes in subspace_figure(run).axes]
    assert (tmp_path / "out" / "figures" / "subspace.png").is_file()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            "removals=[{_target_: layeratlas.metrics.RetrievalAt1}]",
            "removals[0]._target_: expected a AbstractRemoval; layeratlas.metrics.RetrievalAt1 makes a RetrievalAt1",
        ),
        (
            "metrics=[{_target_: layeratlas.metrics.MutualKNN, k: 3}]",
            "metrics[0]._target_: expected a AbstractPairedMetric; layeratlas.metrics.MutualKNN makes a MutualKNN",
        ),
        ("draws=4", "draws: expected a number of at least 5; got 4"),
    ],
)
def test_what_the_config_asks_for_that_is_no_removal_or_no_metric_of_pairs_is_refused(
    command, tiny, capfd, checkpoint_folder, typed, message
):
    same = [*tiny, f"model_b.id={checkpoint_folder('llama')}", "language@language_b=de", "analysis=[subspace]"]
    assert command(*same, f"analysis.subspace.{typed}") == 2
    assert f"analysis.subspace.{message}" in capfd.readouterr().err


def test_two_models_are_refused(command, tiny, capfd):
    assert command(*tiny, "language@language_b=de", "analysis=[subspace]") == 2
    assert "analysis subspace compares vectors of one space" in capfd.readouterr().err


@pytest.mark.pictures
def test_its_charts_hold_what_it_found_and_its_picture_can_be_read_in_a_column(found, tmp_path):
    charts, drawn = drawn_of_run(tmp_path / "run", "subspace", found)
    for chart, (statistic, own) in zip(charts, found.table.groupby("statistic", sort=False), strict=False):
        assert chart["title"] == statistic
        np.testing.assert_array_equal(chart["series"][0]["y"], own[own["removal"] == "none"]["value"])
    assert illegible(drawn["subspace"]) == []
