"""The page of findings says what its result files hold, and nothing that they do not."""

import copy
import re

import pytest
from claims.findings import FOLDER, PAGE, PICTURES, ROOT, TEMPLATE, Outdated, drawn_from, looked_up, page, results
from claims.registry import NUMBER
from jinja2 import UndefinedError
from PIL import Image

WRITTEN = (FOLDER / TEMPLATE).read_text(encoding="utf-8")
EXPRESSIONS = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
# A number that contradicts a sentence of the page, and the sentence.
CONTRADICTIONS = [
    ("default_run: margin.ci_low", -0.01, "layers at equal depth"),
    ("controls: differences.cipher.p", 0.02, "larger margin than each of the controls"),
    ("controls: differences.other_items.ci_low", -0.01, "larger margin than each of the controls"),
    ("controls: margins.shuffled_words.ci_low", -0.01, "keep a part of it"),
    ("controls: margins.shuffled_words.p", 0.03, "keep a part of it"),
    ("controls: margins.cipher.ci_low", 0.0001, "a letter cipher and wrong partners"),
    ("controls: margins.other_items.ci_high", -0.0001, "a letter cipher and wrong partners"),
    ("controls: margins.random_characters.p", 0.001, "the evidence is weak"),
    ("controls: margins.random_characters.ci_low", -0.001, "the evidence is weak"),
    ("alignment: retrieval_at_1.rise.ci_low", -0.01, "nearest at the peak than at the first block"),
    ("alignment: retrieval_at_1.peak.ci_low", 0.1, "more than ten times"),
    ("alignment_of_random_characters: retrieval_at_1.p", 0.01, "no sign of more than chance"),
    ("alignment_of_other_items: retrieval_at_1.p", 0.01, "no sign of more than chance"),
    ("alignment: retrieval_at_1.fall.ci_low", 0.01, "the interval of the fall includes 0"),
    ("alignment_of_shuffled_words: retrieval_at_1.peak.value", 0.2, "at their own peak about as often"),
    ("alignment_of_shuffled_words: curve.11.ci_high", 0.4, "at the block of the texts' peak less often"),
    ("alignment: csls.peak_block", 11, "has its peak at another block"),
    ("subspace: language_probe.least_squares_1.beyond_random.ci_high", 0.01, "tells the languages apart less often"),
    ("subspace: retrieval_at_1.least_squares_1.beyond_random.ci_low", -0.01, "nearest a little more often"),
    ("subspace: language_probe.least_squares_1.ci_low", 0.45, "above a half"),
    ("subspace: transfer.least_squares_1.beyond_random.ci_low", 0.01, "the interval of its change includes 0"),
    ("exam: without_trend.language_minus_dataset.ci_high", -0.001, "nothing about their order"),
    ("exam: as_they_are.language_minus_dataset.ci_high", 0.001, "the matrices as they are suggest"),
    ("exam: without_trend.language.share_ci_high", 0.5, "may be anything"),
    ("redundancy: agreement.similarity.value", 0.6, "no better than some random orders"),
    ("redundancy: agreement.similarity_minus_last_first.ci_low", 0.01, "is open"),
    ("interventions: de.energy.p", 0.03, "loses more without its direction"),
    ("interventions: en.thirds.last.ci_low", 0.25, "English loses most in the last third"),
    ("interventions: en.blocks.9.rank", 0.1, "one of the random directions costs as much"),
]


def test_the_page_is_what_its_result_files_make():
    assert PAGE.read_text(encoding="utf-8") == page(results())


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_the_present_result_files(name):
    with Image.open(ROOT / ".github" / f"{name}.png") as picture:
        assert picture.info["Description"] == drawn_from(results(), PICTURES[name][1])


@pytest.mark.pictures
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_drawn_from_its_result_files_alone(name):
    draw, names = PICTURES[name]
    assert draw({one: results()[one] for one in names}).axes[0].get_xlabel()


@pytest.mark.parametrize(("source", "value", "sentence"), CONTRADICTIONS, ids=[source for source, _, _ in CONTRADICTIONS])
def test_no_page_is_written_when_a_number_contradicts_a_sentence(source, value, sentence):
    found = copy.deepcopy(results())
    place, _, key = source.rpartition("." if "." in source else ": ")
    looked_up(found, place)[key] = value
    with pytest.raises(Outdated, match=sentence):
        page(found)


def test_every_sentence_that_hangs_on_a_number_is_tried_with_another(monkeypatch):
    sentences = []
    monkeypatch.setattr("claims.findings.as_long_as", lambda condition, sentence: sentences.append(sentence) or sentence)
    page(results())
    assert len(sentences) > 20
    tried = {part for _, _, part in CONTRADICTIONS}
    assert [one for one in sentences if not any(part in one for part in tried)] == []


def test_the_template_holds_no_number_that_was_measured():
    """The levels of intervals and tests, the null of differences, and the block of the last question are chosen."""
    assert set(NUMBER.findall(EXPRESSIONS.sub("", WRITTEN).replace("4-bit", ""))) == {"95 %"}
    texts = [text for expression in EXPRESSIONS.findall(WRITTEN) for text in re.findall(r'"([^"]*)"', expression)]
    numbers = {number.strip(",") for text in texts for number in NUMBER.findall(text.replace("at 1 ", ""))}
    assert numbers == {"0", ".05", "9"}


def test_each_row_of_a_table_names_the_place_of_its_numbers():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and not line.startswith("| |")]
    assert len(rows) > 40
    for line in rows:
        for source in re.findall(r"`([^`]*)`", line):
            assert looked_up(results(), source) is not None, line
        assert line.endswith("` |"), line


def test_a_number_that_a_result_file_lacks_is_no_empty_place():
    found = copy.deepcopy(results())
    del found["alignment"]["values"]["permutations"]
    with pytest.raises(UndefinedError, match="permutations"):
        page(found)
