"""The low-rank subspace between languages of Xie et al. (2022)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from layeratlas.errors import Undefined
from layeratlas.options import Positive
from layeratlas.statistics.removals.base import AbstractRemoval, Eraser, Languages, means_of, orthogonal, size_of, spanned


@dataclass(frozen=True, kw_only=True)
class BetweenLanguages(AbstractRemoval):
    """Projects out the `rank` directions in which the languages' means differ most (Xie et al., 2022, algorithm 1).

        x - M M'x,  M the leading left singular vectors of the means less mu

    with mu the point nearest to 0 of the affine space that the means are approximated by: it is orthogonal to M, so that
    every vector loses all that it has along M, and not only its difference from the other languages. For two languages M is the
    direction of `LanguageMeans`; centred similarities are then the same.
    """

    rank: Positive
    name: ClassVar[str] = "between_languages"

    def rank_of(self, languages: int) -> int:
        del languages
        return self.rank

    def fit(self, x: Languages) -> Sequence[Eraser]:
        if self.rank > len(x) - 1:
            raise Undefined(f"{self.name}: {len(x)} languages differ in at most {len(x) - 1} directions; got rank={self.rank}")
        means = means_of(x)
        centre = means.mean(dim=0)
        basis = spanned(means - centre, size_of(x))[:, : self.rank]
        return [orthogonal(basis, _nearest_to_origin(centre, basis))] * len(x)


def _nearest_to_origin(point: Float[Tensor, " d"], basis: Float[Tensor, "d r"]) -> Float[Tensor, " d"]:
    return point - basis @ (basis.T @ point)
