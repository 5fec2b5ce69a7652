"""What pairs of texts differ in beside their vectors: how likely and how long either is."""

from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import pandas as pd
from jaxtyping import Float

from layeratlas.errors import Undefined

PREFERENCES = ("total", "per_token", "per_character", "after_shared_beginning")


@dataclass(frozen=True)
class PairItems:
    """A row per pair. `preferences`: how much likelier the first text is than the second, in nats, in each of four units.

        NLL(b) - NLL(a)

    `total`: of whole texts; what a pair begins with alike cancels out, so that this is the log odds of both continuations.
    `per_token` (as published) and `per_character`: of each text's NLL over what of it was scored. `after_shared_beginning`:
    total over the mean number of characters after the words that both begin with.
    `lengths`: the difference b - a and the mean of both, in characters and in tokens of the text itself.
    """

    preferences: pd.DataFrame
    lengths: pd.DataFrame

    @classmethod
    def of(cls, a: pd.DataFrame, b: pd.DataFrame, ids: pd.Series) -> "PairItems":
        """From the columns of either side. Raises ValueError for a pair of equal texts."""
        beginnings = [_shared_words(*pair) for pair in zip(a["text"], b["text"], strict=True)]
        if same := [str(i) for i, first, second in zip(ids, a["text"], b["text"], strict=True) if first == second]:
            raise Undefined(f"a pair needs two different texts; {', '.join(same[:5])} has one on both sides")
        characters = (a["characters"] + b["characters"]) / 2
        preferences = {
            "total": b["nll"] - a["nll"],
            "per_token": b["nll_per_token"] - a["nll_per_token"],
            "per_character": b["nll_per_character"] - a["nll_per_character"],
            "after_shared_beginning": (b["nll"] - a["nll"]) / (characters - beginnings),
        }
        tokens = [side["text_tokens"] if "text_tokens" in side else side["tokens"] for side in (a, b)]  # of stored vectors: all
        lengths = {
            "characters_difference": b["characters"] - a["characters"],
            "characters_mean": characters,
            "tokens_difference": tokens[1] - tokens[0],
            "tokens_mean": (tokens[0] + tokens[1]) / 2,
        }
        return cls(pd.DataFrame(preferences), pd.DataFrame(lengths))

    @property
    def covariates(self) -> Float[np.ndarray, "n columns"]:
        """The lengths that vary, each with mean 0 and deviation 1."""
        values = self.lengths.to_numpy(dtype=float)
        values = values[:, np.ptp(values, axis=0) > 0]
        return (values - values.mean(axis=0)) / values.std(axis=0)

    def some(self, kept: np.ndarray) -> "PairItems":
        return PairItems(*(table[kept].reset_index(drop=True) for table in (self.preferences, self.lengths)))


def _shared_words(first: str, second: str) -> int:
    """Number of characters of the words that both texts begin with, the blank after them included."""
    pairs = zip(first.split(" "), second.split(" "), strict=False)
    shared = [word for word, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return min(sum(len(word) + 1 for word in shared), len(first), len(second))
