"""Every metric once, for the laws that hold for all of them (test_metrics.py). A new metric is a new row here."""

from dataclasses import dataclass

import numpy as np

from layeratlas import affinity_matrix
from layeratlas.metrics import (
    CKARBF,
    CKNNA,
    CSLS,
    HSIC,
    LCSKNN,
    MEXA,
    PWCCA,
    RSA,
    SVCCA,
    AbstractMetric,
    CCAMean,
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
    EigenspaceOverlap,
    EuclideanNeighbors,
    JaccardKNN,
    LinearRegressionCVAToB,
    LinearRegressionCVBToA,
    MutualKNN,
    PairedCosine,
    PairedCosineCentred,
    PermutationMatch,
    Procrustes,
    ProcrustesAngular,
    ProcrustesCV,
    ProcrustesSizeShape,
    RankKNN,
    RetrievalAt1,
    RetrievalAt1Mutual,
    SecondOrderCosine,
    SoftMatch,
)
from layeratlas.metrics.rdm import CorrelationDistance, CosineDistance, EuclideanDistance, SquaredEuclideanDistance
from layeratlas.metrics.rsa import Cosine, Kendall, Pearson, Spearman, WhitenedCosine


@dataclass(frozen=True)
class Row:
    """A metric and layers that it is defined for: `n` items, of `widths` dimensions on the two sides.

    `tolerance` is what rounding may change in float64; `ordered`: the value depends on the order of the items (folds, batches).
    `needs_structure`: undefined where all dimensions are independent; `needs_items`: where both layers have more dimensions
    together than there are items. `whole`: some items' signature does not follow from that of all. `own_value_set`: a layer's
    value with itself is not what the formula gives (which can be larger) but put in its place.
    """

    metric: AbstractMetric
    n: int = 60
    widths: tuple[int, int] = (12, 8)
    tolerance: float = 1e-12
    ordered: bool = False
    needs_structure: bool = False
    whole: bool = False
    own_value_set: bool = False
    needs_items: bool = False

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
    y = rng.standard_normal((n, d_b)) + rng.standard_normal(d_b) + factor * rng.standard_normal(d_b)
    shared = min(d_a, d_b) // 2
    y[:, :shared] += 2 * x[:, :shared]
    return x, y


def affinity(metric: AbstractMetric, x: np.ndarray, y: np.ndarray) -> float:
    return float(affinity_matrix(metric, [x], [y])[0, 0])


METRICS = [
    Row(MutualKNN(k=5)),
    Row(MutualKNN(k=1)),
    Row(MutualKNN(k=4, nearest=EuclideanNeighbors())),
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
    Row(RSA(CosineDistance(), Spearman())),
    Row(RSA(CorrelationDistance(), Spearman()), n=24),
    Row(RSA(EuclideanDistance(), Spearman())),
    Row(RSA(SquaredEuclideanDistance(), Spearman())),
    Row(RSA(EuclideanDistance(), Pearson())),
    Row(RSA(CosineDistance(), Cosine())),
    Row(RSA(CosineDistance(), WhitenedCosine())),
    Row(RSA(SquaredEuclideanDistance(), WhitenedCosine())),
    Row(RSA(CorrelationDistance(), Kendall()), n=24),
    Row(Procrustes(), n=24),
    Row(ProcrustesAngular(), n=24, tolerance=1e-7),
    Row(ProcrustesSizeShape(), n=24, tolerance=1e-6),
    Row(ProcrustesCV(folds=4), n=24, ordered=True),
    Row(CCAMean(), needs_items=True),
    Row(SVCCA(variance=0.9), needs_items=True),
    Row(PWCCA(), needs_items=True),
    Row(EigenspaceOverlap(), needs_items=True),
    Row(LinearRegressionCVAToB(ridge=0.01, folds=3), ordered=True),
    Row(LinearRegressionCVBToA(ridge=0.01, folds=3), ordered=True),
    Row(PermutationMatch()),
    Row(SoftMatch()),
]


def many_layers(row: Row, seed: int, n: int | None = None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Three layers of a and two of b, all related; of different widths unless the metric needs one space."""
    rng = np.random.default_rng(seed)
    n, (d_a, d_b) = n or row.n, row.widths
    x = rng.standard_normal((n, max(d_a, d_b))) + 2 * rng.standard_normal((n, 1))
    wider = 0 if row.metric.about.same_space else 1
    a = [x[:, :d_a] + s * rng.standard_normal((n, d_a)) for s in (0.1, 1, 3)]
    return a, [x[:, : d_b - wider] + rng.standard_normal((n, d_b - wider)), x[:, :d_b] ** 3]
