"""What it costs a model on some texts to do without single blocks, and which runs compare the model with itself on these."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from layeratlas.runs.reading import Run
from layeratlas.studies.edited_runs import SKIPPED, EditedRun, edited_runs, model_of, unedited
from layeratlas.studies.sweep import Sweep


@dataclass(frozen=True)
class Costs:
    """All runs of one model and one set of texts in which blocks are skipped or edited."""

    key: str
    runs: Sequence[EditedRun]

    @property
    def labels(self) -> dict[str, Any]:
        row = self.runs[0].row
        return {column: row[column] for column in ("model", "dataset", "language", "control")}

    @property
    def name(self) -> str:
        return " ".join(str(value) for value in self.labels.values() if value)

    @property
    def ids(self) -> list[str]:
        return self.runs[0].run.table("items")["id"].tolist()

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys([SKIPPED, *(run.what for run in self.runs)]))

    def single(self, what: str) -> dict[int, EditedRun]:
        """The runs of one kind that change one block, by its number."""
        own = [run for run in self.runs if run.what == what and len(run.blocks or []) == 1]
        return {(run.blocks or [0])[0]: run for run in own}


def texts_key(run: Run, side: str) -> str:
    one = run.result[side]
    parts = [unedited(model_of(run, side)), run.result["dataset"]["fingerprint"], one["language"], one["control"]]
    return json.dumps(parts, sort_keys=True)


def key_of(run: Run) -> str | None:
    """That of the costs which a run of a model with itself belongs to."""
    models = [model_of(run, side) for side in "ab"]
    if models[0] != models[1] or models[0].get("edit") or models[0].get("skip_blocks") or not run.result["dataset"]["same_texts"]:
        return None
    return texts_key(run, "a")


def block_costs(sweep: Sweep) -> Iterator[Costs]:
    """Of each model and set of texts of which some run skips one block alone."""
    by_key: dict[str, list[EditedRun]] = {}
    for edited in edited_runs(sweep.runs, "random_directions"):
        if edited.scored and edited.blocks and edited.matched is None:
            by_key.setdefault(texts_key(edited.run, edited.side), []).append(edited)
    for key, runs in by_key.items():
        if any(not run.is_edit and len(run.blocks or []) == 1 for run in runs):
            yield Costs(key, runs)
