"""The swap margin in one sentence."""

import math
from typing import Any

from layeratlas.analyses.base import Headline

_FEWEST_DEPTHS = 6  # of fewer, too few pairs of depths carry the mean
_SMALLEST_P = 0.001  # beyond which the tail of a t distribution was not checked
_CAUTION = (
    "holds for these items and models; the upper end is no bound (noise pulls the margin to 0, so 0 is not absence); says nothing"
    " of meaning (random strings show a diagonal too: compare with a control), nor that layers match one to one"
)


def swap_headline(swap: dict[str, Any], *, metric: str, level: float, itself: bool) -> Headline:
    """The headline of the diagonal analysis' `swap` statistics; without a number, but with the reason, where there can be none."""
    if reason := _undefined(swap, itself=itself):
        return Headline("swap margin", None, None, sentence=f"no swap margin: {reason}")
    sentence = f"{_shown(swap['margin'], metric, level)}: {_shares(swap)}"
    margin = {key: value for key, value in swap["margin"].items() if key != "se"}
    return Headline("swap margin", chance=0.0, **margin, sided="two", sentence=sentence, caution=_CAUTION)


def _undefined(swap: dict[str, Any], *, itself: bool) -> str | None:
    if itself:
        return "both sides hold the same vectors, so that each layer is most alike to itself by construction"
    if swap["depths"] < _FEWEST_DEPTHS:
        return f"the sides share {swap['depths']} depths, and fewer than {_FEWEST_DEPTHS} make no headline"
    return "the matrix has undefined cells" if math.isnan(swap["margin"]["value"]) else None


def _shown(margin: dict[str, Any], metric: str, level: float) -> str:
    """What the interval says, read as a lower bound."""
    value, low, high = margin["value"], margin["ci_low"], margin["ci_high"]
    if low is None:
        return f"swap margin {value:z.3f} of {metric}, without an interval"
    if low == high:
        return f"swap margin {value:z.3f} of {metric}; leaving out items changes nothing, so that it has no interval and no p"
    sure = f"swap margin {value:z.3f}, {level:.0%} interval over items {low:z.3f} to {high:z.3f}, {told_p(margin['p'])}"
    if low > 0:
        return f"layers at equal depth prefer each other by at least {low:z.3f} of {metric} ({sure})"
    if high < 0:
        return f"layers prefer another depth than their own by at least {-high:.3f} of {metric} ({sure})"
    return f"no preference of layers for their own depth is shown ({sure})"


def _shares(swap: dict[str, Any]) -> str:
    return (
        f"in {swap['own_share']:.0%} of pairs of depths all four layers are more alike to the layer at their own depth than to the"
        f" one at the other (the reverse in {swap['crossed_share']:.0%})"
    )


def told_p(p: float) -> str:
    """A p from the tail of a t distribution, printed no smaller than was checked."""
    return f"p < {_SMALLEST_P:g}" if p < _SMALLEST_P else f"p = {p:.2g}"
