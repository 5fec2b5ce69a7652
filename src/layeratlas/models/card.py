"""What a checkpoint's own small files say of how it wants to read texts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Tokenizers that mark each text with its language, and the architectures that have one where no file names the tokenizer.
_MARKING = {"MBartTokenizer", "MBart50Tokenizer", "NllbTokenizer", "M2M100Tokenizer", "PLBartTokenizer", "SeamlessM4TTokenizer"}
_MARKED = {"mbart", "nllb-moe", "m2m_100", "plbart", "seamless_m4t", "seamless_m4t_v2"}
# The poolings of sentence-transformers, by the names of its settings, and ours.
_POOLINGS = {
    "cls": "first",
    "cls_token": "first",
    "lasttoken": "last",
    "max": "max",
    "max_tokens": "max",
    "mean": "mean",
    "mean_tokens": "mean",
    "weightedmean": "weighted_mean",
    "weightedmean_tokens": "weighted_mean",
}


@dataclass(frozen=True)
class Card:
    """`marks_languages` says whether the tokenizer marks each text with its language.

    `prompts` are what sentence-transformers puts before a text, by what the text is for, `default` the one that it takes
    unasked. `pooling` is our name of its pooling. They are empty for models that say nothing of it.
    """

    marks_languages: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None
    pooling: str | None = None


def read_card(folder: Path) -> Card:
    prompting = _read(folder / "config_sentence_transformers.json")
    prompts = prompting.get("prompts") or {}
    return Card(
        marks_languages=_marks_languages(folder),
        prompts={name: prompt for name, prompt in prompts.items() if isinstance(prompt, str) and prompt},
        default=prompting.get("default_prompt_name"),
        pooling=_pooling(folder),
    )


def _marks_languages(folder: Path) -> bool:
    tokenizer = _read(folder / "tokenizer_config.json")
    if tokenizer.get("src_lang"):
        return True
    if name := tokenizer.get("tokenizer_class"):
        return name.removesuffix("Fast") in _MARKING
    return _read(folder / "config.json").get("model_type") in _MARKED


def _pooling(folder: Path) -> str | None:
    """The pooling of the module that sentence-transformers calls Pooling, if it is one of ours and the only one."""
    modules = _read(folder / "modules.json")
    places = [module["path"] for module in modules if module.get("type", "").endswith("Pooling")] if modules else ["1_Pooling"]
    settings = _read(folder / places[0] / "config.json") if places else {}
    chosen = {
        key.removeprefix("pooling_mode_") for key, value in settings.items() if key.startswith("pooling_mode_") and value is True
    }
    if isinstance(mode := settings.get("pooling_mode"), str):
        chosen.add(mode)
    return _POOLINGS.get(chosen.pop()) if len(chosen) == 1 else None


def _read(file: Path) -> Any:
    """What a JSON file says; nothing if there is none, or none that can be read: loading the model will tell."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
