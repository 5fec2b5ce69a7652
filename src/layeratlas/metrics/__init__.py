"""Metrics: similarities of layers, one class each."""

from layeratlas.metrics.base import INVARIANCES as INVARIANCES
from layeratlas.metrics.base import About as About
from layeratlas.metrics.base import AbstractMetric as AbstractMetric
from layeratlas.metrics.base import Chance as Chance
from layeratlas.metrics.kernels import CKARBF as CKARBF
from layeratlas.metrics.kernels import HSIC as HSIC
from layeratlas.metrics.kernels import CKADepCols as CKADepCols
from layeratlas.metrics.kernels import CKALinear as CKALinear
from layeratlas.metrics.kernels import CKALinearDebiased as CKALinearDebiased
from layeratlas.metrics.kernels import CKAMinibatch as CKAMinibatch
from layeratlas.metrics.kernels import CKARBFDebiased as CKARBFDebiased
from layeratlas.metrics.kernels import DistanceCorrelation as DistanceCorrelation
from layeratlas.metrics.kernels import DistanceCorrelationDebiased as DistanceCorrelationDebiased
from layeratlas.metrics.neighbors import CKNNA as CKNNA
from layeratlas.metrics.neighbors import LCSKNN as LCSKNN
from layeratlas.metrics.neighbors import AbstractNeighborMetric as AbstractNeighborMetric
from layeratlas.metrics.neighbors import CycleKNN as CycleKNN
from layeratlas.metrics.neighbors import JaccardKNN as JaccardKNN
from layeratlas.metrics.neighbors import MutualKNN as MutualKNN
from layeratlas.metrics.neighbors import RankKNN as RankKNN
from layeratlas.metrics.neighbors import SecondOrderCosine as SecondOrderCosine
from layeratlas.metrics.neighbors import cosine_neighbors as cosine_neighbors
from layeratlas.metrics.neighbors import euclidean_neighbors as euclidean_neighbors
