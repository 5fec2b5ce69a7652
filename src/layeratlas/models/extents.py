"""Which characters of a text its tokens cover, and how much of it some of them hold."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

Span = tuple[int, int]


class Extent(NamedTuple):
    """How much of a text; a character that several tokens share counts for each of them in part."""

    characters: float = 0.0
    bytes: float = 0.0


NOTHING = Extent()


def extent(text: str, covers: Sequence[Span], first: int, last: int) -> Extent:
    """How much of the text its tokens `first` to `last` (excluded) cover, blanks that belong to no token included.

    `covers` are the characters of all the text's tokens, in order.
    """
    if first >= last:
        return NOTHING
    begin = max((end for _, end in covers[:first]), default=0)
    end = len(text) if last == len(covers) else max(end for _, end in covers[:last])
    characters, n_bytes = float(end - begin), float(len(text[begin:end].encode()))
    shares: list[tuple[int, float]] = []  # of the characters at both ends that other tokens share
    if begin > 0:
        shares.append((begin - 1, _share(begin - 1, covers, covers[first:last])))
    if last < len(covers) and end > begin:
        shares.append((end - 1, -_share(end - 1, covers, covers[last:])))
    for place, share in shares:
        characters += share
        n_bytes += share * len(text[place].encode())
    return Extent(characters, n_bytes)


def _share(place: int, covers: Sequence[Span], chosen: Sequence[Span]) -> float:
    """Of the tokens that cover a character, the share that is chosen."""
    count = [sum(start <= place < end for start, end in some) for some in (chosen, covers)]
    return count[0] / max(1, count[1])


def by_character(text: str, offsets: Sequence[Span]) -> list[Span]:
    """The same offsets with tokens that stand for single bytes of a run of characters kept apart.

    Unigram tokenizers give each byte of an unknown word the range of the whole word.
    """
    each: list[Span] = []
    for (start, end), same in groupby(offsets):
        n = len(list(same))
        of_bytes = [(i, i + 1) for i in range(start, end) for _ in text[i].encode()] if n > 1 and end - start > 1 else []
        each += of_bytes if len(of_bytes) == n else [(start, end)] * n
    return each
