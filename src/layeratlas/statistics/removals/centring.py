"""Each language's mean subtracted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from layeratlas.statistics.removals.base import AbstractRemoval, Eraser, Languages, means_of


@dataclass(frozen=True)
class Centring(AbstractRemoval):
    """Moves each language's mean to the mean of them all (Libovicky et al., 2020): a translation, whose rank is 0.

        x - mean of the language + mean of all

    CKA and cosines of vectors less their mean stay as they are; the direction of the difference stays in the vectors.
    """

    name: ClassVar[str] = "centring"

    def rank_of(self, languages: int) -> int:
        del languages
        return 0

    def fit(self, x: Languages) -> Sequence[Eraser]:
        means = means_of(x)
        centre, none = means.mean(dim=0), x.new_empty(x.shape[-1], 0)
        return [Eraser(none, none, mean, centre - mean) for mean in means]
