"""What can be taken out of a model's residual stream, or added to it, as files that `model.edit` reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Interval

from layeratlas.analyses.base import AbstractAnalysis, Comparison, Findings, RunNeeds
from layeratlas.analyses.edit_files import EditFiles, edit_files
from layeratlas.errors import ConfigError, Undefined
from layeratlas.metrics import AbstractMetric
from layeratlas.options import Seed
from layeratlas.statistics.removals import AbstractRemoval, BetweenLanguages


@dataclass(frozen=True, kw_only=True)
class Edits(AbstractAnalysis):
    """A file for each of `removals`, for the shift from each language to the other, and for `draws` random controls of each.

    Controls of a removal are random directions in which items of one language differ: of the same rank, weighted by their variance;
    and of the same energy E|A B'(h - m)|^2, which may take more of them, or a part of one. Those of a shift are
    random shifts of the same length. All is fitted on all items of the run, which are listed in each file: a run whose texts are
    edited by it must have others, or is refused. Vectors are read as extracted: `normalization=` is not applied.

    Energies are of pooled vectors, while an edit is of tokens: with a pooling that reads one token these are vectors of tokens.
    """

    removals: Sequence[AbstractRemoval]
    draws: Annotated[int, Interval(ge=5, le=1000)]
    seed: Seed

    @property
    def needs(self) -> RunNeeds:
        return RunNeeds(one_space=True, two_texts=True)

    def require(self, metric: AbstractMetric, n: int) -> None:
        del metric, n
        kinds = [(removal.name, removal.rank_of(2)) for removal in self.removals]
        if len(set(kinds)) < max(1, len(kinds)):
            raise ConfigError("analysis.edits.removals: expected one or more, each once")
        if any(isinstance(removal, BetweenLanguages) and removal.rank > 1 for removal in self.removals):
            raise ConfigError("analysis.edits.removals: two languages differ in one direction; BetweenLanguages expects rank: 1")

    def __call__(self, comparison: Comparison) -> Findings:
        if comparison.a.names != comparison.b.names:
            raise Undefined("it edits the same layers of both sides, and the sides have different layers")
        files = edit_files(comparison, self.removals, comparison.a.names, self.draws, self.seed, controls=True)
        table = pd.DataFrame(files.rows())
        return Findings(
            table,
            numbers={"files": len(files.made), "undefined": files.undefined},
            sentences=list(_sentences(table)),
            warnings=list(_warnings(files)),
            tensors=files.tensors(),
        )


def _sentences(table: pd.DataFrame) -> Iterator[str]:
    """How large each edit is beside random directions of its rank, over layers."""
    own = table[table["matched"].isna()]
    random = table[table["matched"] == "rank"].groupby(["rank", "layer"])["energy"].mean()
    for edit, rows in own[own["rank"] > 0].groupby("edit", sort=False):
        beside = [random.get((rank, layer), np.nan) for rank, layer in zip(rows["rank"], rows["layer"], strict=True)]
        ratio = rows["energy"].to_numpy(float) / np.array(beside)
        yield (
            f"{edit} moves vectors {np.median(ratio):.2g} times as far (in squares, median over layers) as random directions of its"
            f" rank, from {ratio.min():.2g} to {ratio.max():.2g}"
        )


def _warnings(files: EditFiles) -> Iterator[str]:
    """One line for each kind of control: at which layers some draw is missing, and why at the first of them."""
    by_kind: dict[str, dict[str, str]] = {}
    for control, layers in files.undefined.items():
        by_kind.setdefault(control.rpartition("_draw_")[0], {}).update(layers)
    for kind, layers in by_kind.items():
        yield f"edits: there is no {kind} at {', '.join(layers)} ({next(iter(layers.values()))})"
