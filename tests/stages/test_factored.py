"""Configs put together of few compositions are those that Hydra composes."""

import gc
import itertools
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from layeratlas.runs.jobs import jobs_of
from layeratlas.stages.factored import Factored

CONF = str(Path(__file__).parents[2] / "conf")


def grid(**values: list) -> list[list[str]]:
    return [[f"{key}={value}" for key, value in zip(values, chosen, strict=True)] for chosen in itertools.product(*values.values())]


class Counting:
    """A composition that is counted: every override sets a key, `c` is made of `a` and `b`, and 'no' is refused."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, overrides):
        self.calls.append(tuple(overrides))
        config = dict(override.split("=") for override in overrides)
        if config.get("a") == "no" and config.get("b") != "yes":
            raise ValueError("no without yes")
        if config.get("a") == "without":
            del config["d"]
        return config | {"c": f"{config.get('a')}{config.get('b')}"}


@pytest.mark.parametrize(
    "combinations",
    [
        grid(x=[1, 2, 3], y=[1, 2, 3], z=[1, 2, 3]),
        grid(a=[1, 2, 3], b=[1, 2], d=[1, 2]),
        grid(a=["yes", "no"], b=["yes"], x=[1, 2]),
        grid(a=[1, "without"], d=[1, 2], x=[1, 2]),
        [*grid(x=[1, 2], y=[1, 2]), *grid(y=[1, 2], z=[1, 2]), ["x=1"], []],
    ],
    ids=["independent", "one of two", "refused alone", "a key that goes", "several shapes"],
)
def test_what_is_put_together_is_what_would_be_composed(combinations):
    factored = Factored(Counting())
    assert [factored(overrides) for overrides in combinations] == [Counting()(overrides) for overrides in combinations]


def test_a_composition_for_each_value_does_for_all_combinations():
    counting = Counting()
    factored = Factored(counting)
    for overrides in grid(x=range(10), y=range(10), z=range(10)):
        factored(overrides)
    assert len(counting.calls) == 1 + 9 + 9 + 9


def test_values_that_change_one_part_together_are_composed_together():
    counting = Counting()
    factored = Factored(counting)
    for overrides in grid(a=range(5), b=range(5), x=range(5)):
        factored(overrides)
    assert len(counting.calls) == 5 * 5 + 4


def test_a_combination_that_is_refused_is_refused():
    factored = Factored(Counting())
    factored(["a=1", "b=1"])
    for _ in range(2):
        with pytest.raises(ValueError, match="no without yes"):
            factored(["a=no", "b=2"])
    assert factored(["a=no", "b=yes"])["c"] == "noyes"


@pytest.fixture
def hydra(monkeypatch):
    monkeypatch.setenv("LAYERATLAS_STORE", "store")
    monkeypatch.setenv("LAYERATLAS_RUN_ID", "test")
    with initialize_config_dir(CONF, version_base="1.3"):
        yield lambda overrides: OmegaConf.to_container(compose("config", list(overrides)), resolve=True)


@pytest.mark.slow
def test_real_configs_are_put_together_as_hydra_composes_them(hydra):
    """Languages that follow each other, a metric that reads k, a dataset and its size: parts that depend on each other."""
    combinations = grid(
        **{
            "model@model_a": ["gpt2", "pythia-410m"],
            "model_a.dtype": ["float32", "bfloat16"],
            "language@language_a": ["en", "de"],
            "metric": ["mutual_knn", "cka_linear"],
            "k.k": [3, 5],
            "dataset": ["speeches", "factbook"],
            "dataset.n": [8, 16],
        }
    )
    factored = Factored(hydra)
    for overrides in [combinations[0], combinations[-1], combinations[37], combinations[90]]:
        assert factored(overrides) == hydra(overrides)


@pytest.mark.slow
@pytest.mark.parametrize("both_sides", [False, True], ids=["1,000 jobs", "32 x 32 models"])
def test_a_thousand_jobs_are_planned_within_fifteen_seconds(hydra, both_sides):
    models = [path.stem for path in sorted((Path(CONF) / "model").glob("*.yaml")) if path.stem != "stored"][:32]
    if both_sides:
        combinations = grid(**{"model@model_a": models, "model@model_b": models})
    else:
        combinations = grid(seed=range(10), **{"language@language_b": ["en", "de", "fr", "hi", "sw"], "model@model_b": models[:20]})
    gc.freeze()  # what earlier tests left behind is not walked through again at each collection, as a new process has none of it
    start = time.process_time()
    jobs = jobs_of(combinations, Factored(hydra), lambda config: True, self_pairs=False)
    taken = time.process_time() - start
    gc.unfreeze()
    assert len(jobs) >= 1000
    assert taken < 15
