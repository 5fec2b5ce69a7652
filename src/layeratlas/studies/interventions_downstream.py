"""What an edit does to the layers from its own on: do translations still find each other, and is the language still read off?"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from layeratlas.affinity.matched import LayerPair
from layeratlas.errors import Undefined
from layeratlas.metrics import RetrievalAt1
from layeratlas.statistics.linear_probe import fitted
from layeratlas.statistics.removals.base import Languages
from layeratlas.studies.edited_runs import EditedRun, t_interval
from layeratlas.studies.sweep import Sweep

PerItem = Float[np.ndarray, " n"]
Scores = dict[str, PerItem]
_ALIKE = ["model", "dataset", "control", "edit", "blocks", "positions"]
_DRAWS = ["model", "dataset", "control", "languages", "blocks", "positions", "layer", "statistic"]


def downstream(sweep: Sweep, edited: Sequence[EditedRun], *, folds: int, level: float, least: int) -> pd.DataFrame:
    """A row per edit, pair of languages, statistic and layer from the edited block on: before, after, change with its t interval.

    `of_draws`, `draws_low` and `draws_high` are the change's mean and range over random draws of the same rank at the same place.
    Raises ConfigError where the vectors are not in the store.
    """
    before: dict[tuple, Scores | None] = {}
    rows = []
    table = pd.DataFrame([one.row for one in edited])
    for _, alike in table.groupby(_ALIKE, sort=False):
        for i, j in combinations(alike.index, 2):
            first, second = edited[i], edited[j]
            languages = sorted({one.row["language"] for one in (first, second)})
            if first.blocks is None or not first.is_edit or len(languages) < 2 or _ids(first) != _ids(second):
                continue
            labels = {key: first.row[key] for key in (*_ALIKE, "matched")} | {"languages": "-".join(languages)}
            rows += [labels | row for row in _rows(sweep, first, second, before, folds, level, least)]
    found = pd.DataFrame(rows)
    return _beside_draws(found) if len(found) else found


def _ids(edited: EditedRun) -> list[str]:
    return edited.run.table("items")["id"].tolist()


def _rows(
    sweep: Sweep, first: EditedRun, second: EditedRun, before: dict[tuple, Scores | None], folds: int, level: float, least: int
) -> Iterator[dict[str, Any]]:
    opened = [sweep.opener(one.run) for one in (first, second)]
    sides = [(getattr(each, one.side), getattr(each, one.other)) for each, one in zip(opened, (first, second), strict=True)]
    assert first.blocks is not None
    for layer, depth in zip(sides[0][0].names, sides[0][0].depths, strict=True):
        if not depth >= first.depth:
            continue
        plain = (*(side[1].source for side in sides), layer)
        if plain not in before:
            before[plain] = _scores(torch.stack([side[1].layers[layer] for side in sides]).double(), folds)
        after = _scores(torch.stack([side[0].layers[layer] for side in sides]).double(), folds)
        unchanged = before[plain]
        if after is None or unchanged is None:
            continue
        for statistic, scores in after.items():
            change = t_interval(scores - unchanged[statistic], level, least)
            yield {
                "layer": layer,
                "depth": depth,
                "statistic": statistic,
                "before": float(unchanged[statistic].mean()),
                "after": float(scores.mean()),
                "change": change["value"],
                "ci_low": change["ci_low"],
                "ci_high": change["ci_high"],
            }


def _scores(x: Languages, folds: int) -> Scores | None:
    """Of each item: whether its translation is the nearest, and how often a probe that never saw it tells its languages."""
    try:
        retrieval = LayerPair(*x).of(RetrievalAt1()).scores
        assert retrieval is not None
        return {"retrieval_at_1": retrieval, "language_probe": _probe(x, folds)}
    except Undefined:  # one vector for all items, which says nothing of any
        return None


def _probe(x: Languages, folds: int) -> PerItem:
    languages, n, d = x.shape
    scores, part = np.empty(n), np.arange(n) % folds
    for fold in range(min(folds, n)):
        train, test = torch.from_numpy(part != fold), torch.from_numpy(part == fold)
        learnt = x[:, train]
        labels = torch.arange(languages).repeat_interleave(learnt.shape[1])
        probe = fitted(learnt.reshape(-1, d), labels, languages)
        credits = [probe.credits(side, torch.full((len(side),), i)) for i, side in enumerate(x[:, test])]
        scores[part == fold] = torch.stack(credits).mean(dim=0).numpy()
    return scores


def _beside_draws(found: pd.DataFrame) -> pd.DataFrame:
    draws = (
        found[found["matched"].isin(["rank", "length"])].groupby(_DRAWS, sort=False)["change"].agg(["count", "mean", "min", "max"])
    )
    draws.columns = ["draws", "of_draws", "draws_low", "draws_high"]
    return found.merge(draws.reset_index(), on=_DRAWS, how="left")
