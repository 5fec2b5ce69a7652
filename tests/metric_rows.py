"""Every metric once, for the laws that hold for all of them (test_metrics.py). A new metric is a new row here."""

from dataclasses import dataclass, replace

import numpy as np

from layeratlas.metrics import (
    CKARBF,
    CKNNA,
    CSLS,
    HSIC,
    LCSKNN,
    MEXA,
    AbstractMetric,
    CKADepCols,
    CKALinear,
    CKALinearDebiased,
    CKAMinibatch,
    CKARBFDebiased,
    CycleKNN,
    DiffusionNMI,
    DiffusionNMIPublished,
    DistanceCorrelation,
    DistanceCorrelationDebiased,
    JaccardKNN,
    MutualKNN,
    PairedCosine,
    PairedCosineCentred,
    RankKNN,
    RetrievalAt1,
    RetrievalAt1Mutual,
    SecondOrderCosine,
    euclidean_neighbors,
)


@dataclass(frozen=True)
class Row:
    """A metric and layers that it is defined for: `n` items, of `widths` dimensions on the two sides.

    `tolerance` is what rounding may change in float64; `ordered`: the value depends on the order of the items (folds, batches).
    `needs_structure`: undefined where all dimensions are independent. `whole`: some items' signature does not follow from that of
    all. `own_value_set`: a layer's value with itself is not what the formula gives (which can be larger) but put in its place.
    """

    metric: AbstractMetric
    n: int = 60
    widths: tuple[int, int] = (12, 8)
    tolerance: float = 1e-12
    ordered: bool = False
    needs_structure: bool = False
    whole: bool = False
    own_value_set: bool = False

    @property
    def name(self) -> str:
        return f"{self.metric.name}{getattr(self.metric, 'k', '')}"

    def layers(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return related(seed, self.n, *self.widths)


def related(seed: int, n: int = 60, d_a: int = 12, d_b: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Two layers that share half of what they hold; no dimension of either has mean 0, and all are correlated."""
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((n, 1))
    x = rng.standard_normal((n, d_a)) + rng.standard_normal(d_a) + factor * rng.standard_normal(d_a)
    y = rng.standard_normal((n, d_b)) + rng.standard_normal(d_b)
    shared = min(d_a, d_b) // 2
    y[:, :shared] += 2 * x[:, :shared]
    return x, y


METRICS = [
    Row(MutualKNN(k=5)),
    Row(MutualKNN(k=1)),
    Row(JaccardKNN(k=5)),
    Row(CycleKNN(k=3)),
    Row(LCSKNN(k=5)),
    Row(RankKNN(k=5)),
    Row(CKNNA(k=5)),
    Row(SecondOrderCosine(k=5), tolerance=1e-9),
    Row(CKALinear()),
    Row(CKALinearDebiased()),
    Row(CKADepCols(), needs_structure=True),
    Row(CKARBF(bandwidth=0.5), tolerance=1e-10),
    Row(CKARBFDebiased(bandwidth=0.5), tolerance=1e-10),
    Row(HSIC(bandwidth=0.5), tolerance=1e-10),
    Row(CKAMinibatch(batch=20), ordered=True),
    Row(DistanceCorrelation(), tolerance=1e-7),
    Row(DistanceCorrelationDebiased(), tolerance=1e-7),
    Row(DiffusionNMIPublished(sigma=40.0, alpha=0.5, dimensions=2), tolerance=1e-7, own_value_set=True),
    Row(DiffusionNMI(dimensions=2, bandwidth=1.0), tolerance=1e-7, whole=True),
    Row(PairedCosine(), widths=(12, 12)),
    Row(PairedCosineCentred(), widths=(12, 12)),
    Row(RetrievalAt1(), widths=(12, 12)),
    Row(RetrievalAt1Mutual(), widths=(12, 12)),
    Row(MEXA(), widths=(12, 12)),
    Row(CSLS(k=5), widths=(12, 12)),
]
EUCLIDEAN = replace(MutualKNN(k=5), nearest=euclidean_neighbors)
