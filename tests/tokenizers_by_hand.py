"""Tokenizers made by hand, and what they make of a text."""

from conftest import byte_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from layeratlas.models.tokenization import Encoder

BOS, EOS, PAD = 256, 257, 258
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n[assistant]' }}{% endif %}"
)


def encoder(*, bos: bool = True, eos: bool = False, max_length: int = 64) -> Encoder:
    return Encoder(byte_tokenizer(bos=bos, eos=eos), chat_template=False, max_length=max_length)


def chat(template: str = TEMPLATE, max_length: int = 256) -> Encoder:
    tokenizer = byte_tokenizer(bos=True)
    tokenizer.chat_template = template
    return Encoder(tokenizer, chat_template=True, max_length=max_length)


def read_back(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def marked(mask: list[bool]) -> list[int]:
    return [i for i, m in enumerate(mask) if m]


def sentencepiece(*, scheme: str = "always") -> PreTrainedTokenizerFast:
    """A tokenizer of SentencePiece's kind: a blank before the text, characters folded, bytes for what it does not know."""
    pieces = ["<unk>", "<s>", "</s>", "▁", *"abcdefghijklmnopqrstuvwxyz.", "▁ab", *(f"<0x{i:02X}>" for i in range(256))]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(min(i, 9))) for i, piece in enumerate(pieces)], 0, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
    tokenizer.add_special_tokens(["<s>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
