"""YAML files and modules of the user's own, as conf/README.md describes them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pages import users_own_files, write_users_own_files
from running import last_line
from safetensors.torch import load_file

import layeratlas
import run
from layeratlas.stages import schema
from layeratlas.stages.command_line import understood


@pytest.fixture
def mine(tmp_path, checkpoint_folder, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    schema._require_part.cache_clear()  # a process sees one module of a name; here each test has its own
    yield write_users_own_files(tmp_path, str(checkpoint_folder("llama")))
    sys.modules.pop("norms", None)


def without_model_a(tiny):
    return [override for override in tiny if not override.startswith(("model@model_a", "model_a."))]


def test_the_readme_shows_a_model_a_metric_and_a_module():
    assert set(users_own_files()) == {"mine/model/tuned.yaml", "mine/metric/norm_correlation.yaml", "mine/norms.py"}


@pytest.mark.parametrize(
    "flag",
    [
        ["--config-dir", "mine"],
        *(
            pytest.param(flag, marks=pytest.mark.slow)
            for flag in (["--config-dir=mine"], ["-cd", "mine"], ["hydra.searchpath=[mine]"])
        ),
    ],
)
def test_a_model_and_a_metric_of_the_users_own_are_chosen_like_the_others(command, tiny, tmp_path, mine, flag):
    assert command(*flag, *without_model_a(tiny), "model@model_a=tuned", "metric=norm_correlation") == 0
    made = layeratlas.read_run(tmp_path / "out")
    assert (made.result["metric"]["name"], made.result["a"]["family"]) == ("norm_correlation", "tuned")
    assert made.affinity.abs().to_numpy().max() <= 1


@pytest.mark.slow
def test_they_are_swept_beside_the_others_and_the_rest_is_done_by_the_command_that_is_shown(command, tiny, tmp_path, mine, capfd):
    sweep = [*without_model_a(tiny), "model@model_a=tuned", "metric=norm_correlation,mutual_knn", "dataset.n=20,2"]
    assert command("--config-dir", str(mine), "-m", *sweep) == 2
    assert f"layeratlas --config-dir {mine} -m hydra.sweep.dir={tmp_path / 'sweep'}" in capfd.readouterr().out
    names = {made.result["metric"]["name"] for made in layeratlas.read_sweep(tmp_path / "sweep")}
    assert names == {"norm_correlation", "mutual_knn"}


@pytest.mark.slow
def test_a_pooling_of_the_users_own_is_kept_under_its_options(command, tiny, tmp_path, mine):
    (mine / "part.py").write_text("def part(hidden, tokens, share: float):\n    return share * hidden.float().mean(dim=1)\n")
    (mine / "pooling").mkdir()
    (mine / "pooling" / "part.yaml").write_text("_target_: part.part\n_partial_: true\nshare: 0.5\n")
    vectors = {}
    for share in (0.5, 0.25):
        assert command("--config-dir", str(mine), *tiny, "pooling=part", f"pooling.share={share}") == 0
        kept_as = f"part.part(share={share})"
        assert layeratlas.read_run(tmp_path / "out").result["pooling"] == kept_as
        (tmp_path / "out").rename(tmp_path / str(share))
        file = min((tmp_path / "store" / "activations").glob(f"*/{kept_as}/*.safetensors"))
        vectors[share] = load_file(file)["block_1"]
    torch.testing.assert_close(vectors[0.5], 2 * vectors[0.25])


@pytest.mark.slow
def test_processes_of_a_launcher_find_them_too(tiny, tmp_path, mine):
    sweep = [*without_model_a(tiny), "model@model_a=tuned", "metric=norm_correlation", "seed=0,1"]
    parallel = ["hydra/launcher=local_parallel", "hydra.launcher.n_jobs=2", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    # In a process of its own: what the tests wrap around functions to check their types cannot be sent to workers.
    command = [sys.executable, str(Path(run.__file__)), "--config-dir", "mine", "-m", *sweep, *parallel]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    assert [made.result["metric"]["name"] for made in layeratlas.read_sweep(tmp_path / "sweep")] == ["norm_correlation"] * 2


@pytest.mark.parametrize("name", ["metric/mutual_knn.yaml", "config.yaml", "hydra/launcher/slurm_gpu.yaml"])
def test_a_file_named_as_one_of_ours_is_refused(command, tiny, tmp_path, mine, capfd, name):
    (mine / name).parent.mkdir(parents=True, exist_ok=True)
    (mine / name).write_text("k: 3\n", encoding="utf-8")
    assert command("--config-dir", "mine", *tiny) == 2
    assert last_line(capfd) == f"layeratlas: {mine / name}: layeratlas has a {name} and would read that; give yours another name"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_module_of_the_users_hides_no_library(command, tiny, mine):
    (mine / "scipy.py").write_text("raise RuntimeError('not this one')\n", encoding="utf-8")
    assert command("--config-dir", "mine", *tiny, "metric=norm_correlation") == 0
    assert sys.path[-1] == str(mine)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norms.py": "import nowhere\n"}, "metric._target_: norms cannot be imported (No module named 'nowhere')"),
        ({"norms.py": "x = 1\n"}, "metric._target_: norms has no 'NormCorrelation'"),
        ({"norms.py": "1 +\n"}, "metric._target_: norms cannot be imported (SyntaxError: invalid syntax (norms.py, line 1))"),
        ({"metric/norm_correlation.yaml": "_target_: norms.NormCorrelation\n"}, "metric.power: has no value"),
        ({"metric/norm_correlation.yaml": "_target_: ["}, "metric/norm_correlation.yaml"),
        ({"norms.py": "def NormCorrelation(power):\n    return 1\n"}, "metric._target_: expected a AbstractMetric"),
    ],
)
def test_a_mistake_in_them_is_one_line(command, tiny, mine, capfd, change, message):
    for name, content in change.items():
        (mine / name).write_text(content, encoding="utf-8")
    assert command("--config-dir", "mine", *tiny, "metric=norm_correlation") == 2
    assert message in last_line(capfd)


def test_a_folder_that_is_not_there_is_one_line(command, tiny, capfd):
    assert command("--config-dir", "nowhere", *tiny) == 2
    assert "nowhere' not found" in last_line(capfd)


def test_a_name_that_is_nowhere_is_met_with_the_names_of_both(command, tiny, mine, capfd):
    assert command("--config-dir", "mine", *tiny, "metric=norm_corelation") == 2
    assert "did you mean 'norm_correlation'?" in last_line(capfd)


@pytest.mark.slow
def test_a_neighbourhood_size_of_the_users_own_is_a_name(command, tiny, tmp_path, mine):
    (mine / "k").mkdir()
    (mine / "k" / "few.yaml").write_text("k: 2\n", encoding="utf-8")
    assert command("--config-dir", "mine", *(override for override in tiny if override != "k=3"), "k=few") == 0
    assert json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["metric"]["k"] == 2


def test_a_folder_with_an_equals_sign_stays_as_it_was_typed():
    assert understood(["--config-dir", "a b=c,d", "k=3"]) == ["--config-dir", "a b=c,d", "k.k=3"]
