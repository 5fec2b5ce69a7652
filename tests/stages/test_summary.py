"""Summaries of sweeps written by hand: tables, corrected tests, pictures, and what is missing."""

import json
import time
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from drawing import illegible
from scipy import stats
from sweeps_by_hand import PAIRS, banded, write_run

from layeratlas.errors import ConfigError
from layeratlas.report.studies.depth import forest_figure
from layeratlas.report.sweep_figures import Condition, ModelPair, headline_figure
from layeratlas.runs import reading, writing
from layeratlas.runs.jobs import Job, write_jobs
from layeratlas.stages import summary
from layeratlas.statistics.multiplicity import bonferroni_ordered, corrected
from layeratlas.statistics.unit_square import mean_unit_square, resampled, unit_square
from layeratlas.studies import Depth
from layeratlas.studies.families import HEADLINE, headline
from layeratlas.studies.families import hopeless as hopeless_tests
from layeratlas.studies.sweep import name_of, text_of

STUDIES = {"depth": Depth()}


def summarize(folders, into, **options):
    return summary.summarize(folders, into, studies=STUDIES, **options)


def hopeless(table):
    return hopeless_tests(table, [column for column in ("p", "diagonal.generalised.p") if column in table])


def test_a_row_per_finished_run_with_all_its_numbers(sweep):
    table = summarize([sweep], sweep)
    assert len(table) == 5
    pd.testing.assert_frame_equal(pd.read_parquet(sweep / "summary.parquet"), table)
    assert len(pd.read_csv(sweep / "summary.csv")) == 5
    assert {"model_a", "language_b", "metric", "k", "value", "ci_low", "p", "diagonal.on_mean", "diagonal.cells.on"} <= set(table)
    assert table["config.seed"].tolist() == ["0", "0", "0", "1", "1"]
    assert table[["model_a", "model_b"]].to_numpy().tolist() == [list(pair) for pair in [*PAIRS, *PAIRS[:2]]]


def test_p_values_are_corrected_over_the_pairs_of_a_condition(sweep):
    table = summarize([sweep], sweep)
    np.testing.assert_allclose(table["p_bonferroni"], [0.03, 0.06, 0.09, 0.08, 0.1])
    np.testing.assert_allclose(table["p_holm"], [0.03, 0.04, 0.04, 0.08, 0.08])
    np.testing.assert_allclose(table["p_bh"][:3], stats.false_discovery_control([0.01, 0.02, 0.03]))
    np.testing.assert_allclose(table["diagonal.student_p_bonferroni"], table["p_bonferroni"] / 2)
    told = pd.read_csv(sweep / "headline.csv")
    assert told["p_holm"].tolist() == table["p_holm"].tolist()
    assert told["p_tests"].tolist() == [3, 3, 3, 2, 2]
    assert told["test_family"][0] == "dataset=texts n=50 pooling=last metric=mutual_knn k=10 config.seed=0"


def test_what_is_missing_is_said(sweep, caplog):
    caplog.set_level("INFO")
    summarize([sweep], sweep)
    assert "5 done, 1 failed, 1 missing, 1 skipped" in caplog.text
    assert "job=5  (ValueError: a cat)" in caplog.text
    listed = pd.read_csv(sweep / "jobs.csv")
    assert listed["state"].tolist() == ["done"] * 5 + ["failed", "missing", "skipped"]


LANGUAGES = ["am", "ar", "de", "en", "es", "fr", "hi", "ja", "sw", "zh"]


@pytest.fixture(scope="module")
def languages_sweep(tmp_path_factory):
    """One model over all 45 pairs of ten languages."""
    folder = tmp_path_factory.mktemp("languages")
    for number, pair in enumerate(combinations(LANGUAGES, 2)):
        contrast = {"value": 0.1, "p": None if number == 44 else 0.01, "attainable_p": 0.005}
        write_run(folder / str(number), "ant", "ant", p=0.001 * (number + 1), languages=pair, statistics={"generalised": contrast})
    return folder


@pytest.fixture(scope="module")
def of_languages(languages_sweep):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("layeratlas.report.sweep_again.draw_condition", lambda *arguments: None)
        return summarize([languages_sweep], languages_sweep)


@pytest.fixture
def without_pictures(monkeypatch):
    """Pictures take most of a summary's time."""
    monkeypatch.setattr("layeratlas.report.sweep_again.draw_condition", lambda *arguments: None)


def test_all_pairs_of_languages_are_one_family(of_languages):
    assert (of_languages["p_tests"] == 45).all()
    np.testing.assert_allclose(of_languages["p_bonferroni"], np.minimum(1, 0.045 * np.arange(1, 46)))
    assert of_languages["p_holm"][0] == pytest.approx(0.045)
    assert (of_languages["p_holm"] > of_languages["p"]).all()


def test_sides_are_called_by_model_and_language(of_languages):
    assert of_languages.loc[0, ["side_a", "side_b"]].tolist() == ["ant (am)", "ant (ar)"]


def test_an_undefined_p_is_no_test_of_its_family(of_languages):
    assert (of_languages["diagonal.generalised.p_tests"] == 44).all()
    assert of_languages["diagonal.generalised.p_bonferroni"][0] == pytest.approx(0.44)
    assert np.isnan(of_languages["diagonal.generalised.p_bonferroni"][44])


def test_the_smallest_attainable_p_is_not_corrected(of_languages):
    corrected_columns = [column for column in of_languages if "attainable_p_" in column]
    assert corrected_columns == []


def test_the_warning_of_too_few_permutations_counts_over_all_languages(of_languages):
    assert list(hopeless(of_languages)) == [
        "44 pairs: the smallest attainable p of diagonal.generalised.p is 0.005, which is above 0.05 after a Bonferroni or Holm"
        " correction over them; statistics.permutations=880 would do"
    ]


def test_the_headlines_are_a_table_of_twelve_columns_at_most(languages_sweep, of_languages):
    told = pd.read_csv(languages_sweep / "headline.csv")
    assert len(told) == 45
    assert len(HEADLINE) == 12
    assert list(told) == [column for column in HEADLINE if column != "sided"]  # which these runs do not say


@pytest.mark.usefixtures("without_pictures")
def test_headlines_of_different_statistics_are_different_questions(tmp_path):
    write_run(tmp_path / "0", "ant", "bee")
    with_margin(tmp_path / "1", "ant", "cat", 0.1)
    table = summarize([tmp_path], tmp_path)
    assert table["p_tests"].tolist() == [1, 1]
    assert table["diagonal.student_p_tests"].tolist() == [1, 1]  # a run without it counts for nothing


@pytest.mark.usefixtures("without_pictures")
def test_fields_and_numbers_of_shared_items_split_no_family(tmp_path):
    for number, field in enumerate(("question", "answer", "hint")):
        dataset = {"field_a": "text", "field_b": field, "n": None}
        write_run(tmp_path / str(number), "ant", "ant", p=0.01, n=40 + number, dataset=dataset)
    table = summarize([tmp_path], tmp_path)
    assert table["p_tests"].tolist() == [3, 3, 3]
    assert table["side_b"].tolist() == ["ant (question)", "ant (answer)", "ant (hint)"]
    assert table["test_family"][0] == "dataset=texts pooling=last metric=mutual_knn k=10"


@pytest.mark.usefixtures("without_pictures")
def test_a_wider_family_is_had_by_asking(tmp_path):
    for number, (metric, seed) in enumerate([("mutual_knn", 0), ("mutual_knn", 1), ("cka_linear", 0)]):
        write_run(tmp_path / str(number), "ant", "bee", metric_name=metric, seed=seed)
    assert summarize([tmp_path], tmp_path)["p_holm"].tolist() == pytest.approx([0.01] * 3)
    table = summarize([tmp_path], tmp_path, family=["dataset", "config.seed"])
    assert table["test_family"].tolist() == [f"dataset=texts config.seed={seed}" for seed in (0, 1, 0)]
    assert table["p_holm"].tolist() == pytest.approx([0.02, 0.01, 0.02])
    assert summarize([tmp_path], tmp_path, family=[])["p_tests"].tolist() == [3, 3, 3]


@pytest.mark.usefixtures("without_pictures")
def test_a_family_within_a_language_is_refused(tmp_path):
    write_run(tmp_path / "0", "ant", "bee")
    with pytest.raises(ConfigError, match=r"summary_family: there is no language_a; available are dataset, n, pooling, metric, k"):
        summarize([tmp_path], tmp_path, family=["dataset", "language_a"])


def with_margin(folder, a, b, margin, *, share=0.5, seed=0, developer="one"):
    """A run whose headline is a swap margin."""
    write_run(folder, a, b, seed=seed)
    read = reading.read_run(folder)
    swap = {"depths": 8, "margin": {"value": margin, "ci_low": margin - 0.02, "ci_high": margin + 0.02, "se": 0.01}}
    result = read.result | {"headline": read.result["headline"] | {"text": "swap margin", "value": margin, "sentence": ""}}
    result["statistics"] = {"diagonal": {"on_mean": 0.9, "swap": swap | {"net_share": {"value": share}}}}
    for side, model in (("a", a), ("b", b)):
        result[side] = result[side] | {"family": model, "developer": developer if model != "cat" else "other"}
    told = {key: value for key, value in result.items() if key not in ("schema_version", "checksums")}
    writing.write_result(folder, told, [*folder.glob("*.npz"), *folder.glob("*.parquet")])


@pytest.fixture
def margins_sweep(tmp_path):
    folder = tmp_path / "margins"
    folder.mkdir()
    write_jobs(folder, [Job(i, [f"job={i}"], str(i)) for i in range(3)])
    for number, (pair, margin) in enumerate(zip(PAIRS, (0.05, 0.03, 0.01), strict=True)):
        with_margin(folder / str(number), *pair, margin)
    return folder


def test_swap_margins_of_many_pairs_are_told_together(margins_sweep, caplog):
    caplog.set_level("INFO")
    summarize([margins_sweep], margins_sweep)
    told = "in 3 of 3 pairs of models layers prefer their own depth more often than another; net swap share 0.50, swap margin 0.030"
    assert told in caplog.text
    assert "95% interval of the share over 3 models 0.50 to 0.50" in caplog.text
    table = pd.read_parquet(margins_sweep / "tables" / "depth.parquet").set_index(["unit", "statistic"])
    family = table.loc["family", "margin"]
    assert (family["pairs"], family["units"], family["dataset"]) == (3, 3, "texts")
    assert family["ci_low"] < family["mean"] < family["ci_high"]
    developer = table.loc["developer", "margin"]
    assert (developer["pairs"], developer["units"]) == (2, 2)
    assert np.isnan(developer["ci_low"])


@pytest.mark.pictures
def test_a_forest_of_all_pairs_is_drawn(margins_sweep):
    summarize([margins_sweep], margins_sweep)
    assert [path.stat().st_size > 10_000 for path in margins_sweep.rglob("swap_margins.png")] == [True]


@pytest.mark.slow
@pytest.mark.pictures
def test_pictures_of_each_condition(sweep):
    summarize([sweep], sweep)
    names = {path.relative_to(sweep / "figures").as_posix() for path in (sweep / "figures").rglob("*.png")}
    condition = "texts-50-last-mutual_knn-10-seed={}"
    pictures = ("pairs", "pairs_unit_square", "mean_unit_square", "depth_curves", "on_off_diagonal", "headline")
    assert names == {f"{condition.format(seed)}/{picture}.png" for seed in (0, 1) for picture in pictures}


@pytest.mark.slow
@pytest.mark.pictures
def test_one_folder_of_pictures_over_all_languages(languages_sweep):
    summarize([languages_sweep], languages_sweep)
    (folder,) = (languages_sweep / "figures").iterdir()
    assert folder.name == "texts-50-last-mutual_knn-10"
    assert {path.stem for path in folder.glob("*.png")} >= {"pairs", "headline", "depth_curves"}


@pytest.mark.pictures
def test_languages_stand_against_languages_with_the_headline_in_each_cell():
    pairs = [picture(f"ant ({a})", f"ant ({b})", value=0.125) for a, b in combinations(LANGUAGES[:3], 2)]
    figure = headline_figure(Condition("title", "mutual_knn", "swap margin", pairs))
    axes = figure.axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["ant (am)", "ant (ar)", "ant (de)"]
    assert [text.get_text() for text in axes.texts] == ["0.125"] * 6


@pytest.mark.slow
@pytest.mark.pictures
@pytest.mark.parametrize("many", [(1, 9), (9, 1), (2, 120)])
def test_names_of_sides_and_title_lie_within_the_picture_and_apart(many):
    rows, columns = ([f"a-model-of-some-size ({side}{i})" for i in range(sides)] for side, sides in zip("rc", many, strict=True))
    pairs = [picture(a, b, value=0.1, mirror=False) for a in rows for b in columns]
    title = "mutual_knn (overlap, k = 10)\nglobal_mmlu_lite, en, de, fr, sw, hi, n = 256, pooling last_content, chance 0.039"
    figure = headline_figure(Condition(title, "mutual_knn", "swap margin", pairs))
    assert_legible(figure)
    plt.close(figure)


@pytest.mark.pictures
def test_a_forest_of_long_names_can_be_read_in_a_column():
    side = "SmolLM2-135M-Instruct-Q4_1 revision=step1000 (en, answer)"
    margins = pd.DataFrame({"side_a": side, "side_b": side, "margin": [0.1, 0.2], "margin_ci_low": 0.0, "margin_ci_high": 0.3})
    figure = forest_figure(Condition("title", "mutual_knn", "swap margin", []), margins, pd.DataFrame())
    assert_legible(figure)
    assert illegible(figure) == []
    plt.close(figure)


def assert_legible(figure):
    """Names of sides, axis and title lie within the figure and apart from each other."""
    figure.draw_without_rendering()
    axes, whole = figure.axes[0], figure.bbox
    low, high = axes.get_xlim()
    columns = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]  # others are not drawn
    texts = [*columns, *axes.get_yticklabels(), axes.xaxis.label, figure._suptitle]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= whole.x1 and box.y1 <= whole.y1 for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


@pytest.mark.slow
def test_ninety_jobs_over_ten_languages_are_summarised_in_less_than_a_minute_of_one_core(tmp_path):
    jobs = [(metric, pair) for metric in ("mutual_knn", "cka_linear_debiased") for pair in combinations(LANGUAGES, 2)]
    depths = np.arange(1, 19) / 18
    swap = {"by_depth": {"depth": depths.tolist(), "margin": (depths / 10).tolist()}}
    for number, (metric, pair) in enumerate(jobs):
        write_run(tmp_path / str(number), "dog", "eel", languages=pair, metric_name=metric, statistics={"swap": swap})
    begun = time.process_time()
    summarize([tmp_path], tmp_path)
    assert time.process_time() - begun < 60
    assert len(list((tmp_path / "figures").iterdir())) == 2


def picture(a, b, *, value, mirror=True):
    matrix, depths = banded(4, 4), np.arange(1, 5) / 4
    return ModelPair(a, b, matrix, depths, depths, mirror=mirror, itself=False, value=value)


def test_the_tables_of_the_runs_are_joined(sweep):
    summarize([sweep], sweep)
    diagonal = pd.read_parquet(sweep / "tables" / "diagonal.parquet")
    assert len(diagonal) == 4 + 4 + 6 + 4 + 4
    assert diagonal["job"].unique().tolist() == list("01234")
    assert set(pd.read_parquet(sweep / "tables" / "affinity.parquet")["config.seed"]) == {"0", "1"}


@pytest.mark.slow
@pytest.mark.pictures
def test_a_summary_made_again_is_the_same(sweep):
    summarize([sweep], sweep)
    before = {path: path.read_bytes() for path in sweep.rglob("*") if path.suffix in (".parquet", ".csv", ".png")}
    summarize([sweep], sweep)
    assert {path: path.read_bytes() for path in before} == before


def test_several_sweeps_are_summarised_together(sweep, tmp_path):
    write_run(tmp_path / "more" / "0", "bee", "cat", seed=1)
    table = summarize([sweep, tmp_path / "more"], tmp_path / "both")
    assert table["sweep"].tolist() == ["sweep"] * 5 + ["more"]
    np.testing.assert_allclose(table["p_bonferroni"][3:], [0.12, 0.15, 0.03])


def test_a_sweep_without_a_result_yet_is_no_error(tmp_path, caplog):
    write_jobs(tmp_path, [Job(0, ["x=1"], "0")])
    assert summarize([tmp_path], tmp_path).empty
    assert "nothing to summarise yet" in caplog.text


def test_a_side_against_itself_is_no_test(tmp_path):
    write_run(tmp_path / "0", "ant", "ant")
    write_run(tmp_path / "1", "ant", "bee")
    table = summarize([tmp_path], tmp_path)
    assert np.isnan(table["p_holm"][0])
    assert table["p_holm"][1] == pytest.approx(0.01)


@pytest.mark.usefixtures("without_pictures")
def test_models_of_one_name_are_told_apart(tmp_path):
    write_run(tmp_path / "0", "ant", "bee", model_a={"id": "ant", "revision": "step1"})
    write_run(tmp_path / "1", "ant", "bee", model_a={"id": "ant", "revision": "step2"})
    assert summarize([tmp_path], tmp_path)["model_a"].tolist() == ["ant revision=step1", "ant revision=step2"]


def test_a_plot_that_fails_costs_no_table(sweep, monkeypatch, undrawn):
    monkeypatch.setattr("layeratlas.report.sweep_again.draw_condition", lambda *arguments: 1 / 0)
    assert len(summarize([sweep], sweep)) == 5
    assert {record.getMessage().split(" is not drawn")[-1] for record in undrawn} == {"; the tables are complete"}
    undrawn.clear()


def test_the_published_correction_counts_each_pair_in_both_orders():
    """The largest of 276 p-values was 8.03e-7: 2.2e-4 over unordered pairs, and the printed .0004 over ordered ones."""
    p = np.full(276, 1e-9)
    p[100] = 8.03e-7
    assert corrected(p, "bonferroni").max() == pytest.approx(2.2e-4, rel=0.01)
    assert bonferroni_ordered(p).max() == pytest.approx(4.4e-4, rel=0.01)


def test_too_few_permutations_for_so_many_pairs_are_warned_about(sweep):
    table = summarize([sweep], sweep)
    assert list(hopeless(table.assign(attainable_p=0.01))) == []
    first, second = hopeless(table.assign(attainable_p=0.03))
    assert first == (
        "3 pairs: the smallest attainable p is 0.03, which is above 0.05 after a Bonferroni or Holm correction over them;"
        " statistics.permutations=60 would do"
    )
    assert second.startswith("2 pairs: ")
    assert list(hopeless(table)) == []  # nothing was permuted


def test_corrections_leave_out_what_is_no_test():
    np.testing.assert_array_equal(np.isnan(corrected(np.array([0.01, np.nan]), "holm")), [False, True])
    assert corrected(np.array([0.01, np.nan]), "bonferroni")[0] == pytest.approx(0.01)


def test_a_matrix_stretched_to_a_square():
    np.testing.assert_array_equal(resampled(np.array([[1, 2], [3, 4.0]]), 4), np.repeat(np.repeat([[1, 2], [3, 4]], 2, 0), 2, 1))


def test_the_mean_square_has_as_many_bins_as_the_models_fill():
    assert mean_unit_square([np.ones((3, 3))]).shape == (3, 3)
    np.testing.assert_allclose(mean_unit_square([np.eye(3), np.zeros((3, 3))]), np.eye(3) / 2)
    square = mean_unit_square([banded(80, 70), banded(60, 50)])
    assert square.shape == (40, 40)
    assert np.diag(square).mean() > 0.95
    assert mean_unit_square([np.array([[2.0]])]).shape == (1, 1)


def test_the_published_square_has_forty_bins_and_both_orientations():
    """Layer i of L lies at i / (L - 1); 30 x 18 layers in both orientations fill bins symmetrically, and leave some empty."""
    matrix = np.random.default_rng(0).random((30, 18))
    square = unit_square([matrix, matrix.T])
    assert square.shape == (40, 40)
    np.testing.assert_array_equal(square, square.T)
    assert square[0, 0] == matrix[0, 0]
    assert square[39, 39] == matrix[29, 17]
    row, column = int(10 / 29 * 40), int(5 / 17 * 40)
    assert square[row, column] == matrix[10, 5]
    assert np.isnan(square).any()


def test_statements_of_one_model_against_their_opposites_are_a_test(tmp_path):
    write_run(tmp_path / "0", "ant", "ant", dataset={"field_a": "a", "field_b": "b"})
    write_run(tmp_path / "1", "ant", "ant", control={"sides": ["b"]})
    table = summarize([tmp_path], tmp_path)
    assert table["p"].tolist() == pytest.approx(table["p_holm"].tolist())
    assert not table["self_pair"].any()
    assert len(list((tmp_path / "figures").rglob("on_off_diagonal.png"))) == 2


@pytest.mark.usefixtures("without_pictures")
def test_options_of_a_dataset_and_a_metric_tell_conditions_apart(tmp_path):
    for number, (groups, bandwidth) in enumerate([("x", 1.0), ("y", 1.0), ("y", 0.5)]):
        options = {"dataset": {"n": number, "mirror": str(number), "groups": [groups]}, "metric": {"k": 10, "bandwidth": bandwidth}}
        write_run(tmp_path / str(number), "ant", "bee", **options)
    table = summarize([tmp_path], tmp_path)
    assert {"config.dataset.groups", "config.metric.bandwidth"} <= set(table)
    assert not {"config.dataset.n", "config.dataset.mirror", "config.metric.k"} & set(table)
    assert table["p_holm"].tolist() == table["p"].tolist()  # each a family of its own


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (None, "none"),
        (3, "3"),
        ("blocks", "blocks"),
        ({"_target_": "RandomCharacters", "sides": ["a", "b"]}, "random_characters(sides=[a, b])"),
        ({"_target_": "layeratlas.affinity.Zscore"}, "zscore"),
        ({"_target_": "Inference", "groups": 20, "family": None}, "inference(family=none, groups=20)"),
    ],
)
def test_a_setting_is_said_in_one_line(setting, text):
    assert text_of(setting) == text


def test_a_condition_is_named_by_what_it_has_and_what_varies():
    shared = {"dataset": "texts", "n": pd.NA, "pooling": "last", "metric": "mutual_knn", "k": 10}
    varied = {"config.control": "random_characters(sides=[a, b])", "config.seed": "0"}
    assert name_of(pd.Series(shared | varied)) == "texts-last-mutual_knn-10-control=random_characters_sides=_a_b-seed=0"


def test_where_no_run_has_a_headline_the_table_shows_that_its_value_is_lacking():
    row = dict.fromkeys(HEADLINE) | {"test_family": "all", "side_a": "ant", "side_b": "bee", "headline": "swap margin"}
    shown = headline(pd.DataFrame([row, row]))
    assert shown.columns.tolist() == ["test_family", "side_a", "side_b", "headline", "value"]
    assert shown["value"].isna().all()


def test_of_runs_without_a_headline_the_log_shows_no_empty_tables(tmp_path, caplog):
    caplog.set_level("INFO")
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    write_jobs(sweep, [Job(0, [], "0")])
    write_run(sweep / "0", *PAIRS[0])
    result = json.loads((sweep / "0" / "result.json").read_text())
    result.pop("checksums")
    result["headline"] |= dict.fromkeys(("value", "ci_low", "ci_high", "p"))
    writing.write_result(sweep / "0", result, [file for file in (sweep / "0").iterdir() if file.name != "result.json"])
    summarize([sweep], sweep)
    assert "none of them has a headline" in caplog.text
    assert "side_a" not in caplog.text
