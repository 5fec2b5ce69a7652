"""How a checkpoint is to be run, what an extraction wants of it, and where and how large it is: plain data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from layeratlas.corpora import Language
from layeratlas.errors import ConfigError
from layeratlas.options import Positive, Seed

_DTYPES = ("float32", "bfloat16", "float16")
_QUANTIZATIONS = ("8bit", "4bit")
_POSITIONS = ("all", "all_but_first", "content", "last")


@dataclass(frozen=True)
class Source:
    """Where Hugging Face's loaders find a checkpoint: a folder, or a hub id at a commit."""

    location: str
    commit: str | None = None


@dataclass(frozen=True)
class Size:
    """Bytes of all weights in memory, parameters of the blocks, layers (embedding and final norm included), width, vocabulary.

    `left_in_file` are the bytes of a token table that a CPU reads out of the checkpoint row by row, as nothing changes its dtype.
    """

    bytes: int
    block_parameters: int
    layers: int
    width: int
    vocabulary: int
    left_in_file: int = 0


@dataclass(frozen=True)
class Needs:
    """What an extraction wants of a model: where to cut its input, and what costs extra (likelihoods, attention weights).

    `language` is that of the texts, for tokenizers that mark it.
    """

    max_length: int
    nll: bool = False
    attention: bool = False
    language: Language | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One checkpoint and how to run it.

    `dtype` is what the forward pass computes in. `chat_template` wraps each text as a user's turn, `generation_prompt` ends that
    with the words that begin the model's turn. `prefix` stands before each text, inside the template, and is no part of it: an
    instruction, or the `query: ` of E5. `random_init`, if not null, is the seed of fresh random weights in the same architecture.
    `skip_blocks` lists blocks (from 1) to leave out. `edit` is a file of edits of the residual stream (`editing.py`), of which
    `edit_blocks` names the blocks that are edited (null: all that the file holds) and `edit_positions` the tokens.
    `quantization` (8bit, 4bit) needs the extra `quantized`, `adapter` (a hub id or folder of peft's) the extra `adapters`.
    `developer` and `family` (a model and what was trained on from it) say which models are not independent of each other.
    """

    id: str
    dtype: str
    chat_template: bool = False
    generation_prompt: bool = True
    prefix: str | None = None
    random_init: Seed | None = None
    skip_blocks: Sequence[Positive] = ()
    edit: str | None = None
    edit_blocks: Sequence[Positive] | None = None
    edit_positions: str = "all"
    quantization: str | None = None
    adapter: str | None = None
    device_map: str | None = None
    trust_remote_code: bool = False
    developer: str | None = field(default=None, compare=False)
    family: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise ConfigError(f"model dtype: expected one of {', '.join(_DTYPES)}; got {self.dtype}")
        if self.quantization not in (None, *_QUANTIZATIONS):
            raise ConfigError(f"model quantization: expected null or one of {', '.join(_QUANTIZATIONS)}; got {self.quantization}")

        if self.edit_positions not in _POSITIONS:
            raise ConfigError(f"model edit_positions: expected one of {', '.join(_POSITIONS)}; got {self.edit_positions}")
        if self.edit is None and (self.edit_blocks is not None or self.edit_positions != "all"):
            raise ConfigError("model edit: has no value, and edit_blocks and edit_positions say what of it is to be used")
        if not isinstance(self.prefix, str | None):
            raise ConfigError(f"model prefix: expected null or a text; got {self.prefix}")
        if self.random_init is not None and (self.quantization or self.adapter):
            raise ConfigError("model random_init: random weights take neither quantization nor an adapter; set those to null")

    @property
    def name(self) -> str:
        own = self.id.rstrip("/").rsplit("/", 1)[-1]
        return own + ("" if self.random_init is None else f"-random{self.random_init}") + self._edited()

    def _edited(self) -> str:
        """The file, and the blocks and positions where they are not all: `+language_span@7,8@content`."""
        if self.edit is None:
            return ""
        blocks = [] if self.edit_blocks is None else [",".join(map(str, self.edit_blocks))]
        positions = [] if self.edit_positions == "all" else [self.edit_positions]
        return "+" + "@".join([PurePath(self.edit).stem, *blocks, *positions])
