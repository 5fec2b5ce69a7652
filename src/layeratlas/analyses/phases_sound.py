"""The sound answer of the analysis `phases`: correlations within categories and given lengths, and how they change with depth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import stats

from layeratlas.errors import Undefined
from layeratlas.statistics.change_point import change_point
from layeratlas.statistics.multiplicity import corrected
from layeratlas.statistics.nulls import attainable_p, null_of
from layeratlas.statistics.pair_asymmetry import left_out_asymmetry
from layeratlas.statistics.within_categories import (
    Categories,
    RandomEffects,
    Regressions,
    category_correlations,
    permuted_partial,
    permuted_within,
    random_effects,
    weighted_correlations,
)

Values = Float[np.ndarray, " n"]
PHASES = ("early", "middle", "late")


@dataclass(frozen=True)
class Sample:
    """The pairs, and what is drawn of them, the same for all layers.

    `weights` are resamples within categories, `orders` permutations within categories, `given` the covariates of the partial
    correlation: indicators of the categories and lengths.
    """

    categories: Categories
    preference: Values
    others: Mapping[str, Values]
    given: Float[np.ndarray, "n covariates"]
    weights: Float[np.ndarray, "draws n"]
    resampled: Regressions
    orders: Int[np.ndarray, "orders n"]

    @classmethod
    def drawn(
        cls,
        groups: Sequence[str],
        preference: Values,
        others: Mapping[str, Values],
        lengths: Float[np.ndarray, "n columns"],
        draws: int,
        rng: np.random.Generator,
    ) -> "Sample":
        categories = Categories.of(groups)
        if len(categories.names) < 2:
            raise Undefined(f"phases pools over two categories (groups) of pairs or more; got {', '.join(categories.names)}")
        given = np.concatenate([categories.indicators, lengths], axis=1)
        weights = categories.resamples(draws, rng)
        orders = np.concatenate([np.arange(categories.n)[None], categories.orders(draws, rng)])
        return cls(categories, preference, others, given, weights, Regressions.on(given, weights), orders)

    @property
    def one(self) -> Float[np.ndarray, "1 n"]:
        """The sample itself: each pair once."""
        return np.ones((1, self.categories.n))

    @property
    def without_each(self) -> Float[np.ndarray, "categories n"]:
        """All pairs but those of one category, of each in turn."""
        return 1 - self.categories.indicators.T


@dataclass(frozen=True)
class Layer:
    """One layer's left-out centroid asymmetry and its correlations with the preference: of the sample (the first of the draws), of
    its resamples, and without each category.

    `z` are Fisher's of the categories, (draws, categories).
    """

    asymmetry: Values
    pooled: Float[np.ndarray, " draws"]
    partial: Float[np.ndarray, " draws"]
    z: Float[np.ndarray, "draws categories"]
    without: Mapping[str, Float[np.ndarray, " categories"]]


def layer_of(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"], sample: Sample, name: str) -> Layer:
    """Raises ValueError where a category's correlation is undefined."""
    categories, y = sample.categories, sample.preference
    weights = np.concatenate([sample.one, sample.weights])
    x = left_out_asymmetry(a, b, weights)
    with np.errstate(divide="ignore"):
        z = np.arctanh(category_correlations(x, y, weights, categories.indicators))
    if not np.isfinite(z).all():
        bad = categories.names[int((~np.isfinite(z)).any(axis=0).argmax())]
        raise Undefined(f"{name}: the pairs of {bad}, or a resample of them, have no correlation: they are all alike")
    regressions = Regressions.on(sample.given, sample.one)
    partial = np.concatenate([regressions.partial_correlations(x[:1], y), sample.resampled.partial_correlations(x[1:], y)])
    return Layer(x[0], weighted_correlations(x, y, weights), partial, z, _without(a, b, sample))


def _without(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"], sample: Sample
) -> dict[str, Float[np.ndarray, " categories"]]:
    """The three correlations of all other categories, with their own centroids."""
    weights, y = sample.without_each, sample.preference
    x = left_out_asymmetry(a, b, weights)
    z = np.arctanh(category_correlations(x, y, weights, sample.categories.indicators))
    variances = sample.categories.z_variances
    within = [
        np.tanh(random_effects(row[kept], variances[kept], 0.95).mean) if (kept := np.isfinite(row)).sum() > 1 else np.nan
        for row in z
    ]
    return {
        "pooled_without": weighted_correlations(x, y, weights),
        "within_without": np.array(within),
        "partial_without": Regressions.on(sample.given, weights).partial_correlations(x, y),
    }


# --- tables -------------------------------------------------------------------------------------------------------------------


def estimates(
    layers: Mapping[str, Layer], depths: Mapping[str, float], sample: Sample, preference: str, alpha: float, level: float
) -> pd.DataFrame:
    """Three rows per layer: r over all pairs, within categories, and given lengths; within categories for other preferences too.

    Intervals: of `pooled` and `partial` from resamples within categories, of `within` Hartung and Knapp's over categories, with
    their p as `p_categories`. p and p_fwer: permutation within categories, two-sided, corrected over blocks by the largest |r|.
    """
    x = np.stack([layer.asymmetry for layer in layers.values()])
    family = np.isfinite([depths[name] for name in layers])
    categories = sample.categories
    frames = [_rows("pooled", layers, depths, [layer.pooled for layer in layers.values()], level)]
    partial = permuted_partial(x, sample.preference, sample.given, sample.orders)
    frames.append(
        _rows("partial", layers, depths, [layer.partial for layer in layers.values()], level).assign(
            **two_sided(partial, family, alpha)
        )
    )
    for name, y in {preference: sample.preference, **sample.others}.items():
        z = [layer.z[0] for layer in layers.values()] if name == preference else _z_of(x, y, categories)
        pooled = [random_effects(row, categories.z_variances, level) for row in z]
        tested = two_sided(permuted_within(x, y, categories, sample.orders), family, alpha)
        frames.append(_within(layers, depths, pooled).assign(**tested, preference=name))
    table = pd.concat(frames, ignore_index=True)
    return table.assign(preference=table["preference"].fillna(preference), n=categories.n)


def _z_of(x: Float[np.ndarray, "layers n"], y: Values, categories: Categories) -> Iterator[Float[np.ndarray, " categories"]]:
    for row in x:
        yield np.arctanh(category_correlations(row[None], y, np.ones((1, len(y))), categories.indicators))[0]


def _rows(
    estimator: str, layers: Mapping[str, Layer], depths: Mapping[str, float], draws: Sequence[np.ndarray], level: float
) -> pd.DataFrame:
    low, high = np.quantile(np.stack(draws)[:, 1:], [(1 - level) / 2, (1 + level) / 2], axis=1)
    r = [float(values[0]) for values in draws]
    places = {"layer": list(layers), "depth": [depths[name] for name in layers]}
    return pd.DataFrame({**places, "estimator": estimator, "r": r, "ci_low": low, "ci_high": high})


def _within(layers: Mapping[str, Layer], depths: Mapping[str, float], pooled: Sequence[RandomEffects]) -> pd.DataFrame:
    ends = {
        end: np.tanh([getattr(one, name) for one in pooled])
        for end, name in (("r", "mean"), ("ci_low", "ci_low"), ("ci_high", "ci_high"))
    }
    places = {"layer": list(layers), "depth": [depths[name] for name in layers]}
    between = {"p_categories": [one.p for one in pooled], "tau": [one.tau for one in pooled]}
    return pd.DataFrame({**places, "estimator": "within", **ends, **between})


def two_sided(values: Float[np.ndarray, "orders layers"], family: Bool[np.ndarray, " layers"], alpha: float) -> dict[str, Any]:
    """Two-sided p of each layer, and corrected over those of the family; the first order is that of the data."""
    sizes = np.abs(values)[:, None]
    p = null_of(sizes[0], sizes[1:], alpha=alpha, maximum=None).p_value[0]
    together = np.full(len(p), np.nan)
    together[family] = null_of(sizes[0][:, family], sizes[1:][:, :, family], alpha=alpha, maximum=None).p_fwer[0]
    return {"p": p, "attainable_p": attainable_p(len(values) - 1), "p_fwer": together}


def categories_table(layers: Mapping[str, Layer], depths: Mapping[str, float], sample: Sample, level: float) -> pd.DataFrame:
    """A row per layer and category: r within it with Fisher's interval, and the three correlations without it."""
    reach = stats.norm.ppf((1 + level) / 2) * np.sqrt(sample.categories.z_variances)
    sizes = [len(places) for places in sample.categories.members]
    frames = []
    for name, layer in layers.items():
        z = layer.z[0]
        rows = {"layer": name, "depth": depths[name], "category": sample.categories.names, "n": sizes, "r": np.tanh(z)}
        frames.append(pd.DataFrame({**rows, "ci_low": np.tanh(z - reach), "ci_high": np.tanh(z + reach), **layer.without}))
    return pd.concat(frames, ignore_index=True)


def against_neutral(
    layers: Mapping[str, Layer],
    neutral: Mapping[str, Values],
    preference: Values,
    depths: Mapping[str, float],
    sample: Sample,
    level: float,
) -> pd.DataFrame:
    """Two rows per layer: r over neutral pairs with Fisher's interval, and how much larger z is within opposed categories.

    `r` of `opposed_minus_neutral` is a difference of Fisher's z, not of correlations. Its variance is that of the pooled mean, of
    one more category (tau^2) and of the neutral pairs, 1 / (m - 3); p_fwer is Holm's over blocks.
    """
    m, tail = len(preference), stats.norm.ppf((1 + level) / 2)
    rows = []
    for name, layer in layers.items():
        z = float(np.arctanh(weighted_correlations(neutral[name][None], preference, np.ones((1, m)))[0]))
        opposed = random_effects(layer.z[0], sample.categories.z_variances, level)
        errors = {"neutral": (m - 3) ** -0.5}
        errors["opposed_minus_neutral"] = float(np.sqrt(1 / opposed.weights.sum() + opposed.tau**2 + 1 / (m - 3)))
        for estimator, value in (("neutral", z), ("opposed_minus_neutral", opposed.mean - z)):
            error = errors[estimator]
            ends = np.array([value, value - tail * error, value + tail * error])
            r, low, high = np.tanh(ends) if estimator == "neutral" else ends
            p = float(2 * stats.norm.sf(abs(value) / error))
            rows.append(
                {
                    "layer": name,
                    "depth": depths[name],
                    "estimator": estimator,
                    "n": m,
                    "r": r,
                    "ci_low": low,
                    "ci_high": high,
                    "p": p,
                }
            )
    table = pd.DataFrame(rows)
    for _, family in table[table["depth"].notna()].groupby("estimator"):
        table.loc[family.index, "p_fwer"] = corrected(family["p"].to_numpy(), "holm")
    return table


# --- over depth ---------------------------------------------------------------------------------------------------------------


def phases(blocks: Sequence[Layer], depths: Float[np.ndarray, " blocks"], categories: Categories, level: float) -> dict[str, Any]:
    """Mean Fisher z within categories over each third of depth, and differences of thirds, pooled over categories.

    Each category has its mean over the blocks of a third; its variance is that over resamples of the pairs, which all blocks share,
    as a common multiple of 1 / (n - 3): weights that follow each category's own would follow its noise (.08 false alarms for .05).
    Means are given as correlations, differences in Fisher's z. Raises ValueError where a third holds no block.
    """
    third = np.minimum(np.ceil(depths * 3 - 1e-9).astype(int), 3) - 1
    if empty := [name for place, name in enumerate(PHASES) if not (third == place).any()]:
        raise Undefined(f"phases are thirds of depth; there is no block in: {', '.join(empty)}")
    z = np.stack([layer.z for layer in blocks], axis=1)
    means = {name: z[:, third == place].mean(axis=1) for place, name in enumerate(PHASES)}
    found = {name: _effect(values, categories, level, np.tanh) for name, values in means.items()}
    for first, second in (("early", "middle"), ("middle", "late"), ("early", "late")):
        found[f"{first}_minus_{second}"] = _effect(means[first] - means[second], categories, level, np.asarray)
    return found


def _effect(
    values: Float[np.ndarray, "draws categories"], categories: Categories, level: float, scale: Any
) -> dict[str, float | None]:
    multiple = (values[1:].var(axis=0, ddof=1) / categories.z_variances).mean()
    pooled = random_effects(values[0], multiple * categories.z_variances, level)
    value, low, high = scale(np.array([pooled.mean, pooled.ci_low, pooled.ci_high])).tolist()
    return {"value": value, "ci_low": low, "ci_high": high, "p": None if np.isnan(pooled.p) else pooled.p, "tau": pooled.tau}


def change(
    names: Sequence[str],
    blocks: Sequence[Layer],
    depths: Float[np.ndarray, " blocks"],
    categories: Categories,
    alpha: float,
    level: float,
) -> dict[str, Any]:
    """Whether and where Fisher's z within categories (weighted by n - 3) changes its level over depth.

    `depth` lies half-way between the blocks on either side of the change; its interval holds where resamples of the pairs put it.
    None where the pattern is not `change`.
    """
    weights = 1 / categories.z_variances
    curves = np.stack([layer.z @ weights for layer in blocks], axis=1) / weights.sum()
    found = change_point(curves[0], curves[1:], depths, alpha)
    numbers: dict[str, Any] = {"p": found.p, "attainable_p": found.attainable_p, "pattern": found.pattern}
    keys = ("after", "depth", "depth_ci_low", "depth_ci_high", "before", "later")
    if found.pattern != "change":
        return numbers | dict.fromkeys(keys)
    between = (depths[:-1] + depths[1:]) / 2
    low, high = np.quantile(between[found.drawn], [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    levels = [float(np.tanh(value)) for value in (found.before, found.later)]
    return numbers | dict(
        zip(keys, [names[found.after], float(between[found.after]), float(low), float(high), *levels], strict=True)
    )


def simpson(table: pd.DataFrame, preference: str) -> dict[str, Any] | None:
    """Where r over all pairs and r within categories differ most, of layers whose two intervals lie on different sides of 0."""
    chosen = table[(table["preference"] == preference) & (table["statistic"] == "centroid_asymmetry")]
    ends = chosen.set_index("layer")[["estimator", "r", "ci_low", "ci_high"]]
    pooled, within = (ends[ends["estimator"] == name] for name in ("pooled", "within"))
    above = (pooled["ci_low"] > 0) & (within["ci_high"] < 0)
    below = (pooled["ci_high"] < 0) & (within["ci_low"] > 0)
    opposed = (pooled["r"] - within["r"]).abs()[above | below]
    if opposed.empty:
        return None
    layer = str(opposed.idxmax())
    r = {"pooled": pooled["r"].to_dict()[layer], "within": within["r"].to_dict()[layer]}
    return {"layer": layer, **r, "layers": len(opposed)}
