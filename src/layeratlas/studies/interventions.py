"""What does it cost a model's likelihood of texts to have its residual stream edited, or blocks skipped?"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from layeratlas.findings import Findings
from layeratlas.options import Fraction, Positive, Repetitions, Seed
from layeratlas.runs.reading import Run
from layeratlas.statistics.control_draws import against_draws, pooled_against_draws
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.sweep import Sweep

_EDIT = ("edit", "edit_blocks", "edit_positions", "skip_blocks")
_NLL = "nll_per_token"
# What the edits share that are compared with draws of a control: all but the file, and all but the file and the place.
_OVER_PLACES = ["model", "dataset", "language", "control", "positions"]
_AT_A_PLACE = [*_OVER_PLACES, "blocks"]


@dataclass(frozen=True, kw_only=True)
class Interventions(AbstractStudy):
    """Negative log-likelihood per token of an edited model minus that of the same model unedited, on the same texts.

    Reads runs with `extract.nll=true` in which one side is the other one edited. `interventions` has a row per run: `value` in nats
    per token, the mean over items, with the t interval of paired differences (items are a sample of texts); `p` against the
    draws of a control at the same blocks, positions and texts: edits whose file matches `random`. `interventions_pooled` has a
    row per file: the mean over its places, and `p` by choosing one of the edit and the draws at each place. A sweep should hold
    draws of the rank of its edits and of no other: they are not told apart by rank.
    """

    random: str
    level: Fraction
    reorders: Repetitions
    least_items: Positive
    seed: Seed

    def __call__(self, sweep: Sweep) -> Findings | None:
        told = [(run, edited) for run in sweep.runs if (edited := _edited_side(run))]
        if not told:
            return None
        with_scores = [(run, side) for run, side in told if f"{_NLL}_{side}" in run.table("items")]
        silent = len(told) - len(with_scores)
        warnings = [f"{silent} runs of an edited model hold no likelihoods; extract.nll=true keeps them"] if silent else []
        if not with_scores:
            return Findings(numbers={"edits": 0}, warnings=warnings)
        table = pd.DataFrame([self._row(run, side) for run, side in with_scores])
        table = self._against_draws(table)
        pooled = pd.DataFrame(self._pooled(table))
        return Findings(
            table,
            parts={"pooled": pooled} if len(pooled) else {},
            numbers={"edits": int((~table["is_control"]).sum()), "controls": int(table["is_control"].sum())},
            sentences=list(_sentences(table, pooled)),
            warnings=warnings,
        )

    def _row(self, run: Run, side: str) -> dict[str, Any]:
        items = run.table("items")
        change = (items[f"{_NLL}_{side}"] - items[f"{_NLL}_{'b' if side == 'a' else 'a'}"]).to_numpy(float)
        change = change[np.isfinite(change)]
        n, model = len(change), _model(run, side)
        spread = stats.t.ppf((1 + self.level) / 2, n - 1) * change.std(ddof=1) / np.sqrt(n) if n >= self.least_items else np.nan
        edit = PurePath(model["edit"]).stem if model.get("edit") else "skipped"
        return {
            "job": run.folder.name,
            "model": _plain_name(model),
            "dataset": run.result["dataset"]["name"],
            "language": run.result[side]["language"],
            "control": run.result[side]["control"] or "",
            "edit": edit,
            "is_control": bool(model.get("edit") and re.search(self.random, edit)),
            "blocks": _written(model.get("edit_blocks") if model.get("edit") else model.get("skip_blocks")),
            "positions": model.get("edit_positions", "all") if model.get("edit") else "",
            "items": n,
            "value": float(change.mean()) if n else np.nan,
            "ci_low": float(change.mean() - spread) if n else np.nan,
            "ci_high": float(change.mean() + spread) if n else np.nan,
        }

    def _against_draws(self, table: pd.DataFrame) -> pd.DataFrame:
        ps, counts = pd.Series(np.nan, table.index), pd.Series(0, table.index)
        for _, rows in table.groupby(_AT_A_PLACE, sort=False):
            draws = rows.loc[rows["is_control"], "value"].to_numpy(float)
            own = rows[~rows["is_control"]]
            counts[own.index] = len(draws)
            if len(draws):
                ps[own.index] = np.array([against_draws(value, draws) for value in own["value"].tolist()])
        attainable = 1 / (counts + 1)
        return table.assign(draws=counts, p=ps, attainable_p=attainable.where(counts > 0))

    def _pooled(self, table: pd.DataFrame) -> Iterator[dict[str, Any]]:
        for shared, rows in table.groupby(_OVER_PLACES, sort=False):
            controls = rows[rows["is_control"]]
            for edit, own in rows[~rows["is_control"]].groupby("edit", sort=False):
                draws = [controls.loc[controls["blocks"] == blocks, "value"].to_numpy(float) for blocks in own["blocks"]]
                fewest = min(map(len, draws))
                if len(own) < 2 or not fewest:
                    continue
                values = own["value"].to_numpy(float)
                equal = np.stack([of_place[:fewest] for of_place in draws])
                generator = np.random.default_rng(self.seed)
                told = dict(zip(_OVER_PLACES, shared, strict=True))  # type: ignore[arg-type]
                yield told | {
                    "edit": edit,
                    "places": len(own),
                    "draws": fewest,
                    "value": float(values.mean()),
                    "of_draws": float(equal.mean()),
                    "p": pooled_against_draws(values, equal, self.reorders, generator),
                }


def _model(run: Run, side: str) -> dict[str, Any]:
    return run.result["provenance"]["config"][f"model_{side}"]


def _edited_side(run: Run) -> str | None:
    """The side whose model is the other one's with an edit or without some blocks, if both read the same texts."""
    models = {side: _model(run, side) for side in "ab"}
    without = [{key: value for key, value in model.items() if key not in _EDIT} for model in models.values()]
    if without[0] != without[1] or not run.result["dataset"]["same_texts"]:
        return None
    changed = [side for side, model in models.items() if model.get("edit") or model.get("skip_blocks")]
    return changed[0] if len(changed) == 1 else None


def _plain_name(model: dict[str, Any]) -> str:
    return str(model["id"]).rstrip("/").rsplit("/", 1)[-1]


def _written(blocks: Any) -> str:
    return "all" if blocks is None else ",".join(map(str, sorted(set(blocks))))


def _sentences(table: pd.DataFrame, pooled: pd.DataFrame) -> Iterator[str]:
    own = table[~table["is_control"]]
    for (model, language, edit), rows in own.groupby(["model", "language", "edit"], sort=False):
        most = rows.iloc[int(rows["value"].to_numpy(float).argmax())]
        yield (
            f"{model}, {language}: {edit} costs {rows['value'].mean():.3f} nats per token over {len(rows)} places, most at blocks"
            f" {most['blocks']} ({most['value']:.3f}, {most['ci_low']:.3f} to {most['ci_high']:.3f})"
        )
    for row in pooled.itertuples():
        yield (
            f"{row.model}, {row.language}: {row.edit} costs {row.value:.3f} over {row.places} places, random directions"
            f" {row.of_draws:.3f} ({row.draws} draws); p = {row.p:.3g}"
        )
