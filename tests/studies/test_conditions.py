"""Conditions of one model: on one scale, two by two, and factor against factor."""

from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from drawing import drawn_by, illegible

from layeratlas.affinity.halves import half_matrices
from layeratlas.affinity.matrix import compare
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics import CKALinearDebiased, MutualKNN
from layeratlas.report.views import of_study
from layeratlas.runs import reading, writing
from layeratlas.runs.matrices import write_arrays
from layeratlas.studies import Conditions, sweep_of
from layeratlas.studies.crossing import crossings, sentence
from layeratlas.studies.opened import Opened
from layeratlas.studies.two_runs import compare_runs

pytestmark = pytest.mark.slow

CONDITIONS = Conditions(draws=9, most=300, allow_unequal=False, apart=[], crossed=["dataset", "language"], splits=2, seed=0)
TASKS, LANGUAGES, BLOCKS = ("law", "sums", "art"), ("en", "fr"), 3


@dataclass
class Written:
    """Runs in their folders, and what they were computed from."""

    runs: list
    opened: dict

    def sweep(self, places=None):
        runs = self.runs if places is None else [self.runs[place] for place in places]
        return sweep_of(runs, opener=lambda run: self.opened[run.folder.name])


def run_of(folder, job, task, language, vectors, *, ids, metric=None, pooling="last", model="ant", revision="1"):
    """One model with itself over a task in a language."""
    metric = metric or CKALinearDebiased()
    place = folder / str(job)
    place.mkdir(parents=True)
    side = Activations({f"block_{i + 1}": torch.from_numpy(x).float() for i, x in enumerate(vectors)}, len(vectors))
    opened = Opened(side, side, Signer(metric, torch.device("cpu")))
    affinity = compare(opened.signer, side, side)
    pd.DataFrame({"id": ids, "group": task}).to_parquet(place / "items.parquet")
    about = {"model": model, "revision": revision, "language": language, "field": "text", "control": None, "layers": side.names}
    k = getattr(metric, "k", None)
    config = {"dataset": {}, "statistics": {"level": 0.95, "by_group": False}, "model_a": {"revision": revision}}
    result = {
        "metric": {"name": metric.name, "estimator": metric.about.estimator, "k": k, "symmetric": True, "self_value": 1.0}
        | {"parameters": {}},
        "pooling": pooling,
        "a": about,
        "b": about,
        "dataset": {"name": "exam", "n": len(ids), "corpus": "exam", "control": None, "same_texts": True},
        "settings": {"seed": 0, "dataset": {"groups": [task]}, "metric": {}},
        "headline": {"text": "mean affinity", "value": 0.5, "chance": 0.0},
        "statistics": {},
        "analyses": {},
        "warnings": [],
        "timing": {},
        "provenance": {"config": config | {"model_b": {"revision": revision}}},
    }
    writing.write_result(place, result, [write_arrays(place, affinity), place / "items.parquet"])
    return reading.read_run(place), opened


def vectors_of(rng, n=10, width=6):
    return [rng.standard_normal((n, width)) for _ in range(BLOCKS)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Three tasks in two languages, whose vectors are those of the task and noise."""
    folder, rng, runs, opened = tmp_path_factory.mktemp("exam"), np.random.default_rng(0), [], {}
    for task in TASKS:
        shared = vectors_of(rng)
        for language in LANGUAGES:
            vectors = [layer + 0.5 * rng.standard_normal(layer.shape) for layer in shared]
            run, made = run_of(folder, len(runs), task, language, vectors, ids=[f"{task}{i}" for i in range(10)])
            runs.append(run)
            opened[run.folder.name] = made
    return Written(runs, opened)


@pytest.fixture(scope="module")
def found(written):
    return CONDITIONS(written.sweep())


def test_every_two_conditions_are_compared_as_two_runs_are(written, found):
    table = found.tables("conditions")["conditions"]
    assert len(table) == 15
    row = table[(table["job_first"] == "0") & (table["job_second"] == "3")].iloc[0]
    expected = compare_runs(written.runs[0], written.runs[3], draws=9).correlation
    for name in ("pearson", "off_diagonal_pearson", "partial", "mantel_p"):
        assert row[name] == pytest.approx(getattr(expected, name))
    assert {"ceiling", "mantel_p_holm", "margin_difference"} <= set(table)
    assert found.parts["runs"]["label"].tolist() == [f"{task} · {language}" for task in TASKS for language in LANGUAGES]


def test_crossed_factors_have_their_sizes_with_and_without_the_depth_trend(found):
    effects = found.parts["effects"]
    assert effects["effect"].tolist() == ["dataset", "language", "interaction", "language - dataset"] * 2
    assert effects["of"].unique().tolist() == ["as they are", "depth trend removed"]
    assert (effects[["levels_first", "levels_second", "n", "half"]].drop_duplicates().to_numpy() == [[3, 2, 10, 5]]).all()
    row = effects.iloc[:3].set_index("effect")
    assert effects["value"][3] == pytest.approx(row.loc["language", "value"] - row.loc["dataset", "value"])
    assert row["naive_share"].sum() == pytest.approx(1)
    assert (effects["p_holm"] >= effects["p"]).all()
    assert "shares: dataset" in found.sentences[1]


@pytest.mark.parametrize(("p", "said"), [(0.3, True), (0.01, False)])
def test_an_interval_that_is_too_long_where_nothing_is_says_so(found, p, said):
    effects = found.parts["effects"]
    effects = effects.assign(p=effects["p"].where(effects["effect"] == "language - dataset", p))
    assert ("too long if neither has an effect, as none is shown to have" in sentence(effects)) == said


def test_halves_hold_their_own_items_alone(written):
    made = written.opened["0"]
    groups = [np.array([i]) for i in range(10)]
    half_of = np.array([0, 1, 1, 0, 1, 0, 1, 0, 1, 0])
    whole, without = half_matrices(made.signer, made.a, made.b, groups, half_of)
    kept = torch.tensor([0, 3, 5, 7, 9])
    np.testing.assert_allclose(whole[0], compare(made.signer, made.a.some(kept), made.a.some(kept)).matrix, atol=1e-6)
    kept = torch.tensor([1, 4, 6, 8])
    np.testing.assert_allclose(without[2], compare(made.signer, made.a.some(kept), made.a.some(kept)).matrix, atol=1e-5)


def test_the_order_of_the_runs_changes_nothing(written, found):
    one, other = found.parts["effects"], CONDITIONS(written.sweep((5, 0, 3, 2, 1, 4))).parts["effects"]
    naive = [effects[effects["of"] == "as they are"].set_index("effect")["naive"] for effects in (one, other)]
    for effect in ("dataset", "language", "interaction"):
        assert naive[0][effect] == pytest.approx(naive[1][effect])


def test_a_gap_in_the_design_is_said_and_the_rest_is_there(written):
    found = CONDITIONS(written.sweep(range(5)))
    assert "effects" not in found.parts
    assert found.warnings == ["dataset and language are not crossed: there is not one run of art, fr"]
    assert len(found.table) == 10


def test_vectors_that_are_not_in_the_store_cost_the_effects_alone(written):
    found = CONDITIONS(sweep_of(written.runs))
    assert len(found.table) == 15
    assert found.warnings == [
        f"effects of dataset and language are not estimated: {written.runs[0].folder}: its vectors are read from the store by"
        " stage=summarize alone"
    ]


def other_run(tmp_path, written, **changed):
    rng = np.random.default_rng(5)
    n = changed.pop("n", 10)
    options = {"ids": [f"law{i}" for i in range(n)], "task": "law", "language": "de"} | changed
    vectors = vectors_of(rng, n)
    run, opened = run_of(tmp_path / "more", 9, options.pop("task"), options.pop("language"), vectors, **options)
    return Written([*written.runs, run], written.opened | {"9": opened})


@pytest.mark.parametrize(
    ("changed", "scale"),
    [({"n": 14}, r"n \(10, 14\)"), ({"metric": MutualKNN(k=3)}, r"k \(none, 3\)")],
)
def test_unequal_scales_are_refused(tmp_path, written, changed, scale):
    with pytest.raises(Undefined, match=rf"^jobs 0 and 9 differ in {scale}.*study\.conditions\.allow_unequal=true$"):
        CONDITIONS(other_run(tmp_path, written, **changed).sweep())


def test_allowed_unequal_scales_are_flagged_in_every_table_and_figure(tmp_path, written):
    sweep = other_run(tmp_path, written, n=14).sweep()
    found = replace(CONDITIONS, allow_unequal=True)(sweep)
    tables = found.tables("conditions")
    flagged = tables["conditions"]["scales_apart"] == "n"
    assert (flagged == (tables["conditions"]["job_second"] == "9")).all()
    assert tables["conditions_runs"]["unequal"].tolist() == [""] * 6 + ["n"]
    assert found.numbers["unequal"] == ["n"]
    assert "6 of them differ in n, k or estimator" in found.sentences[0]
    assert found.warnings == ["effects of dataset and language are not estimated: runs differ in n"]
    for place, figure in of_study("conditions", None)[0].figures(sweep, tables):
        assert "NOT on one scale: n differ" in figure.get_suptitle(), place
        plt.close(figure)


def test_columns_that_are_kept_apart_have_grids_of_their_own(tmp_path, written):
    sweep = other_run(tmp_path, written, metric=MutualKNN(k=3)).sweep()
    found = replace(CONDITIONS, apart=["metric"])(sweep)
    assert found.numbers["grids"] == 1
    assert set(found.table["job_second"]) == {"1", "2", "3", "4", "5"}
    with pytest.raises(Undefined, match=r"^study\.conditions\.apart: there is no column metrics$"):
        replace(CONDITIONS, apart=["metrics"])(sweep)


def test_checkpoints_of_one_model_are_conditions_of_it(tmp_path, written):
    found = CONDITIONS(other_run(tmp_path, written, language="en", revision="2").sweep([0, 6]))
    assert len(found.table) == 1
    assert found.parts["runs"]["label"].tolist() == ["ant revision=1", "ant revision=2"]


def test_items_that_are_shared_in_part_have_no_disjoint_halves(tmp_path, written):
    more = other_run(tmp_path, written, task="sums", language="en", ids=[f"law{i}" for i in range(6, 16)])
    sweep = more.sweep([0, 1, 6, 3])
    (crossing,) = crossings(sweep, ["dataset", "language"], ["config.dataset.groups", "language_a"])
    assert crossing.first.names == ["law", "sums"]
    found = CONDITIONS(sweep)
    assert found.warnings == [
        "effects of dataset and language are not estimated: jobs 0 and 9 share some of their items and not all, so that no halves"
        " are disjoint: draw the same items, or others"
    ]


def test_too_few_items_for_halves_are_named(written):
    metric = Signer(MutualKNN(k=10), torch.device("cpu"))
    strict = Written(written.runs, {job: replace(made, signer=metric) for job, made in written.opened.items()})
    (warning,) = CONDITIONS(strict.sweep()).warnings
    assert "mutual_knn needs 11 items, and half of 10 without a group of them has 4" in warning


def test_one_run_is_no_comparison(written):
    assert CONDITIONS(written.sweep([0])) is None


def test_more_pairs_than_asked_for_are_refused(written):
    with pytest.raises(Undefined, match=r"^15 pairs of runs; study\.conditions\.most=15 compares them$"):
        replace(CONDITIONS, most=5)(written.sweep())


def test_two_factors_are_crossed_and_no_more():
    from layeratlas.options import require_options

    with pytest.raises(ConfigError, match=r"study\.conditions\.crossed"):
        require_options(Conditions, {"crossed": ["dataset"]}, "study.conditions")


@pytest.mark.pictures
def test_the_pictures_have_one_scale_and_all_labels(written, found):
    sweep, tables = written.sweep(), found.tables("conditions")
    drawn = dict(of_study("conditions", None)[0].figures(sweep, tables))
    assert list(drawn) == ["conditions/matrices", "conditions/agreement", "conditions/effects"]
    images = [axes.get_images()[0] for axes in drawn["conditions/matrices"].axes if axes.get_images()]
    assert len(images) == 6
    assert len({image.get_clim() for image in images}) == 1
    assert len(drawn["conditions/matrices"].axes) == 7  # and one colour bar
    for figure in drawn.values():
        assert illegible(figure) == []
        plt.close(figure)
    (chart,) = drawn_by("conditions", found)
    effects = tables["conditions_effects"]
    assert [y for one in chart["series"] for y in one["y"]] == effects.sort_values("of", kind="stable")["value"].tolist()
