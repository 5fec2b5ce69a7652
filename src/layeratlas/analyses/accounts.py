"""How much of a similarity the texts' lengths and tokens account for: the matrix of vectors from which they were taken away.

    share = (control - without) / (value - chance)

`without` is the affinity once a covariate of the items is taken out of each layer's vectors, by least squares; `control` the same
with the covariate dealt out to the items at random, which takes away as many dimensions. A share of 0 says that the covariate
takes away no more than any numbers would; it may be negative where noise, or a covariate that hides what is common, is removed.
It is no causal share: texts of one length may be alike in other ways too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from layeratlas.affinity.matrix import compare
from layeratlas.analyses.base import Comparison
from layeratlas.errors import ActivationError

_CONTROLS = 3  # random orders of a covariate
_FEW = 2  # items of one token, of which a mean says something

Removal = Callable[[Tensor], Tensor]
Covariates = dict[str, np.ndarray]  # of each side


def accounted(comparison: Comparison, draws: int, rng: np.random.Generator) -> tuple[pd.DataFrame, list[str]]:
    """A row per account and cell, and why an account is missing that one would expect. `draws` is the most that controls take."""
    tables, lacking = [], []
    orders = [rng.permutation(comparison.affinity.n) for _ in range(min(draws, _CONTROLS))]
    for name, covariates, removal in _accounts(comparison):
        try:
            without = _matrix(comparison, covariates, removal)
            control = np.mean(
                [_matrix(comparison, {side: of[order] for side, of in covariates.items()}, removal) for order in orders], axis=0
            )
        except ActivationError as error:
            lacking.append(f"{name}: {error}")
            continue
        tables.append(_table(comparison, name, without, control))
    return (pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()), lacking


def _accounts(comparison: Comparison) -> Iterator[tuple[str, Covariates, Callable[[np.ndarray], Removal]]]:
    """Those that this run's items have numbers for, and that vary."""
    items = {side: comparison.of(side) for side in "ab"}
    if all("tokens" in of and of["tokens"].nunique() > 1 for of in items.values()):
        counts = {side: of["tokens"].to_numpy(dtype=float) for side, of in items.items()}
        yield "token count", {side: np.stack([one, np.log(one)], axis=1) for side, one in counts.items()}, _regression
    place = f"{comparison.pooling}_token_id"
    if all(place in of and _repeated(of[place]) for of in items.values()):
        yield "the token that is read", {side: of[place].fillna(-1).to_numpy(dtype=int) for side, of in items.items()}, _within
    shared = comparison.items.get("shared_token_share")
    if shared is not None and shared.notna().all() and shared.nunique() > 1:
        column = shared.to_numpy(dtype=float)[:, None]
        yield "tokens that both texts share", {"a": column, "b": column}, _regression


def _repeated(tokens: pd.Series) -> bool:
    """Whether several tokens are read in more than one item."""
    return int((tokens.value_counts() >= _FEW).sum()) > 1


def _regression(covariates: np.ndarray) -> Removal:
    """What linear regression on the covariates leaves of each dimension."""
    centred = covariates - covariates.mean(axis=0)
    basis, singular, _ = np.linalg.svd(centred / np.maximum(np.abs(centred).max(axis=0), 1e-300), full_matrices=False)
    axes = torch.from_numpy(basis[:, singular > 1e-8 * singular.max()])

    def removed(x: Tensor) -> Tensor:
        axes_x = axes.to(x)
        return x - axes_x @ (axes_x.T @ x)

    return removed


def _within(tokens: np.ndarray) -> Removal:
    """What the mean of the items of one token leaves; the mean over all stays, and items of a token that no other has."""
    names, places, counts = np.unique(tokens, return_inverse=True, return_counts=True)
    at, often = torch.from_numpy(places), torch.from_numpy(counts >= _FEW)

    def removed(x: Tensor) -> Tensor:
        place = at.to(x.device)
        sums = torch.zeros(len(names), x.shape[1], dtype=x.dtype, device=x.device).index_add_(0, place, x)
        means = sums / torch.from_numpy(counts).to(x)[:, None]
        return x - torch.where(often.to(x.device)[:, None], means - x.mean(dim=0), torch.zeros_like(means))[place]

    return removed


def _matrix(comparison: Comparison, covariates: Mapping[str, np.ndarray], removal: Callable[[np.ndarray], Removal]) -> np.ndarray:
    sides = {"a": comparison.a, "b": comparison.b}
    without = [replace(side, layers=_Without(side.layers, removal(covariates[name])), source=None) for name, side in sides.items()]
    return compare(comparison.signer, *without).matrix


@dataclass(frozen=True)
class _Without(Mapping[str, Tensor]):
    """Layers from which something is taken away when they are asked for."""

    layers: Mapping[str, Tensor]
    removal: Removal

    def __getitem__(self, name: str) -> Tensor:
        x = self.layers[name]
        return self.removal(x.float() if x.dtype.itemsize < 4 else x)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


def _table(comparison: Comparison, name: str, without: np.ndarray, control: np.ndarray) -> pd.DataFrame:
    affinity = comparison.affinity
    rows, columns = (index.ravel() for index in np.indices(affinity.matrix.shape))
    above = affinity.matrix - affinity.chance
    share = np.divide(control - without, above, out=np.full_like(above, np.nan), where=_shown(comparison))
    values: Sequence[tuple[str, np.ndarray]] = [
        ("value", affinity.matrix),
        ("without", without),
        ("control", control),
        ("share", share),
    ]
    layers = {"layer_a": np.array(affinity.layers_a)[rows], "layer_b": np.array(affinity.layers_b)[columns]}
    return pd.DataFrame({"account": name, **layers} | {key: of.ravel() for key, of in values})


def _shown(comparison: Comparison) -> np.ndarray:
    """Cells of which there is something to account for: above chance, by the corrected p where there is one."""
    affinity = comparison.affinity
    above = affinity.matrix - affinity.chance > 0
    p = affinity.inferred.get("p_fdr")
    return above if p is None else above & (p <= comparison.inference.alpha)
