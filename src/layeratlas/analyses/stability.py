"""Would other texts, fewer texts or another k have given the same matrix?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from annotated_types import Interval

from layeratlas.affinity.matrix import Affinity, compare
from layeratlas.analyses.base import AbstractAnalysis, Comparison, Findings
from layeratlas.errors import ActivationError, ConfigError, Undefined
from layeratlas.metrics import AbstractMetric, AbstractNeighborMetric
from layeratlas.options import Fraction, Positive, Seed
from layeratlas.statistics.diagonal import contrast, generalised_diagonal
from layeratlas.statistics.matrices import items_needed, pearson, spearman_brown


@dataclass(frozen=True, kw_only=True)
class Stability(AbstractAnalysis):
    """The matrix over ever fewer items, over random halves of them, and with other numbers of neighbours.

    The items are put into a random order and its first n / 2, n / 4, ... compared, `halvings` times if the metric is defined
    for so few; `splits` times they are cut into two random halves. The halves' correlation over layer pairs, stepped up to all
    items (Spearman-Brown), is the matrix's reliability: its square root bounds the correlation with whatever has no noise. A
    reliability below `reliability` is a warning with the number of items that would reach it. `ks` are for metrics of neighbours.
    """

    halvings: Annotated[int, Interval(ge=0, le=64)]
    splits: Annotated[int, Interval(ge=1, le=1000)]
    ks: Sequence[Positive]
    reliability: Fraction
    seed: Seed

    def require(self, metric: AbstractMetric, n: int) -> None:
        if n // 2 < metric.min_n:
            raise ConfigError(
                f"analysis.stability: {metric.name} needs at least {metric.min_n} items in each half; got {n // 2} of dataset.n={n}"
                f": dataset.n={2 * metric.min_n} or more"
            )

    def __call__(self, comparison: Comparison) -> Findings:
        rng = np.random.default_rng([self.seed, 3])
        whole = comparison.affinity
        halves = [self._halves(comparison, rng) for _ in range(self.splits)]
        between = [pearson(first.matrix.ravel(), second.matrix.ravel()) for first, second in halves]
        if not np.isfinite(between).all():
            raise Undefined("stability needs a matrix of different values: that of a half of the items is constant")
        reliability = spearman_brown(float(np.mean(between)))
        rows = [_row("n", whole, whole)]
        rows += [_row("n", part, whole) for part in self._nested(comparison, rng)]
        rows += [_row("half", half, whole, split=i) for i, pair in enumerate(halves) for half in pair]
        rows += [_row("k", other, whole, k=k) for k, other in self._with_other_k(comparison)]
        summary = {
            "half_correlation": float(np.mean(between)),
            "half_correlation_lowest": float(np.min(between)),
            "reliability": reliability,
            "noise_ceiling": float(np.sqrt(reliability)) if reliability > 0 else None,
        }
        return Findings(pd.DataFrame(rows), numbers=summary, warnings=self._doubts(comparison, reliability))

    def _halves(self, comparison: Comparison, rng: np.random.Generator) -> tuple[Affinity, Affinity]:
        n = comparison.affinity.n
        order = rng.permutation(n)
        return _over(comparison, order[: n // 2]), _over(comparison, order[n // 2 : 2 * (n // 2)])

    def _nested(self, comparison: Comparison, rng: np.random.Generator) -> Iterator[Affinity]:
        n = comparison.affinity.n
        order = rng.permutation(n)
        for halving in range(1, self.halvings + 1):
            try:
                yield _over(comparison, order[: n >> halving])
            except ActivationError:  # so few items have no similarity, and fewer have none either
                return

    def _with_other_k(self, comparison: Comparison) -> Iterator[tuple[int, Affinity]]:
        """From the lists that the signatures hold already; a k beyond their length is left out."""
        metric, whole = comparison.signer.metric, comparison.affinity
        if not isinstance(metric, AbstractNeighborMetric):
            return
        sides = whole.signatures_a, whole.signatures_b
        for k in self.ks:
            if k <= sides[0][0].length:
                other = replace(metric, k=k)
                matrix, chance = other.affinity(*sides).cpu().numpy(), other.chance(*sides).mean.cpu().numpy()
                yield k, replace(whole, matrix=matrix, chance=chance)

    def _doubts(self, comparison: Comparison, reliability: float) -> list[str]:
        if reliability >= self.reliability:
            return []
        n, name = comparison.affinity.n, comparison.signer.metric.name
        measured = f"stability: {name} of {n} items has a split-half reliability of {reliability:.2f}"
        if reliability <= 0:
            return [f"{measured}: halves of the items do not agree, and no number of items can be named"]
        return [f"{measured}; about {items_needed(n, reliability, self.reliability)} items would reach {self.reliability:g}"]


def _over(comparison: Comparison, kept: np.ndarray) -> Affinity:
    """Both sides over some of their items, with signatures made anew."""
    items = torch.from_numpy(kept)
    a = comparison.a.some(items)
    return compare(comparison.signer, a, a if comparison.b is comparison.a else comparison.b.some(items))


def _row(varied: str, part: Affinity, whole: Affinity, **more: Any) -> dict[str, Any]:
    """`contrast` is that of the generalised diagonal over blocks, NaN where every layer pair lies on it."""
    blocks = part.blocks()
    on = generalised_diagonal(*blocks.matrix.shape)
    return {
        "varied": varied,
        "n": part.n,
        "mean_affinity": float(part.matrix.mean()),
        "mean_chance": float(part.chance.mean()),
        "contrast": np.nan if on.all() else float(contrast(blocks.matrix, on)),
        "correlation_with_whole": pearson(part.matrix.ravel(), whole.matrix.ravel()),
        **more,
    }
