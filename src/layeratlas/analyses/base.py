"""What every analysis is: a question put to one run."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
import torch

from layeratlas.affinity.matrix import Affinity
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.metrics import AbstractMetric

_ROUNDING = 1e-5  # of the value of a layer with itself


@dataclass(frozen=True)
class Comparison:
    """What a run has of its two sides: their affinity, the activations that it was made of, before any normalisation, and
    the `signer` that makes one of the other.
    """

    affinity: Affinity
    a: Activations
    b: Activations
    signer: Signer

    def same_layers(self) -> list[str]:
        """Names of the layers that hold the same vectors on both sides: what they have in common is given by construction."""
        if self.b is self.a:
            return self.affinity.layers_a
        own, matrix = self.signer.metric.about.self_value, self.affinity.matrix
        places = {name: j for j, name in enumerate(self.affinity.layers_b)}
        at = [(name, matrix[i, places[name]]) for i, name in enumerate(self.affinity.layers_a) if name in places]
        alike = (name for name, value in at if own is None or abs(value - own) <= _ROUNDING)  # few layers have to be read again
        return [name for name in alike if torch.equal(self.a.layers[name], self.b.layers[name])]


@dataclass(frozen=True)
class Headline:
    """The one number of a run, with what chance would give and how sure it is; None where that was not computed.

    `sided` is the kind of test that p is of: `two` for either direction, `one` for larger values alone.
    `sentence` says in words what was shown, or why there is no number; `caution` says what may not be concluded from it.
    """

    text: str
    value: float | None
    chance: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    attainable_p: float | None = None
    sided: str | None = None
    sentence: str = ""
    caution: str = ""


@dataclass(frozen=True)
class Findings:
    """An analysis' results: `table` is saved as `<name>.parquet`, `statistics`, `summary` and `warnings` go into result.json."""

    table: pd.DataFrame
    statistics: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    headline: Headline | None = None
    warnings: Sequence[str] = ()


class AbstractAnalysis(abc.ABC):
    """`same_space`: both sides must be vectors of one space."""

    name: ClassVar[str]
    same_space: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, comparison: Comparison) -> Findings:
        """Raises ValueError or ActivationError where the run cannot answer the question: a warning, which costs nothing else."""

    def require(self, metric: AbstractMetric, n: int) -> None:
        """Raises ConfigError, before a model is loaded, where no run with this metric on n items can answer the question."""
        del metric, n
