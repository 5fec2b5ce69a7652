"""Values against annotations: what fits, and what is said of what does not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import pytest
from annotated_types import Interval

from layeratlas.errors import ConfigError
from layeratlas.metrics import CKARBF, RSA, CosineNeighbors, MutualKNN
from layeratlas.metrics.base import AbstractMetric
from layeratlas.metrics.nearest import Nearest
from layeratlas.metrics.rdm import CosineDistance
from layeratlas.metrics.rsa import Spearman
from layeratlas.options import Natural, Positive, require, require_complete, require_options


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 3),
        (int, 10**30),
        (float, 1),
        (float, 1e-9),
        (bool, False),
        (str, "no"),
        (int | None, None),
        (Positive | None, None),
        (Positive, 1),
        (Natural, 0),
        (str | list[str], ["a"]),
        (Sequence[str], []),
        (Sequence[Sequence[str]], [["a"]]),
        (Mapping[str, str], {"a": "b"}),
        (Literal["a", "b"], "b"),
        (Nearest, CosineNeighbors()),
        (Callable, print),
    ],
    ids=str,
)
def test_what_fits_its_annotation_is_let_through(hint, value):
    require(hint, value, "key")


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (int, "abc", "a whole number; got 'abc'"),
        (int, 1.5, "a whole number; got 1.5"),
        (int, True, "a whole number; got true"),
        (int, None, "a whole number; got null"),
        (int | None, [5, 10], "a whole number or null; got [5, 10]"),
        (Positive, 0, "a number of at least 1; got 0"),
        (Positive | None, -3, "a number of at least 1 or null; got -3"),
        (Annotated[float, Interval(gt=0, le=1)], 2, "a number of at most 1.0; got 2"),
        (Annotated[float, Interval(gt=0, le=1)], 0, "a number above 0.0; got 0"),
        (float, float("nan"), "a finite number; got nan"),
        (float, "1,5", "a number; got '1,5'"),
        (bool, "yes", "true or false; got 'yes'"),
        (bool, 1, "true or false; got 1"),
        (str, False, "text; got false (YAML takes no, off, on and yes for false or true; put it in quotes)"),
        (str, 5, "text; got 5 (put it in quotes)"),
        (str, None, "text; got null"),
        (str | list[str], 5, "text or a list; got 5"),
        (Sequence[str], "last", "a list; got 'last'"),
        (Sequence[str] | None, 3, "a list or null; got 3"),
        (Mapping[str, str], [1], "a mapping; got [1]"),
        (Literal["a", "b"], "c", "'a' or 'b'; got 'c'"),
        (Nearest, "cosine", "an instance of Nearest; got 'cosine'"),
        (Nearest, CosineNeighbors, "an instance of Nearest; got the class CosineNeighbors: CosineNeighbors(...) makes an instance"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told_with_what_is_expected_and_what_was_given(hint, value, said):
    with pytest.raises(ConfigError) as refused:
        require(hint, value, "some.key")
    assert str(refused.value).startswith(f"some.key: expected {said}")
    assert "\n" not in str(refused.value)


def test_a_wrong_entry_of_a_list_is_told_by_its_place():
    with pytest.raises(ConfigError, match=r"^key\[1\]: expected text; got 5 "):
        require(str | list[str], ["a", 5], "key")


def test_a_long_value_is_shortened():
    with pytest.raises(ConfigError, match=r"^key: expected a whole number; got 'x{79}\.\. \(str\)$"):
        require(int, "x" * 1000, "key")


def test_an_unknown_option_is_told_with_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"^metric\.kk: MutualKNN has no such option; did you mean 'k'\?; it has k, nearest, listed$"
    ):
        require_options(MutualKNN, {"kk": 3}, "metric")


def test_a_missing_option_is_told():
    require_complete(MutualKNN, {"k": 3}, "metric")
    with pytest.raises(ConfigError, match=r"^metric\.k: has no value, and MutualKNN needs one$"):
        require_complete(MutualKNN, {}, "metric")


class Unreadable:
    """A class of a user's, with an annotation that cannot be evaluated and one that pydantic cannot read."""

    def __init__(self, first: "NoSuchName", second: np.ndarray) -> None:  # type: ignore[name-defined]
        pass


def test_annotations_that_cannot_be_read_let_everything_through():
    require_options(Unreadable, {"first": 1, "second": 2}, "mine")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MutualKNN(k="5"), "MutualKNN.k: expected a whole number; got '5'"),
        (lambda: MutualKNN("5"), "MutualKNN.k: expected a whole number; got '5'"),
        (lambda: MutualKNN(k={"k": 5}), "MutualKNN.k: expected a whole number; got {'k': 5}"),
        (lambda: MutualKNN(k=5, nearest="cosine"), "MutualKNN.nearest: expected an instance of Nearest; got 'cosine'"),
        (lambda: MutualKNN(k=5, nearest=CosineNeighbors), "MutualKNN.nearest: expected an instance of Nearest; got the class"),
        (lambda: MutualKNN(k=5, neighbours=3), "MutualKNN.neighbours: MutualKNN has no such option; it has k, nearest, listed"),
        (lambda: CKARBF(bandwidth=None), "CKARBF.bandwidth: expected a number; got null"),
        (
            lambda: RSA(rdm=CosineDistance(), comparison=Spearman),
            "RSA.comparison: expected an instance of AbstractComparison; got the",
        ),
        (lambda: RSA(rdm="cosine", comparison=Spearman()), "RSA.rdm: expected an instance of AbstractDissimilarity; got 'cosine'"),
    ],
    ids=range(9),
)
def test_a_metric_says_what_its_constructor_takes(make, said):
    with pytest.raises(ConfigError) as refused:
        make()
    assert str(refused.value).startswith(said)


def test_a_metric_without_options_takes_none():
    class Bare(AbstractMetric):
        def signature(self, x): ...
        def affinity(self, a, b): ...
        def items(self, signature): ...
        def permuted(self, signature, order): ...
        def subset(self, signature, kept): ...

        @property
        def min_n(self):
            return 2

    Bare()
    with pytest.raises(ConfigError, match=r"^Bare\.k: Bare has no such option; it has none$"):
        Bare(k=3)  # type: ignore[call-arg]
