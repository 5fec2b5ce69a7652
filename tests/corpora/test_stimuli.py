import json
import re
import statistics
import unicodedata
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scripts import share_of_script

import layeratlas
from layeratlas.corpora import AbstractCorpus, Kolibri, Language, Local, PairedItems, Stimuli, draw
from layeratlas.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"
FOLDER = Path(layeratlas.__file__).parent / "corpora" / "stimuli"
TRANSLATED = {
    "concepts": ("en", "hi", "bn", "sw", "am", "fr", "es", "ar", "yo", "ta"),
    "parallel": ("en", "de", "fr", "es", "hi", "zh", "ar"),
    "exam": ("en", "es", "fr", "zh"),
}


def drawn(corpus: AbstractCorpus, a: str, b: str, seed: int) -> PairedItems:
    return draw(corpus, Language(a), Language(b), seed)


PAIRS = {"statements": ("statement_a", "statement_b"), "paraphrases": ("sentence", "paraphrase")}
ITEMS = {"concepts": 40, "parallel": 100, "exam": 100, "statements": 210, "paraphrases": 60}
# Characters of a text in this language over those of its English item, by how densely the script writes.
LENGTHS = {"am": (0.4, 0.9), "ar": (0.45, 1.4), "zh": (0.15, 0.9), "ta": (0.8, 1.9)}
each_translation = pytest.mark.parametrize(("name", "language"), [(n, c) for n, codes in TRANSLATED.items() for c in codes])


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def corpus(name: str, **options) -> Stimuli:
    return instantiate(OmegaConf.load(CONF / "dataset" / f"{name}.yaml"), **options, _convert_="all")


def language(code: str):
    return OmegaConf.load(CONF / "language" / f"{code}.yaml")


# --- the files --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ITEMS)
def test_a_set_holds_as_many_items_as_its_card_says_each_with_an_id_of_its_own(name):
    items = rows(name)
    assert len(items) == len({item["id"] for item in items}) == ITEMS[name]
    assert len({tuple(item) for item in items}) == 1


@pytest.mark.parametrize("name", ITEMS)
def test_every_value_is_a_trimmed_text_in_composed_form(name):
    for item in rows(name):
        for key, value in item.items():
            assert value, (item["id"], key)
            assert value == unicodedata.normalize("NFC", " ".join(value.split())), (item["id"], key)


@pytest.mark.parametrize("name", ITEMS)
def test_no_text_stands_twice_in_a_column(name):
    table = pd.DataFrame(rows(name))
    for column in TRANSLATED.get(name, PAIRS.get(name, ())):
        assert table[column].is_unique, table[column][table[column].duplicated()].tolist()


def test_groups_are_of_equal_size():
    groups = {name: Counter(item["group"] for item in rows(name)) for name in ITEMS}
    assert groups["concepts"] == {"medical": 20, "everyday": 20}
    assert set(groups["parallel"].values()) == {10}
    assert groups["exam"] == dict.fromkeys(["medical", "legal", "math", "cs", "humanities"], 20)
    assert set(groups["statements"].values()) == {30}
    assert len(groups["statements"]) == 7
    assert set(groups["paraphrases"].values()) == {20}


def test_the_card_names_every_set():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in ITEMS if f"`{name}`" not in card] == []
    assert sorted(path.stem for path in FOLDER.glob("*.jsonl")) == sorted(ITEMS)


# --- translations -----------------------------------------------------------------------------------------------------------


@each_translation
def test_a_text_is_written_in_the_script_of_its_language(name, language):
    script = OmegaConf.load(CONF / "language" / f"{language}.yaml").script
    for item in rows(name):
        if item["group"] not in ("math", "cs"):  # formulas and names such as SQL
            assert share_of_script(item[language], script) == 1, item[language]


@each_translation
def test_a_text_is_about_as_long_as_its_english_item(name, language):
    low, high = LENGTHS.get(language, (0.55, 1.75))
    ratios = {item["id"]: len(item[language]) / len(item["en"]) for item in rows(name)}
    assert {i: round(ratio, 2) for i, ratio in ratios.items() if not low <= ratio <= high} == {}


@pytest.mark.parametrize("code", TRANSLATED["parallel"])
def test_a_parallel_sentence_ends_as_its_language_ends_sentences(code):
    marks = tuple(language(code).sentence_final)
    ends = [item["id"] for item in rows("parallel") if not item[code].endswith(marks)]
    assert ends == []


@pytest.mark.parametrize("code", TRANSLATED["parallel"])
def test_a_question_is_a_question_in_every_language(code):
    asks = [item["id"] for item in rows("parallel") if item[code][-1] in "?؟？"]
    assert asks == [item["id"] for item in rows("parallel") if item["en"][-1] == "?"]


@pytest.mark.parametrize("code", TRANSLATED["concepts"])
def test_a_concept_ends_without_punctuation_and_its_words_stand_once(code):
    for item in rows("concepts"):
        assert unicodedata.category(item[code][-1])[0] in "LM", item[code]
        assert item[code].count(item[f"{code}_span"]) == 1, item[code]


@pytest.mark.parametrize("code", TRANSLATED["concepts"])
def test_the_words_of_a_concept_are_whole_words(code):
    for item in rows("concepts"):
        text, words = item[code], item[f"{code}_span"]
        start = text.index(words)
        around = text[:start][-1:] + text[start + len(words) :][:1]
        assert set(around) <= {" ", "'"}, (text, words)


def test_the_words_of_no_two_concepts_are_the_same():
    for code in TRANSLATED["concepts"]:
        assert len({item[f"{code}_span"].lower() for item in rows("concepts")}) == 40


# --- exam -------------------------------------------------------------------------------------------------------------------


def test_every_answer_is_right_equally_often_in_each_group():
    counts = Counter((item["group"], item["answer"]) for item in rows("exam"))
    assert counts == {(group, answer): 5 for group in {g for g, _ in counts} for answer in "ABCD"}


@pytest.mark.parametrize("code", TRANSLATED["exam"])
def test_the_options_of_a_question_differ(code):
    for item in rows("exam"):
        assert len({item[f"{code}_{option}"] for option in "ABCD"}) == 4, item["id"]


@pytest.mark.parametrize("code", TRANSLATED["exam"])
def test_numbers_among_the_options_are_those_of_the_english_question(code):
    for item in rows("exam"):
        for option in "ABCD":
            numbers = [re.findall(r"\d+", item[f"{c}_{option}"].translate(str.maketrans("²³⁴", "234"))) for c in ("en", code)]
            assert numbers[0] == numbers[1], item["id"]


# --- pairs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
def test_the_two_texts_of_a_pair_differ_and_end_alike(name):
    a, b = PAIRS[name]
    for item in rows(name):
        assert item[a] != item[b]
        assert item[a][-1] == item[b][-1] == "."


def test_statements_of_a_pair_are_as_many_words_long_and_share_all_but_a_few():
    for item in rows("statements"):
        a, b = (Counter(re.findall(r"[\w-]+", item[field].lower())) for field in PAIRS["statements"])
        assert a.total() == b.total(), item["id"]
        assert (a - b).total() <= 3, item["id"]


def test_paraphrases_share_few_words():
    words = [[set(re.findall(r"\w+", item[field].lower())) for field in PAIRS["paraphrases"]] for item in rows("paraphrases")]
    assert statistics.mean(len(a & b) / len(a | b) for a, b in words) < 0.35


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma3-270m"])
def test_statements_have_as_many_tokens_on_either_side(name, bundled_tokenizer):
    """A pair differs by a tenth at most, and in each group the two sides' means by a hundredth."""
    tokenizer = bundled_tokenizer(name)
    counts = pd.DataFrame(rows("statements"))
    for field in PAIRS["statements"]:
        counts[field] = [len(ids) for ids in tokenizer(counts[field].tolist(), add_special_tokens=False)["input_ids"]]
    a, b = (counts[field] for field in PAIRS["statements"])
    unequal = (a - b).abs() / a.combine(b, max)
    assert counts["id"][unequal > 0.1].tolist() == []
    means = counts.groupby("group")[list(PAIRS["statements"])].mean()
    assert (means["statement_a"] / means["statement_b"] - 1).abs().max() < 0.01


@pytest.fixture
def bundled_tokenizer(tmp_path):
    transformers = pytest.importorskip("transformers")

    def read(name: str):
        from layeratlas.files.packages import package_files

        packages = OmegaConf.load(CONF / "model" / f"{name}.yaml").packages
        parts = [file for package in packages for path, file in package_files(package).items() if ".gguf" in path]
        with (tmp_path / "model.gguf").open("wb") as whole:
            for part in parts:
                whole.write(part.read_bytes())
        return transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")

    return read


# --- the corpus -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ITEMS)
def test_a_config_draws_as_many_items_as_its_comment_says(name):
    text = (CONF / "dataset" / f"{name}.yaml").read_text(encoding="utf-8")
    assert drawn(corpus(name), "en", "en", 0).n == int(re.search(r"(\d+) items", text)[1])


@pytest.mark.parametrize(("name", "a", "b"), [("concepts", "fr", "am"), ("parallel", "en", "hi"), ("exam", "zh", "es")])
def test_two_languages_are_aligned_item_by_item(name, a, b):
    items = drawn(corpus(name), a, b, 0)
    written = {item["id"]: item for item in rows(name)}
    assert items.dropped == {"only_in_a": 0, "only_in_b": 0}
    for i, text_a, text_b in zip(items.ids, items.sides["a"].texts, items.sides["b"].texts, strict=True):
        assert text_a.startswith(written[i][a])
        assert text_b.startswith(written[i][b])


def test_the_words_of_a_concept_are_marked_on_both_sides():
    items = drawn(corpus("concepts"), "en", "ta", 0)
    written = {item["id"]: item for item in rows("concepts")}
    for side, code in (("a", "en"), ("b", "ta")):
        texts, spans = items.sides[side].texts, items.sides[side].spans
        marked = [text[start:end] for text, (start, end) in zip(texts, spans, strict=True)]
        assert marked == [written[i][f"{code}_span"] for i in items.ids]


def test_a_question_is_put_with_its_options_or_without():
    first = rows("exam")[0]
    asked = dict(zip(*(lambda t: (t["id"], t["text_a"]))(drawn(corpus("exam"), "fr", "fr", 0).table), strict=True))
    assert asked["medical-01"] == f"{first['fr']}\nA. Le foie\nB. Le pancréas\nC. La rate\nD. L'estomac"
    alone = drawn(corpus("exam", prompt="{text}"), "fr", "fr", 0).table
    assert set(alone["text_a"]) == {item["fr"] for item in rows("exam")}


def test_groups_are_chosen_by_name():
    assert set(drawn(corpus("concepts", groups=["medical"]), "en", "yo", 0).groups) == {"medical"}
    neutral = drawn(corpus("statements", groups=["neutral"]), "en", "en", 0)
    assert (neutral.n, set(neutral.groups)) == (30, {"neutral"})
    assert "neutral" not in drawn(corpus("statements"), "en", "en", 0).groups


def test_a_set_is_also_a_local_file():
    path = str(FOLDER / "concepts.jsonl")
    local = Local(n=None, max_length=64, path=path, id_column="id", group_column="group")
    there, here = drawn(local, "fr", "am", 0), drawn(corpus("concepts"), "fr", "am", 0)
    pd.testing.assert_frame_equal(there.table, here.table)
    assert there.sides == here.sides


@pytest.mark.parametrize(
    ("name", "options", "language", "message"),
    [
        ("parallel", {}, "sw", r"language: dataset parallel has en, de, fr, es, hi, zh, ar; got sw"),
        ("exam", {}, "answer", r"language: dataset exam has en, es, fr, zh; got answer"),
        ("parallel", {"field_a": "de"}, "en", r"dataset\.field_a/field_b: dataset parallel has text; got de"),
        ("statements", {}, "de", r"language: dataset statements has only en; got de"),
        (
            "paraphrases",
            {"field_a": "text"},
            "en",
            r"dataset\.field_a/field_b: dataset paraphrases has sentence, paraphrase; got text",
        ),
        ("exam", {"groups": ["math", "art"]}, "en", r"dataset\.groups: dataset exam has medical, legal, .*; got art"),
        ("parallel", {"prompt": "{text} {A}"}, "en", r"dataset\.prompt='\{text\} \{A\}': dataset parallel knows \{text\}; got 'A'"),
        ("parallel", {"prompt": "{text"}, "en", r"dataset\.prompt='\{text': dataset parallel knows \{text\}; got .*"),
        (
            "parallel",
            {"stimuli": "nouns"},
            "en",
            r"dataset\.stimuli: expected concepts, exam, parallel, paraphrases, statements; got nouns",
        ),
    ],
)
def test_what_a_set_does_not_have_is_told_with_what_it_has(name, options, language, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        drawn(corpus(name, **options), language, language, 0)


# --- kolibri ----------------------------------------------------------------------------------------------------------------

MESSAGES = {
    "en": {
        "Page.hello": "Welcome to the small library of our school",
        "Page.again": "Welcome to the small library of our school",
        "Page.count": "There are {count} books in the small library today",
        "Page.short": "Good morning",
        "Menu.same": "This long message reads the same in every language here",
        "Menu.open": "The  library opens\nagain tomorrow at nine o'clock",
        "Menu.late": "The reading room on the first floor closes late",
    },
    "de": {
        "Page.hello": "Willkommen in der kleinen Bibliothek unserer Schule",
        "Page.again": "Willkommen in der kleinen Bibliothek unserer Schule",
        "Page.count": "Heute stehen {count} Bücher in der kleinen Bibliothek",
        "Page.short": "Guten Morgen",
        "Menu.same": "This long message reads the same in every language here",
        "Menu.open": "Die Bibliothek öffnet morgen wieder um neun Uhr",
        "Menu.late": "",
    },
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution `kolibri` in the layout of the real one, with seven messages in two languages."""
    record = []
    for locale, messages in (("en", MESSAGES["en"]), ("de_DE", MESSAGES["de"])):
        for component in ("Page", "Menu"):
            name = f"kolibri/locale/{locale}/LC_MESSAGES/kolibri.{component.lower()}-messages.json"
            part = {key: text for key, text in messages.items() if key.startswith(component)}
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(json.dumps(part), encoding="utf-8")
            record.append(name)
    info = tmp_path / "kolibri-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kolibri\nVersion: 0.0.1\n", encoding="utf-8")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in record), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)


def kolibri(**options) -> Kolibri:
    return Kolibri(**({"n": None, "max_length": 64, "locales": {"en": "en", "de": "de_DE"}, "min_words": 5} | options))


def test_the_messages_of_kolibri_are_those_that_every_language_translates(installed):
    table = drawn(kolibri(), "en", "de", 0).table.set_index("id")
    assert set(table.index) == {"Page.hello", "Menu.open"}
    assert table.loc["Menu.open"].tolist() == [
        "Menu",
        "The library opens again tomorrow at nine o'clock",
        "Die Bibliothek öffnet morgen wieder um neun Uhr",
    ]


def test_kolibri_names_the_languages_that_it_has(installed):
    with pytest.raises(ConfigError, match=r"^language: dataset kolibri has en, de; got hi$"):
        drawn(kolibri(), "en", "hi", 0)
    with pytest.raises(
        ConfigError, match=r"^dataset\.locales: package kolibri has no messages in kolibri/locale/hi_IN/LC_MESSAGES/$"
    ):
        drawn(kolibri(locales={"en": "en", "hi": "hi_IN"}), "en", "hi", 0)


def test_kolibri_that_is_not_installed_is_refused_with_the_remedy(monkeypatch):
    from importlib import metadata

    def missing(package: str):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "distribution", missing)
    expected = r"^package kolibri is not installed; `uv sync --extra kolibri` installs it \(104 MB\)$"
    with pytest.raises(ConfigError, match=expected):
        drawn(kolibri(), "en", "de", 0)
