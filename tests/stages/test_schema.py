"""A config as a whole: each mistake in it is told before anything is read."""

import copy
import textwrap
from functools import cache

import pytest
from composing import composed
from omegaconf import OmegaConf, open_dict

from layeratlas.errors import ConfigError
from layeratlas.extraction import pooling
from layeratlas.stages.keys import KEYS
from layeratlas.stages.schema import checked, named_pooling


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("LAYERATLAS_STORE", "unused")
    monkeypatch.setenv("LAYERATLAS_RUN_ID", "unused")


@cache
def default():
    return composed("analysis=[diagonal,stability,geometry]", "control=cipher", "normalization=drop_top_dimensions")


def with_value(key, value):
    """The default config with one value in it changed, as if it was typed."""
    config = copy.deepcopy(default())
    with open_dict(config):
        OmegaConf.update(config, key, value, merge=False)
    return config


def test_the_default_config_is_sound_and_comes_back_resolved():
    whole = checked(default())
    assert whole["metric"]["k"] == 10
    assert whole["analysis"]["diagonal"]["seed"] == 0


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        *[("seed", value, "seed: expected a whole number; got ") for value in ("x", 1.5, True, None, [1], "1")],
        ("seed", -1, "seed: expected a number of at least 0; got -1"),
        ("seed", 10**30, "seed: expected a number below 9223372036854775808; got 1000"),
        *[("dataset.n", value, "dataset.n: expected a whole number or null; got ") for value in ("abc", 1.5, True, [3])],
        *[("dataset.n", value, "dataset.n: expected a positive number of items or null for all; got ") for value in (0, -3)],
        ("dataset.max_length", "long", "dataset.max_length: expected a whole number; got 'long'"),
        ("dataset.max_length", None, "dataset.max_length: expected a whole number; got null"),
        ("dataset.stratify", "yes", "dataset.stratify: expected true or false; got 'yes'"),
        ("dataset.since", "1946", "dataset.since: expected a whole number; got '1946'"),
        ("dataset.field_a", 5, "dataset.field_a: expected text; got 5"),
        ("dataset.feild_a", "text", "dataset.feild_a: Speeches has no such option; did you mean 'field_a'?"),
        *[("k.k", value, "k.k: expected a whole number; got ") for value in ("abc", 1.5, [5, 10], None, True)],
        *[("k.k", value, "k.k: expected a number of at least 1; got ") for value in (0, -3)],
        ("layers", 5, "layers: expected text or a list; got 5"),
        ("layers", None, "layers: expected text or a list; got null"),
        ("layers", "blok", "layers: there is no 'blok'; presets are blocks, all, hidden_states, "),
        ("layers", ["block_1", "block_0"], "layers: there is no 'block_0'; "),
        ("layers", "every_0", "layers: there is no 'every_0'; "),
        ("device", 0, "device: expected text; got 0"),
        ("extract.batch_size", 0, "extract.batch_size: expected a number of at least 1; got 0"),
        ("extract.batch_tokens", "many", "extract.batch_tokens: expected a whole number; got 'many'"),
        ("extract.exact", "yes", "extract.exact: expected true or false; got 'yes'"),
        ("extract.poolings", "last", "extract.poolings: expected a list; got 'last'"),
        (
            "extract.poolings",
            ["lst"],
            "extract.poolings: there is no 'lst'; did you mean 'last'?; available are attention_weighted",
        ),
        ("statistics.permutations", "many", "statistics.permutations: expected a whole number; got 'many'"),
        ("statistics.permutations", -1, "statistics"),
        ("statistics.level", 2.0, "statistics"),
        ("statistics.level", float("inf"), "statistics.level: expected a finite number; got inf"),
        ("statistics.by_group", 1, "statistics.by_group: expected true or false; got 1"),
        ("metric.k", "abc", "metric.k: expected a whole number; got 'abc'"),
        ("metric.k", 0, "k: expected at least 1 neighbour; got 0"),
        ("metric.nearest", "cosine", "metric.nearest: expected an instance of Nearest; got 'cosine'"),
        ("metric.foo", 1, "metric.foo: MutualKNN has no such option; it has k, nearest, listed"),
        ("metric", "cka", "metric: expected a file of conf/metric, chosen as metric=NAME; got 'cka'"),
        ("model_a", "gpt2", "model_a: expected a file of conf/model, chosen as model@model_a=NAME; got 'gpt2'"),
        ("model_a.dtype", "int8", "model_a.dtype: expected one of float32, bfloat16, float16; got int8"),
        ("model_b.quantization", "2bit", "model_b.quantization: expected null or one of 8bit, 4bit; got 2bit"),
        ("model_b.skip_blocks", 3, "model_b.skip_blocks: expected a list; got 3"),
        ("model_b.skip_blocks", [0], "model_b.skip_blocks[0]: expected a number of at least 1; got 0"),
        ("model_a.random_init", -1, "model_a.random_init: expected a number of at least 0 or null; got -1"),
        ("model_a.id", 2024, "model_a.id: expected text; got 2024 (put it in quotes)"),
        ("language_b", "de", "language_b: expected a file of conf/language, chosen as language@language_b=NAME; got 'de'"),
        ("language_a.code", False, "language_a.code: expected text; got false (YAML takes no, off, on and yes for false or true"),
        ("language_a.sentence_final", ".", "language_a.sentence_final: expected a list; got '.'"),
        ("control.sides", "a", "control.sides: expected a list; got 'a'"),
        ("normalization.dimensions", 0, "normalization.dimensions: expected a positive number to drop; got 0"),
        ("normalization.dimensions", "x", "normalization.dimensions: expected a whole number; got 'x'"),
        ("analysis.diagonal.band", -1, "analysis.diagonal.band: expected a number above 0.0; got -1"),
        ("analysis.diagonal.draws", "x", "analysis.diagonal.draws: expected a whole number; got 'x'"),
        ("analysis.stability.splits", 0, "analysis.stability.splits: expected a number of at least 1; got 0"),
        ("analysis.stability.ks", 5, "analysis.stability.ks: expected a list; got 5"),
        ("analysis.geometry.top_dimensions", 0, "analysis.geometry.top_dimensions: expected a number of at least 1; got 0"),
        ("analysis.diagonal", None, "analysis.diagonal: expected a file of conf/analysis, chosen as analysis=NAME; got null"),
        ("store.dir", None, "store.dir: expected text; got null"),
        ("store.action", "burn", "store.action: expected 'list', 'verify' or 'remove'; got 'burn'"),
        ("sweep_dir", 5, "sweep_dir: expected text or a list or null; got 5"),
        ("metric._target_", "layeratlas.metrics.MutualKN", "metric._target_: layeratlas.metrics has no 'MutualKN'; did you mean"),
        ("metric._target_", "layeratlas.metric.MutualKNN", "metric._target_: layeratlas has no 'metric'; did you mean 'metrics'?"),
        ("metric._target_", "nowhere.Mine", "metric._target_: there is no module 'nowhere'; PYTHONPATH=DIR has Python search"),
        ("metric._target_", "MutualKNN", "metric._target_: expected a dotted path such as layeratlas.metrics.MutualKNN; got"),
        ("metric._target_", 5, "metric._target_: expected text; got 5"),
        (
            "metric._target_",
            "layeratlas.metrics.AbstractMetric",
            "metric._target_: layeratlas.metrics.AbstractMetric makes no object",
        ),
        ("metric._target_", "layeratlas.metrics.INVARIANCES", "metric._target_: layeratlas.metrics.INVARIANCES makes no object"),
        ("metric.nearest._target_", "layeratlas.metrics.Near", "metric.nearest._target_: layeratlas.metrics has no 'Near'"),
        ("metric", {"k": 3}, "metric._target_: has no value; it names the class"),
        ("metric", {"_target_": "builtins.dict"}, "metric._target_: expected a AbstractMetric; builtins.dict makes a dict"),
        ("metric", {"_target_": "layeratlas.metrics.MutualKNN"}, "metric.k: has no value, and MutualKNN needs one"),
        (
            "pooling._target_",
            "layeratlas.extraction.pooling.lst",
            "pooling._target_: layeratlas.extraction.pooling has no 'lst'; did you mean 'last'?",
        ),
        ("pooling.nonsense", 3, "pooling.nonsense: last_content has no such option"),
        ("pooling._partial_", False, "pooling.hidden: has no value"),
        ("pooling", {"_target_": "builtins.str"}, "pooling._target_: "),
        (
            "pooling",
            {"_target_": "layeratlas.layers.all_layers", "_partial_": True},
            "pooling: expected a function of hidden states and tokens",
        ),
        ("extract.poolings", ["layeratlas.layers.all_layers"], "extract.poolings: expected a function of hidden states"),
        ("pooling._target_", "mine.pool", "pooling._target_: there is no module 'mine'"),
        ("dataset.n", "${nothing}", "dataset.n: Interpolation key 'nothing' not found"),
        ("dataset.n", "???", "dataset.n: has no value; give one as dataset.n=..."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_that_its_key_does_not_take_is_told_in_one_line(key, value, said):
    with pytest.raises(ConfigError) as refused:
        checked(with_value(key, value))
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", [*KEYS, "metric", "dataset", "control", "model_a", "language_b", "pooling", "statistics", "stage"])
def test_a_key_that_was_taken_away_is_told(key):
    config = copy.deepcopy(default())
    parent, _, name = key.rpartition(".")
    with open_dict(config):
        del (OmegaConf.select(config, parent) if parent else config)[name]
    if key == "control":
        checked(config)
        return
    with pytest.raises(ConfigError, match=rf"(?i)\b{name}\b"):
        checked(config)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module", "ours cannot be imported (No module named 'no_such_module')"),
        ("def broken(:", "ours cannot be imported (SyntaxError: invalid syntax (ours.py, line 1))"),
        ("1 / 0", "ours cannot be imported (ZeroDivisionError: division by zero)"),
        ("class Mein: pass", "ours has no 'Mine'; did you mean 'Mein'?"),
        ("class Mine: pass", "expected a AbstractMetric; ours.Mine makes a Mine"),
        ("class Mine:\n    def __init__(self): raise ValueError('not\\nso')", "metric: not so"),
        ("class Mine:\n    def __init__(self, width: int): pass", "metric.width: has no value, and Mine needs one"),
    ],
    ids=range(7),
)
def test_a_users_own_class_that_does_not_work_is_told_with_its_reason(tmp_path, monkeypatch, source, said):
    (tmp_path / "ours.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "ours", raising=False)
    from layeratlas.stages import schema

    schema._require_part.cache_clear()
    with pytest.raises(ConfigError) as refused:
        checked(with_value("metric", {"_target_": "ours.Mine"}))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_crash_in_a_users_constructor_is_no_mistake_of_the_config(tmp_path, monkeypatch):
    (tmp_path / "crashing.py").write_text("class Mine:\n    def __init__(self): 1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        checked(with_value("metric", {"_target_": "crashing.Mine"}))


def test_keys_of_a_users_own_group_and_class_work(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        "from dataclasses import dataclass\nfrom layeratlas.metrics import MutualKNN\n"
        "@dataclass(frozen=True)\nclass Mine(MutualKNN):\n    width: float = 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = with_value("metric", {"_target_": "own.Mine", "k": 3, "width": 2})
    with open_dict(config):
        config.mine = {"anything": [1, "a"]}
    assert checked(config)["mine"] == {"anything": [1, "a"]}
    with pytest.raises(ConfigError, match=r"^metric\.width: expected a number; got 'x'$"):
        checked(with_value("metric", {"_target_": "own.Mine", "k": 3, "width": "x"}))


def test_a_pooling_of_ours_needs_no_dots():
    assert named_pooling("last", "x") is named_pooling("layeratlas.extraction.pooling.last", "x") is pooling.last
