"""Punctuation and pooled tokens of the bundled models' tokenizers, on the texts that come along."""

import os
from pathlib import Path

import platformdirs
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from layeratlas.corpora import Language, draw
from layeratlas.corpora.characters import has_content
from layeratlas.files.store import Store
from layeratlas.models import Needs
from layeratlas.models.tokenization import Encoder

pytestmark = pytest.mark.slow  # the weights are converted where that was not done before
CONF = Path(__file__).parents[2] / "conf"
CASES = [
    *(("parallel", code) for code in ("hi", "ar", "zh", "en")),
    *(("concepts", code) for code in ("hi", "bn", "ar", "am", "yo")),
    ("exam", "zh"),
]


@pytest.fixture(scope="module", params=["smollm2-135m-instruct", "gemma3-270m"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    root = os.environ.get("LAYERATLAS_STORE") or platformdirs.user_cache_dir("layeratlas")
    model = instantiate(OmegaConf.load(CONF / "model" / f"{request.param}.yaml"), _convert_="all")
    return model.encoder(Store(Path(root)), Needs(512))


@pytest.mark.parametrize(("dataset", "code"), CASES)
def test_the_last_content_token_covers_a_letter_and_what_follows_covers_none(encoder, dataset, code):
    corpus = instantiate(OmegaConf.load(CONF / "dataset" / f"{dataset}.yaml"), n=None, _convert_="all")
    texts = draw(corpus, Language(code), Language(code), 0).sides["a"].texts
    for text, found in zip(texts, encoder.encode(texts), strict=True):
        offsets = encoder.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        content = [not special and not mark for special, mark in zip(found.special, found.punctuation, strict=True)]
        last = max(i for i, is_content in enumerate(content) if is_content)
        assert has_content(text, *offsets[last])
        assert not any(has_content(text, *offset) for offset in offsets[last + 1 :])
