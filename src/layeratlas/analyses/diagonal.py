"""Do layers at similar depths match?"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from annotated_types import Interval

from layeratlas.affinity.matrix import Affinity
from layeratlas.analyses.base import AbstractMatrixAnalysis, Findings
from layeratlas.analyses.diagonal_published import as_published
from layeratlas.analyses.swap_headline import swap_headline
from layeratlas.options import Repetitions, Seed
from layeratlas.statistics import Inference
from layeratlas.statistics.diagonal import (
    best_match_depth_rank,
    cell_depth_rank,
    circular_shift_p,
    contrast,
    diagonal_means,
    generalised_diagonal,
    layer_permutation_attainable_p,
    layer_permutation_p,
    monotone_match,
    monotone_share,
    on_off_diagonal,
    proportional_band,
)
from layeratlas.statistics.nulls import add_one_p, attainable_p
from layeratlas.statistics.resampling import jackknife_interval, jackknife_se, jackknife_t_p
from layeratlas.statistics.swaps import Swaps, at_equal_depths, margin_by_depth, shared_depths, swaps

Statistic = Callable[[np.ndarray], np.ndarray]  # of matrices (..., layers_a, layers_b)

_PUBLISHED = ("student_p", "welch_p")  # corrected over pairs in both orders
_OF_ITEMS = ("generalised", "band", "monotone_share_a", "monotone_share_b")
_SATURATED = 0.95  # a share beyond this, or closer to 0 than 1 minus this, hardly varies: its jackknife interval would be too short


@dataclass(frozen=True, kw_only=True)
class Diagonal(AbstractMatrixAnalysis):
    """The swap margin, contrasts on and off the diagonal, and how one model's depths map onto the other's.

    Reads blocks only: `embed` and `final_norm` have no depth. The headline is the swap margin (see `statistics.swaps`); beside it
    stand the contrast of the generalised diagonal with its interval and null over items, that of the proportional band of half
    width `band`, the published t-tests, `draws` layer permutations, circular shifts, rank correlations with depth, and for each
    block its best and its monotone match; under `published`, descriptions that others report (`statistics.published_diagonal`).
    """

    band: Annotated[float, Interval(gt=0, le=1)]
    draws: Repetitions
    seed: Seed

    def of_matrix(self, affinity: Affinity, metric: str, same_layers: Sequence[str]) -> Findings:
        blocks = affinity.blocks()
        published = on_off_diagonal(blocks.matrix)
        on = generalised_diagonal(*blocks.matrix.shape)
        chance_on, chance_off = diagonal_means(blocks.chance)
        summary = asdict(published) | {"chance_on": chance_on, "chance_off": chance_off, "contrast": published.contrast}
        generalised = _inferred(blocks, lambda matrices: contrast(matrices, on), _differences(blocks))
        same = set(blocks.layers_a) & set(same_layers)
        itself = same == {*blocks.layers_a, *blocks.layers_b}
        swap = _swap(blocks) | {"itself": itself}
        summary |= {"generalised": generalised, "band": self._band(blocks), "swap": swap}
        summary |= self._layer_tests(blocks, on) | _depth_ranks(blocks) | _monotone(blocks)
        summary["published"] = as_published(blocks, itself=itself, draws=self.draws, rng=np.random.default_rng([self.seed, 8]))
        table = pd.concat([_matches(blocks, "a"), _matches(blocks.transposed(), "b")], ignore_index=True)
        headline = swap_headline(
            swap,
            metric=metric,
            level=blocks.inference.level if blocks.inference else math.nan,
            itself=itself,
        )
        warnings = [] if itself or not same else [_given(layer for layer in blocks.layers_a if layer in same)]
        return Findings(
            table,
            numbers=summary,
            tests=_tests(summary),
            ordered_tests=_PUBLISHED,
            headline=headline,
            sentences=[_beside(summary, blocks.inference)],
            warnings=warnings,
        )

    def _band(self, blocks: Affinity) -> dict[str, Any]:
        on = proportional_band(blocks.depth_a, blocks.depth_b, self.band)
        return {"width": self.band, "cells_on": int(on.sum())} | _inferred(
            blocks, lambda matrices: contrast(matrices, on), _differences(blocks)
        )

    def _layer_tests(self, blocks: Affinity, on: np.ndarray) -> dict[str, Any]:
        """Tests that take layers for the random units: their assumptions do not hold for the smooth layers of a network."""
        rng = np.random.default_rng([self.seed, 2])
        return {
            "circular_shift_p": [circular_shift_p(blocks.matrix, on, axis) for axis in (0, 1)],
            "circular_shift_attainable_p": [1 / size for size in blocks.matrix.shape],
            "layer_permutation_p": layer_permutation_p(blocks.matrix, on, self.draws, rng),
            "layer_permutation_attainable_p": layer_permutation_attainable_p(blocks.matrix.shape, self.draws),
        }


def _given(layers: Iterable[str]) -> str:
    return f"{', '.join(layers)}: the same vectors on both sides, so that they are each other's partners by construction"


def _tests(summary: dict[str, Any]) -> list[str]:
    swapped = [f"swap.{name}.p" for name in ("margin", "net_share") if summary["swap"][name] is not None]
    return [*_PUBLISHED, "layer_permutation_p", *(f"{name}.p" for name in _OF_ITEMS), *swapped]


def _beside(summary: dict[str, Any], inference: Inference | None) -> str:
    """The raw contrast and the item-permutation p, each labelled with what it also holds."""
    raw, kept = summary["generalised"], summary["swap"].get("kept_share")
    sentence = f"on minus off the diagonal {raw['value']:z.3f}, layers' strengths included"
    if raw["ci_low"] is not None and inference is not None:
        sentence += f" ({inference.level:.0%} interval {raw['ci_low']:z.3f} to {raw['ci_high']:z.3f})"
    if kept is not None and not math.isnan(kept):
        sentence += f", {kept:.0%} of the gain kept by the swap margin"
    if raw["p"] is not None:
        sentence += f"; p of any correspondence {raw['p']:.2g} (smallest attainable {raw['attainable_p']:.2g})"
    return sentence


def _swap(blocks: Affinity) -> dict[str, Any]:
    """The swap margin and its companions; every number None where fewer than two depths are shared.

    `p` is that of a two-sided t-test with the jackknife's standard error: an approximation, without a smallest value.
    """
    depths = np.array(blocks.depth_a), np.array(blocks.depth_b)
    shared = shared_depths(*depths)
    if len(shared) < 2:
        return {"depths": len(shared)} | dict.fromkeys(("margin", "net_share", "own_share", "crossed_share", "kept_share"))

    def at_equal(matrices: np.ndarray) -> np.ndarray:
        return at_equal_depths(matrices, *depths)

    pairs = swaps(at_equal(blocks.matrix))
    left_out = None if blocks.left_out is None else swaps(at_equal(blocks.left_out))
    return {
        "depths": len(shared),
        "margin": _with_t(blocks, lambda swaps: swaps.swap_margin, pairs, left_out, _differences(blocks)),
        "net_share": _share_with_t(blocks, pairs, left_out),
        "own_share": float(pairs.own_share),
        "crossed_share": float(pairs.crossed_share),
        "kept_share": float(pairs.kept_share),
        "by_depth": _by_depth(blocks, shared, at_equal),
    }


def _with_t(
    blocks: Affinity, of: Callable[[Swaps], np.ndarray], pairs: Swaps, left_out: Swaps | None, bounds: tuple[float, float]
) -> dict[str, Any]:
    """A statistic of the swaps with its jackknife interval over items and the p of a t-test against 0."""
    value = float(of(pairs))
    result: dict[str, Any] = {"value": value} | dict.fromkeys(("ci_low", "ci_high", "se", "p"))
    if left_out is None or blocks.inference is None:
        return result
    interval = jackknife_interval(value, of(left_out), level=blocks.inference.level, bounds=bounds)
    p = float(jackknife_t_p(value, of(left_out)))
    result |= {"ci_low": float(interval.low), "ci_high": float(interval.high)}
    return result | {"se": float(jackknife_se(of(left_out))), "p": None if math.isnan(p) else p}


def _share_with_t(blocks: Affinity, pairs: Swaps, left_out: Swaps | None) -> dict[str, Any]:
    """The net share, without interval and p where it is saturated."""
    spread = 1 - _SATURATED < abs(float(pairs.net_share)) < _SATURATED
    return _with_t(blocks, lambda swaps: swaps.net_share, pairs, left_out if spread else None, (-1.0, 1.0))


def _by_depth(blocks: Affinity, depths: np.ndarray, at_equal: Statistic) -> dict[str, list[float]]:
    """Where in depth layers prefer their own: the mean margin of each depth's pairs, with pointwise intervals."""
    margin = margin_by_depth(at_equal(blocks.matrix))
    curve = {"depth": depths.tolist(), "margin": margin.tolist()}
    if blocks.left_out is None or blocks.inference is None:
        return curve
    left_out = margin_by_depth(at_equal(blocks.left_out))
    low, high = jackknife_interval(margin, left_out, level=blocks.inference.level, bounds=_differences(blocks))
    return curve | {"ci_low": low.tolist(), "ci_high": high.tolist()}


def _depth_ranks(blocks: Affinity) -> dict[str, float]:
    back = blocks.transposed()
    return {
        "best_match_depth_rank_a": best_match_depth_rank(blocks.matrix, blocks.depth_a, blocks.depth_b),
        "best_match_depth_rank_b": best_match_depth_rank(back.matrix, back.depth_a, back.depth_b),
        "cell_depth_rank": cell_depth_rank(blocks.matrix, blocks.depth_a, blocks.depth_b),
    }


def _monotone(blocks: Affinity) -> dict[str, Any]:
    sides = {"monotone_share_a": blocks, "monotone_share_b": blocks.transposed()}
    return {name: _inferred(side, _each(monotone_share), (-np.inf, 1.0)) for name, side in sides.items()}


def _differences(blocks: Affinity) -> tuple[float, float]:
    """How far apart two means of cells can be."""
    low, high = blocks.bounds
    return low - high, high - low


def _inferred(blocks: Affinity, statistic: Statistic, bounds: tuple[float, float]) -> dict[str, Any]:
    """A statistic of the matrix with its jackknife interval over items and its permutation p; None where not computed.

    `bounds` are the smallest and largest value that it can have.
    """
    value = float(statistic(blocks.matrix))
    found: dict[str, Any] = {"value": value} | dict.fromkeys(("ci_low", "ci_high", "p", "attainable_p"))
    if blocks.left_out is not None and blocks.inference is not None:
        interval = jackknife_interval(value, statistic(blocks.left_out), level=blocks.inference.level, bounds=bounds)
        found |= {"ci_low": float(interval.low), "ci_high": float(interval.high)}
    if blocks.null_draws is not None:
        observed = blocks.matrix if blocks.unpermuted is None else blocks.unpermuted
        found |= {"p": float(add_one_p(statistic(observed), statistic(blocks.null_draws), blocks.scale))}
        found |= {"attainable_p": attainable_p(len(blocks.null_draws))}
    return found


def _each(of: Callable[[np.ndarray], float]) -> Statistic:
    return lambda matrices: np.array([of(m) for m in matrices]) if matrices.ndim == 3 else np.array(of(matrices))


def _matches(blocks: Affinity, side: str) -> pd.DataFrame:
    """For each row, the column that it is most alike, and its column if depth is never to run backwards; with intervals.

    Those of depths show which matches a few items could move; the largest cell is no smooth statistic, so that they need not
    hold the truth as often as they say.
    """
    best, monotone, depths = blocks.matrix.argmax(axis=1), monotone_match(blocks.matrix), np.array(blocks.depth_b)
    table = pd.DataFrame(
        {
            "side": side,
            "layer": blocks.layers_a,
            "depth": blocks.depth_a,
            "best_layer": np.array(blocks.layers_b)[best],
            "best_depth": depths[best],
            "best_affinity": blocks.matrix.max(axis=1),
            "monotone_layer": np.array(blocks.layers_b)[monotone],
            "monotone_depth": depths[monotone],
        }
    )
    if blocks.left_out is None or blocks.inference is None:
        return table
    left_out = {
        "best_depth": depths[blocks.left_out.argmax(axis=2)],
        "best_affinity": blocks.left_out.max(axis=2),
        "monotone_depth": depths[np.stack([monotone_match(matrix) for matrix in blocks.left_out])],
    }
    for name, values in left_out.items():
        bounds = (0.0, 1.0) if name.endswith("depth") else blocks.bounds
        interval = jackknife_interval(table[name].to_numpy(), values, level=blocks.inference.level, bounds=bounds)
        table[f"{name}_ci_low"], table[f"{name}_ci_high"] = interval
    return table
