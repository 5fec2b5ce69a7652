"""Committed experiments: each composes as a whole, its first comment says how it is run, and its page lists it."""

import re
from itertools import product
from pathlib import Path

import pytest
from composing import CONF
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from layeratlas.stages.schema import checked

EXPERIMENTS = sorted((CONF / "experiment").glob("*.yaml"))
each = pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("LAYERATLAS_STORE", "unused")
    monkeypatch.setenv("LAYERATLAS_RUN_ID", "unused")


def swept(experiment: str) -> dict[str, list[str]]:
    """The choices that a sweep of it goes through, by key."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"experiment={experiment}"], return_hydra_config=True)
    written = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    return {
        override.get_key_element(): list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]
        for override in OverridesParser.create().parse_overrides(written)
    }


@pytest.mark.slow
@each
def test_the_first_and_the_last_job_of_an_experiment_are_sound(path: Path):
    params = swept(path.stem)
    jobs = list(product(*params.values()))
    for job in (jobs[0], jobs[-1]):
        chosen = [f"{key}={value}" for key, value in zip(params, job, strict=True)]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            checked(compose("config", [f"experiment={path.stem}", *chosen]))


@each
def test_every_model_dataset_or_language_that_an_experiment_sweeps_has_a_file(path: Path):
    for key, values in swept(path.stem).items():
        group = key.split("@")[0]
        if (CONF / group).is_dir():
            assert [value for value in values if not (CONF / group / f"{value}.yaml").exists()] == []


@each
def test_an_experiments_first_comment_is_its_command(path: Path):
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    assert first == "# @package _global_"
    assert re.fullmatch(rf"# uv run src/run\.py (-m )?experiment={path.stem}( \S+)*", second)


@each
def test_the_page_lists_an_experiment(path: Path):
    assert f"`{path.stem}`" in (CONF / "experiment" / "README.md").read_text(encoding="utf-8")


def test_reasoning_against_factual_tasks_is_what_the_comment_says_to_type():
    comment = (CONF / "experiment" / "tasks_and_languages.yaml").read_text(encoding="utf-8")
    typed = re.findall(r"'(\+dataset\.tasks\.\S+)'", comment)
    assert [override.partition("=")[0] for override in typed] == ["+dataset.tasks.reasoning", "+dataset.tasks.factual"]
    for task in ("reasoning", "factual"):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = checked(compose("config", ["experiment=tasks_and_languages", *typed, f"dataset.task={task}"]))
        assert config["dataset"]["task"] == task
        assert len(config["dataset"]["tasks"][task]) == 2
        assert {"medical", "legal", "reasoning", "factual"} <= set(config["dataset"]["tasks"])
