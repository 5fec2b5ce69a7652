"""The language-model head, run only when a token's likelihood is asked for, and never on more than a slice of tokens."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedConfig, PreTrainedModel

from layeratlas.arrays import HiddenStates, Tokens
from layeratlas.errors import ConfigError

# Logits alive at once: 128 MiB in float32, whatever vocabulary and batch. Each slice of tokens reads all weights of the head: of a
# vocabulary of 262,144, 128 tokens at a time take two thirds of the time that 32 at a time take, and more gain little.
_LOGITS = 2**25


@dataclass(frozen=True)
class Head:
    """From the network's output to logits: a projection, then what the architecture does to them."""

    project: Callable[[Tensor], Tensor]
    vocabulary: int
    adjust: Callable[[Tensor], Tensor]

    @torch.inference_mode()
    def nll(self, hidden: HiddenStates, tokens: Tokens) -> tuple[Float[Tensor, " b"], Int[Tensor, " b"]]:
        """Negative log-likelihood of each text in nats, summed over its scored tokens, and the number of these.

        Scored is every token of the text itself that has one before it. Special tokens are context only, so a model with a
        BOS token scores the first token of a text and one without does not.
        """
        scored = tokens.mask[:, 1:] & ~tokens.special[:, 1:]
        states, targets = hidden[:, :-1][scored], tokens.ids[:, 1:][scored]
        rows = torch.arange(len(hidden), device=hidden.device)[:, None].expand_as(scored)[scored]
        total = torch.zeros(len(hidden), device=hidden.device)
        for part in torch.arange(len(states), device=hidden.device).split(max(1, _LOGITS // self.vocabulary)):
            logits = self.adjust(self.project(states[part])).float()
            total.index_add_(0, rows[part], cross_entropy(logits, targets[part], reduction="none"))
        return total, scored.sum(dim=1)


def head_of(network: PreTrainedModel) -> Head:
    projection = network.get_output_embeddings()
    if projection is None:
        raise ConfigError(f"extract.nll=true: {type(network).__name__} has no language-model head")
    weight: Tensor = projection.weight  # type: ignore[assignment]
    # Some networks keep their residual stream in float32 and return it so (Mamba).
    return Head(lambda states: projection(states.to(weight.dtype)), len(weight), _adjustment(network.config.get_text_config()))


def _adjustment(config: PreTrainedConfig) -> Callable[[Tensor], Tensor]:
    """What some architectures do to their logits: a soft cap (Gemma 2), a factor (Cohere), a divisor (Granite)."""
    settings = config.to_dict()
    cap = settings.get("final_logit_softcapping")
    factor = (settings.get("logit_scale") or 1) / (settings.get("logits_scaling") or 1)
    return lambda logits: torch.tanh(logits * factor / cap) * cap if cap else logits * factor
