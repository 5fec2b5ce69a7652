"""What may make texts hard, by the published rules and the corrected ones, and how far labels agree."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from layeratlas.corpora import Language
from layeratlas.corpora.failure_taxonomy import (
    CATEGORIES,
    UNKNOWN,
    WordLists,
    corrected_categories,
    published_category,
    unlisted,
)
from layeratlas.errors import ConfigError

_COLUMNS = ("language", "text", "label")


def labelled_texts(path: str) -> pd.DataFrame:
    """A file of texts (.jsonl or .csv) with `language`, `text` and a category as `label`, and `id` where it has one."""
    file = Path(path).expanduser()
    if file.suffix not in (".jsonl", ".csv") or not file.is_file():
        raise ConfigError(f"study.variants.labels={path}: expected a file .jsonl or .csv with {', '.join(_COLUMNS)}")
    try:
        table = pd.read_json(file, lines=True, dtype=False) if file.suffix == ".jsonl" else pd.read_csv(file, dtype=str)
    except ValueError as error:
        raise ConfigError(f"study.variants.labels={path}: it cannot be read ({str(error).splitlines()[0]})") from error
    if missing := [column for column in _COLUMNS if column not in table]:
        raise ConfigError(
            f"study.variants.labels={path}: there is no column {', '.join(missing)}; there are {', '.join(table.columns)}"
        )
    if empty := int(table[list(_COLUMNS)].isna().any(axis=1).sum()):
        raise ConfigError(f"study.variants.labels={path}: {empty} rows lack a language, a text or a label")
    if strange := sorted(set(table["label"]) - set(CATEGORIES)):
        raise ConfigError(
            f"study.variants.labels={path}: {', '.join(map(str, strange))} is no category; there are {', '.join(CATEGORIES)}"
        )
    ids = table["id"].astype(str) if "id" in table else [f"row {i + 1}" for i in range(len(table))]
    return table.assign(id=ids, language=table["language"].astype(str), text=table["text"].astype(str))


def of_texts(texts: pd.DataFrame, languages: Mapping[str, Language], terms: Sequence[str], lists: WordLists) -> pd.DataFrame:
    """The same with the `published` category, the first `corrected` one, `all_corrected`, and what is `unseen` for want of a list.

    A language that the sweep does not hold has no corrected category (None): nothing says which script it has.
    """
    rows = []
    for language, text in zip(texts["language"], texts["text"], strict=True):
        row: dict[str, str | None] = {"published": published_category(text, language, terms)}
        if known := languages.get(language):
            every = corrected_categories(text, known, lists)
            row |= {"corrected": next(iter(every), UNKNOWN), "all_corrected": ", ".join(every)}
            row |= {"unseen": ", ".join(unlisted(known, lists))}
        else:
            row |= {"corrected": None, "all_corrected": None, "unseen": "the language is not one of the sweep"}
        rows.append(row)
    columns = ["published", "corrected", "all_corrected", "unseen"]
    return texts.reset_index(drop=True).join(pd.DataFrame(rows, columns=columns))


def confusion(judged: pd.DataFrame) -> pd.DataFrame:
    """How many texts of each label each rule puts into each category; a row per rule, label and category."""
    rows = [
        {
            "rule": rule,
            "label": label,
            "category": category,
            "texts": int(((judged["label"] == label) & (judged[rule] == category)).sum()),
        }
        for rule in ("published", "corrected")
        for label in CATEGORIES
        for category in CATEGORIES
    ]
    return pd.DataFrame(rows)
