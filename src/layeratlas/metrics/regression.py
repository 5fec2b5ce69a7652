"""How well one layer's dimensions predict another's, by ridge regression on held-out items."""

import abc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layeratlas.arrays import AffinityMatrix, LayerActivations
from layeratlas.errors import ConfigError
from layeratlas.metrics.base import RIGID, About, Chance
from layeratlas.metrics.subspaces import AbstractComponentMetric, Components


class Fold(NamedTuple):
    """Items held out, those trained on, and the matrix that turns targets of the latter into predictions for the former.

    Both targets and predictions are deviations from the mean of the items trained on.
    """

    held_out: Int[Tensor, " m"]
    trained: Int[Tensor, " rest"]
    predicting: Float[Tensor, "m rest"]

    def squared_error(self, y: LayerActivations) -> Float[Tensor, ""]:
        mean = y[self.trained].mean(dim=0)
        return (y[self.held_out] - mean - self.predicting @ (y[self.trained] - mean)).square().sum()

    @property
    def squared_norm(self) -> float:
        """Of the matrix that turns all targets into errors: the identity, less the mean trained on, less predictions."""
        return len(self.held_out) * (1 + 1 / len(self.trained)) + float(self.predicting.square().sum())


@dataclass(frozen=True)
class _LinearRegressionCV(AbstractComponentMetric, abc.ABC):
    """Share of the variance of one side's dimensions that a ridge regression on the other side predicts, held out.

        R^2 = 1 - sum_i |y_i - f_i(x_i)|^2 / sum_i |y_i - mean(y)|^2,

    f_i trained on all items but those of i's fold: `folds` runs of neighbouring items, whose sizes differ by one at most. The
    penalty is `ridge` times the mean squared singular value of the predictor, and so the same share of it at any scale.
    The sums run over all dimensions together: those of large variance count most.
    """

    ridge: float
    folds: int

    def __post_init__(self) -> None:
        if not 0 < self.ridge < math.inf:
            raise ConfigError(f"metric.ridge: expected a positive multiple of the mean squared singular value; got {self.ridge}")
        if self.folds < 2:
            raise ConfigError(f"metric.folds: expected at least 2 folds; got {self.folds}")

    @property
    def min_n(self) -> int:
        """Two items a fold."""
        return 2 * self.folds

    def explained(
        self, predictors: Sequence[Components], targets: Sequence[Components], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws predictors targets"]:
        """R^2 of each target by each predictor once the target's items are put into each of the orders."""
        errors = torch.zeros(len(orders), len(predictors), len(targets), dtype=torch.float64)
        for i, predictor in enumerate(predictors):
            for fold in self._trained(predictor):
                for j, target in enumerate(targets):
                    y = target.scores
                    errors[:, i, j] += torch.stack([fold.squared_error(y[order]) for order in orders.to(y.device)]).cpu()
        return 1 - errors / torch.stack([target.sizes.square().sum().cpu() for target in targets])

    def _trained(self, predictor: Components) -> Iterator[Fold]:
        x, items = predictor.scores, torch.arange(self.items(predictor), device=predictor.basis.device)
        penalty = self.ridge * float(predictor.sizes.square().mean())
        for held_out in items.tensor_split(self.folds):
            trained = torch.cat([items[: held_out[0]], items[held_out[-1] + 1 :]])
            mean = x[trained].mean(dim=0)
            known, asked = x[trained] - mean, x[held_out] - mean
            penalised = known.T @ known
            penalised.diagonal().add_(penalty)
            weights = torch.cholesky_solve(asked.T, torch.linalg.cholesky(penalised))
            yield Fold(held_out, trained, (known @ weights).T)


@dataclass(frozen=True)
class LinearRegressionCVAToB(_LinearRegressionCV):
    """Held-out R^2 of a ridge regression that predicts b from a.

    The held-out errors are A y with A a function of a alone that takes constants to 0. Their squares sum to <A'A, yy'>, so that
    the mean of R^2 over pairings is 1 - tr(A'A) / (n - 1), whatever b.
    """

    about = About(
        name="linear_regression_cv_a_to_b",
        definition="share of b's variance that a ridge regression on a predicts for held-out items",
        estimator="cross-validated R², folds of neighbouring items",
        bounds=(-math.inf, 1.0),
        self_value=None,
        chance="1 - tr A'A / (n - 1), A the map from b to held-out errors: below 0",
        invariances=RIGID,
        cost="n d min(n, d) + n² d a layer, n² d a pair",
        source="Hoerl & Kennard 1970; Stone 1974",
        symmetric=False,
    )

    def affinity(self, a: Sequence[Components], b: Sequence[Components]) -> AffinityMatrix:
        return self.permuted_affinity(a, b, torch.arange(self.items(a[0]))[None])[0]

    def permuted_affinity(
        self, a: Sequence[Components], b: Sequence[Components], orders: Int[Tensor, "draws n"]
    ) -> Float[Tensor, "draws layers_a layers_b"]:
        """Each predictor is trained once for all orders."""
        return self.explained(a, b, orders)

    def chance(self, a: Sequence[Components], b: Sequence[Components]) -> Chance:
        norms = torch.tensor([sum(fold.squared_norm for fold in self._trained(x)) for x in a], dtype=torch.float64)
        return Chance((1 - norms / (self.items(a[0]) - 1))[:, None].repeat(1, len(b)), None)


@dataclass(frozen=True)
class LinearRegressionCVBToA(_LinearRegressionCV):
    """Held-out R^2 of a ridge regression that predicts a from b.

    Another order of b's items puts other items into each fold, which is why chance has no closed form here.
    """

    about = replace(
        LinearRegressionCVAToB.about,
        name="linear_regression_cv_b_to_a",
        definition="share of a's variance that a ridge regression on b predicts for held-out items",
        chance="by permutation: below 0",
    )

    def affinity(self, a: Sequence[Components], b: Sequence[Components]) -> AffinityMatrix:
        return self.explained(b, a, torch.arange(self.items(a[0]))[None])[0].T
