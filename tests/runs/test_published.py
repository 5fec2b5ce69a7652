"""Readers of published results, on files made up in the same formats."""

import json
from pathlib import Path

import numpy as np
import pytest

from layeratlas.errors import ConfigError
from layeratlas.runs.published import read_alignment_curves, read_matrices, read_phases
from layeratlas.statistics.matrices import pearson
from layeratlas.statistics.published_phases import (
    pattern,
    pattern_of_instruct,
    pattern_of_signs,
    phase_means,
    template_verdict,
)


def written(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def of_layers(r, low="ci_lo", high="ci_hi", wrap=None):
    rows = {str(4 * i): {"r": value, low: value - 0.1, high: value + 0.1, "sig": abs(value) > 0.1} for i, value in enumerate(r)}
    return {layer: {wrap: row, "cross_centroid": {"r": 0.9}} for layer, row in rows.items()} if wrap else rows


R = [0.5, 0.3, 0.4, 0.0, -0.3, -0.3, -0.4, -0.4, 0.0]
STATED = {"early_mean": 0.4, "mid_mean": -0.2, "late_mean": -0.8 / 3, "pattern": "PYTHIA_PATTERN: positive early"}


def test_phases_are_recomputed_from_a_file_of_correlations(tmp_path):
    content = {"model": "o/ant", "model_display": "Ant", "results": of_layers(R), "phase_structure": STATED}
    (read,) = read_phases(written(tmp_path / "ant.json", content))
    assert (read.called, read.layers) == ("Ant", [4 * i for i in range(9)])
    phases = phase_means(read.r)
    assert phases == pytest.approx(read.stated)
    assert pattern(phases) == "PYTHIA_PATTERN"
    assert read.ci_low == pytest.approx(np.array(R) - 0.1)


def test_layers_are_read_in_the_order_of_their_numbers(tmp_path):
    rows = of_layers(R)
    (read,) = read_phases(written(tmp_path / "ant.json", {"results": dict(sorted(rows.items()))}))  # 0, 12, 16, ...
    assert read.r == pytest.approx(np.array(R))
    assert (read.called, read.stated) == ("ant", None)


@pytest.mark.parametrize("key", ["results", "pair_level_results"])
def test_of_several_statistics_the_centroid_asymmetry_is_read(tmp_path, key):
    content = {"model": "bee", key: of_layers(R, "ci_lower", "ci_upper", "centroid_asymmetry")}
    (read,) = read_phases(written(tmp_path / "bee.json", content))
    assert read.r == pytest.approx(np.array(R))
    assert read.ci_high == pytest.approx(np.array(R) + 0.1)


def test_a_file_with_and_without_a_template_holds_two_series(tmp_path):
    content = {"model": "ant", "results_with_template": of_layers(R[::-1]), "results_without_template": of_layers(R)}
    content |= {"phase_with": {"early": -0.8 / 3, "mid": -0.2, "late": 0.4}, "phase_without": None}
    with_template, without = read_phases(written(tmp_path / "ant.json", content))
    assert (with_template.called, without.called) == ("ant chat_template=true", "ant chat_template=false")
    assert phase_means(with_template.r) == pytest.approx(with_template.stated)
    assert without.stated is None


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"model": "ant"}, r"no results of a phase analysis; expected results, .* got model$"),
        ({"results": []}, r"expected a mapping in ant; got list$"),
        ({"results": {"0": {"cross_centroid": {"r": 1}}}}, r"layer 0 of ant has no r of the centroid asymmetry$"),
        ({"results": {"0": {"r": "high"}}}, r"layer 0 of ant is no number, or has none$"),
        ({"results": {"embed": {"r": 0.1}}}, r"layer embed of ant is no number, or has none$"),
        ({"results": of_layers([0.1, 0.2])}, r"ant has no phases; expected correlations of three layers or more, from -1 to 1$"),
        ({"results": of_layers([0.1, 0.2, 1.5])}, r"ant has no phases; expected correlations"),
        ([1], r"expected a mapping in the file; got list$"),
    ],
)
def test_what_holds_no_phases_is_refused_in_one_line(tmp_path, content, line):
    with pytest.raises(ConfigError, match=rf"ant\.json: {line}"):
        read_phases(written(tmp_path / "ant.json", content))


def test_files_that_are_missing_or_no_json_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read \(No such file or directory\)$"):
        read_phases(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.json: is no JSON"):
        read_matrices(tmp_path / "bad.json")


def test_matrices_of_an_array_file_give_the_published_correlation(tmp_path):
    """The table of the study of tasks: Pearson over all cells of two files."""
    rng = np.random.default_rng(0)
    one = rng.random((6, 6))
    other = one + 0.1 * rng.random((6, 6))
    for name, matrix in (("similarity_math_40s", one), ("similarity_cs_40s", other)):
        np.save(tmp_path / f"{name}.npy", matrix)
    ((math,), (cs,)) = (read_matrices(tmp_path / f"similarity_{task}_40s.npy") for task in ("math", "cs"))
    assert (math.title, math.rows) == ("similarity_math_40s", list("012345"))
    assert pearson(math.matrix.ravel(), cs.matrix.ravel()) == pytest.approx(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    np.savez(tmp_path / "both.npz", math=one, cs=other[:4])
    assert [(read.title, read.matrix.shape) for read in read_matrices(tmp_path / "both.npz")] == [("math", (6, 6)), ("cs", (4, 6))]


def test_a_matrix_with_labels_has_rows_from_y_and_columns_from_x(tmp_path):
    content = {"matrix": [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], "x_labels": ["L1", "L2", "L3"], "y_labels": [1, 2]}
    (read,) = read_matrices(written(tmp_path / "CKA.json", content | {"metric": "CKA", "title": "1B against 3B"}))
    assert (read.rows, read.columns, read.title) == (["1", "2"], ["L1", "L2", "L3"], "1B against 3B")
    assert read.matrix.shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"metric": "CKA"}, r"has no 'matrix'; it has metric$"),
        ({"matrix": [[1, 2], [3]]}, r"matrix is no matrix of numbers$"),
        ({"matrix": [1, 2]}, r"matrix is no matrix of layers; its shape is \(2,\)$"),
        ({"matrix": [[1, float("nan")]]}, r"matrix holds NaN or infinite numbers$"),
        ({"matrix": [[1, 2]], "x_labels": ["a"]}, r"x_labels must name the 2 layers of matrix; got 1$"),
    ],
)
def test_what_is_no_matrix_is_refused_in_one_line(tmp_path, content, line):
    with pytest.raises(ConfigError, match=rf"m\.json: {line}"):
        read_matrices(written(tmp_path / "m.json", content))


def test_arrays_of_objects_and_foreign_files_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    (tmp_path / "text.npz").write_text("no archive", encoding="utf-8")
    for name in ("objects.npy", "text.npz"):
        with pytest.raises(ConfigError, match=rf"{name}: is no file of plain NumPy arrays"):
            read_matrices(tmp_path / name)
    with pytest.raises(ConfigError, match=r"mknn\.pickle: expected a file of matrices, \.npy, \.npz, \.csv or \.json$"):
        read_matrices(tmp_path / "mknn.pickle")


def test_alignment_curves_are_read_whole_or_not_at_all(tmp_path):
    curves = {v: {c: {x: [0.1, 0.5, 0.2] for x in ("hi", "am")} for c in ("C01", "C02")} for v in ("base", "fire")}
    read = read_alignment_curves(written(tmp_path / "curves.json", {"metadata": {}, "curves": curves}))
    assert (read.variants, read.concepts, read.languages, read.values.shape) == (
        ["base", "fire"],
        ["C01", "C02"],
        ["hi", "am"],
        (2, 2, 2, 3),
    )
    del curves["fire"]["C02"]["am"]
    with pytest.raises(ConfigError, match=r"curves\.json: curves lacks 'am' for some variant, concept or language$"):
        read_alignment_curves(written(tmp_path / "curves.json", {"curves": curves}))
    curves["fire"]["C02"]["am"] = [0.1]
    with pytest.raises(ConfigError, match=r"curves are not of one length"):
        read_alignment_curves(written(tmp_path / "curves.json", {"curves": curves}))


PUBLISHED = json.loads((Path(__file__).parent / "published_correlations.json").read_text(encoding="utf-8"))
LABELS = {"pattern": pattern, "pattern_of_signs": pattern_of_signs, "pattern_of_instruct": pattern_of_instruct}


@pytest.mark.parametrize("model", [name for name in PUBLISHED if name not in ("source", "pythia-6.9b")])
def test_the_published_means_and_labels_follow_from_the_published_correlations(tmp_path, model):
    row = PUBLISHED[model]
    (read,) = read_phases(written(tmp_path / "results.json", {"model": model, "results": of_layers(row["r"])}))
    phases = phase_means(read.r)
    assert phases == pytest.approx(row["stated"], abs=1e-12)
    for name, label in LABELS.items():
        assert label(phases) == row.get(name, label(phases))


def test_the_published_late_mean_of_pythia_does_not_follow_from_its_correlations():
    row = PUBLISHED["pythia-6.9b"]
    phases = phase_means(np.array(row["r"]))
    assert phases[:2] == pytest.approx(row["stated"][:2], abs=0.005)
    assert phases.late == pytest.approx(0.0041, abs=5e-5)
    assert row["stated"][2] == -0.17


def test_the_template_is_called_invariant_though_the_means_move():
    with_template, without = (
        phase_means(np.array(PUBLISHED[f"Llama-3.1-8B-Instruct{end}"]["r"])) for end in (" with template", "")
    )
    assert template_verdict(with_template, without) == "TEMPLATE_INVARIANT"
    assert without.early - with_template.early > 0.4


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("0.1,0.2\n0.3,0.4\n", ["0", "1"], ["0", "1"]),
        ("L1,L2\n0.1,0.2\n0.3,0.4\n", ["0", "1"], ["L1", "L2"]),
        (",L1,L2\nK1,0.1,0.2\nK2,0.3,0.4\n", ["K1", "K2"], ["L1", "L2"]),
        (",0,1\n0,0.1,0.2\n1,0.3,0.4\n", ["0", "1"], ["0", "1"]),
        ("layer,L1,L2\nK1,0.1,0.2\nK2,0.3,0.4\n\n", ["K1", "K2"], ["L1", "L2"]),
        ("K1,0.1,0.2\nK2,0.3,0.4\n", ["K1", "K2"], ["0", "1"]),
    ],
)
def test_comma_separated_values_are_read_with_and_without_names(tmp_path, text, rows, columns):
    (tmp_path / "m.csv").write_text(text, encoding="utf-8-sig")
    (read,) = read_matrices(tmp_path / "m.csv")
    assert (read.rows, read.columns, read.title) == (rows, columns, "m")
    np.testing.assert_array_equal(read.matrix, [[0.1, 0.2], [0.3, 0.4]])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("0.1,0.2x\n0.3,0.4\n", r"m is no matrix of numbers$"),
        ("0.1,0.2\n0.3,\n", r"m is no matrix of numbers$"),
        ("0.1,0.2\n0.3\n", r"m is no matrix of numbers$"),
        ("0.1,nan\n0.3,0.2\n", r"m holds NaN or infinite numbers$"),
        ("", r"m is no matrix of layers; its shape is \(0,\)$"),
        ("L1,L2\n", r"m is no matrix of layers"),
        ("L1,L2,L3\n0.1,0.2\n", r"columns must name the 2 layers of matrix; got 3$"),
        (",a,a\nx,0.1,0.2\n", r"columns names a more than once$"),
    ],
)
def test_comma_separated_values_that_are_no_matrix_are_refused_in_one_line(tmp_path, text, line):
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"m\.csv: {line}"):
        read_matrices(tmp_path / "m.csv")
