"""Metrics: similarities of layers, one class each."""

from layeratlas.metrics.base import AbstractMetric as AbstractMetric
from layeratlas.metrics.kernels import CKALinear as CKALinear
from layeratlas.metrics.kernels import CKALinearDebiased as CKALinearDebiased
from layeratlas.metrics.neighbors import AbstractNeighborMetric as AbstractNeighborMetric
from layeratlas.metrics.neighbors import MutualKNN as MutualKNN
