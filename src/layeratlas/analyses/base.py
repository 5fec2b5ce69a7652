"""What every analysis is: a question put to one run."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pandas as pd
import torch

from layeratlas.affinity.matrix import Affinity
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.corpora import Language
from layeratlas.findings import Findings as Findings
from layeratlas.findings import Headline as Headline
from layeratlas.findings import Tensors as Tensors
from layeratlas.metrics import AbstractMetric
from layeratlas.statistics import Inference


@dataclass(frozen=True, kw_only=True)
class RunNeeds:
    """What an analysis needs of a run. The plan provides it, or refuses the run before a model is loaded.

    `one_space`: both sides are vectors of one space, so of one model. `layers`: those whose vectors the analysis reads, a preset
    or names as in the config's `layers=`; None for those of the matrix. `likelihoods`: each text's negative log-likelihood.
    `two_fields`: the sides read two text fields of one dataset. `two_texts`: the sides read different texts of each item, in two
    languages or of two fields.
    """

    one_space: bool = False
    layers: str | Sequence[str] | None = None
    likelihoods: bool = False
    two_fields: bool = False
    two_texts: bool = False


_ROUNDING = 1e-5  # of the value of a layer with itself


@dataclass(frozen=True)
class Comparison:
    """What a run has of its two sides.

    `affinity` is the matrix with its null and intervals. `a` and `b` are the vectors that it was made of, before any
    normalisation: a layer is read from the store when `a.layers[name]` is asked for, and by default they hold the layers of the
    matrix (see `RunNeeds.layers`). `b is a` where both sides are the same. `signer` makes signatures, and `affinity.compare`
    a matrix of them. `items` has a row per item, in the order of the vectors: `id`, `group`, and with the suffixes `_a` and `_b`
    each side's text, counts of tokens and, where asked for, likelihoods. `inference` says how many permutations and groups of
    items the user wants, and draws them. `pooling` is that of the vectors, None where nobody says.
    """

    affinity: Affinity
    a: Activations
    b: Activations
    signer: Signer
    items: pd.DataFrame
    languages: Mapping[str, Language]
    inference: Inference
    seed: int
    pooling: str | None = None

    @property
    def groups(self) -> list[str]:
        """The group of each item: what `inference.orders` and `inference.subsets` take."""
        return self.items["group"].tolist()

    def of(self, side: str) -> pd.DataFrame:
        """The columns of `items` that one side has, without the suffix: `text`, `tokens`, ..., `nll`."""
        columns = [str(column) for column in self.items if str(column).endswith(f"_{side}")]
        return self.items[columns].rename(columns=lambda column: column.removesuffix(f"_{side}"))

    def reading(self, layers: str | Sequence[str]) -> "Comparison":
        """The same with the vectors of these layers; a side that equals the other stays the same object."""
        a = self.a.select(layers)
        return replace(self, a=a, b=a if self.b is self.a else self.b.select(layers))

    def same_layers(self) -> list[str]:
        """Names of the layers that hold the same vectors on both sides: what they have in common is given by construction."""
        if self.b is self.a:
            return self.affinity.layers_a
        own, matrix = self.signer.metric.about.self_value, self.affinity.matrix
        places = {name: j for j, name in enumerate(self.affinity.layers_b)}
        at = [(name, matrix[i, places[name]]) for i, name in enumerate(self.affinity.layers_a) if name in places]
        alike = (name for name, value in at if own is None or abs(value - own) <= _ROUNDING)  # few layers have to be read again
        return [name for name in alike if torch.equal(self.a.layers[name], self.b.layers[name])]


class AbstractAnalysis(abc.ABC):
    """A question put to one run. Its YAML file (`# @package analysis.NAME`) gives it its name; options are constructor arguments.

    `views` names the module that draws what it finds, where that is none of ours: see `layeratlas.report.views`.
    """

    views: ClassVar[str | None] = None

    @property
    def needs(self) -> RunNeeds:
        return RunNeeds()

    @abc.abstractmethod
    def __call__(self, comparison: Comparison) -> Findings:
        """Raises Undefined or ActivationError where the run cannot answer the question: a warning, which costs nothing else."""

    def require(self, metric: AbstractMetric, n: int) -> None:
        """Raises ConfigError, before a model is loaded, where no run with this metric on n items can answer the question."""
        del metric, n


class AbstractMatrixAnalysis(AbstractAnalysis):
    """A question put to the matrix alone, and so also to one that somebody else has published."""

    def __call__(self, comparison: Comparison) -> Findings:
        return self.of_matrix(comparison.affinity, comparison.signer.metric.name, comparison.same_layers())

    @abc.abstractmethod
    def of_matrix(self, affinity: Affinity, metric: str, same_layers: Sequence[str]) -> Findings:
        """`same_layers` hold the same vectors on both sides. Raises Undefined where the matrix cannot answer the question."""
