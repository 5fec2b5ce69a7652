"""A run's matrix beside that of another run of the same layers: what a page needs to show their difference."""

from typing import Any

from layeratlas.errors import ConfigError
from layeratlas.files.inert import inert
from layeratlas.report.page.wording import title_of
from layeratlas.runs.reading import Run

_CORRECTED = ("p_fwer", "p_fdr")


def require_comparable(run: Run, other: Run) -> None:
    """Raises ConfigError unless both are matrices of one metric over layers of the same names."""
    metrics = [one.result["metric"]["name"] for one in (run, other)]
    if metrics[0] != metrics[1]:
        raise ConfigError(
            f"against={other.folder}: its metric is {metrics[1]}, and that of {run.folder} {metrics[0]}; expected the same"
        )
    for side in "ab":
        layers, others = (one.arrays[f"layers_{side}"].tolist() for one in (run, other))
        if layers != others:
            shown = [f"{len(names)} layers ({names[0]} to {names[-1]})" for names in (others, layers)]
            raise ConfigError(
                f"against={other.folder}: its side {side} has {shown[0]}, that of {run.folder} {shown[1]}; expected the same"
            )


def difference_of(run: Run, other: Run) -> dict[str, Any]:
    """The other run's matrix and corrected p, cell by cell, and what to call it."""
    require_comparable(run, other)
    result = other.result
    names = [f"{title_of(result)}, {result['dataset']['name']}"]
    if names[0] == f"{title_of(run.result)}, {run.result['dataset']['name']}":
        names.append(f"in {other.folder.name}")
    return {
        "name": inert(" ".join(names)),
        "affinity": other.arrays["affinity"].astype("f8").ravel(),
        **{name: other.arrays[name].astype("f8").ravel() for name in _CORRECTED if name in other.arrays},
    }
