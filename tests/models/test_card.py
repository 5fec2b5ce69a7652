"""What a checkpoint's own files say of how texts are to be read, and that it is offered and not done unasked."""

import json
from pathlib import Path

import pytest

from layeratlas.models.card import Card, read_card


def files(folder: Path, **contents: object) -> Path:
    for name, content in contents.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_prompts_are_those_of_sentence_transformers(tmp_path):
    prompts = {"query": "query: ", "document": "passage: ", "none": ""}
    found = read_card(files(tmp_path, config_sentence_transformers={"prompts": prompts, "default_prompt_name": "query"}))
    assert (found.prompts, found.default) == ({"query": "query: ", "document": "passage: "}, "query")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "first"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_weightedmean_tokens": True}, "weighted_mean"),
        ({"pooling_mode": "mean", "embedding_dimension": 8}, "mean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, None),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, None),
        ({}, None),
    ],
)
def test_the_pooling_is_ours_of_the_same_meaning_or_none(tmp_path, settings, expected):
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "2_Pool", "type": "sentence_transformers.models.Pooling"},
    ]
    assert read_card(files(tmp_path, modules=modules, **{"2_Pool__config": settings})).pooling == expected


def test_a_folder_that_says_nothing_or_cannot_be_read_says_nothing(tmp_path):
    assert read_card(tmp_path) == Card()
    broken = files(tmp_path, config_sentence_transformers="{", tokenizer_config="no", modules="[1")
    assert read_card(broken) == Card()
