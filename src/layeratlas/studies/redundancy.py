"""Are blocks that are like their neighbours those that a model can do without?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from layeratlas.errors import ConfigError, Undefined
from layeratlas.findings import Findings
from layeratlas.options import Fraction, Positive, Repetitions, Seed
from layeratlas.runs.reading import Run
from layeratlas.statistics.redundancy import (
    above_chance,
    agreement,
    beyond_depth,
    most_alike_first,
    neighbours_alike,
    random_agreement,
    saturation,
    summed,
)
from layeratlas.statistics.resampling import jackknife_groups, jackknife_interval
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.block_costs import Costs, block_costs, key_of
from layeratlas.studies.edited_runs import SKIPPED, t_interval
from layeratlas.studies.self_likeness import SelfLikeness, self_likeness
from layeratlas.studies.sweep import Sweep

_ROOM = 0.05  # of the way from chance to a layer with itself: less is no difference to build on
_ORDERS = ("similarity", "last_first")


@dataclass(frozen=True, kw_only=True)
class Redundancy(AbstractStudy):
    """Blocks in the order of their affinity with their neighbours, against what it costs in likelihood to skip or to edit them.

    Reads a run of a model with itself (any metric; `hydra.sweeper.self_pairs=true`), and runs with `extract.nll=true` of the same
    texts in which one block each is skipped (`model_a.skip_blocks=[],[1],[2],...`) or edited. `redundancy`: a row per block, its
    affinity with its input (the layer before it) and with its neighbours on both sides as a share of the way from chance to a
    layer with itself, its measured cost with the t interval over items, the group of mutually similar neighbours (every two at
    least `alike`) and whether the metric is saturated there (`statistics.redundancy.saturation`).

    `redundancy_orders`: what removing the first 1, 2, ... blocks costs in the order of similarity, from the last, at random on
    average, and from the cheapest: the sum of single costs, and as measured where a run skips just these. `redundancy_agreement`:
    Spearman's correlation of each order with the cost, with a jackknife interval over `groups` groups of items, in which costs and
    affinities are both computed anew. `redundancy_prediction`: the correlation of affinity with the cost of skipping and of each
    edit, as it is and given depth and its square, with the same interval. Blocks of one model are few and smooth in depth, so that
    no p is made of their number.
    """

    alike: Fraction
    level: Fraction
    groups: Positive
    draws: Repetitions
    least_items: Positive
    seed: Seed

    def __call__(self, sweep: Sweep) -> Findings | None:
        costs = list(block_costs(sweep))
        if not costs:
            return None
        tables: dict[str, list[pd.DataFrame]] = {}
        numbers: dict[str, Any] = {}
        sentences, warnings = [], []
        for of_texts in costs:
            own = [run for run in sweep.runs if key_of(run) == of_texts.key]
            if not own:
                warnings.append(
                    f"{of_texts.name}: no run compares this model with itself on these texts, so that nothing is known of its"
                    " blocks' likeness; model_a.skip_blocks=[],[1],... with hydra.sweeper.self_pairs=true makes one"
                )
            for run in own:
                try:
                    found = self._found(sweep, run, of_texts, warnings)
                except Undefined as error:
                    warnings.append(f"{of_texts.name}: {error}")
                    continue
                labels = of_texts.labels | {"metric": run.result["metric"]["name"]}
                for name, rows in found.items():
                    tables.setdefault(name, []).append(pd.DataFrame(rows).assign(**labels))
                where = " ".join(map(str, labels.values()))
                numbers[where] = _numbers(found)
                sentences += [f"{where}: {sentence}" for sentence in _sentences(found)]
                warnings += [f"{where}: {warning}" for warning in _saturated(found["blocks"])]
        joined = {name: pd.concat(each, ignore_index=True) for name, each in tables.items()}
        joined = {name: table for name, table in joined.items() if len(table)}
        return Findings(joined.pop("blocks", None), joined, numbers, sentences=sentences, warnings=warnings)

    def _found(self, sweep: Sweep, run: Run, costs: Costs, warnings: list[str]) -> dict[str, list[dict[str, Any]]]:
        single = costs.single(SKIPPED)
        blocks = sorted(single)
        likeness = self_likeness(run, blocks)
        change = np.stack([single[k].change for k in blocks])
        if run.table("items")["id"].tolist() != costs.ids:
            raise Undefined("the run of the model with itself has other items than those that skip its blocks")
        subsets, alike_without = self._without(sweep, run, blocks, change.shape[1], warnings)
        rows = [dict(row) for row in self._blocks(run, likeness, change)]
        cost = np.array([row["value"] for row in rows])
        input_first = most_alike_first(likeness.with_input)
        places = {"similarity": input_first, "last_first": np.arange(len(blocks))[::-1]}
        return {
            "blocks": rows,
            "orders": list(self._orders(blocks, places, cost, costs)),
            "agreement": list(self._agreement(places, cost, change, subsets, alike_without)),
            "prediction": list(self._prediction(likeness, costs, blocks, subsets, alike_without)),
        }

    def _without(
        self, sweep: Sweep, run: Run, blocks: Sequence[int], n: int, warnings: list[str]
    ) -> tuple[list[np.ndarray], list[SelfLikeness] | None]:
        """The items that stay when each group is left out, and the affinities over these; None where vectors cannot be had."""
        left_out = jackknife_groups(n, self.groups)
        subsets = [np.setdiff1d(np.arange(n), group) for group in left_out]
        try:
            opened = sweep.opener(run)
        except ConfigError as error:
            warnings.append(f"intervals are of the costs alone, affinities are taken as they are: {error}")
            return subsets, None
        from layeratlas.studies.self_likeness import over_items  # torch takes seconds to import

        return subsets, [over_items(opened, kept, blocks) for kept in subsets]

    def _blocks(self, run: Run, likeness: SelfLikeness, change: Float[np.ndarray, "blocks n"]) -> Iterator[dict[str, Any]]:
        scaled = above_chance(likeness.matrix, likeness.chance)
        doubts = saturation(likeness.matrix, likeness.chance, room=_ROOM) | likeness.doubts(run)
        groups = {
            place: f"{likeness.names[group[0]]} to {likeness.names[group[-1]]}"
            for group in neighbours_alike(scaled, self.alike)
            for place in group
        }
        order = most_alike_first(likeness.with_input)
        of_cost = np.argsort(np.argsort(np.nanmean(change, axis=1), kind="stable"), kind="stable")
        for i, (k, place) in enumerate(zip(likeness.blocks, likeness.places, strict=True)):
            yield {
                "block": k,
                "depth": likeness.depths[i],
                "with_input": likeness.with_input[i],
                "with_neighbors": likeness.with_neighbors[i],
                "removed_by_similarity": int(order[i]) + 1,
                **t_interval(change[i], self.level, self.least_items),
                "removed_by_cost": int(of_cost[i]) + 1,
                "alike_group": groups.get(place),
                "saturated": doubts.get(place),
            }

    def _orders(
        self, blocks: Sequence[int], places: Mapping[str, np.ndarray], cost: Float[np.ndarray, " blocks"], costs: Costs
    ) -> Iterator[dict[str, Any]]:
        measured = {tuple(run.blocks or ()): float(np.nanmean(run.change)) for run in costs.runs if not run.is_edit}
        orders = {name: np.argsort(place, kind="stable") for name, place in places.items()}
        orders["cheapest_first"] = np.argsort(cost, kind="stable")
        for name, order in orders.items():
            for r, total in enumerate(summed(order.tolist(), cost), 1):
                removed = sorted(blocks[i] for i in order[:r])
                known = measured.get(tuple(removed), np.nan)
                yield {"order": name, "removed": r, "blocks": ",".join(map(str, removed)), "sum_of_costs": total, "measured": known}
        for r in range(1, len(blocks) + 1):
            yield {"order": "random, on average", "removed": r, "blocks": "", "sum_of_costs": r * cost.mean(), "measured": np.nan}

    def _agreement(
        self,
        places: Mapping[str, np.ndarray],
        cost: Float[np.ndarray, " blocks"],
        change: Float[np.ndarray, "blocks n"],
        subsets: Sequence[np.ndarray],
        alike_without: Sequence[SelfLikeness] | None,
    ) -> Iterator[dict[str, Any]]:
        low, high = random_agreement(cost, self.draws, self.level, np.random.default_rng(self.seed))
        without: dict[str, list[float]] = {name: [] for name in _ORDERS}
        for g, kept in enumerate(subsets):
            left = np.nanmean(change[:, kept], axis=1)
            order = places["similarity"] if alike_without is None else most_alike_first(alike_without[g].with_input)
            without["similarity"].append(agreement(order, left))
            without["last_first"].append(agreement(places["last_first"], left))
        values = {name: agreement(places[name], cost) for name in _ORDERS}
        values["similarity - last_first"] = values["similarity"] - values["last_first"]
        without["similarity - last_first"] = [a - b for a, b in zip(without["similarity"], without["last_first"], strict=True)]
        for name, value in values.items():
            if difference := " - " in name:
                low, high = np.nan, np.nan  # that of one order is not that of a difference
            yield {
                "order": name,
                "blocks": len(cost),
                **self._interval(value, without[name], reach=2.0 if difference else 1.0),
                "random_low": low,
                "random_high": high,
            }

    def _interval(self, value: float, without: Sequence[float], reach: float) -> dict[str, float]:
        if not np.isfinite(value) or not np.isfinite(without).all():
            return {"value": value, "ci_low": np.nan, "ci_high": np.nan}
        low, high = jackknife_interval(value, np.array(without), level=self.level, bounds=(-reach, reach))
        return {"value": value, "ci_low": float(low), "ci_high": float(high)}

    def _prediction(
        self,
        likeness: SelfLikeness,
        costs: Costs,
        blocks: Sequence[int],
        subsets: Sequence[np.ndarray],
        alike_without: Sequence[SelfLikeness] | None,
    ) -> Iterator[dict[str, Any]]:
        for what in costs.kinds:
            single = costs.single(what)
            places = [i for i, k in enumerate(blocks) if k in single]
            if len(places) < 3:
                continue
            change = np.stack([single[blocks[i]].change for i in places])
            depth = likeness.depths[places]
            for predictor in ("with_input", "with_neighbors"):
                for given, correlate in _correlations(depth).items():
                    try:
                        value = correlate(getattr(likeness, predictor)[places], np.nanmean(change, axis=1))
                        without = [
                            correlate(
                                getattr(likeness if alike_without is None else alike_without[g], predictor)[places],
                                np.nanmean(change[:, kept], axis=1),
                            )
                            for g, kept in enumerate(subsets)
                        ]
                    except Undefined:
                        value, without = np.nan, [np.nan]
                    labels = {"intervention": what, "affinity": predictor, "given": given, "blocks": len(places)}
                    yield labels | self._interval(value, without, 1.0)


def _correlations(depth: Float[np.ndarray, " blocks"]) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    from layeratlas.statistics.matrices import pearson

    return {"": pearson, "depth, depth²": lambda affinity, cost: beyond_depth(affinity, cost, depth)}


def _numbers(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    def kept(row: Mapping[str, Any]) -> dict[str, float | None]:
        return {key: float(row[key]) if np.isfinite(row[key]) else None for key in ("value", "ci_low", "ci_high")}

    agreed = {row["order"]: kept(row) for row in found["agreement"]}
    predicted = {
        " ".join(filter(None, [row["intervention"], row["affinity"], row["given"] and f"given {row['given']}"])): kept(row)
        for row in found["prediction"]
    }
    return {"agreement": agreed, "prediction": predicted}


def _sentences(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    rows = sorted(found["blocks"], key=lambda row: row["removed_by_similarity"])
    first, cheapest = rows[0], min(rows, key=lambda row: row["value"])
    yield (
        f"similarity would remove block {first['block']} first, which costs {first['value']:.3f} nats per token"
        f" ({first['ci_low']:.3f} to {first['ci_high']:.3f}); the cheapest is block {cheapest['block']} ({cheapest['value']:.3f})"
    )
    for row in found["agreement"]:
        interval = f"{row['value']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f}"
        if np.isnan(row["random_low"]):
            yield f"{row['order']}: difference of their rank correlations with the cost {interval})"
        else:
            random = f"random orders {row['random_low']:.2f} to {row['random_high']:.2f}"
            yield f"order {row['order']}: rank correlation with the cost {interval}; {random})"
    for row in found["prediction"]:
        if row["given"]:
            yield (
                f"affinity {row['affinity']} and the cost of {row['intervention']} over {row['blocks']} blocks, given"
                f" {row['given']}: r = {row['value']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"
            )


def _saturated(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if row["saturated"]:
            by_reason.setdefault(row["saturated"], []).append(f"block_{row['block']}")
    for reason, blocks in by_reason.items():
        yield f"{', '.join(blocks)}: {reason}; the metric is saturated there, and its order of blocks means little"
