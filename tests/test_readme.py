import re
from pathlib import Path

from metric_rows import METRICS
from metric_table import README, table, written
from omegaconf import OmegaConf

ROOT = README.parent


def test_the_table_of_metrics_is_what_the_metrics_declare():
    assert written(README.read_text(encoding="utf-8")) == table(), "run `uv run tests/metric_table.py`"


def test_every_metric_file_has_a_row_of_tests():
    named = {row.metric.name for row in METRICS}
    assert {path.stem for path in (ROOT / "conf" / "metric").glob("*.yaml")} <= named


def test_the_files_that_the_readme_names_exist():
    text = README.read_text(encoding="utf-8")
    named = {Path(name) for name in re.findall(r"`((?:src|tests|conf)/[\w./-]+\.(?:py|yaml|md))`", text)}
    assert [str(name) for name in named if name.stem not in ("NAME", "CODE") and not (ROOT / name).exists()] == []


def test_a_metric_file_is_named_as_its_metric():
    targets = {type(row.metric).__name__: row.metric.name for row in METRICS}
    for path in (ROOT / "conf" / "metric").glob("*.yaml"):
        cls = OmegaConf.load(path)["_target_"].rsplit(".", 1)[-1]
        assert cls == "RSA" or targets[cls] == path.stem
