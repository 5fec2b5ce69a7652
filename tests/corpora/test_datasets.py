"""Datasets of the hub, read by the real loading code from small local copies in each one's own layout."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import datasets
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value, load_dataset, load_dataset_builder
from datasets.exceptions import DatasetNotFoundError
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from layeratlas.corpora import AbstractCorpus, Language, PairedItems, draw
from layeratlas.corpora.hub import published_order
from layeratlas.errors import ConfigError, Skipped

CONF = Path(__file__).parents[2] / "conf"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
EN, DE, HI, ZH = (Language(**OmegaConf.load(CONF / "language" / f"{code}.yaml")) for code in ("en", "de", "hi", "zh"))  # type: ignore[arg-type]

Configurations = Mapping[str, Mapping[str, Dataset | pd.DataFrame]]
Publish = Callable[[str, Configurations], Path]


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    for name in ("LAYERATLAS_STORE", "LAYERATLAS_RUN_ID"):
        monkeypatch.setenv(name, "unused")


@pytest.fixture
def publish(tmp_path) -> Publish:
    """Write a dataset's configurations and splits below tmp_path/mirror, as its repository on the hub holds them."""

    def published(name: str, configurations: Configurations, suffix: str = "parquet") -> Path:
        folder, card = tmp_path / "mirror" / name, []
        for configuration, splits in configurations.items():
            (folder / configuration).mkdir(parents=True)
            card += [f"- config_name: {configuration}", "  data_files:"]
            for split, table in splits.items():
                card += [f"  - split: {split}", f"    path: {configuration}/{split}-*"]
                rows = table if isinstance(table, Dataset) else Dataset.from_list(table.to_dict("records"))
                file = str(folder / configuration / f"{split}-00000-of-00001.{suffix}")
                rows.to_parquet(file) if suffix == "parquet" else rows.to_json(file)
        (folder / "README.md").write_text("\n".join(["---", "configs:", *card, "---"]))
        return folder

    return published


@pytest.fixture
def corpus(tmp_path) -> Callable[..., AbstractCorpus]:
    """The dataset of a file in conf/dataset: `corpus("imdb", "dataset.n=4")`, all items unless told otherwise."""

    def instantiated(name: str, *overrides: str) -> AbstractCorpus:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            where = [f"dataset.mirror={tmp_path / 'mirror'}"] if "mirror" in OmegaConf.load(file_of(name)) else []
            config = compose("config", [f"dataset={name}", "dataset.n=null", *where, *overrides])
        return instantiate(config.dataset, _convert_="all")

    return instantiated


def file_of(name: str) -> Path:
    return CONF / "dataset" / f"{'flores' if name == 'flores_health' else name}.yaml"


def texts(items: PairedItems, side: str = "a") -> dict[str, str]:
    return dict(zip(items.ids, items.sides[side].texts, strict=True))


def rows(n: int, **columns: Callable[[int], object]) -> pd.DataFrame:
    return pd.DataFrame({name: [value(i) for i in range(n)] for name, value in columns.items()})


# --- the sample that was published ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1234])
def test_the_published_order_is_that_of_a_shuffle_by_hugging_face(seed):
    shuffled = Dataset.from_dict({"row": list(range(300))}).shuffle(seed=seed)
    assert shuffled["row"][:] == published_order(300, seed).tolist()


def test_imdb_is_drawn_as_published(publish, corpus):
    labels = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    reviews = Dataset.from_dict({"text": [f"Review {i}." for i in range(60)], "label": [i % 2 for i in range(60)]}, labels)
    publish("stanfordnlp/imdb", {"plain_text": {"train": reviews, "test": reviews}})
    items = draw(corpus("imdb", "dataset.n=20"), EN, EN, 0)
    assert items.sides["a"].texts == reviews.shuffle(seed=1234).take(20)["text"][:]
    assert items.groups == [("neg", "pos")[int(i) % 2] for i in items.ids]
    assert draw(corpus("imdb", "dataset.n=20", "dataset.shuffle=null"), EN, EN, 0).ids != items.ids


def web(n: int = 80) -> pd.DataFrame:
    return rows(n, text=lambda i: f"Page {i}: " + "x" * (20 if i % 3 else 10_000))


def test_openwebtext_is_the_corpus_shuffled_and_then_cut_by_length(publish, corpus):
    publish("Skylion007/openwebtext", {"plain_text": {"train": web()}})
    items = draw(corpus("openwebtext", "dataset.n=12"), EN, EN, 0)
    short = Dataset.from_pandas(web()).shuffle(seed=1234).filter(lambda row: len(row["text"]) < 10_000)
    assert items.sides["a"].texts == short["text"][:12]
    assert [f"Page {i}" for i in items.ids] == [text.split(":")[0] for text in items.sides["a"].texts]


def test_openwebtext_streamed_is_another_sample_and_says_so(publish, corpus):
    publish("Skylion007/openwebtext", {"plain_text": {"train": web()}})
    whole, streamed = corpus("openwebtext", "dataset.n=12"), corpus("openwebtext_streamed", "dataset.n=12")
    assert (whole.name, streamed.name) == ("openwebtext", "openwebtext-streamed")
    small, large = (draw(corpus("openwebtext_streamed", f"dataset.n={n}"), EN, EN, 0) for n in (5, 12))
    assert large.sides["a"].texts[:5] == small.sides["a"].texts
    assert all(len(text) < 10_000 for text in large.sides["a"].texts)
    assert large.sides["a"].texts != draw(whole, EN, EN, 0).sides["a"].texts
    assert large.ids != draw(streamed, EN, EN, 1).ids


def test_a_text_that_the_stream_repeats_is_drawn_once(publish, corpus):
    publish("Skylion007/openwebtext", {"plain_text": {"train": rows(30, text=lambda i: f"Page {i // 2}")}})
    assert len(set(draw(corpus("openwebtext_streamed", "dataset.n=15"), EN, EN, 0).sides["a"].texts)) == 15


def test_what_was_streamed_once_needs_no_network_again(publish, corpus):
    folder = publish("Skylion007/openwebtext", {"plain_text": {"train": web()}})
    before = draw(corpus("openwebtext_streamed", "dataset.n=12"), EN, EN, 0)
    for file in folder.rglob("*.parquet"):
        file.unlink()
    assert draw(corpus("openwebtext_streamed", "dataset.n=12"), EN, EN, 0).table.equals(before.table)


@pytest.mark.parametrize("name", ["openwebtext", "openwebtext_streamed", "wikipedia_leads_streamed"])
def test_a_corpus_that_is_too_large_is_not_drawn_whole(corpus, name):
    with pytest.raises(Exception, match=r"dataset\.n: \S+ is too large to be drawn whole; give a number"):
        corpus(name)


def test_leads_of_wikipedia_are_first_paragraphs_and_never_aligned_by_number(publish, corpus):
    articles = rows(9, id=str, title=str, text=lambda i: f"{'Lead ' * 50}{i}.\n\nMore." if i else "Short.\n\nMore.")
    publish("wikimedia/wikipedia", {"20231101.en": {"train": articles}, "20231101.de": {"train": articles}})
    leads = corpus("wikipedia_leads_streamed", "dataset.n=8")
    assert sorted(draw(leads, EN, EN, 0).ids) == [f"en:{i}" for i in range(1, 9)]
    assert all(text.startswith("Lead") and text[-1] == "." for text in draw(leads, EN, EN, 0).sides["a"].texts)
    with pytest.raises(ConfigError, match="en and de share no item id"):
        draw(leads, EN, DE, 0)
    with pytest.raises(Skipped, match=r"^language: dataset wikipedia-streamed lacks hi \(20231101\.hi\); it has 20231101\.en, "):
        draw(leads, HI, HI, 0)


def test_common_words_are_the_first_of_the_list_and_leads_of_the_file_are_shuffled_as_published(corpus, tmp_path):
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(f"line {i}" for i in range(50)))
    assert draw(corpus("common_words", f"dataset.path={file}", "dataset.n=3"), EN, EN, 7).ids == ["0", "1", "2"]
    leads = draw(corpus("wikipedia_leads", f"dataset.path={file}", "dataset.n=10"), EN, EN, 7)
    assert leads.sides["a"].texts == load_dataset("text", data_files=str(file), split="train").shuffle(seed=1234)["text"][:10]
    assert [f"line {row}" for row in leads.sides["a"].rows] == leads.sides["a"].texts  # places in the file, for stored vectors
    with pytest.raises(Skipped, match="dataset lines has only en; got de"):
        draw(corpus("common_words", f"dataset.path={file}"), EN, DE, 0)
    with pytest.raises(ConfigError, match=r"^dataset\.path=nowhere\.txt: no such file$"):
        draw(corpus("common_words", "dataset.path=nowhere.txt"), EN, EN, 0)


def test_ifeval_has_a_prompt_per_key(publish, corpus):
    prompts = rows(5, key=lambda i: 1000 + i, prompt=lambda i: f"Write {i} words.", instruction_id_list=lambda i: ["length"])
    publish("google/IFEval", {"default": {"train": prompts}}, "jsonl")
    assert texts(draw(corpus("ifeval"), EN, EN, 0)) == {f"{1000 + i}": f"Write {i} words." for i in range(5)}


# --- examinations -----------------------------------------------------------------------------------------------------------

SUBJECTS = ["clinical_knowledge", "professional_medicine", "professional_law", "philosophy"]


def questions(n: int = 24) -> pd.DataFrame:
    choices = [["one", "two", "three", "four"], ["yes", "", "no", "perhaps"]]
    return rows(
        n,
        question=lambda i: f"What is {i}? ",
        subject=lambda i: SUBJECTS[i % 4 if i < 12 else 0],
        choices=lambda i: choices[i % 2],
        answer=lambda i: 0,
    )


def test_mmlu_has_the_published_prompt(publish, corpus):
    publish("cais/mmlu", {"all": {"test": questions()}, "philosophy": {"test": questions(4)}})
    asked = texts(draw(corpus("mmlu"), EN, EN, 0))
    assert asked["0"] == "What is 0? \nA. one\nB. two\nC. three\nD. four"
    assert asked["1"] == "What is 1? \nA. yes\nB. no\nC. perhaps"  # an option that is missing leaves no gap
    assert texts(draw(corpus("mmlu", "dataset.prompt=[question]"), EN, EN, 0))["0"] == "What is 0?"


def test_a_task_of_mmlu_draws_from_its_subjects_in_equal_shares_if_asked_to(publish, corpus):
    publish("cais/mmlu", {"all": {"test": questions()}})
    medical = corpus("mmlu", "dataset.task=medical", "dataset.n=6", "dataset.stratify=true")
    items = draw(medical, EN, EN, 0)
    assert medical.name == "mmlu-medical"
    assert sorted(items.groups) == ["clinical_knowledge"] * 3 + ["professional_medicine"] * 3
    assert {i: g for i, g in zip(items.ids, items.groups, strict=True) if SUBJECTS[int(i) % 4 if int(i) < 12 else 0] != g} == {}


def test_all_five_task_groups_of_the_study_are_there(corpus):
    with pytest.raises(Exception, match="expected null or one of medical, legal, math, cs, humanities; got physics"):
        corpus("mmlu", "dataset.task=physics")


def test_a_subject_that_the_dataset_lacks_is_named(publish, corpus):
    publish("cais/mmlu", {"all": {"test": questions()}})
    with pytest.raises(ConfigError, match=r"^dataset\.tasks\.legal: cais/mmlu has no subject international_law; it has clin"):
        draw(corpus("mmlu", "dataset.task=legal"), EN, EN, 0)


def test_mmlu_pro_asks_questions_and_can_show_ten_options(publish, corpus):
    table = rows(
        12, question_id=lambda i: 70 + i, question=lambda i: f"Q{i}", category=lambda i: "law", options=lambda i: list("jihgfedcba")
    )
    publish("TIGER-Lab/MMLU-Pro", {"default": {"test": table, "validation": table}})
    items = draw(corpus("mmlu_pro", "dataset.n=5"), EN, EN, 0)
    assert items.sides["a"].texts == [f"Q{i}" for i in published_order(12, 1234)[:5]]
    assert items.ids == [str(70 + i) for i in published_order(12, 1234)[:5]]
    shown = texts(draw(corpus("mmlu_pro", "dataset.prompt=[question,options]"), EN, EN, 0))["70"]
    assert shown.splitlines() == ["Q0", *(f"{a}. {b}" for a, b in zip("ABCDEFGHIJ", "jihgfedcba", strict=True))]


def global_questions(language: str, ids: Sequence[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": [f"{SUBJECTS[i % 2]}/test/{i}" for i in ids],
            "subject": [SUBJECTS[i % 2] for i in ids],
            "question": [f"{language} question {i}" for i in ids],
            **{f"option_{letter}": [f"{language} {letter}{i}" for i in ids] for letter in "abcd"},
            "answer": "A",
        }
    )


def test_global_mmlu_joins_its_languages_by_id_and_counts_what_is_lost(publish, corpus):
    tables = {"en": global_questions("en", [0, 1, 2, 3, 4]), "hi": global_questions("hi", [4, 2, 0, 7])}
    publish("CohereLabs/Global-MMLU", {code: {"test": table, "dev": table} for code, table in tables.items()})
    items = draw(corpus("global_mmlu"), EN, HI, 0)
    assert sorted(items.ids) == [f"clinical_knowledge/test/{i}" for i in (0, 2, 4)]
    assert items.dropped == {"only_in_a": 2, "only_in_b": 1}
    assert texts(items, "b")["clinical_knowledge/test/2"] == "hi question 2\nA. hi a2\nB. hi b2\nC. hi c2\nD. hi d2"
    medical = draw(corpus("global_mmlu", "dataset.task=medical", "dataset.field_a=question"), EN, EN, 0)
    assert texts(medical)["clinical_knowledge/test/2"] == "en question 2"


def test_a_language_that_a_dataset_lacks_is_named_with_those_that_it_has(publish, corpus):
    table = global_questions("en", [0, 1])
    publish("CohereLabs/Global-MMLU", {"en": {"test": table}, "hi": {"test": table}})
    with pytest.raises(Skipped, match=r"^language: dataset global-mmlu lacks de \(de\); it has en, hi$"):
        draw(corpus("global_mmlu"), EN, DE, 0)


def test_global_mmlu_lite_is_the_question_alone_or_with_its_options(publish, corpus):
    publish("CohereLabs/Global-MMLU-Lite", {code: {"test": global_questions(code, [0, 1])} for code in ("en", "hi")})
    assert set(draw(corpus("global_mmlu_lite"), EN, HI, 0).sides["b"].texts) == {"hi question 0", "hi question 1"}
    both = draw(corpus("global_mmlu_lite", "dataset.prompt=[question,options]"), EN, HI, 0)
    assert all(text.count("\n") == 4 for side in "ab" for text in both.sides[side].texts)


# --- parallel texts ---------------------------------------------------------------------------------------------------------


def test_books_are_sentence_pairs_in_the_published_order(publish, corpus):
    table = rows(30, id=str, translation=lambda i: {"de": f"Satz {i}.", "en": f"Sentence {i}."})
    publish("Helsinki-NLP/opus_books", {"de-en": {"train": table}})
    items = draw(corpus("opus_books", "dataset.n=8"), DE, EN, 0)
    assert items.sides["a"].texts == [f"Satz {i}." for i in published_order(30, 1234)[:8]]
    assert items.sides["b"].texts == [f"Sentence {i}." for i in published_order(30, 1234)[:8]]
    with pytest.raises(Skipped, match=r"^language: dataset opus_books has only de, en; got hi$"):
        draw(corpus("opus_books"), EN, HI, 0)


def flores(words: str, n: int) -> pd.DataFrame:
    named = rows(
        n, id=lambda i: i, text=lambda i: f"{words} {i} {'Everybody coughs.' if i % 3 == 0 else 'Rain.'}", topic=lambda i: "news"
    )
    return named.assign(iso_639_3="x", url="u")


def test_flores_goes_by_its_own_codes(publish, corpus):
    tables = {"eng_Latn": flores("en", 9), "hin_Deva": flores("hi", 9), "cmn_Hans": flores("zh", 9)}
    publish("openlanguagedata/flores_plus", {code: {"dev": table, "devtest": table} for code, table in tables.items()})
    assert texts(draw(corpus("flores"), ZH, HI, 0))["1"].startswith("zh 1")
    with pytest.raises(Skipped, match=r"lacks de \(deu_Latn\); it has eng_Latn, hin_Deva, cmn_Hans"):
        draw(corpus("flores"), EN, DE, 0)
    with pytest.raises(Skipped, match="goes by FLORES codes, and tlh has none"):
        draw(corpus("flores"), EN, Language("tlh"), 0)


def test_the_health_subset_is_chosen_by_strings_in_the_english_text_whatever_the_languages(publish, corpus):
    tables = {"eng_Latn": flores("en", 30), "hin_Deva": flores("hi", 30).assign(text=lambda t: "hi " + t["id"].astype(str))}
    publish("openlanguagedata/flores_plus", {code: {"devtest": table} for code, table in tables.items()})
    chosen = draw(corpus("flores_health", "dataset.first=4"), HI, HI, 0)
    assert sorted(map(int, chosen.ids)) == [0, 3, 6, 9]  # "body" in "Everybody", as published; the first four
    assert set(draw(corpus("flores_health"), HI, EN, 0).ids) == {str(i) for i in range(0, 30, 3)}


def test_belebele_asks_about_a_passage(publish, corpus):
    table = rows(
        4,
        link=lambda i: f"https://page/{i // 2}",
        question_number=lambda i: i % 2 + 1,
        flores_passage=lambda i: f"Passage {i // 2}.",
        question=lambda i: f"Why {i}?",
    )
    table = table.assign(**{f"mc_answer{k}": f"answer {k}" for k in range(1, 5)})
    publish("facebook/belebele", {"eng_Latn": {"test": table}, "deu_Latn": {"test": table}}, "jsonl")
    items = draw(corpus("belebele"), EN, DE, 0)
    assert texts(items)["https://page/1:2"] == "Passage 1.\nWhy 3?"
    assert set(items.groups) == {"https://page/0", "https://page/1"}
    asked = draw(corpus("belebele", "dataset.prompt=[question,options]"), EN, DE, 0)
    assert texts(asked)["https://page/0:1"] == "Why 0?\nA. answer 1\nB. answer 2\nC. answer 3\nD. answer 4"


def test_xquad_is_grouped_by_paragraph(publish, corpus):
    table = rows(
        6,
        id=lambda i: f"q{i}",
        context=lambda i: f"Paragraph {i // 3}.",
        question=lambda i: f"Why {i}?",
        answers=lambda i: {"text": ["x"]},
    )
    publish("google/xquad", {"xquad.en": {"validation": table}, "xquad.de": {"validation": table}})
    items = draw(corpus("xquad"), EN, DE, 0)
    assert texts(items, "b")["q4"] == "Paragraph 1.\nWhy 4?"
    assert sorted(items.groups) == ["Paragraph 0."] * 3 + ["Paragraph 1."] * 3


PAIRS = {
    "facts": {"description": "d", "pairs": [["Ice is cold.", "Ice is hot."], ["Two is even.", "Two is odd."]]},
    "taste": {"pairs": [["Tea.", "Coffee."]]},
}


def test_statements_stand_against_their_opposites(corpus, tmp_path):
    file = tmp_path / "mirror" / "buk81" / "uniformity-asymmetry" / "dataset.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(PAIRS))
    for where in ([], ["dataset.mirror=null", f"dataset.path={file}"]):
        items = draw(corpus("uniformity_asymmetry", *where), EN, EN, 0)
        assert texts(items)["facts:1"] == "Two is even."
        assert texts(items, "b")["facts:1"] == "Two is odd."
        assert sorted(items.groups) == ["facts", "facts", "taste"]
    file.write_text('{"facts": [1, 2]}')
    with pytest.raises(ConfigError, match=r"dataset\.json: expected \{category: \{pairs: \[\[a, b\], \.\.\.\]\}\}$"):
        draw(corpus("uniformity_asymmetry"), EN, EN, 0)
    with pytest.raises(ConfigError, match=r"^dataset\.path: has no value; give the file dataset\.json of github\.com/buk81"):
        draw(corpus("uniformity_asymmetry", "dataset.mirror=null"), EN, EN, 0)


# --- what is not there ------------------------------------------------------------------------------------------------------


def test_without_a_network_the_remedies_are_told(corpus):
    told = r"^dataset stanfordnlp/imdb \(en\): not on this machine, nor in dataset\.mirror=.*, and the hub cannot be reached"
    with pytest.raises(ConfigError, match=told):
        draw(corpus("imdb"), EN, EN, 0)
    with pytest.raises(ConfigError, match=r"^dataset stanfordnlp/imdb \(en\): not on this machine, and the hub cannot be reached;"):
        draw(corpus("imdb", "dataset.mirror=null"), EN, EN, 0)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (
            "Dataset 'x' is a gated dataset on the Hub. You must be",
            "access is restricted; accept its terms on its hub page and set",
        ),
        ("Revision 'x' doesn't exist for dataset", "at revision e628.*: Revision 'x' doesn't exist for dataset"),
    ],
)
def test_a_gated_dataset_and_an_unknown_revision_are_one_line_each(corpus, monkeypatch, raised, told):
    def refuse(*_, **__):
        raise DatasetNotFoundError(raised)

    monkeypatch.setattr(datasets, "load_dataset_builder", refuse)
    with pytest.raises(ConfigError, match=rf"^dataset stanfordnlp/imdb.*{told}"):
        draw(corpus("imdb"), EN, EN, 0)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("dataset.split=validation", r"^dataset .*imdb: Unknown split \"validation\"\. Should be one of \['test'\]\.$"),
        ("dataset.prompt=[body]", r"^dataset imdb: no column body; columns are text, label$"),
        ("dataset.field_a=title", r"^dataset imdb: no column title; columns are text, label$"),
        ("dataset.group_column=stars", r"^dataset imdb: no column stars; columns are text, label$"),
    ],
)
def test_a_split_or_a_column_that_is_not_there_is_named_with_those_that_are(publish, corpus, override, told):
    publish("stanfordnlp/imdb", {"plain_text": {"test": rows(3, text=str, label=lambda i: "neg")}})
    with pytest.raises(ConfigError, match=told):
        draw(corpus("imdb", override), EN, EN, 0)


@pytest.mark.parametrize(("suffix", "content"), [("parquet", "PAR1"), ("jsonl", '{"text": "one", "label": "neg"}\n{"text": ')])
def test_a_broken_file_is_one_line(publish, corpus, suffix, content):
    table = rows(3, text=str, label=lambda i: "neg")
    folder = publish("stanfordnlp/imdb", {"plain_text": {"test": table}}, suffix)
    (folder / "plain_text" / f"test-00000-of-00001.{suffix}").write_text(content)
    with pytest.raises(ConfigError, match=r"^dataset \S*stanfordnlp/imdb: .+"):
        draw(corpus("imdb"), EN, EN, 0)


# --- the cache that a prefetch fills ----------------------------------------------------------------------------------------


@pytest.fixture
def cached(publish, tmp_path):
    """IMDB as `datasets` keeps what it has once downloaded, under the commit; the mirror is gone."""
    folder = publish("stanfordnlp/imdb", {"plain_text": {"test": rows(6, text=lambda i: f"Review {i}", label=lambda i: "neg")}})
    builder = load_dataset_builder(str(folder), "plain_text")
    builder.download_and_prepare(str(tmp_path / "cache" / "stanfordnlp___imdb" / "plain_text" / "0.0.0" / COMMIT))
    shutil.rmtree(tmp_path / "mirror")


@pytest.mark.usefixtures("cached")
def test_what_was_downloaded_once_is_read_without_a_network_and_its_commit_is_known(corpus):
    imdb = corpus("imdb", "dataset.revision=main")
    assert draw(imdb, EN, EN, 0).n == 6
    source = imdb.source(EN)
    assert source == {"id": "stanfordnlp/imdb", "config": "plain_text", "split": "test", "revision": "main", "commit": COMMIT}


@pytest.mark.usefixtures("cached")
def test_another_commit_than_the_pinned_one_is_not_taken_for_it(corpus):
    assert draw(corpus("imdb", f"dataset.revision={COMMIT}"), EN, EN, 0).n == 6
    with pytest.raises(ConfigError, match="not on this machine"):
        draw(corpus("imdb"), EN, EN, 0)


@pytest.mark.parametrize(("name", "n"), [("global_mmlu", 42), ("xquad", 12)])
def test_a_language_that_a_dataset_is_known_to_lack_is_told_without_a_network(corpus, name, n):
    known = corpus(name)
    assert len(known.languages) == n
    with pytest.raises(Skipped, match=rf"^language: dataset {known.name} has only .*; got xx"):
        draw(known, replace(EN, code="xx"), EN, 0)


@pytest.mark.usefixtures("cached")
def test_a_configuration_that_was_not_downloaded_is_out_of_reach_and_not_missing(corpus):
    with pytest.raises(ConfigError, match="not on this machine") as refused:
        draw(corpus("imdb", "dataset.config=other", "dataset.revision=main"), EN, EN, 0)
    assert not isinstance(refused.value, Skipped)


def test_a_local_copy_has_no_commit(publish, corpus):
    publish("stanfordnlp/imdb", {"plain_text": {"test": rows(3, text=str, label=lambda i: "neg")}})
    source = corpus("imdb").source(EN)
    assert source is not None
    assert source["commit"] is None
