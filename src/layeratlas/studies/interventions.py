"""What does it cost a model's likelihood of texts to have its residual stream edited, or blocks skipped?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from layeratlas.errors import ConfigError
from layeratlas.findings import Findings
from layeratlas.options import Fraction, Positive, Repetitions, Seed
from layeratlas.statistics.control_draws import against_draws, pooled_against_draws
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.edited_runs import EditedRun, edited_runs, t_interval
from layeratlas.studies.sweep import Sweep

# What edits share that are compared with draws of a control: all but the file, and all but the file and the place.
_OVER_PLACES = ["model", "dataset", "language", "control", "positions"]
_AT_A_PLACE = [*_OVER_PLACES, "blocks"]
_THIRDS = ("first third", "middle third", "last third")
# Draws as large as the edit (of its rank, or as long as a shift), and draws that hold as much energy.
_AGAINST = {"size": "", "energy": "energy_"}


@dataclass(frozen=True, kw_only=True)
class Interventions(AbstractStudy):
    """Negative log-likelihood per token of an edited model minus that of the same model unedited, on the same texts.

    Reads runs with `extract.nll=true` in which one side is the other one edited. `interventions` has a row per run: `value` in nats
    per token, the mean over items, with the t interval of paired differences (items are a sample of texts); `p` against the
    draws of a control of the same rank (of the same length, for a shift) at the same blocks, positions and texts, `energy_p`
    against draws of the same energy. Which files are draws of what, their headers say (see the analysis `edits`); of files without
    one, those whose name matches `random`.

    `interventions_pooled` has a row per edit and kind of control: the mean over its places, and `p` by choosing one of the edit and
    the draws at each place. `interventions_depths`: the mean over the blocks of each third of the model, with the t interval over
    items. `interventions_downstream`: what the edit does to the layers from its own on, where a sweep edits texts of two languages
    alike: how many translations are nearest, and how often a linear probe (on `folds` - 1 of the parts of the items, judged
    on the other) tells the languages; read from the store.
    """

    random: str
    level: Fraction
    reorders: Repetitions
    least_items: Positive
    folds: Positive
    seed: Seed

    def __call__(self, sweep: Sweep) -> Findings | None:
        runs = edited_runs(sweep.runs, self.random)
        if not runs:
            return None
        scored = [edited for edited in runs if edited.scored]
        silent = len(runs) - len(scored)
        warnings = [f"{silent} runs of an edited model hold no likelihoods; extract.nll=true keeps them"] if silent else []
        if not scored:
            return Findings(numbers={"edits": 0}, warnings=warnings)
        table = pd.DataFrame([self._row(edited) for edited in scored])
        table = self._against_draws(table)
        warnings += _namesakes(scored)
        parts = {"pooled": pd.DataFrame(self._pooled(table)), "depths": pd.DataFrame(self._depths(scored, table))}
        try:
            parts["downstream"] = self._downstream(sweep, scored)
        except ConfigError as error:
            warnings.append(f"nothing is said of the layers after an edit: {error}")
        parts = {name: part for name, part in parts.items() if len(part)}
        return Findings(
            table,
            parts=parts,
            numbers={"edits": int((~table["is_control"]).sum()), "controls": int(table["is_control"].sum())},
            sentences=list(_sentences(table, parts)),
            warnings=warnings,
        )

    def _row(self, edited: EditedRun) -> dict[str, Any]:
        change = edited.change
        return edited.row | {"items": int(np.isfinite(change).sum())} | t_interval(change, self.level, self.least_items)

    def _against_draws(self, table: pd.DataFrame) -> pd.DataFrame:
        found = {f"{prefix}{column}": np.full(len(table), np.nan) for prefix in _AGAINST.values() for column in ("draws", "p")}
        for _, rows in table.groupby(_AT_A_PLACE, sort=False):
            for place in rows.index[~rows["is_control"]].tolist():
                own = table.loc[place]
                for against, prefix in _AGAINST.items():
                    draws = _draws(own, rows, against)
                    found[f"{prefix}draws"][place] = len(draws)
                    if len(draws):
                        found[f"{prefix}p"][place] = against_draws(float(own["value"]), draws)
        for prefix in _AGAINST.values():
            counts = np.nan_to_num(found[f"{prefix}draws"])
            found[f"{prefix}draws"] = counts.astype(int)
            found[f"{prefix}attainable_p"] = np.where(counts > 0, 1 / (counts + 1), np.nan)
        return table.assign(**found)

    def _pooled(self, table: pd.DataFrame) -> Iterator[dict[str, Any]]:
        for shared, rows in table.groupby(_OVER_PLACES, sort=False):
            for edit, own in rows[~rows["is_control"]].groupby("edit", sort=False):
                for against in _AGAINST:
                    draws = [_draws(one, rows[rows["blocks"] == one["blocks"]], against) for _, one in own.iterrows()]
                    fewest = min(map(len, draws))
                    if len(own) < 2 or not fewest:
                        continue
                    values, equal = own["value"].to_numpy(float), np.stack([of_place[:fewest] for of_place in draws])
                    yield dict(zip(_OVER_PLACES, shared, strict=True)) | {  # type: ignore[arg-type]
                        "edit": edit,
                        "against": against,
                        "places": len(own),
                        "draws": fewest,
                        "value": float(values.mean()),
                        "of_draws": float(equal.mean()),
                        "p": pooled_against_draws(values, equal, self.reorders, np.random.default_rng(self.seed)),
                    }

    def _depths(self, scored: Sequence[EditedRun], table: pd.DataFrame) -> Iterator[dict[str, Any]]:
        """Each edit over the places of each third of the model, beside its draws at these places."""
        placed = table[table["depth"].notna()]
        third = np.minimum((placed["depth"].to_numpy(float) * 3 - 1e-9).astype(int), 2)
        for shared, rows in placed.assign(third=third).groupby([*_OVER_PLACES, "edit", "third"], sort=False):
            if rows["is_control"].iloc[0]:
                continue
            labels: dict[str, Any] = dict(zip([*_OVER_PLACES, "edit", "third"], shared, strict=True))  # type: ignore[arg-type]
            change = np.nanmean([scored[place].change for place in rows.index.tolist()], axis=0)
            row = labels | {"third": _THIRDS[labels["third"]], "blocks": " ".join(rows["blocks"]), "places": len(rows)}
            row |= t_interval(change, self.level, self.least_items)
            alike = table[(table[_OVER_PLACES] == rows[_OVER_PLACES].iloc[0]).all(axis=1)]
            for against, prefix in _AGAINST.items():
                draws = [_draws(one, alike[alike["blocks"] == one["blocks"]], against) for _, one in rows.iterrows()]
                row[f"{prefix}of_draws"] = float(np.mean([of.mean() for of in draws])) if all(map(len, draws)) else np.nan
            yield row

    def _downstream(self, sweep: Sweep, scored: Sequence[EditedRun]) -> pd.DataFrame:
        from layeratlas.studies.interventions_downstream import downstream  # torch takes seconds to import

        return downstream(sweep, scored, folds=self.folds, level=self.level, least=self.least_items)


def _namesakes(scored: Sequence[EditedRun]) -> Iterator[str]:
    """Edits of one name that come from different files."""
    files: dict[str, set[str]] = {}
    for edited in scored:
        if "sha256" in edited.header:
            files.setdefault(edited.what, set()).add(edited.header["sha256"])
    for what, hashes in files.items():
        if len(hashes) > 1:
            yield f"{what}: runs of {len(hashes)} different files of this name are read as one edit; one was written anew"


def _draws(own: pd.Series, at_its_place: pd.DataFrame, against: str) -> np.ndarray:
    """The costs of the draws that stand beside an edit: of its own name, or of its rank."""
    controls = at_its_place[at_its_place["is_control"]]
    matched = controls["matched"].isin(["energy"] if against == "energy" else ["rank", "length"])
    named = controls["control_of"].notna()
    beside = np.where(named, controls["control_of"] == own["edit"], _same_rank(controls["rank"], own["rank"]))
    return controls.loc[matched & beside, "value"].to_numpy(float)


def _same_rank(ranks: pd.Series, rank: Any) -> pd.Series:
    """Files that do not say their rank are taken for equal."""
    return (ranks == rank) | ranks.isna() | pd.isna(rank)


def _sentences(table: pd.DataFrame, parts: dict[str, pd.DataFrame]) -> Iterator[str]:
    own = table[~table["is_control"]]
    for (model, language, edit), rows in own.groupby(["model", "language", "edit"], sort=False):
        most = rows.iloc[int(rows["value"].to_numpy(float).argmax())]
        yield (
            f"{model}, {language}: {edit} costs {rows['value'].mean():.3f} nats per token over {len(rows)} places, most at blocks"
            f" {most['blocks']} ({most['value']:.3f}, {most['ci_low']:.3f} to {most['ci_high']:.3f})"
        )
    for row in parts["pooled"].itertuples() if "pooled" in parts else ():
        beside = "as large" if row.against == "size" else "of the same energy"
        yield (
            f"{row.model}, {row.language}: {row.edit} costs {row.value:.3f} over {row.places} places, random directions {beside}"
            f" {row.of_draws:.3f} ({row.draws} draws); p = {row.p:.3g}"
        )
    for row in parts["depths"].itertuples() if "depths" in parts else ():
        held = f"{row.value:.3f} ({row.ci_low:.3f} to {row.ci_high:.3f})"
        yield f"{row.model}, {row.language}: {row.edit} in the {row.third} costs {held}"
