"""What a finished run was computed from, for studies that have to compute again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layeratlas.errors import ConfigError
from layeratlas.runs.reading import Run

if TYPE_CHECKING:  # torch takes seconds to import, and studies that read files alone need none
    from layeratlas.affinity.signatures import Signer
    from layeratlas.arrays import Activations


@dataclass(frozen=True)
class Opened:
    """Both sides' vectors at the layers of the run's matrix, and what makes signatures. `b is a` where both sides are the same."""

    a: Activations
    b: Activations
    signer: Signer


Opener = Callable[[Run], Opened]


def unopened(run: Run) -> Opened:
    """The opener of a sweep that was put together from files alone."""
    raise ConfigError(f"{run.folder}: its vectors are read from the store by stage=summarize alone")
