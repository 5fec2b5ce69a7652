"""Each language's own leading components (Yang et al., 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from layeratlas.errors import Undefined
from layeratlas.options import Positive
from layeratlas.statistics.removals.base import AbstractRemoval, Eraser, Languages, orthogonal


@dataclass(frozen=True, kw_only=True)
class LeadingComponents(AbstractRemoval):
    """Projects the `rank` leading right singular vectors of a language's vectors out of that language (Yang et al., 2021).

        x - C C'x,  C from the language's own vectors, not centred

    It takes the language of each vector for known: each has its own map, and a probe may learn which map was applied.
    The first component is close to the language's mean.
    """

    rank: Positive
    name: ClassVar[str] = "leading_components"

    def rank_of(self, languages: int) -> int:
        del languages
        return self.rank

    def fit(self, x: Languages) -> Sequence[Eraser]:
        _, n, d = x.shape
        if self.rank > min(n, d):
            raise Undefined(f"{self.name}: {n} items of {d} dimensions have at most {min(n, d)} components; got rank={self.rank}")
        bases = (torch.linalg.svd(of_language, full_matrices=False).Vh[: self.rank].T for of_language in x)
        return [orthogonal(basis, x.new_zeros(d)) for basis in bases]
