"""Several languages and several models from the command line, on tiny models."""

import json
from itertools import combinations

import pandas as pd
import pytest
from conftest import TEXTS

from layeratlas.extraction import forward
from layeratlas.runs.states import states_of

pytestmark = pytest.mark.slow

TEN = ["en", "de", "fr", "es", "hi", "zh", "ar", "sw", "yo", "ta"]


@pytest.fixture
def in_languages(tiny, checkpoint_folder, tmp_path):
    """Overrides that compare one tiny model with itself, on the same texts in as many made-up languages as are asked for."""

    def overrides(languages):
        rows = [{"id": f"t{i}"} | {code: f"{code} {text} {i}" for code in languages} for i, text in enumerate(TEXTS * 2)]
        path = tmp_path / "languages.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        swept = [f"language@language_{side}={','.join(languages)}" for side in "ab"]
        return ["-m", *tiny, f"model_b.id={checkpoint_folder('llama')}", f"dataset.path={path}", *swept]

    return overrides


@pytest.fixture
def extracted(monkeypatch):
    """The texts of every forward pass that was made for the store."""
    passes = []
    extract = forward.extract

    def counted(model, texts, *rest):
        passes.append(tuple(texts.texts))
        return extract(model, texts, *rest)

    monkeypatch.setattr(forward, "extract", counted)
    return passes


def test_a_sweep_of_all_pairs_of_languages_extracts_each_language_once(command, in_languages, extracted, tmp_path):
    assert command(*in_languages(["en", "de", "fr"]), "analysis=[]", "study=[]") == 0
    assert len(extracted) == len(set(extracted)) == 3
    states = [state.state for state in states_of(tmp_path / "sweep")]
    assert states.count("done") == 3


@pytest.mark.slow
def test_all_45_pairs_of_ten_languages_extract_each_once_and_leave_every_table_and_picture(
    command, in_languages, extracted, tmp_path
):
    asked = ["analysis=[alignment]", "study=[languages]", "layers=all", "statistics.permutations=19", "study.languages.draws=19"]
    assert command(*in_languages(TEN), *asked) == 0
    assert len(extracted) == len(set(extracted)) == 10
    sweep = tmp_path / "sweep"
    assert [state.state for state in states_of(sweep)].count("done") == 45
    pairs = pd.read_parquet(sweep / "tables" / "languages_pairs.parquet")
    assert set(zip(pairs["language_a"], pairs["language_b"], strict=True)) == set(combinations(sorted(TEN), 2))
    assert set(pd.read_parquet(sweep / "tables" / "languages.parquet")["languages"]) == {10}
    drawn = {path.stem.rpartition("-")[2] for path in (sweep / "figures").glob("*/languages-*.png")}
    assert drawn == {"curves", "matrices", "predictors"}


@pytest.mark.parametrize("metric", ["mutual_knn", pytest.param("cka_linear_debiased", marks=pytest.mark.slow)])
def test_english_in_one_model_and_german_in_another_take_every_question_that_needs_no_one_space(command, tiny, tmp_path, metric):
    asked = ["language@language_b=de", "analysis=[diagonal,geometry,stability]", f"metric={metric}", "analysis.stability.splits=2"]
    assert command(*tiny, *asked) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [(result[side]["model"], result[side]["language"]) for side in "ab"] == [("tiny-llama", "en"), ("tiny-gpt2", "de")]
    assert list(result["analyses"]) == ["diagonal", "geometry", "stability"]
    assert not [warning for warning in result["warnings"] if "was not made" in warning]
    assert {"swap.margin.p", "generalised.p"} <= set(result["analyses"]["diagonal"]["tests"])
    assert 0 < result["statistics"]["diagonal"]["generalised"]["p"] <= 1
    assert "ask       " not in (tmp_path / "out" / "run.log").read_text()


def test_a_model_its_blocks_skipped_and_its_untrained_twin_are_variants_of_the_same_texts(command, tiny, tmp_path):
    """Every sweep is asked about variants; side b is the same variant as side a."""
    one = [override for override in tiny if "model_b" not in override]
    variants = ["model_b=${model_a}", "model_a.skip_blocks=[],[2]", "model_a.random_init=null,0"]
    assert command("-m", *one, *variants, "language@language_b=de", "layers=all", "analysis=[alignment]") == 0
    sweep = tmp_path / "sweep"
    names = [f"tiny-llama{twin} skip_blocks={skipped}" for skipped in ("[]", "[2]") for twin in ("", "-random0")]
    commitment = pd.read_parquet(sweep / "tables" / "variants_commitment.parquet")
    assert list(dict.fromkeys(commitment["model"])) == names
    differences = pd.read_parquet(sweep / "tables" / "variants.parquet")
    assert set(zip(differences["first"], differences["second"], strict=True)) == set(combinations(names, 2))
    assert len(json.loads((sweep / "router.json").read_text())["recommendations"]) == 1
    assert (sweep / "figures" / "variants-commitment.png").stat().st_size > 10_000
