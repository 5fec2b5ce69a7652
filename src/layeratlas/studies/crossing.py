"""Two crossed factors of a sweep: how much each of them moves the matrices, from the runs' own vectors."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from layeratlas.errors import Undefined
from layeratlas.statistics.crossed import EFFECTS, Components, Design, Split, components, halves, less
from layeratlas.statistics.resampling import jackknife_groups
from layeratlas.studies.sweep import Sweep
from layeratlas.studies.two_runs import of_one_model

AS_THEY_ARE, TREND_REMOVED = "as they are", "depth trend removed"
_GROUPS = 20  # of the items of each sample
_FEWEST_GROUPS = 6


@dataclass(frozen=True)
class Factor:
    """What a factor of the sweep is called, and the level of each run."""

    name: str
    levels: pd.Series

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(self.levels))


@dataclass(frozen=True)
class Crossing:
    """Runs that lie in the order of a design: all levels of the second factor under the first one of the first, and so on."""

    sweep: Sweep
    first: Factor
    second: Factor

    @property
    def names(self) -> tuple[str, str]:
        return self.first.name, self.second.name


def columns_of(table: pd.DataFrame, name: str) -> list[str]:
    """The columns that belong to a factor: `language` names language_a and language_b, `dataset` all options of the dataset."""
    known = {name, f"{name}_a", f"{name}_b", f"config.{name}"}
    return [column for column in table.columns if column in known or column.startswith(f"config.{name}.")]


def factor(table: pd.DataFrame, name: str) -> Factor:
    """The levels of a factor, each called by what varies."""
    columns = [column for column in columns_of(table, name) if table[column].astype(str).nunique() > 1]
    return Factor(
        name, pd.Series([called(row) for row in table[columns].astype(str).to_numpy().tolist()], index=table.index, dtype=str)
    )


def called(values: Sequence[str]) -> str:
    """`medical` for '["medical"]'; what both sides share is said once."""
    plain = [", ".join(re.findall(r'"([^"]*)"', value)) if value.startswith("[") else value for value in map(str, values)]
    return " · ".join(dict.fromkeys(plain))


def crossings(sweep: Sweep, names: Sequence[str], others: Sequence[str]) -> Iterator[Crossing | str]:
    """Every part of the sweep in which each level of one factor meets each of the other once, or why one is not such.

    `others` are the columns that tell conditions apart; those of neither factor split the sweep into designs of their own.
    """
    table, (first, second) = sweep.table, (factor(sweep.table, name) for name in names)
    own = {column for name in names for column in columns_of(table, name)}
    apart = [column for column in others if column not in own and table[column].astype(str).nunique() > 1]
    keys = table[apart].astype(str).agg(" · ".join, axis=1) if apart else pd.Series("", index=table.index)
    for key, rows in table.groupby(keys, sort=False):
        levels = [Factor(one.name, one.levels[rows.index]) for one in (first, second)]
        if min(len(one.names) for one in levels) < 2:
            continue
        counts = pd.crosstab(levels[0].levels, levels[1].levels)
        if (counts.to_numpy() != 1).any():
            lacking = [f"{s}, {t}" for s, row in counts.iterrows() for t, count in row.items() if count != 1]
            where = f" ({key})" if key else ""
            yield f"{names[0]} and {names[1]} are not crossed{where}: there is not one run of {'; '.join(lacking[:3])}"
            continue
        places = {
            pair: place for place, *pair in zip(rows.index, *(one.levels for one in levels), strict=True) for pair in [tuple(pair)]
        }
        order = [places[s, t] for s in levels[0].names for t in levels[1].names]
        yield Crossing(sweep.some(order), *(Factor(one.name, one.levels[order].reset_index(drop=True)) for one in levels))


# --- samples of items ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """The conditions that compare the same items; `groups[i]` are the places of each group's items in condition `members[i]`."""

    members: Int[np.ndarray, " members"]
    groups: Sequence[Sequence[Int[np.ndarray, " _"]]]


def samples(crossing: Crossing) -> list[Sample]:
    """Raises Undefined where two conditions share some of their items and not all."""
    held = [_items(run) for run in crossing.sweep.runs]
    of_sample: dict[frozenset[str], list[int]] = {}
    for place, ids in enumerate(held):
        of_sample.setdefault(frozenset(ids), []).append(place)
    sets = list(of_sample)
    for i, one in enumerate(sets):
        if others := [other for other in sets[:i] if one & other]:
            jobs = [crossing.sweep.table["job"][of_sample[items][0]] for items in (others[0], one)]
            raise Undefined(
                f"jobs {jobs[0]} and {jobs[1]} share some of their items and not all, so that no halves are disjoint:"
                " draw the same items, or others"
            )
    count = _count(min(map(len, held)))
    found = []
    for places in of_sample.values():
        first = held[places[0]]
        parts = jackknife_groups(len(first), count, _clusters(crossing.sweep.runs[places[0]]))
        if len(parts) != count:
            raise Undefined(f"effects are estimated on halves of {count} groups of items; got {len(parts)} groups")
        at = [{item: place for place, item in enumerate(held[condition])} for condition in places]
        groups = [[np.array([own[first[i]] for i in part]) for part in parts] for own in at]
        found.append(Sample(np.array(places), groups))
    return found


def _items(run: Any) -> list[str]:
    """Ids, which different datasets may share by chance and the tasks of one may share indeed."""
    task = (run.result["settings"].get("dataset") or {}).get("task")
    corpus = (run.result["dataset"]["corpus"] or "").removesuffix(f"-{task}")
    return [f"{corpus}\0{item}" for item in run.table("items")["id"]]


def _count(n: int) -> int:
    """An even number of groups, so that as many fall into each half."""
    count = min(_GROUPS, n) // 2 * 2
    if count < _FEWEST_GROUPS:
        raise Undefined(f"effects on disjoint halves of the items need {_FEWEST_GROUPS} items or more; got {n}")
    return count


def _clusters(run: Any) -> list[str] | None:
    by_group = run.result["provenance"]["config"]["statistics"]["by_group"]
    return run.table("items")["group"].tolist() if by_group else None


# --- effects ------------------------------------------------------------------------------------------------------------------


def effects(crossing: Crossing, *, splits: int, level: float, seed: int) -> pd.DataFrame:
    """A row per effect and, as `of` says, of the matrices as they are or without their trend over the distance of depths.

    `value` is the size of the effect in squared units of the metric, estimated on disjoint halves of the items, with interval and
    p, `naive` what the square of the same effects over all items would have said; `share` and `naive_share` are parts of all
    three. The row `SECOND - FIRST` has the difference of both factors.
    """
    found = samples(crossing)
    design = Design(len(crossing.first.names), len(crossing.second.names), [sample.members for sample in found])
    cells, trend = _cells(crossing.sweep)
    rng = np.random.default_rng([seed, 7])
    labels = list(halves(len(found[0].groups[0]), len(found), splits, rng))
    made = _splits(crossing.sweep, found, labels, cells)
    whole = np.stack([run.arrays["affinity"][cells] for run in crossing.sweep.runs])
    frames = []
    for of, parts, matrices in (
        (AS_THEY_ARE, made, whole),
        (TREND_REMOVED, [split.less(trend) for split in made], less(whole, trend)),
    ):
        frames.append(_rows(components(design, parts, level), design.naive(matrices), crossing.names).assign(of=of))
    n = int(crossing.sweep.table["n"].iloc[0])
    settings = {
        "first": crossing.names[0],
        "second": crossing.names[1],
        "levels_first": design.first,
        "levels_second": design.second,
    }
    return pd.concat(frames, ignore_index=True).assign(
        **settings, n=n, half=n // 2, groups=len(labels[0][0]), splits=splits, level=level
    )


def _cells(sweep: Sweep) -> tuple[tuple[np.ndarray, np.ndarray], Float[np.ndarray, "cells columns"]]:
    """Rows and columns of the cells of two blocks, none of a layer with itself, and their depth trend as orthonormal columns."""
    run = sweep.runs[0]
    distance = np.abs(run.arrays["depth_a"][:, None] - run.arrays["depth_b"])
    chosen = np.isfinite(distance)
    if all(map(of_one_model, sweep.runs)):
        chosen &= ~np.eye(len(distance), dtype=bool)
    rows, columns = np.nonzero(chosen)
    design = np.stack([np.ones(len(rows)), distance[rows, columns]], axis=1)
    return (rows, columns), np.linalg.qr(design).Q


def _splits(
    sweep: Sweep, found: Sequence[Sample], labels: Sequence[Int[np.ndarray, "samples groups"]], cells: tuple[np.ndarray, np.ndarray]
) -> list[Split]:
    """One condition after the other, whose vectors alone are in memory."""
    from layeratlas.affinity.halves import half_matrices, in_memory  # torch takes seconds to import

    groups = len(labels[0][0])
    whole = np.empty((len(labels), 2, len(sweep), len(cells[0])))
    without = [np.empty((len(labels), groups, len(sample.members), len(cells[0]))) for sample in found]
    for place, sample in enumerate(found):
        for member, condition in enumerate(sample.members):
            opened = sweep.opener(sweep.runs[condition])
            _require_enough(opened.signer.metric, int(sweep.table["n"].iloc[0]), groups)
            a = in_memory(opened.a)
            b = a if opened.b is opened.a else in_memory(opened.b)
            for split, label in enumerate(labels):
                both, left_out = half_matrices(opened.signer, a, b, sample.groups[member], label[place])
                whole[split, :, condition] = both[:, *cells]
                without[place][split, :, member] = left_out[:, *cells]
    return [Split(whole[i], [parts[i] for parts in without], list(label)) for i, label in enumerate(labels)]


def _require_enough(metric: Any, n: int, groups: int) -> None:
    left = n // 2 - -(-n // groups)
    if left < metric.min_n:
        raise Undefined(
            f"{metric.name} needs {metric.min_n} items, and half of {n} without a group of them has {left}; more items, or another"
            " metric, would do"
        )


def _rows(found: Components, naive: Float[np.ndarray, " effects"], names: tuple[str, str]) -> pd.DataFrame:
    called_effects = dict(zip(EFFECTS, (*names, "interaction"), strict=True))
    rows = []
    for i, effect in enumerate(EFFECTS):
        share, low, high = found.shares[effect]
        row = {
            "effect": called_effects[effect],
            **asdict(found.sizes[effect]),
            "share": share,
            "share_ci_low": low,
            "share_ci_high": high,
        }
        rows.append(row | {"naive": naive[i], "naive_share": naive[i] / naive.sum()})
    difference = {"effect": f"{names[1]} - {names[0]}", **asdict(found.difference), "naive": naive[1] - naive[0]}
    return pd.DataFrame([*rows, difference])


def sentence(table: pd.DataFrame) -> str:
    """Which factor moves the matrices more, if that is known, and what a naive split would have said."""
    lines = []
    for of, rows in table.groupby("of", sort=False):
        by_effect = {row["effect"]: row for row in rows.to_dict("records")}
        first, second, level = (rows[key].tolist()[0] for key in ("first", "second", "level"))
        row = by_effect[f"{second} - {first}"]
        if row["ci_low"] > 0:
            verdict = f"{second} moves the matrices more than {first}"
        elif row["ci_high"] < 0:
            verdict = f"{first} moves the matrices more than {second}"
        else:
            verdict = f"whether {second} or {first} moves the matrices more is not settled"
        interval = f"{level:.0%} interval {row['ci_low']:.2g} to {row['ci_high']:.2g}"
        if not any(by_effect[name]["p"] <= 1 - level for name in (first, second)):
            interval += ", too long if neither has an effect, as none is shown to have"
        shares = "; ".join(_share(by_effect[name]) for name in (first, second))
        lines.append(f"{of}: {verdict} (difference {row['value']:.2g}, {interval}); shares: {shares}")
    return ". ".join(lines)


def _share(row: dict[Any, Any]) -> str:
    naive = f"naively {row['naive_share']:.0%}"
    if np.isnan(row["share"]):
        return f"{row['effect']} unknown, {naive}"
    return f"{row['effect']} {row['share']:.0%} ({row['share_ci_low']:.0%} to {row['share_ci_high']:.0%}), {naive}"
