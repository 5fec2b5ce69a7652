"""Each mistake at the command line ends in one line that names it, and exit code 2; a bug keeps its traceback, and exits with 1."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from layeratlas.files.store import Store
from layeratlas.models import Checkpoint
from layeratlas.stages import pipeline


def lines(capfd) -> list[str]:
    return capfd.readouterr().err.strip().splitlines()


def refused(command, capfd, *arguments, **options) -> str:
    """The one line that a command with a mistake ends with."""
    capfd.readouterr()
    code = command(*arguments, **options)
    (line,) = lines(capfd)
    assert code == 2, line
    assert line.startswith("layeratlas: ")
    return line.removeprefix("layeratlas: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["seed=x", "statistics=off"], "seed: expected a whole number; got 'x'"),
        (["dataset.n=1.5"], "dataset.n: expected a whole number or null; got 1.5"),
        (["k=-3"], "k.k: expected a number of at least 1; got -3"),
        (["k=5,10"], "k.k=5,10: several values are a sweep, which needs -m"),
        (
            ["analysis=[diagonal,foo]"],
            "analysis: there is no 'foo'; available are alignment, diagonal, edits, geometry,",
        ),
        (
            ["metric=cka_liner"],
            "metric: there is no 'cka_liner'; did you mean 'cka_linear'?; available are cca_mean, cka_dep_cols,",
        ),
        (["dataset=speech"], "dataset: there is no 'speech'; did you mean 'speeches'?"),
        (["language@language_a=eng"], "language: there is no 'eng'; did you mean 'en'?; available are am, ar,"),
        (["language=de"], "there is no option 'language'; did you mean language@language_a or language@language_b?; --help lists"),
        (["dataset.pth=x"], "there is no option 'dataset.pth'; did you mean 'dataset.path'?; --help lists what can be set"),
        (["metrik=cka"], "there is no option 'metrik'; did you mean 'metric'?; --help lists"),
        (["languge=de"], "there is no option 'languge'; did you mean language@language_a or language@language_b?; --help"),
        (["n=10"], "there is no option 'n'; did you mean 'dataset.n'?; --help"),
        (
            ["model@model_a=/a/folder"],
            "model: there is no '/a/folder'; a model of a folder or a hub is given as model@model_a=gpt2",
        ),
        (
            ["model_a=/a/folder"],
            "model_a: expected a file of conf/model, chosen as model@model_a=NAME; got '/a/folder'; a model of",
        ),
        (["pooling=span"], "pooling=span: 40 of 40 texts of side a have no marked span, such as "),
        (["+pooling.nonsense=3"], "pooling.nonsense: last_content has no such option"),
        (["metric=null"], "metric=null: a group takes the name of one of its files"),
        (["metric._target_=layeratlas.metrics.Mine"], "metric._target_: layeratlas.metrics has no 'Mine'"),
        (["foo"], "cannot read 'foo'; expected KEY=VALUE"),
        (["hydra.job.num=x"], "Error merging override hydra.job.num=x: Value 'x' of type 'str' could not be converted to Integer"),
        (["model_a.adapter=/no/where"], "model_a.adapter=/no/where: no such folder"),
        (["model_b.id=./nowhere"], "model_b.id=./nowhere: no such folder"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_told_before_anything_is_read(command, tiny, tmp_path, capfd, arguments, said):
    assert refused(command, capfd, *tiny, *arguments).startswith(said)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("where", "reason"), [("file", "File exists"), ("file/below", "Not a directory"), ("/proc/out", "No such file or directory")]
)
@pytest.mark.parametrize("sweep", [False, True], ids=["run", "sweep"])
def test_a_folder_that_cannot_be_made_is_told_by_its_key(command, tiny, tmp_path, capfd, where, reason, sweep):
    (tmp_path / "file").touch()
    key = "hydra.sweep.dir" if sweep else "hydra.run.dir"
    line = refused(command, capfd, *(["-m"] if sweep else []), *tiny, where=[f"{key}={tmp_path / where}"])
    assert line.startswith(key)
    assert f"cannot make or write {tmp_path / where} ({reason})" in line


FILES = {
    "broken.jsonl": (
        '{"id": "1", "en": "a"}\n\n{"id": "2", "en": "b}\n',
        "cannot be read (line 3 is not JSON: Unterminated string",
    ),
    "list.jsonl": ("[1, 2]\n", "cannot be read (line 1 is no object {...}, but a list; a line holds one item)"),
    "bytes.jsonl": (b'{"id": "1"}\n{"id": "\xff"}\n', "cannot be read (line 2 is not UTF-8 (byte 9))"),
    "half.jsonl": ('{"id": "1", "en": "\\ud800"}', "cannot be read (line 1 holds half of a surrogate pair, which is no character)"),
    "empty.jsonl": ("", "is empty"),
    "blank.jsonl": ("\n \n", "is empty; expected at least one item"),
    "wide.csv": ("id,en\n1,a\n2,b,c\n", "cannot be read (line 3 has 3 fields; expected 2 (id, en))"),
    "narrow.tsv": ("id\ten\n1\n", "cannot be read (line 2 has 1 fields; expected 2 (id, en))"),
    "open.csv": ('id,en\n1,"a\nb"\n2,"c\n', "cannot be read (the row that begins in line 4 is broken: unexpected end of data)"),
    "twice.csv": ("id,en,en\n1,a,b\n", "cannot be read (two columns are called 'en')"),
    "names.csv": ("id,en\n", "is empty; expected at least one item"),
    "empty.txt": ("", "is empty"),
    "empty.parquet": ("", "is empty"),
    "number.jsonl": ('{"id": "x", "en": "a"}\n{"id": "y", "en": 5}', "1 texts in column en are no strings, first at id 'y'"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_of_texts_is_told_by_the_number_of_the_line(name, tmp_path):
    from layeratlas.corpora import Language, Local
    from layeratlas.errors import ConfigError

    content, said = FILES[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    corpus = Local(path=str(path), n=None, max_length=9, id_column="id", group_column=None)
    with pytest.raises(ConfigError) as told:
        corpus.population(Language("en"), "text", 0)
    assert str(told.value).startswith(f"dataset.path={path}: {said}")


def test_tables_are_read_as_they_stand(tmp_path):
    from layeratlas.corpora import Language, Local

    path = tmp_path / "good.csv"
    path.write_text('\ufeffid,en,no\r\n001,"a, ""b""\nc",NA\r\n\r\n2,' + "x" * 200_000 + ",null\r\n", encoding="utf-8")
    corpus = Local(path=str(path), n=None, max_length=9, id_column="id", group_column=None)
    assert corpus.population(Language("en"), "text", 0)["text"].tolist() == ['a, "b"\nc', "x" * 200_000]
    items = corpus.population(Language("no"), "text", 0)
    assert items[["id", "text"]].to_numpy().tolist() == [["001", "NA"], ["2", "null"]]


def test_a_path_with_any_characters_works_as_typed(command, tiny, tmp_path, texts_file):
    name = "~a=b [1], 日本語's.jsonl"
    (tmp_path / name).write_bytes(texts_file.read_bytes())
    assert command(*tiny, f"dataset.path={name}", "stage=prefetch", where=[f"hydra.run.dir=out = [{name}]"]) == 0
    assert (tmp_path / f"out = [{name}]" / "prefetched.json").exists()


@pytest.mark.slow
def test_a_sweep_over_paths_with_any_characters_works_as_typed(command, tiny, tmp_path, texts_file):
    names = ["a=b.jsonl", "日本 語.jsonl"]
    for name in names:
        (tmp_path / name).write_bytes(texts_file.read_bytes())
    assert command(*tiny, "-m", f"dataset.path={','.join(names)}", "stage=prefetch", where=["hydra.sweep.dir=s w=1"]) == 0
    assert len(list((tmp_path / "s w=1").glob("*/prefetched.json"))) == 2
    assert command("stage=status", "sweep_dir=[s w=1]", where=[]) == 0


@pytest.mark.parametrize("code", ["no", "yes"])
def test_a_language_whose_code_yaml_spoils_is_refused_by_that_name(command, tiny, tmp_path, capfd, code):
    (tmp_path / "language").mkdir()
    (tmp_path / "language" / "own.yaml").write_text(f"code: {code}\nname: own\n")
    line = refused(command, capfd, f"--config-dir={tmp_path}", *tiny, "language@language_b=own")
    assert line == (
        f"language_b.code: expected text; got {str(code == 'yes').lower()}"
        " (YAML takes no, off, on and yes for false or true; put it in quotes)"
    )


def test_norwegian_is_a_language_like_any_other(command, tiny, tmp_path, texts_file):
    rows = [json.loads(line) for line in texts_file.read_text(encoding="utf-8").splitlines()]
    texts_file.write_text("\n".join(json.dumps(row | {"no": f"Nei, {row['de']}"}) for row in rows), encoding="utf-8")
    assert command(*tiny, "language@language_b=no", "stage=extract", "extract.poolings=[last]") == 0
    assert json.loads((tmp_path / "out" / "extracted.json").read_text())["b"]["language"] == "no"


@pytest.fixture
def copied(checkpoint_folder, tmp_path):
    """A copy of a checkpoint without the files that match a pattern."""

    def copy(without: str):
        folder = tmp_path / "copied's"
        shutil.copytree(checkpoint_folder("llama"), folder, ignore=shutil.ignore_patterns(without))
        return folder

    return copy


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("tokenizer*", "no tokenizer here (no tokenizer.json or vocabulary); save the model's own beside it with save_pretrained"),
        ("config.json", "no model here (no config.json); expected a folder saved with save_pretrained"),
        ("*.safetensors", "no weights here; expected *.safetensors, as save_pretrained writes them"),
    ],
)
def test_a_folder_that_lacks_a_part_of_a_model_is_told_by_that_part(command, tiny, capfd, copied, without, said):
    folder = copied(without)
    assert refused(command, capfd, *tiny, f"model_b.id={folder}") == f"model_b.id={folder}: {said}"


def test_an_adapter_where_a_model_is_expected_and_the_other_way_round(command, tiny, capfd, tmp_path, checkpoint_folder):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").touch()
    line = refused(command, capfd, *tiny, "model_a.id=adapter")
    assert line.startswith("model_a.id=adapter: no model here but an adapter, which goes into .adapter beside the .id of its model")
    line = refused(command, capfd, *tiny, f"model_a.adapter={checkpoint_folder('llama')}")
    assert "no adapter here (no adapter_config.json)" in line


@pytest.mark.slow
def test_pickled_weights_are_told_as_such_with_a_command_that_converts_them(command, tiny, capfd, copied, checkpoint, store):
    folder = copied("*.safetensors")
    from layeratlas.models import Needs

    network = checkpoint("llama").load(store, torch.device("cpu"), Needs(64)).network
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    line = refused(command, capfd, *tiny, f"model_a.id={folder}")
    assert line.startswith(
        f"model_a.id={folder}: the weights are pickles (pytorch_model.bin), which can run any code when they are read"
    )
    program, *arguments = shlex.split(line.split(" that you trust: ")[1])
    assert program == "python"
    subprocess.run([sys.executable, *arguments], check=True)
    converted = Checkpoint(id=str(folder), dtype="float32").load(Store(store.root), torch.device("cpu"), Needs(64)).network
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in converted.state_dict().items())


# Sweeps


@pytest.mark.parametrize(
    ("swept", "said"),
    [
        ("k=4,-1", "k.k: expected a number of at least 1; got -1"),
        ("seed=0,x", "seed: expected a whole number; got 'x'"),
        ("metric=mutual_knn,cka_liner", "metric: there is no 'cka_liner'; did you mean 'cka_linear'?"),
        ("hydra.sweeper.pairs=5", "hydra.sweeper.pairs: expected a list or null; got 5"),
        ("hydra.sweeper.self_pairs=x", "hydra.sweeper.self_pairs: expected true or false; got 'x'"),
    ],
)
def test_a_mistake_in_a_swept_value_is_told_once_before_any_job_starts(command, tiny, tmp_path, capfd, swept, said):
    assert refused(command, capfd, "-m", *tiny, swept).startswith(said)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
def test_a_sweep_says_each_failure_once(command, tiny, tmp_path, capfd):
    assert command("-m", *tiny, "k=40,41") == 2
    shown = capfd.readouterr()
    assert [(shown.out + shown.err).count(f"mutual_knn needs at least {k + 1} items") for k in (40, 41)] == [1, 1]
    assert shown.err == f"layeratlas: 2 of 2 jobs failed; stage=status sweep_dir={tmp_path / 'sweep'} lists why\n"
    assert "nothing to summarise" not in shown.out


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["prefetch", "extract"])
def test_a_sweep_that_compares_nothing_ends_without_a_word_about_summaries(command, tiny, tmp_path, capfd, stage):
    assert command("-m", *tiny, f"stage={stage}", "dataset.n=2", "extract.poolings=[last]") == 0
    shown = "".join(capfd.readouterr())
    assert "summar" not in shown
    assert not (tmp_path / "sweep" / "jobs.csv").exists()


def test_a_bug_in_a_job_of_a_sweep_is_no_mistake(command, tiny, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(pipeline, "_run", lambda *a, **k: 1 / 0)
    assert command("-m", *tiny) == 1
    assert lines(capfd) == [f"layeratlas: 1 of 1 jobs failed; stage=status sweep_dir={tmp_path / 'sweep'} lists why"]
    assert "Traceback" in (tmp_path / "sweep" / "0" / "error.txt").read_text()


# Bugs


def test_a_value_error_of_our_own_code_is_a_bug_and_not_the_users_mistake(command, tiny, tmp_path, capfd, monkeypatch):
    def broken(*arguments, **options):
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr(pipeline, "_run", broken)
    assert command(*tiny) == 1
    trace = tmp_path / "out" / "error.txt"
    assert lines(capfd) == [f"layeratlas: ValueError: operands could not be broadcast (traceback in {trace})"]
    assert "in broken" in trace.read_text()


def test_a_value_error_within_an_analysis_or_an_interval_is_a_bug_and_no_warning(command, tiny, tmp_path, capfd, monkeypatch):
    def broken(*arguments, **options):
        raise ValueError("operands could not be broadcast")

    for place in ("layeratlas.analyses.Diagonal.__call__", "layeratlas.stages.pipeline.with_intervals"):
        with monkeypatch.context() as patched:
            patched.setattr(place, broken)
            assert command(*tiny) == 1
        assert lines(capfd)[-1].startswith("layeratlas: ValueError: operands could not be broadcast (traceback in ")
        assert "in broken" in (tmp_path / "out" / "error.txt").read_text()


def test_a_key_that_our_own_code_misspells_is_a_bug_and_not_the_users_mistake(command, tiny, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(pipeline, "_run", lambda config, *a, **k: config.dataset.misspelt)
    assert command(*tiny) == 1
    assert "ConfigAttributeError" in (tmp_path / "out" / "error.txt").read_text()


def test_a_bug_in_a_stage_without_a_folder_shows_its_traceback(command, capfd, monkeypatch):
    monkeypatch.setattr(pipeline, "catalogue", lambda *a: 1 / 0)
    assert command("stage=store", where=[]) == 1
    shown = lines(capfd)
    assert "Traceback (most recent call last):" in shown
    assert shown[-1] == "layeratlas: ZeroDivisionError: division by zero"


def misuses_omegaconf(*arguments, **options):
    return OmegaConf.create({"known": 1, "open": "${nowhere}"}).open


def misuses_the_disk(*arguments, **options):
    return Path("/no/such/file").read_text()


def is_broken(*arguments, **options):
    return 1 / 0


BUGS = {misuses_omegaconf: "InterpolationKeyError", misuses_the_disk: "FileNotFoundError", is_broken: "ZeroDivisionError"}


def launcher_that(bug):
    return lambda *arguments, **options: SimpleNamespace(launch=bug)


@pytest.mark.parametrize(
    ("place", "bug"),
    [
        ("layeratlas.stages.sweeping.jobs_of", is_broken),  # before there is a folder
        ("layeratlas.stages.sweeping.checked", misuses_omegaconf),
        ("layeratlas.stages.sweeping._by_model", misuses_the_disk),
        ("layeratlas.stages.main.make_importable", misuses_omegaconf),  # in a job, before it is at work
        ("layeratlas.stages.summary.summarize", misuses_the_disk),
        *(("hydra.core.plugins.Plugins.instantiate_launcher", bug) for bug in BUGS),
    ],
)
def test_a_bug_around_the_jobs_of_a_sweep_keeps_its_traceback(command, tiny, tmp_path, capfd, monkeypatch, place, bug):
    monkeypatch.setattr("layeratlas.stages.pipeline._run", lambda config, folder, **k: (folder / "result.json").write_text("{}"))
    monkeypatch.setattr(place, launcher_that(bug) if "launcher" in place else bug)
    assert command("-m", *tiny) == 1
    shown, trace = lines(capfd), tmp_path / "sweep" / "error.txt"
    assert shown[-1].startswith(f"layeratlas: {BUGS[bug]}")
    told = trace.read_text() if trace.exists() else "\n".join(shown)
    assert f"in {bug.__name__}" in told
    assert (len(shown) == 1) == trace.exists() == shown[-1].endswith(f" (traceback in {trace})")


@pytest.mark.parametrize(
    ("place", "bug"),
    [
        ("layeratlas.runs.at_work._taken", misuses_omegaconf),  # called by Hydra's callback, of which Hydra would warn
        ("layeratlas.runs.at_work._taken", is_broken),
        ("layeratlas.stages.main.make_importable", misuses_omegaconf),
        ("layeratlas.stages.main.make_importable", misuses_the_disk),
    ],
)
def test_a_bug_before_a_run_starts_shows_its_traceback(command, tiny, capfd, monkeypatch, place, bug):
    monkeypatch.setattr(place, bug)
    assert command(*tiny) == 1
    shown = lines(capfd)
    assert f"in {bug.__name__}" in "\n".join(shown)
    assert shown[-1].startswith(f"layeratlas: {BUGS[bug]}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "bug"),
    [
        *(("layeratlas.stages.pipeline.planned", bug) for bug in BUGS),
        ("layeratlas.analyses.Diagonal.__call__", is_broken),
        ("layeratlas.analyses.Diagonal.__call__", misuses_the_disk),
    ],
)
def test_a_bug_in_a_stage_or_an_analysis_keeps_its_traceback(command, tiny, tmp_path, capfd, monkeypatch, place, bug):
    monkeypatch.setattr(place, bug)
    assert command(*tiny, "statistics=off") == 1
    trace = tmp_path / "out" / "error.txt"
    (line,) = lines(capfd)
    assert line.startswith(f"layeratlas: {BUGS[bug]}")
    assert line.endswith(f"(traceback in {trace})")
    assert f"in {bug.__name__}" in trace.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hydra.run.dir=${nowhere}"], "Interpolation key 'nowhere' not found"),
        (["hydra.run.dir=null"], "field 'hydra.run.dir' is not Optional"),
        (["-m", "hydra.sweep.dir=${nowhere}"], "Interpolation key 'nowhere' not found"),
        (["-m", "hydra.sweeper.max_batch_size=${nowhere}"], "Interpolation key 'nowhere' not found"),
        (["-m", "seed=1,2", "k=a b,c"], "k.k: expected"),
        (["-m", "seed=range(1,2,3,4,5)"], "seed"),
        (["-m", "seed=${nowhere},1"], "seed: Interpolation key 'nowhere' not found"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_hydra_refuses_inside_the_sweeper_or_before_a_run_is_still_a_mistake(command, tiny, capfd, arguments, said):
    assert said in refused(command, capfd, *tiny, *arguments, where=[])


# Stages that compare nothing


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["extract", "prefetch", "selftest"])
def test_a_stage_that_compares_nothing_does_with_fewer_items_than_a_comparison(command, tiny, stage, monkeypatch):
    monkeypatch.setattr(pipeline, "drift_table", lambda *a: pd.DataFrame())
    assert command(*tiny, f"stage={stage}", "dataset.n=2", "k=10", where=[] if stage == "selftest" else ["hydra.run.dir=few"]) == 0


@pytest.mark.slow
def test_the_store_lists_intact_signatures_as_such(command, tiny, tmp_path, capfd):
    assert command(*tiny, "statistics=off", "analysis=[]") == 0
    capfd.readouterr()
    assert command("stage=store", f"store.dir={tmp_path / 'store'}", where=[]) == 0
    shown = capfd.readouterr().out
    (row,) = [line.split() for line in shown.splitlines() if line.split()[:1] == ["signatures"]]
    assert row[1] == "signatures"
    assert "damaged" not in shown
    next((tmp_path / "store" / "signatures").glob("*.safetensors")).write_bytes(b"spoilt")
    assert command("stage=store", f"store.dir={tmp_path / 'store'}", where=[]) == 0
    assert "damaged" in capfd.readouterr().out


# Python


CALLS = {
    "affinity_matrix('mutual_knn', [x], [x])": "affinity_matrix: metric: expected an instance of AbstractMetric; got 'mutual_knn'",
    "affinity_matrix(MutualKNN, [x], [x])": "affinity_matrix: metric: expected an instance of AbstractMetric; got the class Mutual",
    "affinity_matrix({'k': 3}, [x], [x])": "affinity_matrix: metric: expected an instance of AbstractMetric; got {'k': 3}",
    "affinity_matrix(MutualKNN(3), x, [x])": "affinity_matrix: layers_a: expected a sequence of (n, d) arrays, one per layer; got",
    "affinity_matrix(MutualKNN(3), [x], {'block_1': x})": "affinity_matrix: layers_b: expected a sequence of (n, d) arrays",
    "affinity_matrix(MutualKNN(3), 'ab', [x])": "affinity_matrix: layers_a: expected a sequence of (n, d) arrays",
    "affinity_matrix(MutualKNN(3), ['ab'], [x])": "affinity_matrix: layers_a[0]: expected an (n, d) array of numbers; got 'ab'",
    "affinity_matrix(MutualKNN(3), [[[1, 2], [3]]], [x])": "affinity_matrix: layers_a[0]: expected an (n, d) array of numbers",
    "affinity_matrix(MutualKNN(3), [x], [x + 1j])": "affinity_matrix: layers_b[0]: expected real numbers; got complex128",
    "read_run({'folder': 'x'})": "read_run: expected text or an instance of Path; got {'folder': 'x'}",
    "read_run('/no/such')": "/no/such: no finished run here (no result.json)",
    "read_sweep('/no/such')": "/no/such: no such folder",
    "read_sweep(None)": "read_sweep: expected text or an instance of Path; got null",
    "read_sweep(['a', 'b'])": "read_sweep: expected text or an instance of Path; got ['a', 'b']",
    "compare_runs('/a', '/b')": "compare_runs: first: expected an instance of Run; got '/a'",
    "compare_runs({}, {})": "compare_runs: first: expected an instance of Run; got {}",
}


@pytest.mark.slow
def test_the_public_functions_say_what_they_take():
    """Outside pytest, whose own checks of types would come first."""
    code = (
        "import json, numpy as np\nfrom layeratlas import *\nfrom layeratlas.metrics import MutualKNN\n"
        "from layeratlas.errors import"
        " ConfigError\nx = np.random.default_rng(0).standard_normal((8, 3))\nsaid = {}\n"
        f"for call in {list(CALLS)!r}:\n"
        "    try:\n        said[call] = repr(eval(call))\n"
        "    except ConfigError as error:\n        said[call] = str(error)\n"
        "print(json.dumps(said))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert [call for call, words in CALLS.items() if not said[call].startswith(words)] == [], said
