"""The analysis `subspace` as its YAML file makes it, for made-up worlds."""

from layeratlas.analyses import Subspace
from layeratlas.metrics import MEXA, PairedCosine, PairedCosineCentred, RetrievalAt1
from layeratlas.statistics.removals import BetweenLanguages, Centring, LanguageMeans, LeadingComponents, LeastSquares

REMOVALS = (LeastSquares(), LanguageMeans(), BetweenLanguages(rank=1), LeadingComponents(rank=1), Centring())
METRICS = (RetrievalAt1(), MEXA(), PairedCosine(), PairedCosineCentred())


def subspace(**options) -> Subspace:
    defaults = {"removals": list(REMOVALS), "metrics": list(METRICS), "folds": 5, "draws": 5, "bases": False, "seed": 0}
    return Subspace(**(defaults | options))


def small(**options) -> Subspace:
    """Least squares and retrieval alone, in four folds."""
    return subspace(**({"removals": [LeastSquares()], "metrics": [RetrievalAt1()], "folds": 4} | options))
