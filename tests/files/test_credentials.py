"""No access token reaches any file: a config that holds one is refused before anything is written."""

import pytest
from hydra import compose, initialize_config_dir

from layeratlas.errors import ConfigError
from layeratlas.files.credentials import holds_token, redacted, refuse_tokens, refuse_tokens_in
from layeratlas.runs.at_work import keep_trace
from layeratlas.stages import main

TOKEN = "hf_" + "AbCd" * 8
SECRET = "s3cret/of+an=unknown-form"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("MIRROR_PASSWORD", SECRET)
    monkeypatch.setenv("PLACE", f"https://user:{'x' * 12}@mirror/")


def files_with_a_secret(folder):
    found = [path for path in folder.rglob("*") if path.is_file()]
    names = [path for path in folder.rglob("*") if TOKEN in path.name or SECRET in path.name]
    return names + [path for path in found if any(secret.encode() in path.read_bytes() for secret in (TOKEN, SECRET))]


@pytest.mark.parametrize(
    "argument",
    [
        f"+model_a.token={TOKEN}",
        "+model_a.token=anything-at-all",
        "+dataset.api_key=0123456789",
        "+model_a.token=${oc.env:HF_TOKEN}",
        "model_a.id=${oc.env:HF_TOKEN}",
        "model_a.id=${oc.env:NOT_SET_TOKEN,null}",
        "dataset.path=${oc.env:PLACE}",
        f"model_a.id=owner/{TOKEN}",
        f"dataset.path=https://user:{TOKEN}@host/x.jsonl",
        f"dataset.mirror=/mirror/{SECRET}/data",
        f"hydra.run.dir=outputs/{TOKEN}",
        f"hydra.sweep.dir=multirun/{SECRET}",
        f"+{TOKEN}=1",
        f"model_a.id=x,{TOKEN}",
        f'hydra.launcher.setup=["export HF_TOKEN={TOKEN}"]',
        f"hydra.job.env_set.HF_TOKEN={TOKEN}",
        TOKEN,
    ],
)
def test_a_token_on_the_command_line_is_refused_before_anything_is_written_and_not_repeated(
    command, tiny, tmp_path, capfd, argument
):
    for multirun in ([], ["-m"]):
        assert command(*multirun, *tiny, argument, where=()) == 2
        shown = "".join(capfd.readouterr())
        assert "holds an access token, which would be written beside every result; take it out" in shown
        assert TOKEN not in shown
        assert SECRET not in shown
    assert not (tmp_path / "outputs").exists()
    assert not (tmp_path / "multirun").exists()


@pytest.mark.parametrize("value", [TOKEN, SECRET, "${oc.env:HF_TOKEN}", "${oc.env:PLACE}", "owner/${oc.env:MIRROR_PASSWORD}"])
@pytest.mark.parametrize("multirun", [[], ["-m"]], ids=["run", "sweep"])
def test_a_token_in_a_config_file_is_refused_before_anything_is_written(command, tmp_path, capfd, value, multirun):
    folder = tmp_path / "conf" / "model"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        f"_target_: layeratlas.models.Checkpoint\nid: gpt2\ndtype: float32\nrevision: '{value}'\n", encoding="utf-8"
    )
    asked = [*multirun, "model@model_a=mine", f"hydra.searchpath=[file://{folder.parent}]"]
    assert command(*asked) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("layeratlas: ")]
    assert line.startswith("layeratlas: model_a.revision: holds an access token")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "sweep").exists()


def test_what_only_looks_like_a_token_is_no_token():
    for text in (
        "hf_short",
        "dataset.max_length=2048",
        "batch_tokens=4096",
        "risk-averse-models-for-everyone-who-reads",
        "https://host/x",
    ):
        assert not holds_token(text)
    refuse_tokens(["extract.batch_tokens=4096", "+pooling.token=5", "model_a.id=owner/name", "dataset.path=/a/b=c.jsonl"])
    refuse_tokens_in({"a": [1, None, {"b": "text"}], "HF_TOKEN": None})


def test_switches_of_a_secretive_name_are_no_secrets(monkeypatch):
    monkeypatch.setenv("DISABLE_TOKEN", "false")
    assert not holds_token("false")


@pytest.mark.parametrize("node", [{"a": {"b": [{"c": f"x{SECRET}"}]}}, {"a": {"b": {"c": 1, SECRET: 2}}}])
def test_a_token_at_any_depth_is_named_by_its_place(node):
    with pytest.raises(ConfigError, match=r"^a\.b\..*: holds an access token") as refusal:
        refuse_tokens_in(node)
    assert SECRET not in str(refusal.value)


def test_every_config_that_is_shipped_holds_none(monkeypatch):
    monkeypatch.setenv("LAYERATLAS_STORE", "store")
    monkeypatch.setenv("LAYERATLAS_RUN_ID", "test")
    from omegaconf import OmegaConf

    with initialize_config_dir(str(main.CONF), version_base="1.3"):
        refuse_tokens_in(OmegaConf.to_container(compose("config"), resolve=True))  # type: ignore[arg-type]


def test_a_token_in_an_error_is_kept_nowhere(command, tiny, tmp_path, capfd, monkeypatch):
    def fail(*arguments):
        raise RuntimeError(f"401 for https://hub/x?token={TOKEN} and {SECRET}")

    monkeypatch.setattr("layeratlas.stages.pipeline.planned", fail)
    assert command(*tiny) == 1
    assert "401 for" in (tmp_path / "out" / "error.txt").read_text()
    assert files_with_a_secret(tmp_path) == []
    assert TOKEN not in "".join(capfd.readouterr())
    assert command("-m", *tiny, "k=3,4") == 1
    assert files_with_a_secret(tmp_path) == []
    assert TOKEN not in "".join(capfd.readouterr())


@pytest.mark.slow
def test_a_whole_run_and_a_sweep_leave_no_trace_of_the_tokens_in_the_environment(command, tiny, tmp_path):
    assert command(*tiny, "statistics=off") == 0
    assert files_with_a_secret(tmp_path) == []


def test_redaction_takes_the_longest_first(monkeypatch):
    monkeypatch.setenv("OTHER_TOKEN", TOKEN[:12])
    assert redacted(f"<{TOKEN}> <{TOKEN[:12]}> <{SECRET}>") == "<***> <***> <***>"


def test_a_trace_that_cannot_be_written_costs_no_error(tmp_path):
    assert keep_trace(tmp_path / "error.txt", "a\nb\x1b", "trace\n")
    assert (tmp_path / "error.txt").read_text().splitlines()[0] == r"a\nb\x1b"
    assert not keep_trace(tmp_path / "nowhere" / "error.txt", "a", "b")
