"""Messages of the learning platform Kolibri in many languages, from the data files of the package `kolibri`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from layeratlas.corpora.base import AbstractCorpus
from layeratlas.corpora.language import Language
from layeratlas.errors import ConfigError, Skipped
from layeratlas.files.packages import package_files


@dataclass(frozen=True, kw_only=True)
class Kolibri(AbstractCorpus):
    """Interface messages of at least `min_words` English words that every language of `locales` translates.

    `locales` names the package's folder of each language. Messages with placeholders are left out, and of messages that
    read the same in English all but the first. An item's group is the component that shows the message.
    """

    locales: Mapping[str, str]
    min_words: int

    @property
    def name(self) -> str:
        return "kolibri"

    def population(self, language: Language, field: str, seed: int) -> pd.DataFrame:
        if language.code not in self.locales:
            raise Skipped(f"language: dataset kolibri has {', '.join(self.locales)}; got {language.code}")
        files = package_files("kolibri", "kolibri/locale/", "`uv sync --extra kolibri` installs it (104 MB)")
        messages = {code: _messages(files, locale) for code, locale in {"en": "en", **self.locales}.items()}
        ids = [key for key, text in messages["en"].items() if self._prose(text) and self._translated(key, messages)]
        rows = pd.DataFrame(
            {"id": ids, "text": [messages[language.code][key] for key in ids], "group": [k.split(".")[0] for k in ids]}
        )
        return rows[~pd.Series([messages["en"][key] for key in ids]).duplicated()]

    def _prose(self, text: str) -> bool:
        return len(text.split()) >= self.min_words and not set("{}<>") & set(text)

    def _translated(self, key: str, messages: dict[str, dict[str, str]]) -> bool:
        """Absent and empty translations are not there; those equal to the English text were never made."""
        english = messages["en"][key]
        texts = [texts.get(key, "") for code, texts in messages.items() if code != "en"]
        return all(text and text != english and not set("{}<>") & set(text) for text in texts)


def _messages(files: dict[str, Path], locale: str) -> dict[str, str]:
    below = f"kolibri/locale/{locale}/LC_MESSAGES/"
    names = sorted(name for name in files if name.startswith(below) and name.endswith("-messages.json"))
    if not names:
        raise ConfigError(f"dataset.locales: package kolibri has no messages in {below}")
    read = [json.loads(files[name].read_text(encoding="utf-8")) for name in names]
    return {key: " ".join(text.split()) for part in read for key, text in part.items()}
