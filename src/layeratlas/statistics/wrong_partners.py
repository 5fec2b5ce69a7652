"""Whom an item is paired with by mistake: others of its group, and others of the length of its own partner.

A similarity of translations that wrong partners have as well is one of groups (topics, formats) or of lengths, and not of meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from layeratlas.statistics.nulls import Exchangeable

TOLERANCE = 0.1  # lengths that differ by no more than this share of an item's own count as equal
NEAREST = 3  # partners that an item has at least, however far their lengths lie
_ORDERS = 3

Pairs = Bool[np.ndarray, "n n"]


@dataclass(frozen=True)
class WrongPartners:
    """`pairs[i, j]`: whether j is a wrong partner of i. `orders`: whole orders of the items in which all of `movable` have one.

    The pairs serve statistics that are means over pairs; the orders those of all items at once (Gram matrices, neighbour lists),
    which would take an item that is the partner of several for copies.
    """

    pairs: Pairs
    orders: Int[np.ndarray, "orders n"]
    movable: Int[np.ndarray, " m"]


def of_group(groups: Sequence[str], rng: np.random.Generator) -> WrongPartners | None:
    """The other items of an item's group; None where there is one group, or no two items share any."""
    labels = np.asarray(groups)
    sets = [np.flatnonzero(labels == label) for label in dict.fromkeys(groups)]
    shared = [members for members in sets if len(members) > 1]
    if len(sets) == 1 or not shared:
        return None
    pairs = labels[:, None] == labels
    np.fill_diagonal(pairs, False)
    orders = [_rotated(len(labels), [rng.permutation(members) for members in shared], 1) for _ in range(_ORDERS)]
    return WrongPartners(pairs, np.stack(orders), np.sort(np.concatenate(shared)))


def of_length(lengths: Float[np.ndarray, " n"], rng: np.random.Generator) -> WrongPartners | None:
    """Items whose length is that of an item's own partner within TOLERANCE; else the NEAREST, with all that are as near.

    The orders rotate runs of four or more items of neighbouring length. None for fewer than four items.
    """
    if len(lengths) <= NEAREST:
        return None
    apart = np.abs(lengths[:, None] - lengths)
    np.fill_diagonal(apart, np.inf)
    near = np.partition(apart, NEAREST - 1, axis=1)[:, NEAREST - 1 : NEAREST]
    pairs = apart <= np.maximum(TOLERANCE * lengths[:, None], near)
    runs = length_runs(lengths, rng)
    orders = [_rotated(len(lengths), runs, by) for by in range(1, _ORDERS + 1)]
    return WrongPartners(pairs, np.stack(orders), np.arange(len(lengths)))


def length_runs(
    lengths: Float[np.ndarray, " n"], rng: np.random.Generator, groups: Sequence[str] | None = None
) -> list[Int[np.ndarray, " _"]]:
    """Runs of at least NEAREST + 1 items of neighbouring length, within `groups` if given; equal lengths in random order.

    A group of fewer items is one run.
    """
    labels = np.zeros(len(lengths)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    runs = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        members = members[np.argsort(lengths[members], kind="stable")]
        runs += np.array_split(members, max(1, len(members) // (NEAREST + 1)))
    return runs


def exchangeable_within(n: int, runs: Sequence[Int[np.ndarray, " _"]]) -> Exchangeable:
    """Items that may change places within their run alone."""
    return Exchangeable(np.split(np.arange(n), n), list(runs))


def _rotated(n: int, runs: Sequence[Int[np.ndarray, " _"]], by: int) -> Int[np.ndarray, " n"]:
    """The order in which every item of a run is moved on by so many places, and never back to its own."""
    order = np.arange(n)
    for run in runs:
        order[run] = np.roll(run, -(1 + (by - 1) % (len(run) - 1)))
    return order
