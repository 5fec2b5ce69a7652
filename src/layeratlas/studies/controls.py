"""Does the depth correspondence bear on content: is it larger for texts than for their controls?"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from layeratlas.findings import Findings
from layeratlas.studies.base import AbstractStudy
from layeratlas.studies.families import corrected_over
from layeratlas.studies.sweep import Sweep
from layeratlas.studies.two_runs import compare_runs

_SIDES = ["model_a", "model_b", "language_a", "language_b"]
_CALLED = {"first": "text_value", "second": "control_value", "value": "difference"}


@dataclass(frozen=True, kw_only=True)
class Controls(AbstractStudy):
    """The swap margin of each run on texts minus that of the run that differs from it in nothing but a control.

    A control is what `control=` does to the texts, and each dataset of `datasets`, such as random strings, that any text of the
    sweep is compared with. `controls` has a row per pair of runs and statistic (see `two_runs.Agreement`): both values, their
    difference with interval and p, `p_holm` over the depths of a curve, `p_holm_pairs` over the pairs of sides of one control.
    A noisier source has the smaller margin, so that a small difference from a noisy control is no evidence.
    """

    datasets: Sequence[str]

    def __call__(self, sweep: Sweep) -> Findings | None:
        names = [self._control(run.result["dataset"]) for run in sweep.runs]
        if not any(names):
            return None
        parts, warnings = [], []
        for place, name in enumerate(names):
            if name is None:
                continue
            texts = [i for i in range(len(sweep)) if names[i] is None and self._alike(sweep, i, place)]
            if not texts:
                job = sweep.table["job"][place]
                warnings.append(f"job {job} ({name}): no run of the sweep differs from it in the control alone")
            for i in texts:
                found = compare_runs(sweep.runs[i], sweep.runs[place], draws=0)
                labels = {"control": name, "job_text": sweep.table["job"][i], "job_control": sweep.table["job"][place]}
                labels |= {"dataset": sweep.table["dataset"][i], "metric": sweep.table["metric"][i]}
                labels |= {side: sweep.table[side][i] for side in ("side_a", "side_b", *_SIDES)}
                if found.differences is None:
                    warnings.append(f"jobs {labels['job_text']} and {labels['job_control']} ({name}): {found.reason}")
                else:
                    parts.append(found.differences.rename(columns=_CALLED).assign(items=found.items, **labels))
        if not parts:
            return Findings(numbers={"pairs": 0}, warnings=warnings)
        table = pd.concat(parts, ignore_index=True)
        whole = table["depth"].isna()
        table["p_holm_pairs"] = corrected_over(table[whole], "p", ["control", "dataset", "metric", "statistic"])
        return Findings(table, numbers=_numbers(table), sentences=list(_sentences(table)), warnings=warnings)

    def _control(self, dataset: dict[str, Any]) -> str | None:
        return dataset["control"] or (dataset["corpus"] if dataset["corpus"] in self.datasets else None)

    def _alike(self, sweep: Sweep, text: int, control: int) -> bool:
        """Whether two runs differ in the control alone; of another dataset, in the dataset alone."""
        other_dataset = sweep.runs[control].result["dataset"]["control"] is None
        first, second = (self._key(sweep, place, dataset=not other_dataset) for place in (text, control))
        return first == second

    def _key(self, sweep: Sweep, place: int, *, dataset: bool) -> str:
        row, result = sweep.table.iloc[place], sweep.runs[place].result
        settings = {key: value for key, value in result["settings"].items() if key not in ("control", "dataset")}
        key = [*row[[*_SIDES, "pooling", "metric"]], result["metric"]["k"], settings]
        texts = [result["dataset"]["corpus"], result["settings"].get("dataset"), row["field_a"], row["field_b"]]
        return json.dumps([*key, *(texts if dataset else [])], sort_keys=True)


def _margins(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    of_margin = table[table["statistic"] == "swap_margin"]
    for name, rows in of_margin.groupby("control", sort=False):
        yield str(name), rows


def _numbers(table: pd.DataFrame) -> dict[str, Any]:
    return {
        name: {
            "pairs": len(rows),
            "text_above": int((rows["ci_low"] > 0).sum()),
            "control_above": int((rows["ci_high"] < 0).sum()),
            "mean_difference": float(rows["difference"].mean()),
        }
        for name, rows in _margins(table)
    }


def _sentences(table: pd.DataFrame) -> Iterator[str]:
    for name, rows in _margins(table):
        above, below = (rows["ci_low"] > 0).sum(), (rows["ci_high"] < 0).sum()
        yield (
            f"against {name}: the swap margin is larger for the texts in {above} of {len(rows)} pairs of sides, smaller in {below},"
            f" by interval; {rows['difference'].mean():z.3f} on average"
        )
