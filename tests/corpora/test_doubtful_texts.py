"""What a run says of how its texts were read, from the command line on tiny models."""

import json
from pathlib import Path

import pytest
from conftest import save_tiny

import layeratlas

NAMES = "harbour lamp river stair window kitchen bread snow road ship dawn march june meeting result night street"
WORDS = NAMES.split()


def texts(path: Path, ending: str) -> str:
    rows = [{"id": word, "text": f"{' '.join(WORDS[i:] + WORDS[:i])}{ending}"} for i, word in enumerate(WORDS)]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return f"dataset.path={path}"


@pytest.fixture
def talking(tmp_path: Path) -> Path:
    """A tiny model with a chat template, a prompt and a pooling of its own."""
    folder = tmp_path / "talking"
    save_tiny("llama", folder)
    (folder / "chat_template.jinja").write_text("<bos>[user] {{ messages[0]['content'] }}\n[model]")
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {"query": "query: ", "document": "passage: "}}')
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return folder


@pytest.mark.slow
def test_how_texts_are_read_is_told_with_what_to_type(command, tiny, talking, tmp_path):
    given = [f"model_a.id={talking}", "model_a.chat_template=true", texts(tmp_path / "t.jsonl", " <eos> bend."), "analysis=[]"]
    assert command(*tiny, *given, "statistics=off", "pooling=last") == 0
    warnings = layeratlas.read_run(tmp_path / "out").result["warnings"]
    for expected in (
        "model_a (talking): its own files put a prompt before each text, 'query: ' (query), 'passage: ' (document); none is read"
        " here: \"model_a.prefix='query: '\" reads one",
        "model_a (talking): its own files pool by pooling=mean; here it is pooling=last",
        "model_a (talking) reads its texts inside a chat template and model_b (tiny-gpt2) does not: set chat_template of both to"
        " the same, or take the template for a part of what differs",
        "talking, en: 17 of 17 texts hold names of the model's control tokens, such as that of its end of text; they are read"
        " as text",
        "tiny-gpt2, en: 17 of 17 texts are pooled at the token '.' (13), so with pooling=last early layers compare that token in"
        " its contexts; pooling=mean_content reads another",
    ):
        assert expected in warnings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "pooling", "token", "remedy"),
    [
        (".", "last", "'.' (13)", "pooling=last_content or dataset.final_punctuation=strip"),
        ("।", "last", "97", "pooling=last_content"),
        (" bend.", "last_content", "'d' (67)", "pooling=mean_content"),
    ],
)
def test_a_token_that_most_texts_are_pooled_at_is_told_by_its_id_with_the_remedy(
    command,
    tiny,
    tmp_path,
    ending,
    pooling,
    token,
    remedy,
):
    given = [texts(tmp_path / "t.jsonl", ending), "analysis=[]", "statistics=off", f"pooling={pooling}"]
    assert command(*tiny, *given) == 0
    told = [line for line in layeratlas.read_run(tmp_path / "out").result["warnings"] if "are pooled at the token" in line]
    assert told == [
        f"{name}, en: 17 of 17 texts are pooled at the token {token}, so with pooling={pooling} early layers compare that token in"
        f" its contexts; {remedy} reads another"
        for name in ("tiny-llama", "tiny-gpt2")
    ]


@pytest.mark.slow
def test_a_prefix_is_read_and_no_longer_offered(command, tiny, talking, tmp_path):
    given = [f"model_a.id={talking}", "model_a.prefix='query: '", texts(tmp_path / "t.jsonl", "."), "analysis=[]", "pooling=mean"]
    assert command(*tiny, *given, "statistics=off") == 0
    run = layeratlas.read_run(tmp_path / "out")
    assert not [line for line in run.result["warnings"] if "its own files" in line]
    assert run.result["a"]["extraction"]["identity"]["prefix"] == "query: "
