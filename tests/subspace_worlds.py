"""The analysis `subspace` as its YAML file makes it, for made-up worlds."""

from meeting_worlds import World, inferring

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


def beyond_chance(seed: int) -> dict[str, bool]:
    """In a world without alignment, difference of languages or of groups: which 95 % intervals leave out chance."""
    world = World(strengths=(0.0,), n=60, offset=0.0, own=0.0)
    found = small(metrics=[RetrievalAt1(), PairedCosine()], folds=5, draws=0)(world.comparison(seed, inferring(0, 20)))
    rows = found.table.to_dict("records")
    rows += [row | {"statistic": f"{row['trained']} to {row['tested']}"} for row in found.parts["transfer"].to_dict("records")]
    return {
        f"{row['statistic']}, {row['removal']}": row["ci_low"] > row["chance"] or row["ci_high"] < row["chance"]
        for row in rows
        if row["removal"] in ("none", "least_squares")
    }
