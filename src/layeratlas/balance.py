"""How alike two sides' texts are in everything but their meaning: what a difference between layers may be due to."""

from typing import Any

import pandas as pd

_RATIO = 1.5  # of characters, tokens or fertility; languages differ by less than this when their tokens are as good
_SHARE = 0.1  # of truncated texts, or of texts that end in one token


def balance(texts: list[str], tokens: pd.DataFrame) -> dict[str, Any]:
    """Counts and rates of one side. Fertility is tokens per character; vectors that came without tokens have none."""
    counted: dict[str, Any] = {"items": len(texts), "characters": sum(map(len, texts))}
    if tokens.empty:
        return counted
    endings = tokens["last_token"].value_counts()
    return counted | {
        "tokens": int(tokens["tokens"].sum()),
        "fertility": float(tokens["tokens"].sum() / tokens["characters"].sum()),
        "truncated": float(tokens["truncated"].mean()),
        "commonest_last_token": str(endings.index[0]),
        "same_last_token": float(endings.iloc[0] / len(tokens)),
    }


def imbalances(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """A line for each respect in which the sides differ so much that it may explain what layers differ in."""
    found = []
    for key, told in (("characters", "characters"), ("tokens", "tokens"), ("fertility", "tokens per character")):
        if key in a and key in b and not 1 / _RATIO < a[key] / b[key] < _RATIO:
            found.append(f"balance: side a has {a[key]:.6g} {told}, side b {b[key]:.6g}")
    for key, told in (("truncated", "are cut"), ("same_last_token", "end in the same token")):
        if key in a and key in b and abs(a[key] - b[key]) > _SHARE:
            found.append(f"balance: {a[key]:.0%} of the texts of side a {told}, {b[key]:.0%} of side b")
    return found
