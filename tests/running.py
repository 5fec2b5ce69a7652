"""The command line in this process, on tiny models: fixtures of every test that makes a whole run."""

import json
import logging
import sys

import pytest
from conftest import TEXTS

from layeratlas.stages import main


@pytest.fixture
def texts_file(tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [{"id": f"t{i}", "en": f"{text} {i}", "de": f"{text[::-1]} {i}"} for i, text in enumerate(TEXTS * 5)]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def tiny(checkpoint_folder, texts_file, tmp_path):
    """Overrides that compare two tiny models on the test's own texts and write below tmp_path."""
    models = [f"model@model_{s}=gpt2" for s in "ab"]
    folders = [f"model_a.id={checkpoint_folder('llama')}", f"model_b.id={checkpoint_folder('gpt2')}"]
    return [
        *models,
        *folders,
        "dataset=local",
        f"dataset.path={texts_file}",
        "k=3",
        "statistics.permutations=19",
        "statistics.groups=4",
        f"store.dir={tmp_path / 'store'}",
    ]


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Run the command line with these arguments; returns the exit code. Runs land in tmp_path/out, sweeps in tmp_path/sweep."""
    monkeypatch.chdir(tmp_path)
    for name in ("HYDRA_FULL_ERROR", "LAYERATLAS_COMMAND", "LAYERATLAS_RUN_ID", "LAYERATLAS_STORE"):
        monkeypatch.setenv(name, "unused")
    handlers, level = list(logging.root.handlers), logging.root.level

    def call(*arguments, where=(f"hydra.run.dir={tmp_path / 'out'}", f"hydra.sweep.dir={tmp_path / 'sweep'}")):
        monkeypatch.setattr(sys, "argv", ["layeratlas", *arguments, *where])
        try:
            return main.main()
        finally:
            close_logs()

    def close_logs():
        for handler in set(logging.root.handlers) - set(handlers):
            handler.close()
        logging.root.handlers, logging.root.level = list(handlers), level

    return call


def last_line(capfd) -> str:
    return capfd.readouterr().err.strip().splitlines()[-1]
