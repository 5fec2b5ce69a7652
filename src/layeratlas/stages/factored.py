"""Configs of many jobs from few compositions: composing one takes a tenth of a second, and most jobs differ in parts alone."""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

Config = dict[str, Any]

_GONE = object()


class Factored:
    """Composes as `compose` does, from one composition for each value that is swept rather than for each combination of values.

    What a value changes is found by changing it alone, in the first combination of the same keys. Values that change different
    parts of the config (top-level nodes, all interpolations resolved) are put together; those that change the same part are
    composed together. A value that cannot be composed alone is composed with all others.
    """

    def __init__(self, compose: Callable[[Sequence[str]], Config]) -> None:
        self._compose = compose
        self._composed: dict[tuple[str, ...], Config] = {}
        self._references: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __call__(self, overrides: Sequence[str]) -> Config:
        asked = tuple(overrides)
        reference = self._references.setdefault(tuple(override.partition("=")[0] for override in asked), asked)
        base = self._whole(reference)
        changed = [place for place, (one, other) in enumerate(zip(asked, reference, strict=True)) if one != other]
        if len(changed) < 2:
            return self._whole(asked)
        try:
            parts = self._parts(reference, asked, [[place] for place in changed])
        except Exception:  # what does not go with the reference may go with the others; if not, it is raised here
            return self._whole(asked)
        merged = base | {key: value for part in parts for key, value in part.items()}
        return {key: value for key, value in merged.items() if value is not _GONE}

    def _parts(self, reference: tuple[str, ...], asked: tuple[str, ...], groups: list[list[int]]) -> list[Config]:
        """What each group of values changes, no part of the config changed by two of them."""
        parts = [self._changes(reference, asked, group) for group in groups]
        for i, j in combinations(range(len(groups)), 2):
            if parts[i].keys() & parts[j].keys():
                others = [group for k, group in enumerate(groups) if k not in (i, j)]
                return self._parts(reference, asked, [*others, sorted([*groups[i], *groups[j]])])
        return parts

    def _changes(self, reference: tuple[str, ...], asked: tuple[str, ...], group: Iterable[int]) -> Config:
        base = self._whole(reference)
        other = self._whole(tuple(asked[place] if place in group else override for place, override in enumerate(reference)))
        keys = [key for key in {**base, **other} if base.get(key, _GONE) != other.get(key, _GONE)]
        return {key: other.get(key, _GONE) for key in keys}

    def _whole(self, overrides: tuple[str, ...]) -> Config:
        if overrides not in self._composed:
            self._composed[overrides] = self._compose(overrides)
        return self._composed[overrides]
