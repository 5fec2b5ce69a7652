"""Which items and groups carry a similarity, and how much of it do lengths and tokens account for?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from annotated_types import Interval

from layeratlas.affinity.left_out import over_subsets
from layeratlas.affinity.matrix import Affinity
from layeratlas.analyses.accounts import accounted
from layeratlas.analyses.base import AbstractAnalysis, Comparison, Findings
from layeratlas.errors import ConfigError
from layeratlas.metrics import AbstractMetric
from layeratlas.options import Natural, Positive, Seed
from layeratlas.statistics.diagonal import monotone_match
from layeratlas.statistics.left_out_groups import Change, Members, changes, groups_of, random_members
from layeratlas.statistics.swaps import at_equal_depths, shared_depths, swaps

_CLEAR = 3  # deviations of random groups, beyond which a group is named


@dataclass(frozen=True, kw_only=True)
class Influence(AbstractAnalysis):
    """Each cell and the swap margin without each group of items, without single items, and without what lengths and tokens explain.

    Groups are those of the data, or `groups` runs of consecutive items where the data has one, more than so many, or one of more
    than half of the items. Beside each change stands that of as many items drawn at random, over `draws` sets. `items` of the
    items, drawn by the seed, are left out one by one, of `cells` cells of the best path. `influence_accounts`: the similarity of
    vectors from which a covariate of the items was taken away, see `analyses.accounts`.
    """

    groups: Annotated[int, Interval(ge=2, le=200)]
    draws: Annotated[int, Interval(ge=2, le=1000)]
    items: Natural
    cells: Positive
    seed: Seed

    def require(self, metric: AbstractMetric, n: int) -> None:
        if n // 2 < metric.min_n:
            raise ConfigError(
                f"analysis.influence: {metric.name} needs at least {metric.min_n} items, and up to half are left out; got"
                f" dataset.n={n}: dataset.n={2 * metric.min_n} or more"
            )

    def __call__(self, comparison: Comparison) -> Findings:
        rng = np.random.default_rng([self.seed, 5])
        groups = groups_of(comparison.groups, self.groups)
        drawn = random_members([len(members) for members in groups.values()], comparison.affinity.n, self.draws, rng)
        of_cells, of_margin = self._by_group(comparison, groups, drawn)
        table = pd.DataFrame(_of_groups(groups, of_cells, of_margin))
        parts = {"cells": _of_cells(comparison.affinity, groups, of_cells), "items": self._by_item(comparison, rng)}
        accounts, lacking = accounted(comparison, self.draws, rng)
        parts |= {"accounts": accounts} if len(accounts) else {}
        parts = {name: part for name, part in parts.items() if len(part)}
        numbers = {"groups": len(groups), "of_the_data": set(groups) <= set(comparison.groups), "accounts": _medians(accounts)}
        sentences = [*_sentences(table), *_sentences_of_accounts(accounts)]
        return Findings(table, parts, numbers, sentences=sentences, warnings=[f"influence: {one}" for one in lacking])

    def _by_group(
        self, comparison: Comparison, groups: dict[str, Members], drawn: dict[int, list[Members]]
    ) -> tuple[dict[str, Change], dict[str, Change] | None]:
        """The changes of all cells, and of the swap margin where there is one."""
        affinity = comparison.affinity
        signatures = affinity.signatures_a, affinity.signatures_b
        matrices: dict[bytes, np.ndarray] = {}

        def without(sets: Sequence[Members]) -> np.ndarray:
            kept = [np.setdiff1d(np.arange(affinity.n), members) for members in sets]
            new = {one.tobytes(): one for one in kept if one.tobytes() not in matrices}
            if new:
                made = over_subsets(comparison.signer, signatures, comparison.a, comparison.b, list(new.values()))
                matrices.update(zip(new, made, strict=True))
            return np.stack([matrices[one.tobytes()] for one in kept])

        of_cells = changes(affinity.matrix, without, groups, drawn)
        margin = _margin(comparison)
        if margin is None:
            return of_cells, None
        return of_cells, changes(margin(affinity.matrix), lambda sets: margin(without(sets)), groups, drawn)

    def _by_item(self, comparison: Comparison, rng: np.random.Generator) -> pd.DataFrame:
        """Each of some items left out by itself, in some cells of the best path: how much more of the value there is with it."""
        affinity, n = comparison.affinity, comparison.affinity.n
        places = _spread(_path(comparison), self.cells)
        if not self.items or not places:
            return pd.DataFrame()
        chosen = np.sort(rng.choice(n, min(n, self.items), replace=False))
        rows, columns = (sorted({place[side] for place in places}) for side in (0, 1))
        a, b = (
            comparison.a.select([affinity.layers_a[i] for i in rows]),
            comparison.b.select([affinity.layers_b[j] for j in columns]),
        )
        signatures = [affinity.signatures_a[i] for i in rows], [affinity.signatures_b[j] for j in columns]
        without = over_subsets(comparison.signer, signatures, a, b, [np.delete(np.arange(n), item) for item in chosen])
        ids = comparison.items["id"].astype(str).to_numpy()[chosen]
        tables = []
        for i, j in places:
            change = without[:, rows.index(i), columns.index(j)] - affinity.matrix[i, j]
            layers = {"layer_a": affinity.layers_a[i], "layer_b": affinity.layers_b[j]}
            tables.append(pd.DataFrame({**layers, "item": chosen, "id": ids, "change": change, "beyond": change - change.mean()}))
        return pd.concat(tables, ignore_index=True)


def _margin(comparison: Comparison) -> Any:
    """The swap margin of matrices (..., layers_a, layers_b); None where the sides have no two depths in common, or are the same."""
    affinity = comparison.affinity
    depths = [np.array(of) for of in (affinity.depth_a, affinity.depth_b)]
    rows, columns = (np.flatnonzero(np.isfinite(of)) for of in depths)
    if comparison.b is comparison.a or len(shared_depths(depths[0][rows], depths[1][columns])) < 2:
        return None

    def margin(matrices: np.ndarray) -> np.ndarray:
        blocks = matrices[..., rows[:, None], columns]
        return swaps(at_equal_depths(blocks, depths[0][rows], depths[1][columns])).swap_margin

    return margin


def _path(comparison: Comparison) -> list[tuple[int, int]]:
    """The best match of each block of a if depth never runs backwards, without layers that are the same on both sides."""
    affinity, blocks, same = comparison.affinity, comparison.affinity.blocks(), set(comparison.same_layers())
    pairs = zip(blocks.layers_a, (blocks.layers_b[j] for j in monotone_match(blocks.matrix)), strict=True)
    return [(affinity.layers_a.index(a), affinity.layers_b.index(b)) for a, b in pairs if not (a == b and a in same)]


def _spread(places: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    chosen = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)) if places else []
    return [places[at] for at in chosen]


def _of_groups(
    groups: dict[str, Members], of_cells: dict[str, Change], of_margin: dict[str, Change] | None
) -> Iterator[dict[str, Any]]:
    for name, members in groups.items():
        cells = of_cells[name]
        row = {
            "group": name,
            "items": len(members),
            "mean_change": float(cells.change.mean()),
            "mean_random": float(cells.random.mean()),
        }
        if of_margin is not None:
            margin = of_margin[name]
            of_margin_alone = {"change": margin.change, "random": margin.random, "random_sd": margin.random_sd, "z": margin.z}
            row |= {f"swap_margin_{key}": float(value) for key, value in of_margin_alone.items()}
        yield row


def _of_cells(affinity: Affinity, groups: dict[str, Members], of_cells: dict[str, Change]) -> pd.DataFrame:
    """A row per group and cell, groups one after the other, cells row by row."""
    rows, columns = (index.ravel() for index in np.indices(affinity.matrix.shape))
    layers = {"layer_a": np.array(affinity.layers_a)[rows], "layer_b": np.array(affinity.layers_b)[columns]}
    return pd.concat(
        [
            pd.DataFrame(
                {"group": name, "items": len(members), **layers}
                | {key: getattr(of_cells[name], key).ravel() for key in ("change", "random", "random_sd", "z")}
            )
            for name, members in groups.items()
        ],
        ignore_index=True,
    )


def _medians(accounts: pd.DataFrame) -> dict[str, float | None]:
    """Of each account, the median share over cells that are above chance."""
    found = {str(name): rows["share"].median() for name, rows in accounts.groupby("account", sort=False)} if len(accounts) else {}
    return {name: None if pd.isna(share) else float(share) for name, share in found.items()}


def _sentences(table: pd.DataFrame) -> Iterator[str]:
    if "swap_margin_z" not in table or table["swap_margin_z"].isna().all():
        return
    row = table.iloc[int(np.nanargmax(table["swap_margin_z"].abs().to_numpy()))]
    moved = f"{row['swap_margin_change']:+.3f}, as many random items by {row['swap_margin_random']:+.3f}"
    if abs(row["swap_margin_z"]) > _CLEAR:
        yield f"leaving out {row['group']} ({row['items']} items) moves the swap margin by {moved}"
    else:
        yield f"no group of items carries the swap margin: {row['group']} moves it most, by {moved}"


def _sentences_of_accounts(accounts: pd.DataFrame) -> Iterator[str]:
    for name, share in _medians(accounts).items():
        if share is not None:
            yield f"{name} accounts for {share:.0%} of what is above chance, in the median over cells"
