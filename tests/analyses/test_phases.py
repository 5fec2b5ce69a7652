"""The analysis `phases` on vectors made by hand: planted phases, a planted paradox, and what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from comparing import ENGLISH, OFF
from drawing import drawn_of_run, illegible
from phase_worlds import LABELS, world
from phase_worlds import vectors as vectors_of

import layeratlas.analyses.phases_sound as sound
from layeratlas.affinity.matrix import compare
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import Comparison, Findings, Phases
from layeratlas.analyses.pair_items import PairItems
from layeratlas.arrays import Activations
from layeratlas.layers import all_layers
from layeratlas.metrics import CKALinear
from layeratlas.statistics.within_categories import Categories, category_correlations

BLOCKS, CATEGORIES = 12, Categories.of(LABELS)
ASKED = Phases(preference="per_token", stride=4, resamples=200, draws=200, neutral="neutral", structural=["category 0"], seed=0)
LINE = {"layers": "all", "one_space": True, "likelihoods": True, "two_fields": True}


def texts_of(labels: list[str], side: str) -> list[str]:
    return [f"Pair {i} of a category is {'so' if side == 'a' else 'not so'}." for i in range(len(labels))]


def side_of(labels: list[str], side: str, nll: np.ndarray) -> pd.DataFrame:
    """What a run counts of texts of ten scored tokens and twenty characters."""
    texts, n = texts_of(labels, side), len(labels)
    columns = {"text": texts, "characters": [len(t) for t in texts], "text_tokens": [9] * n, "tokens": [10] * n}
    columns |= {"first_token": pd.Series([None] * n, dtype="string"), "nll": 10 * nll}
    columns |= {"nll_per_token": nll, "nll_per_character": nll / 2}
    return pd.DataFrame(columns).add_suffix(f"_{side}")


def comparison(
    within: Any, seed: int, *, between: float = 0.0, labels: list[str] = LABELS, neutral: int = 0, blocks: int = BLOCKS
) -> Comparison:
    """Of blocks with correlations as planted in all categories; neutral pairs have none."""
    rng = np.random.default_rng([11, seed])
    planted = world([0.0, *within, within[-1]], rng, between=between)
    x = np.concatenate([planted.x, rng.standard_normal((len(planted.x), neutral))], axis=1)
    y = np.concatenate([planted.y, rng.standard_normal(neutral)])
    labels = [*labels, *["neutral"] * neutral]
    names, layers = all_layers(blocks, final_norm=True), [vectors_of(row, rng) for row in x]
    a, b = (
        Activations({n: torch.from_numpy(pair[side]).float() for n, pair in zip(names, layers, strict=True)}, blocks)
        for side in (0, 1)
    )
    signer = Signer(CKALinear(), torch.device("cpu"))
    items = pd.DataFrame({"id": [str(i) for i in range(len(y))], "group": labels})
    items = pd.concat([items, side_of(labels, "a", 3 - y / 2), side_of(labels, "b", 3 + y / 2)], axis=1)
    affinity = compare(signer, a.select(["block_1"]), b.select(["block_1"]))
    return Comparison(affinity, a, b, signer, items=items, languages={"a": ENGLISH, "b": ENGLISH}, inference=OFF, seed=0)


def found(*args: Any, analysis: Phases = ASKED, **kwargs: Any) -> Findings:
    return analysis(comparison(*args, **kwargs))


PLANTED = [*[0.4] * 4, *[0.0] * 4, *[-0.4] * 4]

# --- planted worlds -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_planted_phases_lie_in_their_intervals():
    truth = {"early": 0.4, "middle": 0.0, "late": -0.4}
    truth |= {"early_minus_middle": np.arctanh(0.4), "middle_minus_late": np.arctanh(0.4), "early_minus_late": 2 * np.arctanh(0.4)}
    held = dict.fromkeys(truth, 0)
    for seed in range(20):
        phases = found(PLANTED, seed).numbers["phases"]
        for name, value in truth.items():
            held[name] += phases[name]["ci_low"] <= value <= phases[name]["ci_high"]
    assert min(held.values()) >= 17, held


@pytest.mark.slow
def test_a_planted_paradox_is_named_and_lies_in_its_intervals():
    """R = .5 over all pairs, -.4 within each category, at every block."""
    truth, named = {"pooled": 0.5, "within": -0.4, "partial": -0.4}, 0
    held = dict.fromkeys(truth, 0)
    for seed in range(20):
        findings = found([-0.4] * 5, seed, between=1.8, blocks=5)
        assert findings.table is not None
        rows = findings.table.query("layer == 'block_3' and preference == 'per_token'").set_index("estimator")
        for name, value in truth.items():
            low, high = rows.loc[name, ["ci_low", "ci_high"]].to_numpy(dtype=float)
            held[name] += int(low <= value <= high)
        named += any("Simpson's paradox" in said for said in findings.sentences)
    assert min(held.values()) >= 17, held
    assert named >= 17


@pytest.fixture(scope="module")
def planted() -> Findings:
    return found(PLANTED, 0, neutral=30)


def test_a_world_of_phases_is_told_in_numbers_tables_and_words(planted):
    findings, numbers, table = planted, planted.numbers, planted.table
    assert (numbers["pairs"], numbers["neutral_pairs"]) == (180, 30)
    assert numbers["published"]["layers"] == ["embed", "block_4", "block_8", "final_norm"]
    assert numbers["change_point"]["p"] is not None
    assert numbers["phases"]["early_minus_late"]["ci_low"] > 0
    assert findings.headline is not None
    assert findings.headline.value == numbers["phases"]["early_minus_late"]["value"]
    assert "differs from" in findings.headline.sentence
    assert numbers["simpson"] is None
    assert set(table["estimator"]) == {"published", "pooled", "within", "partial", "neutral", "opposed_minus_neutral"}
    within = table[(table["estimator"] == "within") & (table["preference"] == "per_token")].set_index("layer")
    assert within.loc["block_1", "p_fwer"] == within["attainable_p"].iloc[0] == pytest.approx(1 / 201)
    assert within.loc[["embed", "final_norm"], "p_fwer"].isna().all()  # the final norm apart
    assert (within["p_fwer"].dropna() >= within["p"][within["p_fwer"].notna()]).all()
    assert table.loc[table["estimator"] == "neutral", "n"].unique().tolist() == [30]
    assert (table["ci_low"] <= table["r"]).where(table["ci_low"].notna(), True).all()
    items = findings.parts["items"]
    assert len(items) == 210 * (BLOCKS + 2)
    assert items.loc[items["group"] == "neutral", "centroid_asymmetry"].isna().all()
    assert items["left_out_asymmetry"].notna().all()
    assert len(findings.parts["categories"]) == 6 * (BLOCKS + 2)
    assert findings.parts["categories"].notna().to_numpy()[:, 2:].all()


def test_every_r_of_the_table_is_that_of_the_items_beside_it(planted):
    table, items = planted.table, planted.parts["items"]
    layer = items[(items["layer"] == "block_4") & (items["group"] != "neutral")]
    rows = table[(table["layer"] == "block_4") & (table["preference"] == "per_token")]
    for statistic in ("centroid_asymmetry", "cross_centroid", "margin_asymmetry", "density_asymmetry", "within_pair_similarity"):
        published = rows[(rows["estimator"] == "published") & (rows["statistic"] == statistic)]
        assert published["r"].item() == pytest.approx(np.corrcoef(layer[statistic], layer["per_token"])[0, 1])
    pooled = rows.loc[rows["estimator"] == "pooled", "r"].item()
    assert pooled == pytest.approx(np.corrcoef(layer["left_out_asymmetry"], layer["per_token"])[0, 1])
    by_category = layer.groupby("group")[["left_out_asymmetry", "per_token"]].corr().iloc[::2, 1].droplevel(1)
    told = planted.parts["categories"].query("layer == 'block_4'").set_index("category")["r"]
    pd.testing.assert_series_equal(told.sort_index(), by_category.sort_index(), check_names=False)


def test_the_paradox_is_said_as_it_is():
    findings = found([-0.4] * 5, 0, between=1.8, blocks=5)
    paradox = findings.numbers["simpson"]
    assert paradox["pooled"] > 0.3
    assert paradox["within"] < -0.2
    said = f"pooled r = +.{round(100 * paradox['pooled'])}; within categories -.{round(-100 * paradox['within'])}"
    assert any(said in line for line in findings.sentences)


# --- level --------------------------------------------------------------------------------------------------------------------


def layers_of(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> dict[str, sound.Layer]:
    """Blocks of these asymmetries, with all that does not go into phases left out."""
    nothing = np.zeros(len(weights))
    z = [np.arctanh(category_correlations(np.tile(row, (len(weights), 1)), y, weights, CATEGORIES.indicators)) for row in x]
    return {f"block_{i}": sound.Layer(row, nothing, nothing, one, {}) for i, (row, one) in enumerate(zip(x, z, strict=True), 1)}


@pytest.mark.slow
@pytest.mark.parametrize("r", [0.0, 0.4])
def test_phases_that_do_not_differ_are_told_apart_as_often_as_the_level_says(r):
    depths, p = np.arange(1, 4) / 3, []
    for seed in range(400):
        rng = np.random.default_rng([5, seed])
        planted = world(np.full(3, r), rng, between=1.0)
        weights = np.concatenate([np.ones((1, 180)), CATEGORIES.resamples(100, rng)])
        found = sound.phases(list(layers_of(planted.x, planted.y, weights).values()), depths, CATEGORIES, 0.95)
        p.append([found[name]["p"] for name in ("early_minus_middle", "middle_minus_late", "early_minus_late", "middle")])
    sizes = (np.array(p) <= 0.05).mean(axis=0)[: None if r == 0 else 3]
    assert ((sizes >= 0.025) & (sizes <= 0.08)).all(), sizes


@pytest.mark.nightly
def test_neutral_pairs_like_all_others_differ_from_them_as_often_as_the_level_says():
    rejected = {"neutral": 0, "opposed_minus_neutral": 0}
    for seed in range(600):
        rng = np.random.default_rng([6, seed])
        planted, noise = world([0.0], rng, between=1.0), rng.standard_normal((2, 30))
        layers = layers_of(planted.x, planted.y, np.ones((2, 180)))
        sample = sound.Sample.drawn(LABELS, planted.y, {}, np.empty((180, 0)), 1, rng)
        table = sound.against_neutral(layers, {"block_1": noise[0]}, noise[1], {"block_1": 1.0}, sample, 0.95)
        assert table["p_fwer"].tolist() == table["p"].tolist()  # of a single block
        for name in rejected:
            rejected[name] += int((table.loc[table["estimator"] == name, "p"] <= 0.05).item())
    sizes = {name: count / 600 for name, count in rejected.items()}
    assert all(0.025 <= size <= 0.08 for size in sizes.values()), sizes


def test_a_third_without_a_block_is_refused():
    planted = world([0.1] * 2, np.random.default_rng(0))
    blocks = list(layers_of(planted.x, planted.y, np.ones((3, 180))).values())
    with pytest.raises(ValueError, match="there is no block in: early"):
        sound.phases(blocks, np.array([0.5, 1.0]), CATEGORIES, 0.95)


# --- pairs --------------------------------------------------------------------------------------------------------------------


def counted(text: str, tokens: int, nll: float) -> pd.DataFrame:
    rates = {"nll_per_token": [nll / tokens], "nll_per_character": [nll / len(text)]}
    return pd.DataFrame({"text": [text], "characters": [len(text)], "text_tokens": [tokens], "nll": [nll], **rates})


def test_preferences_and_lengths_of_a_pair_by_hand():
    first, second = counted("The sky is blue today.", 6, 30.0), counted("The sky is very green.", 5, 41.0)
    pair = PairItems.of(first, second, pd.Series(["x"]))
    assert pair.preferences.iloc[0].to_dict() == pytest.approx(
        {"total": 11.0, "per_token": 8.2 - 5, "per_character": 0.5, "after_shared_beginning": 1.0}
    )
    expected = {"characters_difference": 0, "characters_mean": 22, "tokens_difference": -1, "tokens_mean": 5.5}
    assert pair.lengths.iloc[0].to_dict() == expected
    assert pair.covariates.shape == (1, 0)  # what does not vary explains nothing


def test_a_text_that_begins_like_the_whole_of_the_other_has_an_end_of_its_own():
    pair = PairItems.of(counted("It is", 2, 4.0), counted("It is so", 3, 7.0), pd.Series(["x"]))
    assert pair.preferences["after_shared_beginning"].item() == pytest.approx(3 / 1.5)


# --- refusals -----------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_answered_is_refused_in_one_line():
    one = comparison([0.3] * 5, 0, blocks=5)
    with pytest.raises(ValueError, match="two different texts; 0, 1, 2, 3, 4 has one on both sides"):
        ASKED(replace(one, items=one.items.assign(text_b=one.items["text_a"])))
    with pytest.raises(ValueError, match="two categories"):
        ASKED(replace(one, items=one.items.assign(group="all")))
    with pytest.raises(ValueError, match="which is the control"):
        ASKED(replace(one, items=one.items.assign(group="neutral")))
    with pytest.raises(ValueError, match="needs 10 pairs of each"):
        ASKED(replace(one, items=one.items.assign(group=[*"ab", *one.items["group"][2:]])))
    with pytest.raises(ValueError, match="they are all alike"):
        ASKED(replace(one, items=one.items.assign(nll_per_token_b=5.0, nll_per_token_a=3.0)))


def test_few_neutral_pairs_and_a_missing_token_at_the_beginning_are_told():
    one = comparison([0.3] * 5, 0, blocks=5, neutral=3)
    words = pd.Series(["Pair"] * 183, dtype="string")
    findings = ASKED(replace(one, items=one.items.assign(first_token_a=words, first_token_b=words)))
    assert findings.table is not None
    assert "neutral" not in set(findings.table["estimator"])
    assert "3 neutral pairs are too few" in findings.warnings[0]
    assert findings.warnings[1].endswith("100% of the texts begin with a token of their own, whose likelihood is not scored")


def test_the_published_pooling_is_named_where_it_is_another_and_where_it_skips_a_word():
    one = comparison([0.3] * 5, 0, blocks=5)
    words = pd.Series(["Pair"] * 180, dtype="string")
    (said,) = ASKED(replace(one, pooling="last")).warnings
    assert "the published numbers are of pooling=mean_skip_first" in said
    assert said.endswith("on vectors of pooling=last")
    assert ASKED(replace(one, pooling="mean_skip_first")).warnings == []
    skipping = replace(one, pooling="mean_skip_first", items=one.items.assign(first_token_a=words, first_token_b=words))
    assert "which this pooling leaves out; pooling=mean_content reads it" in ASKED(skipping).warnings[0]


def test_the_analysis_says_what_it_needs():
    assert {key: getattr(ASKED.needs, key) for key in LINE} == LINE


@pytest.mark.pictures
def test_its_charts_hold_what_it_found_and_its_picture_can_be_read_in_a_column(planted, tmp_path):
    (published, sound), drawn = drawn_of_run(tmp_path / "run", "phases", planted, layers=(BLOCKS, BLOCKS))
    rows = planted.table.query("statistic == 'centroid_asymmetry' and preference == 'per_token'")
    assert published["series"][0]["y"] == rows.query("estimator == 'published'")["r"].tolist()
    assert published["ticks"] == planted.numbers["published"]["layers"]
    within = rows.query("estimator == 'within' and depth == depth")
    assert sound["series"][1]["y"] == within["r"].tolist()
    assert illegible(drawn["phases"]) == []
