"""Simulated pairs of models: worlds in which layers at equal depth are no partners, and worlds in which they are.

A world gives the layers of both models, (L, n, d) arrays each. Every layer is some content of the items, read through the
model's own random map, with noise as strong as a content of strength 1;
contents have 16 dimensions whose variances fall as k^-1/2, layers have 32.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch

from layeratlas.metrics import AbstractMetric
from layeratlas.statistics.diagonal import contrast, generalised_diagonal
from layeratlas.statistics.over_models import over_models
from layeratlas.statistics.resampling import jackknife_groups, jackknife_interval
from layeratlas.statistics.swaps import at_equal_depths, swaps

Layers = list[np.ndarray]
World = Callable[[np.random.Generator, int, tuple[int, int]], tuple[Layers, Layers]]
Sweep = Callable[[np.random.Generator, int, Sequence[int]], list[Layers]]  # of a model each; given how many layers each has

LATENT, WIDTH, NOISE, GROUPS, LEVEL = 16, 32, 0.7, 20, 0.95


def depths(layers: int) -> np.ndarray:
    return np.arange(1, layers + 1) / layers


def content(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((n, LATENT)) * np.arange(1, LATENT + 1) ** -0.25


def reading(rng: np.random.Generator) -> np.ndarray:
    """How a model turns contents into dimensions."""
    return rng.standard_normal((LATENT, WIDTH)) / np.sqrt(LATENT)


def observed(rng: np.random.Generator, signals: Iterator[np.ndarray]) -> Layers:
    return [signal + NOISE * rng.standard_normal(signal.shape) for signal in signals]


# --- worlds without partners --------------------------------------------------------------------------------------------------


def of_strengths(a: Callable[[np.ndarray], np.ndarray], b: Callable[[np.ndarray], np.ndarray]) -> World:
    """The same content in every layer, as strong as its depth says."""

    def world(rng, n, sizes):
        shared = content(rng, n)
        sides = []
        for strength, layers in zip((a, b), sizes, strict=True):
            signal = shared @ reading(rng)
            sides.append(observed(rng, (s * signal for s in strength(depths(layers)))))
        return sides[0], sides[1]

    return world


def nothing_shared(rng, n, sizes):
    sides = []
    for layers in sizes:
        signal = content(rng, n) @ reading(rng)
        sides.append(observed(rng, (signal for _ in range(layers))))
    return sides[0], sides[1]


def additive(rng, n, sizes):
    """Two contents: one that all layers of b hold and a's hold ever more, one that all of a hold and b's ever more."""
    both = [content(rng, n) for _ in "12"]
    sides = []
    for side, layers in enumerate(sizes):
        whole, growing = both[side] @ reading(rng), both[1 - side] @ reading(rng)
        sides.append(observed(rng, (whole + depth * growing for depth in depths(layers))))
    return sides[0], sides[1]


def own_walk_of_items(rng, n, sizes):
    """A shared content, and for each model items that wander from layer to layer on their own."""
    shared = content(rng, n)
    sides = []
    for layers in sizes:
        steps = rng.standard_normal((layers, n, WIDTH)) / np.sqrt(layers)
        signal, own = shared @ reading(rng), np.cumsum(steps, axis=0)
        sides.append(observed(rng, (signal + step for step in own)))
    return sides[0], sides[1]


def rise(depth: np.ndarray) -> np.ndarray:
    return 0.3 + 1.2 * depth


def hump(depth: np.ndarray) -> np.ndarray:
    return 0.3 + 1.2 * np.exp(-8 * (depth - 0.5) ** 2)


NULL_WORLDS: dict[str, World] = {
    "constant": of_strengths(np.ones_like, np.ones_like),
    "none": nothing_shared,
    "rising": of_strengths(rise, rise),
    "rising and falling": of_strengths(rise, lambda depth: rise(1 - depth)),
    "hump": of_strengths(hump, hump),
    "additive": additive,
    "own walks": own_walk_of_items,
}

# --- worlds with partners -----------------------------------------------------------------------------------------------------


def path(rng: np.random.Generator, n: int, share: float) -> Callable[[float], np.ndarray]:
    """Content at a depth, `share` of its variance: neighbouring depths share most of that, those a third of the way apart none."""
    fixed, knots = content(rng, n), np.stack([content(rng, n) for _ in range(4)])

    def at(depth: float) -> np.ndarray:
        weights = np.maximum(0, 1 - np.abs(3 * depth - np.arange(4)))
        moving = np.tensordot(weights / np.linalg.norm(weights), knots, axes=1)
        return np.sqrt(1 - share) * fixed + np.sqrt(share) * moving

    return at


def planted(
    share: float,
    *,
    stretch: Callable[[np.ndarray], np.ndarray] = lambda depth: depth,
    strength: Callable[[np.ndarray], np.ndarray] = np.ones_like,
) -> World:
    """`share` of the content's variance moves with depth along a path that both models follow; b as `stretch` says."""

    def world(rng, n, sizes):
        at, sides = path(rng, n, share), []
        for side, layers in enumerate(sizes):
            own, followed = depths(layers), (stretch(depths(layers)) if side else depths(layers))
            reads = reading(rng)
            sides.append(observed(rng, (s * at(d) @ reads for s, d in zip(strength(own), followed, strict=True))))
        return sides[0], sides[1]

    return world


def two_blocks(share: float) -> World:
    """Two stages: layers of the first half hold one content, those of the second half another."""

    def world(rng, n, sizes):
        fixed, first, second = (content(rng, n) for _ in range(3))
        sides = []
        for layers in sizes:
            reads = reading(rng)
            stages = (np.sqrt(1 - share) * fixed + np.sqrt(share) * (first if d <= 0.5 else second) for d in depths(layers))
            sides.append(observed(rng, (stage @ reads for stage in stages)))
        return sides[0], sides[1]

    return world


PLANTED_WORLDS: dict[str, World] = {
    "proportional .6": planted(0.6),
    "proportional .3": planted(0.3),
    "proportional .1": planted(0.1),
    "stretched (x^2) .6": planted(0.6, stretch=np.square),
    "two blocks .6": two_blocks(0.6),
    "proportional .6, rising": planted(0.6, strength=rise),
    "proportional .1, rising": planted(0.1, strength=rise),
}


# --- sweeps of several models -------------------------------------------------------------------------------------------------


def alike(strength: Callable[[np.random.Generator, np.ndarray], np.ndarray]) -> Sweep:
    """The same content in every layer of every model, as strong as the model's own course over depth says: no partners."""

    def sweep(rng, n, models):
        shared = content(rng, n)
        signals = ((shared @ reading(rng), strength(rng, depths(layers))) for layers in models)
        return [observed(rng, (s * signal for s in course)) for signal, course in signals]

    return sweep


def following(share: float, strength: Callable[[np.random.Generator, np.ndarray], np.ndarray]) -> Sweep:
    """`share` of the content's variance moves with depth along one path that all models follow."""

    def sweep(rng, n, models):
        at = path(rng, n, share)
        signals = ((reading(rng), strength(rng, depths(layers)), depths(layers)) for layers in models)
        return [observed(rng, (s * at(d) @ reads for s, d in zip(course, own, strict=True))) for reads, course, own in signals]

    return sweep


def own_rise(rng: np.random.Generator, depth: np.ndarray) -> np.ndarray:
    return 0.3 + rng.uniform(0.2, 2) * depth


def own_hump(rng: np.random.Generator, depth: np.ndarray) -> np.ndarray:
    return 0.3 + rng.uniform(0.5, 1.5) * np.exp(-8 * (depth - rng.uniform(0.3, 0.7)) ** 2)


def own_rise_or_fall(rng: np.random.Generator, depth: np.ndarray) -> np.ndarray:
    return own_rise(rng, depth if rng.random() < 0.5 else 1 - depth)


NULL_SWEEPS: dict[str, Sweep] = {
    "constant": alike(lambda rng, depth: np.ones_like(depth)),
    "rising": alike(own_rise),
    "rising or falling": alike(own_rise_or_fall),
    "hump": alike(own_hump),
}

PLANTED_SWEEPS: dict[str, Sweep] = {
    "proportional .1": following(0.1, lambda rng, depth: np.ones_like(depth)),
    "proportional .3, rising": following(0.3, own_rise),
}

# --- what a run, and a sweep, would say of them -------------------------------------------------------------------------------


def judged(metric: AbstractMetric, world: World, seed: int, n: int, sizes: tuple[int, int]) -> dict[str, int]:
    """Of the raw contrast and the swap margin: 1 if the 95 % jackknife interval lies above 0, -1 if below it, else 0."""
    a, b = signed(metric, world(np.random.default_rng(seed), n, sizes))
    matrices = _with_jackknife(metric, a, b, n)
    on = generalised_diagonal(*sizes)
    raw = (contrast(m, on) for m in matrices)
    margins = (swaps(at_equal_depths(m, depths(sizes[0]), depths(sizes[1]))).swap_margin for m in matrices)
    return {"raw contrast": _side_of_0(*raw), "swap margin": _side_of_0(*margins)}


def _with_jackknife(metric: AbstractMetric, a: list, b: list, n: int) -> tuple[np.ndarray, np.ndarray]:
    subsets = [torch.from_numpy(np.setdiff1d(np.arange(n), part)) for part in jackknife_groups(n, GROUPS)]
    return metric.affinity(a, b).numpy(), metric.subset_affinity(a, b, subsets).numpy()


def judged_over_models(metric: AbstractMetric, sweep: Sweep, seed: int, n: int, models: Sequence[int]) -> dict[str, bool]:
    """Whether each test over models says, at 5 %, that a sweep of all pairs of them has a correspondence (or its reverse)."""
    sides, ends = sweep(np.random.default_rng(seed), n, models), np.cumsum([0, *models])
    layers, _ = signed(metric, ([layer for side in sides for layer in side], []))
    whole, without = _with_jackknife(metric, layers, layers, n)
    rows = []
    for a, b in combinations(range(len(models)), 2):
        part = (..., slice(ends[a], ends[a + 1]), slice(ends[b], ends[b + 1]))
        found, left_out = (swaps(at_equal_depths(m[part], depths(models[a]), depths(models[b]))) for m in (whole, without))
        certain = _side_of_0(found.swap_margin, left_out.swap_margin) != 0
        raw = contrast(whole[part], generalised_diagonal(models[a], models[b]))
        rows.append((a, b, float(raw), float(found.swap_margin), float(found.net_share), certain))
    frame, rng = pd.DataFrame(rows, columns=["unit_a", "unit_b", "raw", "margin", "share", "certain"]), np.random.default_rng(seed)
    over = {name: over_models(frame, name, level=LEVEL, rng=rng, certain="certain") for name in ("raw", "margin", "share")}
    all_pairs = over_models(frame, "share", level=LEVEL, rng=rng)
    return {
        "raw contrast, models left out": _significant(over["raw"].p),
        "swap margin, models left out": _significant(over["margin"].p),
        "net swap share, models left out": _significant(over["share"].p),
        "net swap share, orientations": _significant(over["share"].sign_p),
        "the same, uncertain pairs counted": _significant(all_pairs.sign_p),
    }


def _significant(p: float | None) -> bool:
    """A p that is undefined, as where no pair has a swap, says nothing."""
    return p is not None and p <= 1 - LEVEL + 1e-9


def _side_of_0(value: np.ndarray, left_out: np.ndarray) -> int:
    low, high = jackknife_interval(float(value), left_out, level=LEVEL, bounds=(-np.inf, np.inf))
    return int(low > 0) - int(high < 0)


def signed(metric: AbstractMetric, sides: tuple[Layers, Layers]) -> tuple[list, list]:
    a, b = ([metric.signature(torch.from_numpy(x)) for x in side] for side in sides)
    return a, b
