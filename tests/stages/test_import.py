"""Somebody's matrices as runs and sweeps, from files made up in the formats that were published."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from composing import CONF
from omegaconf import OmegaConf
from pages_by_hand import data_of
from running import command as command
from running import last_line

import layeratlas
from layeratlas.errors import ConfigError
from layeratlas.runs.foreign import Facts, axis_of, said_by
from layeratlas.stages.importing import foreign_matrices
from layeratlas.statistics.matrices import pearson

PLAIN = ("stage=import", "matrices.model_a=ant", "matrices.metric=CKA", "report.enabled=false")


def banded(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Most alike at equal depth, with noise that makes a margin."""
    x, y = np.linspace(0, 1, rows)[:, None], np.linspace(0, 1, columns)
    return 0.6 - 0.4 * np.abs(x - y) + 0.02 * np.random.default_rng(seed).random((rows, columns))


def of_itself(layers: int, seed: int = 0) -> np.ndarray:
    matrix = banded(layers, layers, seed)
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1)
    return matrix


def points(layers: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((layers, 5)) + 2 * np.linspace(0, 1, layers)[:, None]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def written_as(form: str, folder: Path, matrix: np.ndarray) -> Path:
    path = folder / f"m.{form}"
    names = [[f"L{i}" for i in range(1, size + 1)] for size in matrix.shape]
    if form == "npy":
        np.save(path, matrix)
    elif form == "npz":
        np.savez(path, only=matrix)
    elif form == "csv":
        pd.DataFrame(matrix, *names).to_csv(path)
    else:
        path.write_text(json.dumps({"matrix": matrix.tolist(), "y_labels": names[0], "x_labels": names[1]}), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["npy", *(pytest.param(form, marks=pytest.mark.slow) for form in ("npz", "csv", "json"))])
def test_a_matrix_of_any_format_becomes_a_run_in_which_the_unknown_is_null(command, tmp_path, form):
    matrix = banded(8, 6)
    path = written_as(form, tmp_path, matrix)
    assert command(*PLAIN, f"matrices.path={path}", "matrices.model_b=bee") == 0
    run = layeratlas.read_run(tmp_path / "out")
    np.testing.assert_array_equal(run.affinity.to_numpy(), matrix)
    assert list(run.affinity.index) == [f"block_{k}" for k in range(1, 9)]
    np.testing.assert_allclose(run.arrays["depth_b"], np.arange(1, 7) / 6)
    assert np.isnan(run.arrays["chance"]).all()
    assert (run.result["a"]["model"], run.result["b"]["model"]) == ("ant", "bee")
    for node, key in (("dataset", "name"), ("dataset", "n"), ("a", "language"), ("a", "revision"), ("metric", "estimator")):
        assert run.result[node][key] is None
    assert run.result["pooling"] is None
    assert run.result["imported"]["path"] == str(path)
    assert run.result["imported"]["labels_a"][0] in ("0", "L1")
    assert run.result["headline"]["text"] == "swap margin"
    assert run.result["headline"]["value"] > 0.05
    assert "block_1 .. block_8" in " ".join(run.result["warnings"])
    assert set(run.tables) == {"affinity", "diagonal"}


def test_a_metric_of_ours_says_its_range_and_what_is_given_stands_in_the_result(command, tmp_path):
    path = written_as("npy", tmp_path, banded(5, 5))
    facts = ("matrices.metric=mutual_knn", "matrices.k=10", "matrices.n=2048", "matrices.chance=0.0049", "matrices.dataset=web")
    more = ("matrices.language_a=en", "matrices.language_b=de", "matrices.layers=hidden_states_without_embed")
    assert command(*PLAIN, f"matrices.path={path}", *facts, *more) == 0
    run = layeratlas.read_run(tmp_path / "out")
    assert (run.result["metric"]["range"], run.result["metric"]["self_value"], run.result["metric"]["k"]) == ([0.0, 1.0], 1.0, 10)
    assert (run.result["dataset"]["name"], run.result["dataset"]["n"], run.result["b"]["language"]) == ("web", 2048, "de")
    assert run.result["a"]["layers"] == ["block_1", "block_2", "block_3", "block_4", "final_norm"]
    np.testing.assert_allclose(run.arrays["depth_a"], [0.2, 0.4, 0.6, 0.8, np.nan])
    assert (run.arrays["chance"] == 0.0049).all()


def test_a_model_with_itself_has_no_swap_margin(command, tmp_path):
    path = written_as("npy", tmp_path, of_itself(8))
    assert command(*PLAIN, f"matrices.path={path}", "matrices.metric=cka_linear") == 0
    said = layeratlas.read_run(tmp_path / "out").result["headline"]["sentence"]
    assert said == "no swap margin: both sides hold the same vectors, so that each layer is most alike to itself by construction"


@pytest.mark.slow
def test_the_same_again_is_kept_and_another_matrix_is_refused(command, tmp_path, capfd):
    path = written_as("npy", tmp_path, banded(8, 6))
    assert command(*PLAIN, f"matrices.path={path}") == 0
    before = (tmp_path / "out" / "result.json").read_bytes()
    assert command(*PLAIN, f"matrices.path={path}") == 0
    assert (tmp_path / "out" / "result.json").read_bytes() == before
    written_as("npy", tmp_path, banded(8, 6, seed=1))
    assert command(*PLAIN, f"matrices.path={path}") == 2
    assert "holds a finished run of another config (differs in matrices)" in last_line(capfd)


@pytest.fixture
def tasks(tmp_path) -> Path:
    """Matrices of one model on three tasks, as the notebook on MMLU left them."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    for seed, task in enumerate(("cs", "legal", "math")):
        np.save(folder / f"similarity_{task}_40s.npy", of_itself(8, seed))
    return folder


NAMES = "matrices.names=similarity_{dataset}_{n}s"


@pytest.mark.slow
def test_a_folder_becomes_a_sweep_whose_correlations_are_those_of_the_files(command, tasks, tmp_path, capfd):
    more = ("matrices.metric=nmi", "matrices.symmetric=true", "matrices.self_value=1", "study=[agreement]")
    assert command(*PLAIN, f"matrices.path={tasks}", NAMES, *more) == 0
    out = tmp_path / "out"
    runs = layeratlas.read_sweep(out)
    assert [(run.result["dataset"]["name"], run.result["dataset"]["n"]) for run in runs] == [
        ("cs", 40),
        ("legal", 40),
        ("math", 40),
    ]
    table = pd.read_parquet(out / "tables" / "agreement.parquet").set_index(["first", "second"])
    cells = {name: np.load(tasks / f"similarity_{name}_40s.npy").ravel() for name in ("cs", "legal", "math")}
    for one, other in (("cs", "legal"), ("cs", "math"), ("legal", "math")):
        assert table.loc[(one, other), "pearson"] == pytest.approx(pearson(cells[one], cells[other]), abs=1e-12)
    assert {file.name for file in (out / "figures" / "cs-40-nmi").glob("*.png")} >= {"pairs.png", "mean_unit_square.png"}
    assert command("stage=status", f"sweep_dir={out}", where=()) == 0
    assert "3 done" in capfd.readouterr().out


@pytest.mark.slow
def test_pages_of_imported_matrices_hold_no_texts_and_no_chance(command, tasks, tmp_path):
    more = ("matrices.metric=nmi", "report.enabled=true", "study=[depth,controls,agreement,languages]")
    assert command("stage=import", "matrices.model_a=ant", f"matrices.path={tasks}", NAMES, *more) == 0
    page = (tmp_path / "out" / "0" / "report.html").read_text(encoding="utf-8")
    data = data_of(page)
    assert data["items"] is None
    assert set(data["matrix"]["values"]) == {"affinity"}
    assert "texts paired at random give unknown (chance)" in page
    assert 'id="texts"' not in page
    assert "3 runs" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert command("stage=report", f"sweep_dir={tmp_path / 'out'}", where=()) == 0
    assert command("stage=summarize", f"sweep_dir={tmp_path / 'out'}", where=()) == 0


@pytest.mark.slow
def test_published_blocks_of_models_are_points_of_one_space(command, tmp_path):
    """Within and cross matrices in folders of their own, as one project has published them; their points are known here."""
    placed = {"small": points(4, 0), "large": points(6, 1)}
    for a, b in (("small", "small"), ("large", "large"), ("small", "large")):
        place = f"models/{a}/en/within" if a == b else f"cross/en/{a}_X_{b}"
        (tmp_path / "blocks" / place).mkdir(parents=True)
        content = {"matrix": (placed[a] @ placed[b].T).tolist(), "metric": "CKA", "title": f"{a} {b}"}
        (tmp_path / "blocks" / place / "CKA.json").write_text(json.dumps(content), encoding="utf-8")
    names = "matrices.names=[models/{model}/{language}/within/{metric},cross/{language}/{model_a}_X_{model_b}/{metric}]"
    more = ("matrices.symmetric=true", "matrices.self_value=1", "study=[joint]", "report.enabled=false")
    assert command("stage=import", f"matrices.path={tmp_path / 'blocks'}", names, *more) == 0
    found = pd.read_parquet(tmp_path / "out" / "tables" / "joint_points.parquet")
    found = found[found["space"] == "uncentred"]
    assert found["model"].value_counts().to_dict() == {"large": 6, "small": 4}
    everything = np.concatenate([placed[model] for model in dict.fromkeys(found["model"])])
    squares = np.linalg.svd(everything, compute_uv=False) ** 2
    shares = found[["share_1", "share_2", "share_3"]].iloc[0].to_numpy(dtype=float)
    np.testing.assert_allclose(shares, squares[:3] / squares.sum(), atol=1e-10)


# ---------------------------------------------------------------- what is refused, in one line, before anything is written


def node(**given: object) -> dict:
    """The node `matrices` of the config, as the stage's file has it."""
    shipped = OmegaConf.to_container(OmegaConf.load(CONF / "stage" / "import.yaml").matrices)
    return shipped | {"model_a": "ant", "metric": "CKA"} | given


GOOD = {"matrix": [[0.1, 0.2], [0.3, 0.4]]}


@pytest.mark.parametrize(
    ("content", "more", "line"),
    [
        ({"matrix": [[1, float("nan")]]}, {}, r"m\.json: matrix holds NaN or infinite numbers$"),
        ({"matrix": [[1, 2], [3]]}, {}, r"m\.json: matrix is no matrix of numbers$"),
        ({"matrix": [1, 2]}, {}, r"m\.json: matrix is no matrix of layers; its shape is \(2,\)$"),
        (GOOD | {"x_labels": ["L1"]}, {}, r"m\.json: x_labels must name the 2 layers of matrix; got 1$"),
        (GOOD | {"x_labels": ["L1", "L1"]}, {}, r"m\.json: x_labels names L1 more than once$"),
        (GOOD | {"y_labels": ["L1", ""]}, {}, r"m\.json: y_labels names nothing for a layer$"),
        (GOOD, {"model_a": None}, r"matrices\.model_a: has no value for \S+; give one as matrices\.model_a=\.\.\."),
        (GOOD, {"metric": None}, r"matrices\.metric: has no value for"),
        ({"matrix": [[0.1, 2.5]]}, {"metric": "mutual_knn"}, r"mutual_knn has values from 0 to 1, and this matrix holds 2\.5;"),
        (GOOD, {"n": 0}, r"matrices\.n: expected a number of at least 1 or null; got 0$"),
        (GOOD, {"layers": "hidden"}, r"matrices\.layers: there is no 'hidden'; did you mean"),
        (GOOD, {"layers": "all"}, r"matrices\.layers=all: \S+ has 2 layers on side a, which leaves no block$"),
        (GOOD, {"blocks_a": 12}, r"matrices\.blocks_a: goes with layers named embed, block_1, \.\.; \S+ names them 0 \.\.$"),
        (GOOD, {"names": "{model_a}_X_{model_b}"}, r"matrices\.names: m does not read as \{model_a\}_X_\{model_b\}$"),
        (GOOD, {"names": "{dataset"}, r"matrices\.names: expected fields in braces, each once"),
        (GOOD, {"metric": "cka_linear", "symmetric": True}, r"symmetric and self_value are known of metric cka_linear"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, content, more, line):
    (tmp_path / "m.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match=line):
        list(foreign_matrices(node(path=str(tmp_path / "m.json"), **more)))


@pytest.mark.parametrize(("place", "line"), [("nowhere", "no such file or folder"), ("empty", "holds no file of matrices")])
def test_a_path_without_matrices_is_named(tmp_path, place, line):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=rf"^matrices\.path={tmp_path / place}: {line}"):
        list(foreign_matrices(node(path=str(tmp_path / place))))


def test_an_analysis_of_vectors_is_refused_before_anything_is_written(command, tmp_path, capfd):
    path = written_as("npy", tmp_path, banded(8, 6))
    assert command(*PLAIN, f"matrices.path={path}", "analysis=[geometry]") == 2
    assert "analysis=geometry: needs vectors, and stage=import has matrices alone" in last_line(capfd)
    assert not (tmp_path / "out" / "result.json").exists()


def test_one_bad_file_of_many_costs_no_half_of_a_sweep(command, tasks, tmp_path, capfd):
    np.save(tasks / "similarity_zoo_40s.npy", np.full((8, 8), np.inf))
    assert command(*PLAIN, f"matrices.path={tasks}", NAMES) == 2
    assert "similarity_zoo_40s.npy: similarity_zoo_40s holds NaN or infinite numbers" in last_line(capfd)
    assert not [*(tmp_path / "out").glob("*/result.json")]


# ---------------------------------------------------------------- parts


def test_names_of_files_say_what_stands_in_their_places():
    patterns = ["{language}/{model_a}_X_{model_b}/{metric}", "within/{model}/{metric}"]
    assert said_by(["en/ant_X_bee/CKA"], patterns) == {"language": "en", "model_a": "ant", "model_b": "bee", "metric": "CKA"}
    assert said_by(["within/ant/RSA"], patterns) == {"model": "ant", "metric": "RSA"}
    both = said_by(["web|o/ant|bee", "file/web|o/ant|bee"], ["{dataset}|{model_a}|{model_b}"])
    assert both == {"dataset": "web", "model_a": "o/ant", "model_b": "bee"}
    facts = Facts().with_names({"model": "ant", "n": "40", "subject": "law"}, "x.npy")
    assert (facts.model_a, facts.model_b, facts.n, facts.settings) == ("ant", "ant", 40, {"subject": "law"})


def test_a_name_that_contradicts_what_was_given_is_refused():
    with pytest.raises(ConfigError, match=r"^x\.npy: its name says model_a bee, and matrices\.model_a is ant$"):
        Facts(model_a="ant").with_names({"model_a": "bee"}, "x.npy")
    with pytest.raises(ConfigError, match=r"^x\.npy: matrices\.names takes 'many' for n, which is a whole number of at least 1$"):
        Facts().with_names({"n": "many"}, "x.npy")


@pytest.mark.parametrize(
    ("labels", "preset", "blocks", "names", "n_blocks"),
    [
        (["0", "1", "2"], "blocks", None, ["block_1", "block_2", "block_3"], 3),
        (["0", "1", "2"], "hidden_states", None, ["embed", "block_1", "final_norm"], 2),
        (["a", "b", "c"], "hidden_states_without_embed", None, ["block_1", "block_2", "final_norm"], 3),
        (["a", "b", "c"], "all", None, ["embed", "block_1", "final_norm"], 1),
        (["block_4", "block_8"], "blocks", 32, ["block_4", "block_8"], 32),
        (["embed", "block_2", "final_norm"], "blocks", None, ["embed", "block_2", "final_norm"], 2),
    ],
)
def test_layers_are_named_by_the_file_or_by_their_places(labels, preset, blocks, names, n_blocks):
    axis = axis_of(labels, preset, blocks, "a", Path("m.npy"))
    assert (axis.names, axis.n_blocks, axis.labels) == (names, n_blocks, labels)
    with pytest.raises(ConfigError, match=r"^matrices\.blocks_a=1: m\.npy has a block_8$"):
        axis_of(["block_8"], "blocks", 1, "a", Path("m.npy"))
