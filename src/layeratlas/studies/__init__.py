"""Studies: what is asked of a sweep, one question each, from saved files.

One that computes anew takes torch, which takes seconds to import, and is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from layeratlas.studies.agreement import Agreements as Agreements
from layeratlas.studies.base import AbstractStudy as AbstractStudy
from layeratlas.studies.conditions import Conditions as Conditions
from layeratlas.studies.controls import Controls as Controls
from layeratlas.studies.depth import Depth as Depth
from layeratlas.studies.interventions import Interventions as Interventions
from layeratlas.studies.joint import Joint as Joint
from layeratlas.studies.languages import Languages as Languages
from layeratlas.studies.phases import PhasesOverModels as PhasesOverModels
from layeratlas.studies.redundancy import Redundancy as Redundancy
from layeratlas.studies.sweep import Sweep as Sweep
from layeratlas.studies.sweep import sweep_of as sweep_of
from layeratlas.studies.variants import Variants as Variants

if TYPE_CHECKING:
    from layeratlas.studies.subspace import LanguageSubspaces as LanguageSubspaces


def __getattr__(name: str) -> Any:
    if name != "LanguageSubspaces":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from layeratlas.studies.subspace import LanguageSubspaces

    return LanguageSubspaces
