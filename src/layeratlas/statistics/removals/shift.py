"""One language's mean moved onto another's."""

import torch

from layeratlas.statistics.removals.base import Eraser, Languages, means_of


def language_shift(x: Languages, source: int, target: int) -> Eraser:
    """Adds the difference of two languages' means to each vector of the first: x + mean_target - mean_source, of rank 0."""
    means = means_of(x)
    none = x.new_empty(x.shape[-1], 0)
    return Eraser(none, none, torch.zeros_like(means[0]), means[target] - means[source])
