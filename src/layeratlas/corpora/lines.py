"""Lists that a user has to bring, as their licences or their places allow no other way."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from layeratlas.corpora.base import AbstractCorpus, english_only, require_file
from layeratlas.corpora.hub import published_order
from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError
from layeratlas.files.paths import expanded


@dataclass(frozen=True, kw_only=True)
class Lines(AbstractCorpus):
    """English texts, one a line, drawn in the order of the file, or with `shuffle` in the published one (its seed)."""

    path: str
    shuffle: int | None

    @property
    def name(self) -> str:
        return Path(self.path).stem

    @property
    def ordered(self) -> bool:
        return True

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        english_only(self, language)
        lines = [line.strip() for line in _read(self.path).split("\n") if line.strip()]
        items = pd.DataFrame({"id": [str(i) for i in range(len(lines))], "text": lines, "group": "all"})
        return items if self.shuffle is None else items.iloc[published_order(len(items), self.shuffle)]


@dataclass(frozen=True, kw_only=True)
class StatementPairs(AbstractCorpus):
    """English statements and their opposites, from a JSON file {category: {pairs: [[a, b], ...]}}.

    `field_a: a` and `field_b: b` compare statements with opposites. An item's group is its category. If `path` is null, the
    file is searched for as `mirror`/buk81/uniformity-asymmetry/dataset.json.
    """

    path: str | None
    mirror: str | None

    @property
    def name(self) -> str:
        return "uniformity_asymmetry"

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        english_only(self, language)
        if field not in ("a", "b"):
            raise ConfigError(f"dataset.field_a, field_b: expected a or b (the statement or its opposite); got {field}")
        try:
            rows = [
                (f"{category}:{i}", pair["ab".index(field)], category)
                for category, content in json.loads(_read(self._file)).items()
                for i, pair in enumerate(content["pairs"])
            ]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"dataset.path={self._file}: expected {{category: {{pairs: [[a, b], ...]}}}}") from error
        return pd.DataFrame(rows, columns=["id", "text", "group"])

    @property
    def _file(self) -> str:
        if self.path is None and self.mirror is None:
            raise ConfigError("dataset.path: has no value; give the file dataset.json of github.com/buk81/uniformity-asymmetry")
        return self.path or str(Path(str(self.mirror)) / "buk81" / "uniformity-asymmetry" / "dataset.json")


def _read(path: str) -> str:
    require_file(expanded(path))
    try:
        return expanded(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"dataset.path={path}: cannot be read ({str(error).splitlines()[0]})") from error
