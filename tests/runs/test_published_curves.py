"""Published rules on curves of alignment, against plain loops over a file made up in the same format."""

import json

import numpy as np
import pytest

from layeratlas.errors import ConfigError
from layeratlas.runs.published import read_alignment_curves
from layeratlas.runs.published_curves import commitments, failures, peak_table

VARIANTS, CONCEPTS, LANGUAGES, LAYERS = ("base", "fire", "earth"), ("C01", "C02", "C03", "C04"), ("hi", "sw"), 37


@pytest.fixture
def curves(tmp_path):
    rng = np.random.default_rng(4)
    made = {
        v: {
            c: {x: np.round(np.clip(rng.normal(0.8, 0.15, LAYERS).cumsum() % 1, 0, 1), 6).tolist() for x in LANGUAGES}
            for c in CONCEPTS
        }
        for v in VARIANTS
    }
    for concept in CONCEPTS[:2]:  # the baseline commits early, another late or never
        made["base"][concept]["hi"][2:6] = [0.85, 0.9, 0.9, 0.9]
        made["fire"][concept]["hi"] = [0.1] * 20 + [0.9] * 17 if concept == "C01" else [0.1] * LAYERS
    (tmp_path / "curves.json").write_text(json.dumps({"metadata": {}, "curves": made}), encoding="utf-8")
    return made, read_alignment_curves(tmp_path / "curves.json")


def by_hand(values: list[float], threshold: float, consecutive: int) -> int:
    for layer in range(len(values) - consecutive + 1):
        if all(value >= threshold for value in values[layer : layer + consecutive]):
            return layer
    return -1


@pytest.mark.parametrize(("threshold", "consecutive"), [(0.85, 3), (0.75, 3), (0.9, 1)])
def test_commitments_are_those_of_a_plain_loop(curves, threshold, consecutive):
    made, read = curves
    found = commitments(read, threshold, consecutive).set_index(["concept", "language"])
    assert len(found) == len(CONCEPTS) * len(LANGUAGES)
    for v in VARIANTS:
        for c in CONCEPTS:
            for x in LANGUAGES:
                assert found.loc[(c, x), v] == by_hand(made[v][c][x], threshold, consecutive)


def test_failures_are_those_of_the_published_rule(curves):
    _, read = curves
    table = commitments(read)
    found = failures(table, "base")
    expected = [
        (row["concept"], row["language"], variant)
        for variant in ("fire", "earth")
        for row in table.to_dict("records")
        if row["base"] != -1 and (row[variant] == -1 or row[variant] > row["base"] + 4)
    ]
    assert list(found[["concept", "language", "variant"]].itertuples(index=False, name=None)) == expected
    assert {("C01", "hi", "fire"), ("C02", "hi", "fire")} <= set(expected)
    with pytest.raises(ConfigError, match=r"^there is no variant 'water'; there are base, fire, earth$"):
        failures(table, "water")


def test_peaks_are_means_of_each_concepts_largest_value(curves):
    made, read = curves
    found = peak_table(read).set_index(["language", "variant"])
    for v in VARIANTS:
        for x in LANGUAGES:
            of_language = [made[v][c][x] for c in CONCEPTS]
            assert found.loc[(x, v), "peak"] == pytest.approx(np.mean([max(values) for values in of_language]))
            assert found.loc[(x, v), "last"] == pytest.approx(np.mean([values[-1] for values in of_language]))
