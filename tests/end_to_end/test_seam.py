"""An analysis and a study from a user's own module and YAML files, with tables, tests, needs and pictures."""

import json

import numpy as np
import pandas as pd
import pytest
from running import last_line

import layeratlas
from layeratlas.analyses import Findings

MODULE = '''
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from layeratlas.analyses import AbstractAnalysis, Comparison, Findings, RunNeeds
from layeratlas.studies import AbstractStudy, Sweep


@dataclass(frozen=True)
class Norms(AbstractAnalysis):
    """How long vectors are, layer by layer, and whether length in tokens goes with it."""

    scale: float
    views = "own_views"

    @property
    def needs(self):
        return RunNeeds(layers="all", likelihoods=True)

    def __call__(self, comparison: Comparison) -> Findings:
        items = comparison.of("a")
        norms = {name: x.norm(dim=1).numpy() * self.scale for name, x in comparison.a.layers.items()}
        table = pd.DataFrame({"layer": list(norms), "mean": [x.mean() for x in norms.values()]})
        by_item = pd.DataFrame({"id": comparison.items["id"], "nll": items["nll"], "norm": norms["embed"]})
        r, p = stats.pearsonr(norms["block_1"], items["tokens"])
        return Findings(table, {"items": by_item}, {"tokens": {"r": float(r), "p": float(p)}, "deep_p": 0.2}, ["tokens.p"])


@dataclass(frozen=True)
class Longest(AbstractStudy):
    """The longest vectors of each run."""

    views = "own_views"

    def __call__(self, sweep: Sweep) -> Findings:
        rows = [{"job": job, "longest": run.table("norms")["mean"].max()} for job, run in zip(sweep.table["job"], sweep.runs)]
        table = pd.DataFrame(rows)
        numbers = {"longest": float(table["longest"].max())}
        return Findings(table, {"first": table.head(1)}, numbers, sentences=["vectors have lengths"])


class OtherTexts(AbstractAnalysis):
    needs = RunNeeds(two_texts=True)

    def __call__(self, comparison):
        return Findings(pd.DataFrame({"n": [len(comparison.items)]}))


class TwoFields(OtherTexts):
    needs = RunNeeds(two_fields=True)
'''
VIEWS = """
import matplotlib.pyplot as plt

from layeratlas.report.views import SweepView, View


def norms(run):
    figure, axes = plt.subplots()
    axes.plot(run.table("norms")["mean"])
    return figure


def longest(sweep, tables):
    figure, axes = plt.subplots()
    axes.plot(tables["longest"]["longest"])
    yield "longest/of_all", figure


VIEWS = [View("norms", ["norms"], norms), SweepView(longest)]
"""
YAML = {
    "analysis/norms": "# @package analysis.norms\n_target_: own_analyses.Norms\nscale: 1.0\n",
    "analysis/other_texts": "# @package analysis.other_texts\n_target_: own_analyses.OtherTexts\n",
    "analysis/two_fields": "# @package analysis.two_fields\n_target_: own_analyses.TwoFields\n",
    "study/longest": "# @package study.longest\n_target_: own_analyses.Longest\n",
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's folder with a module, its pictures and YAML files; returns what to type for it."""
    folder = tmp_path / "own"
    files = {"own_analyses.py": MODULE, "own_views.py": VIEWS} | {f"{name}.yaml": text for name, text in YAML.items()}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(folder)
    return ["--config-dir", str(folder)]


@pytest.mark.slow
def test_an_analysis_and_a_study_of_a_users_own_leave_tables_tests_and_pictures(command, tiny, own, tmp_path):
    asked = ["analysis=[diagonal,norms]", "study=[longest]", "seed=0,1", "statistics=off"]
    assert command("-m", *own, *tiny[:6], tiny[-1], *asked) == 0
    sweep = tmp_path / "sweep"
    run = layeratlas.read_run(sweep / "0")
    assert run.table("norms")["layer"].tolist() == ["embed", "block_1", "block_2", "block_3", "final_norm"]
    assert run.result["a"]["layers"] == ["block_1", "block_2", "block_3"]  # the matrix has those that were asked for
    assert np.isfinite(run.table("norms_items")["nll"]).all()
    said = run.result["analyses"]["norms"]
    assert (said["scale"], said["tables"], said["tests"]) == (1.0, ["norms", "norms_items"], ["tokens.p"])
    assert run.result["statistics"]["norms"]["deep_p"] == 0.2
    figures = {path.stem for path in (sweep / "0" / "figures").glob("*.png")}
    assert figures == {"affinity", "depth_curves", "norms"}

    table = pd.read_parquet(sweep / "summary.parquet")
    p = table["norms.tokens.p"]
    np.testing.assert_allclose(table["norms.tokens.p_bonferroni"], p)  # each seed is a family of its own
    assert "norms.deep_p_holm" not in table  # no declared test
    assert len(pd.read_parquet(sweep / "tables" / "norms_items.parquet")) == 2 * 40
    assert pd.read_parquet(sweep / "tables" / "longest.parquet")["job"].tolist() == ["0", "1"]
    assert len(pd.read_parquet(sweep / "tables" / "longest_first.parquet")) == 1
    answers = json.loads((sweep / "studies.json").read_text())
    assert list(answers) == ["longest", "checksums"]
    assert answers["longest"]["numbers"]["longest"] > 0
    assert answers["longest"]["sentences"] == ["vectors have lengths"]
    assert (sweep / "figures" / "longest" / "of_all.png").is_file()


@pytest.mark.parametrize(
    ("analysis", "said"),
    [
        (
            "other_texts",
            "analysis other_texts compares two languages or two text fields: both sides read 'text' in en;",
        ),
        (
            "two_fields",
            "analysis two_fields compares two text fields of a dataset: dataset.field_a and dataset.field_b are both 'text'",
        ),
    ],
)
def test_what_an_analysis_needs_and_a_run_cannot_have_is_refused_before_a_model_is_loaded(
    command, tiny, own, capfd, monkeypatch, analysis, said
):
    monkeypatch.setattr("layeratlas.models.held.Held.load", lambda *arguments: pytest.fail("a model is loaded"))
    assert command(*own, *tiny, f"analysis=[{analysis}]") == 2
    assert said in last_line(capfd)


@pytest.mark.slow
def test_an_analysis_of_two_languages_is_given_two(command, tiny, own, tmp_path):
    assert command(*own, *tiny, "analysis=[other_texts]", "language@language_b=de", "statistics=off") == 0
    assert layeratlas.read_run(tmp_path / "out").table("other_texts")["n"].tolist() == [40]


def test_likelihoods_of_a_file_of_vectors_are_refused(command, tiny, own, tmp_path, capfd):
    vectors = tmp_path / "vectors.npz"
    np.savez(vectors, block_1=np.random.default_rng(0).standard_normal((40, 3)).astype("float32"))
    stored = [o for o in tiny if not o.startswith("model")] + [f"model@model_{s}=stored" for s in "ab"]
    assert command(*own, *stored, f"model_a.path={vectors}", f"model_b.path={vectors}", "analysis=[norms]") == 2
    assert "analysis norms needs likelihoods: model_a is a file of vectors, which has none" in last_line(capfd)


@pytest.mark.parametrize(
    ("numbers", "tests", "message"),
    [
        ({}, ["p"], "p is declared a test, and the findings have no such number"),
        ({"a": {"p": [0.1]}}, ["a.p"], "a.p is declared a test, and is no number but list"),
        ({"a": {}}, ["a.p"], "a.p is declared a test, and the findings have no such number"),
    ],
)
def test_a_declared_test_must_be_a_number_of_the_findings(numbers, tests, message):
    with pytest.raises(TypeError, match=message):
        Findings(numbers=numbers, tests=tests)
