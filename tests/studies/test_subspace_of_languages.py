"""The subspace of many languages: from vectors that are known, through runs written by hand."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from aligned_runs import aligned, write_aligned
from drawing import illegible

from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics import PairedCosineCentred, RetrievalAt1
from layeratlas.report.views import of_study
from layeratlas.statistics.removals import BetweenLanguages, LanguageMeans, LeastSquares
from layeratlas.studies import LanguageSubspaces, sweep_of
from layeratlas.studies.language_vectors import models_in_languages
from layeratlas.studies.opened import Opened, unopened

pytestmark = pytest.mark.slow

CODES = ("am", "ar", "de", "en")
N, D = 40, 16
LEVEL = {"statistics": {"permutations": 0, "groups": 10, "alpha": 0.05, "level": 0.95, "within_groups": False, "by_group": False}}
LEVEL["statistics"]["block"] = 1
WHERE = "texts-40-last-mutual_knn-10 ant"


def study(**options) -> LanguageSubspaces:
    defaults = {"removals": [LanguageMeans(), BetweenLanguages(rank=1)], "metrics": [RetrievalAt1()], "folds": 4, "draws": 5}
    return LanguageSubspaces(**(defaults | {"seed": 0} | options))


def vectors(offset: float, directions: int, *, codes=CODES, seed=0, constant=()) -> dict[str, Activations]:
    """Concepts that all languages share, a group's direction, an offset of each language in `directions` dimensions, noise."""
    rng = np.random.default_rng(seed)
    offsets = offset * rng.standard_normal((len(codes), directions)) @ np.linalg.qr(rng.standard_normal((D, directions)))[0].T
    shared = rng.standard_normal((N, 6)) @ rng.standard_normal((6, D)) / 3 + np.outer(np.arange(N) % 2, rng.standard_normal(D))
    made = {}
    for code, own in zip(codes, offsets, strict=True):
        layers = {f"block_{k}": torch.from_numpy(shared + own + 0.7 * rng.standard_normal((N, D))) for k in (1, 2)}
        made[code] = Activations(layers | {name: torch.ones(N, D) for name in constant}, 2)
    return made


def written(tmp_path, made, *, pairs=None, ids=None, **options):
    """A run of every two languages."""
    items = pd.DataFrame({"id": [f"t{i}" for i in range(N)], "group": [f"g{i % 2}" for i in range(N)]})
    runs, opened = [], {}
    for i, pair in enumerate(pairs or combinations(made, 2)):
        own = items.assign(id=items["id"] + ids.get(pair, "")) if ids else items
        run = write_aligned(tmp_path / str(i), pair, {"alignment": aligned(np.zeros(5))}, items=own, **(LEVEL | options))
        runs.append(run)
        opened[run.folder] = Opened(made[pair[0]], made[pair[1]], Signer(RetrievalAt1(), torch.device("cpu")))
    return sweep_of(runs, opener=lambda run: opened[run.folder])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return study()(written(tmp_path_factory.mktemp("many"), vectors(5.0, 2)))


def rows(found, **where):
    table = found.parts["languages"]
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def test_a_probe_tells_four_languages_until_the_span_of_their_means_is_gone(found):
    probe = rows(found, statistic="language_probe", layer="block_1").set_index("removal")
    assert (probe["chance"] == 0.25).all()
    assert probe.loc["none", "value"] > 0.8
    assert probe.loc["language_means", "rank"] == 3
    assert probe.loc["language_means", "value"] < 0.6
    assert probe.loc["language_means", "change_ci_high"] < 0
    assert (probe.loc["random_directions", "value"] > probe.loc["language_means", "value"]).all()
    assert set(probe.loc["random_directions", "rank"]) == {1, 3}


def test_translations_find_each_other_more_over_all_pairs_of_languages_once_offsets_are_gone(found):
    retrieval = rows(found, statistic="retrieval_at_1", layer="block_2").set_index("removal")
    assert retrieval.loc["none", "chance"] == pytest.approx(1 / 20)
    assert retrieval.loc["language_means", "change_ci_low"] > 0


def test_the_spectrum_holds_what_was_planted_and_no_more_than_all(found):
    spectrum = found.parts["spectrum"].set_index(["layer", "rank"])["held"].unstack()
    assert (spectrum[2] > 0.95).all()
    assert (spectrum[1] < spectrum[2]).all()
    assert (spectrum.diff(axis=1).iloc[:, 1:] >= -1e-12).all().all()
    assert (spectrum <= 1 + 1e-12).all().all()


def test_groups_are_told_in_languages_that_the_probe_was_not_trained_in(found):
    transfer = found.parts["languages_transfer"].query("removal == 'language_means' and layer == 'block_1'").set_index("tested")
    assert (transfer["chance"] == 0.5).all()
    assert transfer.loc["across languages", "ci_low"] > 0.5


def test_values_are_means_over_pairs_of_languages_of_what_pairs_have_alone(tmp_path):
    """Without any removal that depends on the other languages."""
    made = vectors(1.0, 2, codes=CODES[:3])
    metrics = [PairedCosineCentred()]
    whole = study(metrics=metrics)(written(tmp_path / "all", made))
    pairs = [held_out_value(metrics, {code: made[code] for code in pair}) for pair in combinations(made, 2)]
    value = rows(whole, statistic="paired_cosine_centered", removal="none", layer="block_1")["value"].iloc[0]
    assert value == pytest.approx(np.mean(pairs))


def held_out_value(metrics, made) -> float:
    from layeratlas.affinity.matched import LayerPair
    from layeratlas.statistics.cross_fitting import halves

    x, y = (side.layers["block_1"].double() for side in made.values())
    held = [half.held for half in halves([f"g{i % 2}" for i in range(N)], 4)]
    return float(np.mean([LayerPair(x[part], y[part]).of(metrics[0]).scores.mean() for part in held]))


@pytest.mark.pictures
def test_what_was_found_is_said_and_drawn(found, tmp_path):
    assert list(found.numbers) == [WHERE]
    assert found.sentences[0].startswith(f"{WHERE}: 4 languages, language_probe, mean over blocks: ")
    (view,) = of_study("subspace", None)
    drawn = dict(view.figures(written(tmp_path, vectors(5.0, 2)), found.tables("subspace")))
    assert list(drawn) == ["texts-40-last-mutual_knn-10/subspace-ant"]
    (figure,) = drawn.values()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["language_probe", "language_probe_same_items", "retrieval_at_1"]
    assert titles[-1] == "held-out differences held"
    assert "probe for group, across languages" in titles
    assert illegible(figure) == []
    plt.close(figure)


def test_a_layer_that_says_nothing_is_left_out_and_named(tmp_path):
    found = study(removals=[LeastSquares()])(written(tmp_path, vectors(1.0, 2, constant=("block_3",))))
    assert set(found.parts["languages"]["layer"]) == {"block_1", "block_2"}
    assert found.warnings[0].startswith(f"{WHERE}: block_3: no languages to tell apart (am: every item has the same vector")


def test_languages_are_read_once_each_from_whichever_run_holds_them(tmp_path):
    sweep = written(tmp_path, vectors(1.0, 2), pairs=[("en", "de"), ("en", "am"), ("ar", "en")])
    (of_model,) = models_in_languages(sweep, 3)
    assert {code: (run.folder.name, side) for code, (run, side) in of_model.runs.items()} == {
        **{"en": ("0", "a"), "de": ("0", "b")},
        **{"am": ("1", "b"), "ar": ("2", "a")},
    }
    assert list(of_model.vectors()) == ["en", "de", "am", "ar"]


def test_two_languages_are_not_asked_about_and_sides_with_a_control_do_not_count(tmp_path):
    assert study()(written(tmp_path / "two", vectors(1.0, 1), pairs=[("en", "de")])) is None
    assert study()(written(tmp_path / "control", vectors(1.0, 1), control="random_characters")) is None


def test_other_items_and_vectors_that_are_not_in_the_store_are_named(tmp_path):
    sweep = written(tmp_path / "other", vectors(1.0, 2), pairs=[("en", "de"), ("en", "am")], ids={("en", "am"): "x"})
    with pytest.raises(Undefined, match=f"{WHERE}: am was run on other items, or in another order, than en"):
        study()(sweep)
    runs = written(tmp_path / "unopened", vectors(1.0, 2)).runs
    with pytest.raises(Undefined, match="its vectors are read from the store by stage=summarize alone"):
        study()(sweep_of(runs, opener=unopened))


def test_more_directions_than_languages_differ_in_are_refused(tmp_path):
    with pytest.raises(Undefined, match="4 languages differ in at most 3 directions; got rank=4"):
        study(removals=[BetweenLanguages(rank=4)])(written(tmp_path, vectors(1.0, 2)))
    with pytest.raises(ConfigError, match=r"^study\.subspace\.removals: expected one or more$"):
        study(removals=[])
