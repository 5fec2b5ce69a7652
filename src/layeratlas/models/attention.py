"""Which of the many things that modules return are attention weights: those that the network itself reports as such."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from layeratlas.arrays import Tokens
from layeratlas.errors import ConfigError
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.listening import Source

Candidate = tuple[Source, Tensor]


def sources_of(model: LanguageModel, tokens: Tokens) -> tuple[Source, ...]:
    """For each block, where the weights come out that the network reports with `output_attentions`, looked up on these tokens.

    Weights are (b, heads, t, t), not negative, and sum to 1 over the keys for every real query, none of it on padding. Raises
    ConfigError for a network of which that cannot be had.
    """
    with _returned(model.blocks) as candidates:
        reported = _reported(model, tokens)
    if not any(candidates):
        raise _refusal(model, "has no attention weights")
    return tuple(_source(model, k, candidates[k - 1], reported, tokens) for k in range(1, len(model.blocks) + 1))


def _reported(model: LanguageModel, tokens: Tokens) -> list[Tensor]:
    try:
        reported = getattr(model.forward(tokens, output_attentions=True), "attentions", None)
    except Exception as error:  # networks without attention refuse the option in many ways
        raise _refusal(model, f"reports none ({type(error).__name__})") from error
    return [weights for weights in reported or () if isinstance(weights, Tensor)]


def _source(model: LanguageModel, k: int, candidates: list[Candidate], reported: list[Tensor], tokens: Tokens) -> Source:
    if not candidates:
        raise _refusal(model, f"has no attention weights in block_{k}")
    of_report = [(source, weights) for source, weights in candidates if any(_equal(weights, other) for other in reported)]
    if not of_report:
        raise _refusal(model, f"does not report what block_{k} seems to return as such")
    source, weights = of_report[0]
    mask = tokens.mask.to(weights.device)
    if weights.shape[-2:] != (mask.shape[1], mask.shape[1]):
        raise _refusal(model, f"reports weights of shape {tuple(weights.shape)} in block_{k}, not one for each pair of tokens")
    if not _shares_of_one(weights.float(), mask, torch.finfo(weights.dtype).eps):
        raise _refusal(model, f"reports weights in block_{k} that are negative or do not sum to 1 over a text's tokens")
    return source


def _shares_of_one(weights: Float[Tensor, "b h t t"], mask: Bool[Tensor, "b t"], epsilon: float) -> bool:
    """Whether each real query's weights are shares of 1, all of it on real keys."""
    queries = weights.transpose(1, 2)[mask]  # (real queries, heads, keys)
    keys = mask[:, None, :].expand(-1, mask.shape[1], -1)[mask]  # (real queries, keys): those of the query's own text
    sums = (queries * keys[:, None, :]).sum(dim=-1)
    return bool((queries >= 0).all()) and bool(((sums - 1).abs() <= epsilon * mask.shape[1]).all())


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b.to(a.device))


@contextmanager
def _returned(blocks: nn.ModuleList) -> Iterator[list[list[Candidate]]]:
    """What the modules inside each block return that has four dimensions."""
    candidates: list[list[Candidate]] = [[] for _ in blocks]

    def listen(k: int) -> Any:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            parts = output if isinstance(output, (tuple, list)) else ()
            returned = [(Source(module, i), part) for i, part in enumerate(parts) if isinstance(part, Tensor) and part.ndim == 4]
            candidates[k].extend(returned)

        return hook

    handles = [part.register_forward_hook(listen(k)) for k, b in enumerate(blocks) for part in b.modules() if part is not b]
    try:
        yield candidates
    finally:
        for handle in handles:
            handle.remove()


def _refusal(model: LanguageModel, reason: str) -> ConfigError:
    return ConfigError(f"pooling attention_weighted: {model.name} {reason}; choose another pooling")
