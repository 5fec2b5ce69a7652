"""The span of the languages' means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from layeratlas.statistics.removals.base import AbstractRemoval, Eraser, Languages, means_of, orthogonal, size_of, spanned


@dataclass(frozen=True)
class LanguageMeans(AbstractRemoval):
    """Projects out all directions in which the languages' means differ, of which there are at most languages - 1.

        x - Q Q'(x - m),  Q an orthonormal basis of the means less their mean m

    Every vector is put where m lies along Q, so that what all languages have in common stays.
    """

    name: ClassVar[str] = "language_means"

    def rank_of(self, languages: int) -> int:
        return languages - 1

    def fit(self, x: Languages) -> Sequence[Eraser]:
        means = means_of(x)
        centre = means.mean(dim=0)
        return [orthogonal(spanned(means - centre, size_of(x)), centre)] * len(x)
