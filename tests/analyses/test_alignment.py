"""The analysis `alignment` on made-up worlds in which where languages meet is known, and on tiny models' runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawing import drawn_of_run, illegible
from meeting_worlds import METRICS, World, alignment, inferring

import layeratlas
from layeratlas.affinity.curves import Pairings, curves
from layeratlas.affinity.normalization import length_residual
from layeratlas.analyses.alignment_headline import alignment_headline
from layeratlas.arrays import Activations
from layeratlas.errors import ActivationError, ConfigError
from layeratlas.metrics import CSLS, CKALinearDebiased, MutualKNN, PairedCosine, PairedCosineCentred, RetrievalAt1
from layeratlas.report.analyses.alignment import alignment_figure
from layeratlas.stages.description import unasked
from layeratlas.statistics.resampling import jackknife_groups
from layeratlas.statistics.wrong_partners import of_group

RISING = World(strengths=(0.0, 0.0, 1.0, 2.0, 4.0, 2.0, 0.0))


def rows(findings, statistic):
    return findings.table[findings.table["statistic"] == statistic].reset_index(drop=True)


@pytest.fixture(scope="module")
def found():
    return alignment()(RISING.comparison(0, inferring(199)))


# --- values -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_values_chance_intervals_and_p_are_those_of_the_metric_on_the_matched_pairs(metric):
    a, b = World(strengths=(1.0, 2.0)).sides(1)
    rng = np.random.default_rng(0)
    n = a.n
    null = np.stack([rng.permutation(n) for _ in range(5)])
    subsets = [np.setdiff1d(np.arange(n), part) for part in jackknife_groups(n, 4)]
    pairings = Pairings(null, null[:0], subsets, None, None)
    metric = metric.with_slack()
    measured = curves(a, b, [metric], pairings, threshold=0.85, consecutive=3, device=torch.device("cpu")).by_metric[metric.name]
    for k, name in enumerate(a.names):
        x, y = (metric.signature(side.layers[name]) for side in (a, b))
        own = metric.affinity([x], [y]).item()
        in_orders = metric.permuted_affinity([x], [y], torch.from_numpy(null))[:, 0, 0]
        left_out = metric.subset_affinity([x], [y], [torch.from_numpy(kept) for kept in subsets])[:, 0, 0]
        np.testing.assert_allclose(measured.in_orders[k], [own, *in_orders], atol=1e-6)
        np.testing.assert_allclose(measured.left_out[k], left_out, atol=1e-6)
        every = torch.stack([torch.roll(torch.arange(n), shift) for shift in range(n)])
        if not isinstance(metric, CKALinearDebiased | MutualKNN):  # all rotations together pair each item with each other once
            assert measured.chance[k] == pytest.approx(metric.permuted_affinity([x], [y], every).mean().item(), abs=1e-6)


def test_baselines_are_means_over_wrong_partners_and_residuals_those_of_vectors_without_length():
    a, b = World(strengths=(2.0,), length=1.0).sides(0)
    groups = of_group([f"g{i % 3}" for i in range(a.n)], np.random.default_rng(0))
    none = np.empty((0, a.n), dtype=int)
    metrics = [PairedCosine(), RetrievalAt1()]
    measured = curves(
        a, b, metrics, Pairings(none, none, [], groups, None), threshold=0.5, consecutive=1, device=torch.device("cpu")
    )
    x, y = (torch.nn.functional.normalize(side.layers["block_1"].double(), dim=1) for side in (a, b))
    cosines = (x @ y.T).numpy()
    of_item = [cosines[i, groups.pairs[i]].mean() for i in range(a.n)]
    assert measured.by_metric["paired_cosine"].baseline_group[0] == pytest.approx(np.mean(of_item), abs=1e-6)
    there = [np.isin(cosines[i].argmax(), np.flatnonzero(groups.pairs[i])) / groups.pairs[i].sum() for i in range(a.n)]
    back = [(cosines.argmax(axis=0)[groups.pairs[i]] == i).mean() for i in range(a.n)]
    assert measured.by_metric["retrieval_at_1"].baseline_group[0] == pytest.approx(np.mean([there, back]), abs=1e-6)
    sides = [side.layers["block_1"] for side in (a, b)]
    residual = [
        length_residual(side, lengths) + side.mean(dim=0) for side, lengths in zip(sides, (a.lengths, b.lengths), strict=True)
    ]
    expected = torch.nn.functional.cosine_similarity(*residual).mean().item()
    assert measured.by_metric["paired_cosine"].residual[0] == pytest.approx(expected, abs=1e-6)


def test_items_have_their_cosines_and_the_rank_of_their_translation(found):
    items, (a, b) = found.tables("alignment")["alignment_items"], RISING.sides(0)
    at = items[items["layer"] == "block_4"].reset_index(drop=True)
    assert at["id"].tolist() == [f"i{i}" for i in range(40)]
    x, y = (torch.nn.functional.normalize(side.layers["block_4"].double(), dim=1).numpy() for side in (a, b))
    cosines = x @ y.T
    np.testing.assert_allclose(at["cosine"], cosines.diagonal(), atol=1e-6)
    wrong = (cosines.sum(axis=0) + cosines.sum(axis=1) - 2 * cosines.diagonal()) / (2 * 39)
    np.testing.assert_allclose(at["cosine_of_wrong"], wrong, atol=1e-6)
    np.testing.assert_array_equal(at["rank_a_to_b"], (cosines >= cosines.diagonal()[:, None]).sum(axis=1))
    np.testing.assert_array_equal(at["rank_b_to_a"], (cosines >= cosines.diagonal()).sum(axis=0))
    one = rows(found, "retrieval_at_1").set_index("layer")["value"]["block_4"]
    assert one == pytest.approx(np.mean([at["rank_a_to_b"] == 1, at["rank_b_to_a"] == 1]))


# --- what is planted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_sees_where_concepts_were_planted_and_nothing_where_none_were(found, metric):
    table = rows(found, metric.name).set_index("layer")
    assert (table.loc[["block_4", "block_5"], "p_fwer"] <= 0.05).all()
    assert (table.loc[["block_4", "block_5"], "p_length_fwer"] <= 0.05).all()
    assert table["value"].idxmax() == "block_5"
    assert table.loc["block_5", "ci_low"] > table.loc["block_5", "chance"]
    assert found.numbers[metric.name]["any_layer"]["p"] == 1 / 200


def test_the_peak_is_found_and_similarity_rises_to_it_and_falls(found):
    said = found.numbers["retrieval_at_1"]
    assert said["peak_layers"] == ["block_5"] * 5
    assert (said["first_layer"], said["last_layer"]) == ("block_1", "block_7")
    assert said["rise_and_fall"]["p"] == said["rise"]["p"] == said["fall"]["p"] == 1 / 200
    assert "rises and falls" in found.sentences[0]
    assert all(
        f"({end['ci_low']:z.3f} to {end['ci_high']:z.3f}, p = " in found.sentences[0] for end in (said["rise"], said["fall"])
    )
    assert found.headline.value == said["peak"]["value"]
    assert "some layer is aligned (p = 0.005" in found.headline.sentence
    assert "rise" not in found.numbers["cka_linear_debiased"]  # it is no mean over pairs


@pytest.mark.parametrize(
    ("peak", "p", "verdict"),
    [
        ({"value": 0.02, "ci_low": 0.0, "ci_high": 0.09}, 0.01, ", but the interval of the chosen one includes chance"),
        ({"value": 0.30, "ci_low": 0.2, "ci_high": 0.4}, 0.01, ""),
        ({"value": 0.30}, 0.01, ""),
    ],
)
def test_a_small_p_beside_a_peak_that_is_not_above_chance_is_no_finding_of_that_peak(peak, p, verdict):
    of = {"peak_layers": ["block_2"] * 5, "chance_at_peak": 0.021, "of_length_at_peak": 0.02, "of_group_at_peak": 0.05}
    said = alignment_headline("csls", of | {"peak": peak, "any_layer": {"p": p, "attainable_p": 0.005}}, inferring(199))
    assert said.sentence.endswith(
        f"; chance 0.021, wrong partners of the same length 0.020, of the same group 0.050: some layer is aligned"
        f" (p = {p} over all layers){verdict}"
    )


def test_commitment_is_the_published_rule_beside_what_needs_no_threshold():
    world = World(strengths=(0.0, 0.0, 9.0, 9.0, 9.0, 9.0, 0.0), offset=0.0, own=0.1, noise=0.3)
    found = alignment([PairedCosine()])(world.comparison(0, inferring(19)))
    by_item = found.tables("alignment")["commitment"]
    assert by_item["layer"].mode()[0] == "block_3"
    assert by_item["half_maximum_depth"].median() == pytest.approx(3 / 7)
    said = found.numbers["commitment"]
    assert said["median_layer"] == "block_3"
    assert said["committed"]["value"] >= 0.9 > 0.1 >= said["chance"]
    share = rows(found, "committed")
    assert share["value"].tolist()[:2] == [0.0, 0.0]
    assert share["value"].iloc[-1] == said["committed"]["value"]
    assert share["p_length_fwer"].iloc[-1] == 1 / 20


def test_items_that_never_commit_are_kept(found):
    by_item = found.tables("alignment")["commitment"]
    never = by_item["layer"].isna()
    assert len(by_item) == 40
    assert never.all()
    assert (by_item.loc[never, "place"] == -1).all()
    assert found.numbers["commitment"]["median_layer"] == "not reached"
    assert "0% of items (0% to 9%), median not reached; wrong partners commit in 0%" in found.sentences[1]


@pytest.mark.slow
def test_intervals_hold_the_truth_of_the_world():
    world, metric = World(strengths=(2.0,), n=64), CSLS(k=3)
    values, held = [], []
    for seed in range(140):
        row = rows(alignment([metric], folds=2)(world.comparison(seed, inferring(0))), "csls").iloc[0]
        values.append(row["value"])
        held.append((row["ci_low"], row["ci_high"]))
    truth = np.mean(values[20:])
    assert sum(low <= truth <= high for low, high in held[:20]) >= 17


# --- nothing planted ----------------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_the_size_of_every_p_is_the_level_beside_a_layer_that_says_nothing():
    world, worlds = World(strengths=(0.0,) * 3, n=24, constant=(1,)), 400
    hits: dict[str, list[bool]] = {}
    for seed in range(worlds):
        found = alignment()(world.comparison(seed, inferring(19, groups=0)))
        for statistic, table in found.table.groupby("statistic"):
            hits.setdefault(f"{statistic} p", []).append(table["p"].iloc[-1] <= 0.05)
            hits.setdefault(f"{statistic} p_length", []).append(table["p_length"].iloc[-1] <= 0.05)
            for test in ("any_layer", "any_layer_of_length"):
                hits.setdefault(f"{statistic} {test}", []).append(found.numbers[statistic][test]["p"] <= 0.05)
    sizes = {name: np.mean(hit) for name, hit in hits.items() if not name.startswith("committed")}
    few_values = {"retrieval_at_1", "retrieval_at_1_mutual", "mexa"}  # which tie in most orders of four items: too seldom, then
    for name, size in sizes.items():
        statistic, test = name.split()
        low = 0.0 if statistic in few_values and "length" in test else 0.025
        assert low <= size <= 0.08, (name, size)
    assert all(size <= 0.08 for size in (np.mean(hit) for hit in hits.values()))


@pytest.mark.slow
def test_vectors_that_hold_nothing_but_length_are_not_called_aligned():
    """As with strings of random characters: translations have like lengths, and a model's vectors hold them."""
    world = World(strengths=(0.0,) * 3, n=64, length=2.0)
    any_order, of_length = [], []
    for seed in range(60):
        found = alignment([PairedCosineCentred()])(world.comparison(seed, inferring(39)))
        said = found.numbers["paired_cosine_centered"]
        any_order.append(said["any_layer"]["p"] <= 0.05)
        of_length.append(said["any_layer_of_length"]["p"] <= 0.05)
    assert np.mean(any_order) > 0.9
    assert np.mean(of_length) <= 0.15


# --- what cannot be told ------------------------------------------------------------------------------------------------------


def test_a_layer_with_one_vector_for_all_items_is_flagged_and_counts_for_nothing():
    world = World(strengths=(3.0, 3.0, 3.0, 0.0), constant=(1,))
    found = alignment()(world.comparison(0, inferring()))
    flagged = found.table[found.table["layer"] == "block_1"].set_index("statistic")
    assert (flagged["flag"] == "all items have one vector on side a and b").all()
    assert flagged.drop(["paired_cosine", "committed"])[["value", "p", "p_fwer"]].isna().all().all()
    assert flagged.loc["paired_cosine", "p_fwer"] == 1.0
    assert found.numbers["retrieval_at_1"]["first_layer"] == "block_2"
    assert found.numbers["flagged"] == {"block_1": "all items have one vector on side a and b"}
    (warning,) = found.warnings
    assert warning.startswith("alignment, block_1: all items have one vector on side a and b; cosines there are those of a token")


def test_a_layer_where_most_items_have_one_vector_is_flagged_and_no_end_of_rise_or_fall():
    comparison = World(strengths=(3.0, 3.0, 3.0)).comparison(0, inferring())
    comparison.b.layers["block_3"][:30] = comparison.b.layers["block_3"][0].clone()  # the side's own tensor
    found = alignment([RetrievalAt1()])(comparison)
    assert found.numbers["flagged"] == {"block_3": "30 of 40 items have one vector on side b"}
    assert found.numbers["retrieval_at_1"]["last_layer"] == "block_2"
    assert rows(found, "retrieval_at_1")["value"].notna().all()


def test_an_item_at_the_mean_makes_centred_cosines_undefined_and_is_named():
    comparison = World(strengths=(1.0, 1.0)).comparison(0, inferring(0, 0))
    x = torch.zeros(40, 24)
    x[:, 0] = 1  # what all share
    x[1::2, 1], x[2::2, 1], x[39, 1] = 1, -1, 0
    comparison = replace(comparison, a=Activations(dict(comparison.a.layers) | {"block_2": x}, 2, comparison.a.lengths))
    found = alignment()(comparison)
    assert (
        "alignment, paired_cosine_centered is undefined at block_2: item 0 is the zero vector, which has no direction"
        in found.warnings
    )
    assert rows(found, "paired_cosine_centered")["value"].isna().tolist() == [False, True]
    assert rows(found, "retrieval_at_1")["value"].notna().all()


def test_vectors_without_token_counts_say_nothing_of_lengths():
    comparison = RISING.comparison(0, inferring())
    a, b = (Activations(side.layers, side.n_blocks) for side in (comparison.a, comparison.b))
    comparison = replace(comparison, a=a, b=b)
    found = alignment([RetrievalAt1()])(comparison)
    empty = ["baseline_length", "value_length_residual", "p_length", "p_length_fwer"]
    assert found.table[empty].isna().all().all()
    assert found.headline.caution == "no token counts: texts of like length may look aligned"
    assert found.warnings == ["alignment: the vectors come without token counts, so that nothing is said of texts' lengths"]
    assert "any_layer_of_length" not in found.numbers["retrieval_at_1"]


def test_without_statistics_there_are_values_and_chance_alone():
    found = alignment()(RISING.comparison(0, inferring(0, 0)))
    assert found.table[["ci_low", "p", "p_fwer"]][found.table["statistic"] != "committed"].isna().all().all()
    assert rows(found, "retrieval_at_1")["chance"].tolist() == pytest.approx([1 / 40] * 7)
    assert found.tests == []
    assert found.headline.p is None


def test_groups_that_are_left_out_whole_share_a_sign_and_a_fold():
    found = alignment([RetrievalAt1()])(RISING.comparison(0, inferring(99, by_group=True)))
    assert found.numbers["retrieval_at_1"]["rise"]["p"] >= 1 / 2**4  # four groups have sixteen signs
    assert len(found.numbers["retrieval_at_1"]["peak_layers"]) == 4


def test_zero_vectors_are_refused_by_name():
    comparison = RISING.comparison(0, inferring())
    comparison.a.layers["block_3"][5] = 0  # the side's own tensor
    with pytest.raises(ActivationError, match="alignment, block_3: item 5 is the zero vector"):
        alignment()(comparison)


def test_sides_with_different_layers_are_refused():
    comparison = RISING.comparison(0, inferring())
    comparison = replace(comparison, b=comparison.b.select(["block_1"]))
    with pytest.raises(ValueError, match="the same layer on both sides"):
        alignment()(comparison)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": []}, "expected one metric or more, each once"),
        ({"metrics": [RetrievalAt1(), RetrievalAt1()]}, "expected one metric or more, each once"),
        ({"metrics": [MutualKNN(k=30)]}, "analysis.alignment.metrics: 20 items are too few: mutual_knn needs 31; raise dataset.n"),
        ({"folds": 21}, r"analysis.alignment.folds: expected at most as many as there are items \(20\); got 21"),
    ],
)
def test_what_no_run_can_answer_is_refused_before_a_model_is_loaded(options, message):
    with pytest.raises(ConfigError, match=message):
        alignment(**({"metrics": METRICS} | options)).require(RetrievalAt1(), 20)


# --- runs ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_in_two_languages_leaves_tables_and_a_picture(command, tiny, tmp_path, checkpoint_folder):
    same = [*tiny, f"model_b.id={checkpoint_folder('llama')}", "language@language_b=de", "analysis=[alignment]", "layers=all"]
    assert command(*same) == 0
    run = layeratlas.read_run(tmp_path / "out")
    assert {"alignment", "alignment_items", "commitment"} <= set(run.tables)
    columns = "statistic layer depth value chance baseline_group baseline_length value_length_residual ci_low ci_high p p_fwer"
    assert set(columns.split()) <= set(run.table("alignment"))
    assert run.result["headline"]["text"] == "retrieval_at_1 at its peak"
    figure = alignment_figure(run)
    assert [axes.get_title() for axes in figure.axes][-1] == "committed"
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert "wrong partners of the same length" in labels


@pytest.mark.parametrize(
    ("other", "analyses", "said"),
    [
        ({}, ["diagonal"], "analysis=[diagonal,alignment] shows where en and de meet, layer by layer"),
        ({}, [], "analysis=[alignment] shows where en and de meet, layer by layer"),
        ({}, ["alignment"], None),
        ({"language": "en"}, ["diagonal"], None),
        ({"model": "y"}, ["diagonal"], None),
        ({"revision": "2"}, ["diagonal"], None),
    ],
)
def test_a_run_of_one_model_in_two_languages_ends_with_what_to_type_for_alignment(other, analyses, said):
    a = {"model": "x", "revision": "1", "language": "en"}
    assert unasked({"a": a, "b": a | {"language": "de"} | other, "analyses": dict.fromkeys(analyses)}) == said


def test_two_models_are_refused(command, tiny, capfd):
    assert command(*tiny, "language@language_b=de", "analysis=[alignment]") == 2
    assert "analysis alignment compares vectors of one space" in capfd.readouterr().err


def test_one_language_on_both_sides_is_refused(command, tiny, capfd, checkpoint_folder):
    assert command(*tiny, f"model_b.id={checkpoint_folder('llama')}", "analysis=[alignment]") == 2
    assert "analysis alignment compares two languages or two text fields" in capfd.readouterr().err


@pytest.mark.pictures
def test_its_charts_hold_what_it_found_and_its_picture_can_be_read_in_a_column(found, tmp_path):
    charts, drawn = drawn_of_run(tmp_path / "run", "alignment", found)
    for chart, (statistic, own) in zip(charts, found.table.groupby("statistic", sort=False), strict=False):
        assert (chart["title"], chart["ticks"]) == (statistic, own["layer"].tolist())
        np.testing.assert_array_equal(chart["series"][0]["y"], own["value"])
    items = found.parts["items"] if "items" in found.parts else found.others["alignment_items"]
    assert sum(charts[-1]["series"][0]["y"]) == items["id"].nunique()
    assert illegible(drawn["alignment"]) == []
