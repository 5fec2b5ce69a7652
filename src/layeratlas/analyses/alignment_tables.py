"""What alignment finds, as tidy tables: a row per statistic and layer, per item and layer, and per item."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from layeratlas.affinity.curves import Curves, Pairings
from layeratlas.metrics import AbstractMetric
from layeratlas.statistics import Inference
from layeratlas.statistics.commitment import NEVER, committed_at, median_reached, shape, wilson_interval
from layeratlas.statistics.nulls import null_of
from layeratlas.statistics.resampling import jackknife_interval, share_interval

COMMITTED = "committed"

_OverLayers = Float[np.ndarray, " layers"]
_InOrders = Float[np.ndarray, "orders layers"]


def of_layers(metric: AbstractMetric, measured: Curves, pairings: Pairings, inference: Inference, units: int) -> pd.DataFrame:
    """A metric's rows: value, chance, baselines, interval, p. `units` is the number of independent items."""
    curve = measured.by_metric[metric.name]
    values = np.stack(curve.in_orders, axis=1)
    low, high = np.full((2, len(measured.layers)), np.nan)
    if pairings.subsets:
        left_out = np.stack(curve.left_out, axis=1)
        if metric.is_share:
            low, high = share_interval(values[0], left_out, level=inference.level, units=units)
        else:
            low, high = jackknife_interval(values[0], left_out, level=inference.level, bounds=metric.about.bounds)
    return _rows(
        metric.name,
        measured,
        value=values[0],
        baseline_group=np.array(curve.baseline_group),
        baseline_length=np.array(curve.baseline_length),
        value_length_residual=np.array(curve.residual),
        ci_low=low,
        ci_high=high,
        **_tests(values, pairings, abs(metric.about.self_value or 0.0), np.array(curve.chance)),
    )


def of_commitment(measured: Curves, pairings: Pairings, inference: Inference) -> pd.DataFrame:
    """The share of items that are committed by each layer, with Wilson's band, like any other statistic."""
    found, n = measured.commitment, measured.cosine.shape[1]
    shares = found.own.shares.T
    low, high = wilson_interval(shares[0], n, inference.level)
    unknown = np.full(len(measured.layers), np.nan)
    others = (found.of_group, found.of_length, found.residual)
    baselines = [part.shares.mean(axis=1) if part.started else unknown for part in others]
    return _rows(
        COMMITTED,
        measured,
        value=shares[0],
        baseline_group=baselines[0],
        baseline_length=baselines[1],
        value_length_residual=baselines[2],
        ci_low=low,
        ci_high=high,
        **_tests(shares, pairings, 1.0, unknown),
    )


def of_items(measured: Curves, items: pd.DataFrame) -> pd.DataFrame:
    """A row per item and layer: the cosine with its translation, with all wrong ones, and the rank of its translation."""
    layers, n = measured.cosine.shape
    return pd.DataFrame(
        {
            "id": np.tile(items["id"].to_numpy(), layers),
            "group": np.tile(items["group"].to_numpy(), layers),
            "layer": np.repeat(measured.layers, n),
            "depth": np.repeat(measured.depths, n),
            "cosine": measured.cosine.ravel(),
            "cosine_of_wrong": measured.cosine_of_wrong.ravel(),
            "cosine_centered": measured.cosine_centered.ravel(),
            "rank_a_to_b": measured.rank_a_to_b.ravel(),
            "rank_b_to_a": measured.rank_b_to_a.ravel(),
        }
    )


def commitment(
    measured: Curves, pairings: Pairings, items: pd.DataFrame, rule: dict[str, Any], level: float
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The published rule and what needs no threshold, in numbers over all items and in a row per item.

    Peak, half maximum and area are those of the cosine above the mean of the item's wrong partners, over blocks that say something.
    """
    places, n = committed_at(measured.cosine.T, **rule), measured.cosine.shape[1]
    never, at = places == NEVER, np.maximum(places, 0)
    by_item = pd.DataFrame(
        {
            "id": items["id"].to_numpy(),
            "group": items["group"].to_numpy(),
            "layer": [None if place == NEVER else measured.layers[place] for place in places],
            "depth": np.where(never, np.nan, measured.depths[at]),
            "place": places,
        }
    )
    share, null = float((~never).mean()), measured.commitment.own.shares[-1, 1 : len(pairings.null) + 1]
    low, high = wilson_interval(np.array(share), n, level)
    median = median_reached(np.where(never, np.nan, places))
    numbers: dict[str, Any] = {
        **rule,
        "items": n,
        "committed": {"value": share, "ci_low": float(low), "ci_high": float(high)},
        "chance": float(null.mean()) if len(null) else None,
        "at_a_flagged_layer": int(sum(measured.layers[place] in measured.flags for place in places[~never])),
        "median_layer": "not reached" if median is None else measured.layers[int(median)],
    }
    if len(blocks := measured.telling_blocks):
        depths = measured.depths[blocks]
        found = shape((measured.cosine - measured.cosine_of_wrong)[blocks].T, depths)
        by_item["peak_layer"] = np.array(measured.layers)[blocks][found.peak]
        by_item["peak_depth"] = depths[found.peak]
        by_item["half_maximum_depth"] = found.half_maximum
        by_item["area"] = found.area
        half = median_reached(found.half_maximum)
        numbers["half_maximum_median_depth"] = "not reached" if half is None else half
        numbers["peak_median_depth"] = median_reached(depths[found.peak])
        numbers["area"] = float(found.area.mean())
    return numbers, by_item


def _tests(values: _InOrders, pairings: Pairings, scale: float, chance: _OverLayers) -> dict[str, _OverLayers]:
    """The mean of the null and both p, where there are orders; else the mean over all orders, where that is known."""
    null, of_length = np.split(values[1:], [len(pairings.null)])
    p, p_fwer = _p(values[0], null, scale)
    p_length, p_length_fwer = _p(values[0], of_length, scale)
    return {
        "chance": null.mean(axis=0) if len(null) else chance,
        "p": p,
        "p_fwer": p_fwer,
        "p_length": p_length,
        "p_length_fwer": p_length_fwer,
    }


def _p(observed: _OverLayers, draws: _InOrders, scale: float) -> tuple[_OverLayers, _OverLayers]:
    """Each layer's p, and the same by the largest studentised value of all layers."""
    if not len(draws):
        return np.full_like(observed, np.nan), np.full_like(observed, np.nan)
    null = null_of(observed[None], draws[:, None], alpha=0.05, maximum=None, scale=scale)
    return null.p_value[0], null.p_fwer[0]


def _rows(statistic: str, measured: Curves, **columns: _OverLayers) -> pd.DataFrame:
    order = ("value", "chance", "baseline_group", "baseline_length", "value_length_residual", "ci_low", "ci_high")
    order += ("p", "p_fwer", "p_length", "p_length_fwer")
    first = {"statistic": statistic, "layer": list(measured.layers), "depth": measured.depths}
    flags = [measured.flags.get(layer, "") for layer in measured.layers]
    return pd.DataFrame(first | {name: columns[name] for name in order} | {"flag": flags})
