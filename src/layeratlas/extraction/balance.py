"""How alike two sides' texts are in everything but their meaning: what a difference between layers may be due to."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

_RATIO = 1.5  # of characters, tokens or fertility; languages differ by less than this when their tokens are as good
_SHARE = 0.1  # of truncated texts, or of texts that end in one token
CONTENT_IDS = "content_ids"  # column of a side's token table that is not one of the run's items


@dataclass(frozen=True)
class Commonest:
    """The token that most texts have at one place: its id, what it says by itself, and the share of texts that have it."""

    id: int
    text: str
    share: float

    def __str__(self) -> str:
        """Its id, and its text if it has one: a part of a character decodes to the replacement character."""
        return f"{self.id}" if "\ufffd" in self.text else f"{self.text!r} ({self.id})"


def commonest(tokens: pd.DataFrame, pooling: str) -> Commonest | None:
    """The token that most texts have where a pooling reads one token (`first`, `last`, `last_content`), known by its id.

    None for other poolings, and where the first token is one that the tokenizer sets before each text.
    """
    place = f"{pooling}_token"
    if place not in tokens or (counted := tokens[f"{place}_id"].value_counts()).empty:
        return None
    chosen = tokens[tokens[f"{place}_id"] == counted.index[0]]
    return Commonest(int(counted.index[0]), str(chosen[place].iloc[0]), len(chosen) / len(tokens))


def shared_token_share(a: pd.Series, b: pd.Series) -> pd.Series:
    """Of the different content tokens in either of an item's two texts, the share that both have, from the ids of each text.

    0 to 1 (Jaccard, 1912); NaN where neither text has any. Only ids of one tokenizer mean the same.
    """
    shares = []
    for ids_a, ids_b in zip(map(set, a), map(set, b), strict=True):
        either = ids_a | ids_b
        shares.append(len(ids_a & ids_b) / len(either) if either else float("nan"))
    return pd.Series(shares, dtype=float)


def per_unit(scores: pd.DataFrame, characters: Any, n_bytes: Any) -> pd.DataFrame:
    """Negative log-likelihoods `nll` (n) of `nll_tokens` tokens each, and the same per token, byte and character in nats.

    `characters` and `n_bytes` are how much of each text was scored: a first token without one before it has no likelihood.
    """
    rates = {"nll_per_token": scores["nll_tokens"], "nll_per_byte": n_bytes, "nll_per_character": characters}
    return scores[["nll", "nll_tokens"]].assign(**{name: scores["nll"] / unit for name, unit in rates.items()})


def balance(texts: list[str], tokens: pd.DataFrame, pooling: str) -> dict[str, Any]:
    """Counts and rates of one side. Fertility is the texts' own tokens per character; vectors without tokens have none."""
    counted: dict[str, Any] = {"items": len(texts), "characters": sum(map(len, texts))}
    if "text_tokens" not in tokens:
        return counted | ({"tokens": int(tokens["tokens"].sum())} if "tokens" in tokens else {})
    counted |= {
        "tokens": int(tokens["tokens"].sum()),
        "fertility": float(tokens["text_tokens"].sum() / tokens["read_characters"].sum()),
        "truncated": float(tokens["truncated"].mean()),
    }
    places = {"last": "last"} | ({} if pooling == "last" else {"pooled": pooling})
    for name, place in places.items():
        if token := commonest(tokens, place):
            counted |= {f"commonest_{name}_token": token.text, f"same_{name}_token": token.share}
    return counted


def imbalances(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """A line for each respect in which the sides differ so much that it may explain what layers differ in."""
    lines = []
    for key, unit in (("characters", "characters"), ("tokens", "tokens"), ("fertility", "tokens per character")):
        if key in a and key in b and not 1 / _RATIO < a[key] / b[key] < _RATIO:
            lines.append(f"balance: side a has {a[key]:.6g} {unit}, side b {b[key]:.6g}")
    shares = {
        "truncated": "are cut",
        "same_last_token": "end in the same token",
        "same_pooled_token": "are pooled at the same token",
    }
    for key, are in shares.items():
        if key in a and key in b and abs(a[key] - b[key]) > _SHARE:
            lines.append(f"balance: {a[key]:.0%} of the texts of side a {are}, {b[key]:.0%} of side b")
    return lines
