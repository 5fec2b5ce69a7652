"""Several models on the same texts, from runs written by hand."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from aligned_runs import DEPTHS, LAYERS, aligned, write_aligned
from drawing import drawn_by, illegible

from layeratlas.errors import ConfigError
from layeratlas.report.views import of_study
from layeratlas.runs.jobs import Job, write_jobs
from layeratlas.stages.summary import summarize
from layeratlas.statistics.commitment import NEVER, committed_at
from layeratlas.studies import Variants, sweep_of
from layeratlas.studies.router import NO_EVIDENCE
from layeratlas.studies.variant_runs import MEAN, curves_of
from layeratlas.studies.variants import failure

N = 12
WHERE = "texts-12-last-mutual_knn-10"
OPTIONS = {
    "baseline": None,
    "later": 1,
    "draws": 4095,
    "alpha": 0.05,
    "level": 0.95,
    "terms": ["hereby"],
    "function_words": {},
    "register": {"en": ["hereby"]},
    "labels": None,
    "seed": 0,
}
STUDY = Variants(**OPTIONS)


def written(folder, model, cosine, *, languages=("en", "sw"), ranks=None, flagged=("embed",), ids=None, text="habari", **config):
    """A run of a model with these cosines (items, layers); a translation is found first where its cosine is above .5."""
    cosine = np.asarray(cosine, dtype=float)
    n = len(cosine)
    ids = ids or [f"t{i}" for i in range(n)]
    ranks = np.where(cosine > 0.5, 1, 2) if ranks is None else ranks
    layers, depths = np.repeat(LAYERS, n), np.repeat(DEPTHS, n)
    told = {"id": ids * 5, "group": ["x", "y"] * (n // 2) * 5, "layer": layers, "depth": depths}
    of_items = {"cosine": cosine.T.ravel(), "cosine_of_wrong": 0.1, "cosine_centered": 0.0}
    items = pd.DataFrame(told | of_items | {"rank_a_to_b": ranks.T.ravel(), "rank_b_to_a": ranks.T.ravel()})
    place = committed_at(cosine, 0.85, 2)
    layer = [None if i == NEVER else LAYERS[i] for i in place]
    commitment = pd.DataFrame({"id": ids, "group": ["x", "y"] * (n // 2), "layer": layer, "place": place})
    tables = {"alignment": aligned(cosine.mean(axis=0), flagged=flagged), "alignment_items": items, "commitment": commitment}
    texts = pd.DataFrame({"id": ids, "text_a": "hello", "text_b": text})
    return write_aligned(folder, languages, tables, model=model, items=texts, **config)


def curves(level, seed=0):
    """Cosines of items that rise over the blocks to `level`, each with a little of its own."""
    rng = np.random.default_rng(seed)
    return np.array([1.0, 0.3, 0.6, 1.0, 0.8]) * level + 0.02 * rng.standard_normal((N, 5))


def test_item_curves_leave_out_what_says_nothing_and_find_first_where_the_rank_is_one(tmp_path):
    ranks = np.ones((N, 5), dtype=int)
    ranks[0] = 2
    found = curves_of(written(tmp_path / "0", "ant", curves(0.9), ranks=ranks, flagged=["embed", "block_2"]))
    np.testing.assert_allclose(found.depths, [1 / 3, 1])
    assert found.measures["retrieved"].tolist() == [[0, 0]] + [[1, 1]] * (N - 1)
    np.testing.assert_allclose(found.measures["cosine_above_wrong"], curves(0.9)[:, [1, 3]] - 0.1)
    assert found.ids == [f"t{i}" for i in range(N)]


@pytest.mark.slow
def test_one_model_above_another_is_found_with_its_interval_and_corrected_p(tmp_path):
    runs = [
        written(tmp_path / "0", "ant", curves(0.5, 1)),
        written(tmp_path / "1", "bee", curves(0.9, 2)),
        written(tmp_path / "2", "ant", curves(0.9, 3), languages=("en", "fr")),
        written(tmp_path / "3", "bee", curves(0.9, 4), languages=("en", "fr")),
    ]
    found = STUDY(sweep_of(runs))
    rows = found.table[found.table["measure"] == "cosine_above_wrong"]
    means = rows[rows["layer"] == MEAN].set_index("language_b")
    blocks = [1, 2, 3]
    difference = (curves(0.9, 2) - curves(0.5, 1))[:, blocks]
    assert means.loc["sw", "value"] == pytest.approx(difference.mean())
    assert means.loc["sw", "ci_low"] <= difference.mean() <= means.loc["sw", "ci_high"]
    assert means.loc["sw", "p"] == pytest.approx(2 / 4096)
    assert means.loc["sw", "p_holm"] == pytest.approx(4 / 4096)
    assert means.loc["fr", "ci_low"] < 0 < means.loc["fr", "ci_high"]
    of_depths = rows[(rows["layer"] != MEAN) & (rows["language_b"] == "sw")]
    np.testing.assert_allclose(of_depths["value"], difference.mean(axis=0))
    np.testing.assert_allclose(of_depths["depth"], DEPTHS[blocks])
    assert (of_depths["p_fwer"] >= of_depths["p"]).all()
    assert found.sentences == [
        f"{WHERE}: retrieved, mean of depths: bee above ant in 1 of 2 pairs of languages, below it in 0 (corrected p <= 0.05);"
        f" {found.table[(found.table['layer'] == MEAN) & (found.table['measure'] == 'retrieved')]['value'].mean():.3f} on average"
    ]
    matrix = found.parts["commitment"]
    assert len(matrix) == 4 * N
    assert set(zip(matrix["model"], matrix["language_b"], strict=True)) == {(m, c) for m in ("ant", "bee") for c in ("sw", "fr")}


@pytest.mark.slow
def test_models_of_other_depths_meet_between_their_layers(tmp_path):
    ant, bee = (
        written(tmp_path / "0", "ant", curves(0.5)),
        written(tmp_path / "1", "bee", curves(0.9), flagged=["embed", "block_2"]),
    )
    found = STUDY(sweep_of([ant, bee]))
    rows = found.table[(found.table["measure"] == "cosine_above_wrong") & (found.table["layer"] != MEAN)]
    between = (curves(0.9)[:, 1] + curves(0.9)[:, 3]).mean() / 2
    assert rows["value_second"].iloc[1] == pytest.approx(between - 0.1)
    assert rows["depth"].tolist() == pytest.approx([1 / 3, 2 / 3, 1])


def test_where_groups_belong_together_they_are_the_units(tmp_path):
    statistics = {"statistics": {"level": 0.95, "by_group": True}}
    runs = [
        written(tmp_path / str(i), model, curves(level), **statistics)
        for i, (model, level) in enumerate((("ant", 0.5), ("bee", 0.9)))
    ]
    found = STUDY(sweep_of(runs))
    assert set(found.table["units"]) == {2}
    assert found.table["p"].min() == 0.5


@pytest.mark.parametrize(
    ("base", "variant", "reason"),
    [
        (NEVER, NEVER, None),
        (NEVER, 3, None),
        (0, NEVER, "never"),
        (0, 4, None),
        (0, 5, "later"),
        (3, 1, None),
        (2, 6, None),
        (2, 7, "later"),
    ],
)
def test_failures_by_the_published_rule(base, variant, reason):
    assert failure(base, variant, 4) == reason


@pytest.mark.slow
def test_failing_items_carry_their_text_and_what_may_be_why(tmp_path):
    early, late = curves(0.3), curves(0.3)
    early[:3, 1:] = late[:1, 3:] = 0.9
    late[1, 2:] = 0.9
    runs = [written(tmp_path / "0", "ant", early), written(tmp_path / "1", "bee", late)]
    failures = STUDY(sweep_of(runs)).parts["failures"].set_index("id")
    assert failures["reason"].to_dict() == {"t0": "later", "t2": "never"}
    assert failures.loc["t2", ["baseline_place", "variant_place", "text", "published", "corrected"]].tolist() == [
        *(1, NEVER, "habari"),
        *("UNKNOWN", "LOW_RESOURCE_VARIANT"),
    ]
    other_way = Variants(**OPTIONS | {"baseline": "bee"})(sweep_of(runs))
    assert "failures" not in other_way.parts
    assert set(other_way.table["first"]) == {"bee"}


@pytest.mark.slow
def test_labels_are_counted_against_both_rules(tmp_path):
    rows = [
        {"language": "en", "text": "hereby", "label": "FORMAL_REGISTER"},
        {"language": "en", "text": "whereby hereby", "label": "UNKNOWN"},
        {"language": "sw", "text": "habari", "label": "LOW_RESOURCE_VARIANT"},
        {"language": "zz", "text": "a", "label": "UNKNOWN"},
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    runs = [written(tmp_path / "0", "ant", curves(0.5)), written(tmp_path / "1", "bee", curves(0.9))]
    found = Variants(**OPTIONS | {"labels": str(path)})(sweep_of(runs))
    counted = found.parts["confusion"].set_index(["rule", "label", "category"])["texts"]
    assert counted[counted > 0].to_dict() == {
        ("published", "FORMAL_REGISTER", "FORMAL_REGISTER"): 1,
        ("published", "UNKNOWN", "FORMAL_REGISTER"): 1,
        ("published", "UNKNOWN", "UNKNOWN"): 1,
        ("published", "LOW_RESOURCE_VARIANT", "UNKNOWN"): 1,
        ("corrected", "FORMAL_REGISTER", "FORMAL_REGISTER"): 1,
        ("corrected", "UNKNOWN", "FORMAL_REGISTER"): 1,
        ("corrected", "LOW_RESOURCE_VARIANT", "LOW_RESOURCE_VARIANT"): 1,
    }
    unseen = found.parts["labelled"].set_index("language")["unseen"]
    assert unseen["zz"] == "the language is not one of the sweep"
    assert unseen["sw"] == "register, switching between languages of one script"
    cases = {case["test_id"]: case for case in found.documents["router"]["cases"]}
    assert cases["sw-row 3"]["expected_variant"] == "bee"
    assert cases["sw-row 3"]["p1_test_assertion"] == "route(input) == 'bee'"
    assert cases["zz-row 4"]["expected_variant"] == cases["zz-row 4"]["failure_category"] == NO_EVIDENCE
    assert cases["zz-row 4"]["routing_recommendation"] == "no evidence: no run of this language"
    assert cases["zz-row 4"]["evidence"] == []


MISTAKES = {
    "missing.jsonl": (None, "expected a file .jsonl or .csv with language, text, label"),
    "x.txt": ("a", "expected a file .jsonl or .csv with language, text, label"),
    "x.csv": ("language,text\nen,a\n", "there is no column label; there are language, text"),
    "y.csv": ("language,text,label\nen,a,BAD\n", "BAD is no category; there are CODE_SWITCH, TRANSLITERATION"),
    "z.csv": ("language,text,label\nen,,UNKNOWN\n", "1 rows lack a language, a text or a label"),
    "x.jsonl": ("{not json", "it cannot be read"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_file_of_labels_is_one_line(tmp_path, name):
    content, message = MISTAKES[name]
    if content is not None:
        (tmp_path / name).write_text(content)
    runs = [written(tmp_path / "0", "ant", curves(0.5)), written(tmp_path / "1", "bee", curves(0.9))]
    with pytest.raises(ConfigError, match=f"^study.variants.labels=.*{name}: {message}"):
        Variants(**OPTIONS | {"labels": str(tmp_path / name)})(sweep_of(runs))


def recommended(tmp_path, *levels, n_seed=0):
    models = ("ant", "bee", "cat")
    runs = [written(tmp_path / str(i), models[i], curves(level, i + n_seed)) for i, level in enumerate(levels)]
    (found,) = STUDY(sweep_of(runs)).documents["router"]["recommendations"]
    return found


def test_a_model_above_every_other_is_recommended_with_its_evidence(tmp_path):
    found = recommended(tmp_path, 0.4, 1.8, 0.6)
    assert (found["model"], found["candidates"]) == ("bee", ["bee"])
    assert len(found["evidence"]) == 3
    assert all(set(row) >= {"difference", "ci_low", "ci_high", "p", "p_holm", "items"} for row in found["evidence"])


def test_models_that_nothing_tells_apart_are_candidates_and_none_is_recommended(tmp_path):
    found = recommended(tmp_path, 0.4, 1.8, 1.8)
    assert (found["model"], found["candidates"]) == (NO_EVIDENCE, ["bee", "cat"])
    assert found["says"] == "no evidence between bee, cat"


def test_without_a_difference_there_is_no_evidence(tmp_path):
    found = recommended(tmp_path, 0.9, 0.9)
    assert (found["model"], found["says"]) == (NO_EVIDENCE, "no evidence that one model is above another")


def test_what_cannot_be_compared_is_named(tmp_path):
    ids = [f"u{i}" for i in range(N)]
    runs = [written(tmp_path / "0", "ant", curves(0.5)), written(tmp_path / "1", "bee", curves(0.9), ids=ids)]
    found = STUDY(sweep_of(runs))
    assert found.table is None
    assert found.warnings == [f"{WHERE} en-sw, ant and bee: they read other items, or in another order, and are not compared"]
    assert found.documents["router"]["recommendations"] == []
    with pytest.raises(ConfigError, match=r"study.variants.baseline: no run of 'cow' in en-sw; there are ant, bee"):
        Variants(**OPTIONS | {"baseline": "cow"})(sweep_of(runs))


def test_one_model_is_not_asked_about(tmp_path):
    assert STUDY(sweep_of([written(tmp_path / "0", "ant", curves(0.5))])) is None


@pytest.mark.slow
def test_the_router_is_a_file_of_the_sweep(tmp_path):
    folder = tmp_path / "sweep"
    for i, (model, level) in enumerate((("ant", 0.5), ("bee", 0.9))):
        written(folder / str(i), model, curves(level))
    write_jobs(folder, [Job(i, ["stage=all"], str(i)) for i in range(2)])
    summarize([folder], folder, studies={"variants": STUDY})
    router = json.loads((folder / "router.json").read_text())
    assert router["recommendations"][0]["model"] == "bee"
    assert (folder / "tables" / "variants_commitment.parquet").is_file()


@pytest.mark.slow
def test_differences_and_commitment_are_drawn(tmp_path):
    sweep = sweep_of([written(tmp_path / "0", "ant", curves(0.5)), written(tmp_path / "1", "bee", curves(0.9))])
    (view,) = of_study("variants", None)
    findings = STUDY(sweep)
    charts = drawn_by("variants", findings)
    curves_of = findings.table[findings.table["layer"] != MEAN]
    assert [y for chart in charts for y in chart["series"][0]["y"]] == curves_of["value"].tolist()
    drawn = dict(view.figures(sweep, findings.tables("variants")))
    assert [illegible(figure) for figure in drawn.values()] == [[]] * 3
    assert list(drawn) == [f"{WHERE}/variants-retrieved", f"{WHERE}/variants-cosine_above_wrong", "variants-commitment"]
    assert [len(figure.axes) for figure in drawn.values()] == [1, 1, 3]
    assert list(view.figures(sweep, {})) == []
    plt.close("all")


@pytest.mark.slow
def test_models_are_drawn_against_the_baseline_alone(tmp_path):
    models = [
        written(tmp_path / name, name, curves(level, i))
        for i, (name, level) in enumerate(zip(("ant", "bee", "cat"), (0.4, 0.8, 0.9), strict=True))
    ]
    (view,) = of_study("variants", None)
    figure = next(iter(dict(view.figures(sweep_of(models), STUDY(sweep_of(models)).tables("variants"))).values()))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["bee", "cat"]
    assert "than ant" in figure.get_suptitle()
    plt.close("all")
