"""Edits of the residual stream while a network runs: what some blocks return, less what a subspace holds of it, plus a shift.

A file of edits is safetensors with `block_3.A`, `block_3.B` (width, rank), `block_3.m` and `block_3.v` (width) for each block, as
the analysis `edits` writes it. What it holds for `embed` and `final_norm`, which are no blocks, is left alone. Its header is JSON
under the key `header` of the file's metadata; files of other programs may have none.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from layeratlas.arrays import Tokens
from layeratlas.errors import ConfigError
from layeratlas.files.paths import expanded
from layeratlas.layers import block

_PARTS = ("A", "B", "m", "v")


class Edit(NamedTuple):
    """h -> h - A B'(h - m) + v: an orthogonal projection where A = B, an oblique one (least-squares erasure) elsewhere."""

    A: Float[Tensor, "d r"]
    B: Float[Tensor, "d r"]
    m: Float[Tensor, " d"]
    v: Float[Tensor, " d"]

    @property
    def is_empty(self) -> bool:
        return not (self.A.any() and self.B.any()) and not self.v.any()

    def __call__(self, h: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        A, B, m, v = (part.to(h.device) for part in self)
        return h - ((h - m) @ B) @ A.T + v


def _all(tokens: Tokens) -> Bool[Tensor, "b t"]:
    return tokens.mask


def _all_but_first(tokens: Tokens) -> Bool[Tensor, "b t"]:
    return tokens.mask & (tokens.mask.cumsum(dim=1) > 1)


def _content(tokens: Tokens) -> Bool[Tensor, "b t"]:
    return tokens.mask & ~tokens.special


def _last(tokens: Tokens) -> Bool[Tensor, "b t"]:
    return tokens.mask & (tokens.mask.flip(1).cumsum(dim=1).flip(1) == 1)


# Which tokens' states are edited. The first token of a text is where massive activations live (Sun et al. 2024).
POSITIONS: dict[str, Callable[[Tokens], Bool[Tensor, "b t"]]] = {
    "all": _all,
    "all_but_first": _all_but_first,
    "content": _content,
    "last": _last,
}


@dataclass(frozen=True)
class Editing:
    """The edits of some blocks, by the names of their layers, at some `positions` of each text."""

    edits: Mapping[str, Edit]
    positions: str

    @contextmanager
    def of(self, blocks: nn.ModuleList, tokens: Tokens) -> Iterator[None]:
        """While this lasts, the blocks return edited states; whoever listens to them afterwards hears these."""
        where = POSITIONS[self.positions](tokens)
        named = ((module, self.edits.get(block(k))) for k, module in enumerate(blocks, 1))
        handles = [module.register_forward_hook(_editing(edit, where)) for module, edit in named if edit and not edit.is_empty]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _editing(edit: Edit, where: Bool[Tensor, "b t"]) -> Callable:
    def hook(module: nn.Module, args: tuple, output: Any) -> Any:
        states = output if isinstance(output, Tensor) else output[0]
        width = where.shape[1]  # networks that lengthen their input do so behind the texts
        real = states[:, :width].float()
        edited = torch.where(where[:, :, None].to(real.device), edit(real), real).to(states.dtype)
        edited = torch.cat([edited, states[:, width:]], dim=1) if states.shape[1] > width else edited
        return edited if isinstance(output, Tensor) else (edited, *output[1:])

    return hook


def require_edit(path: str, key: str) -> None:
    """Raises ConfigError unless there is a file of edits."""
    _blocks_in(path, key)


def header_of(path: str) -> dict[str, Any]:
    """What a file of edits says of itself: `what`, `rank`, `matched`, `control_of`, `fitted_on`, `ids`, `texts`; {} if nothing."""
    with safetensors.safe_open(expanded(path), framework="np") as file:  # type: ignore[attr-defined]
        text = (file.metadata() or {}).get("header", "{}")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"model edit={path}: its header is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise ConfigError(f"model edit={path}: its header is no JSON object but {type(header).__name__}")
    for key in ("ids", "texts", "applies_to"):
        if not isinstance(header.get(key, []), list):
            raise ConfigError(f"model edit={path}: {key} of its header is no list but {type(header[key]).__name__}")
    return header


def read_editing(path: str, chosen: Sequence[int] | None, positions: str, name: str, blocks: int, width: int) -> Editing:
    """The edits that a file holds for the `chosen` blocks, or for all, if they fit a model of so many `blocks` and this `width`."""
    where = "model edit"
    held = _blocks_in(path, where)
    wanted = sorted(set(held if chosen is None else chosen))
    if missing := [k for k in wanted if k not in held]:
        raise ConfigError(f"model edit_blocks: {path} holds no edit of {_listed(missing)}; it has {_listed(held)}")
    if beyond := [k for k in wanted if k > blocks]:
        raise ConfigError(f"{where}={path}: {name} has blocks 1 to {blocks}, and the file edits {_listed(beyond)}")
    with safetensors.safe_open(expanded(path), framework="pt") as file:  # type: ignore[attr-defined]
        edits = {block(k): Edit(*(file.get_tensor(f"{block(k)}.{part}").float() for part in _PARTS)) for k in wanted}
    for layer, edit in edits.items():
        _require_shapes(edit, f"{where}={path}, {layer}", name, width)
    return Editing(edits, positions)


def _require_shapes(edit: Edit, where: str, name: str, width: int) -> None:
    rank = edit.A.shape[-1]
    expected = [(width, rank), (width, rank), (width,), (width,)]
    for part, array, shape in zip(_PARTS, edit, expected, strict=True):
        if tuple(array.shape) != shape:
            raise ConfigError(f"{where}: {part} has shape {tuple(array.shape)}; {name} wants {shape}")
        if not bool(array.isfinite().all()):
            raise ConfigError(f"{where}: {part} holds NaN or infinite values")


def _blocks_in(path: str, key: str) -> list[int]:
    file = Path(expanded(path))
    if not file.is_file():
        raise ConfigError(f"{key}={path}: no such file; expected safetensors as analysis=[edits] writes them")
    try:
        with safetensors.safe_open(file, framework="np") as opened:  # type: ignore[attr-defined]
            names = set(opened.keys())
    except safetensors.SafetensorError as error:
        raise ConfigError(f"{key}={path}: no safetensors file ({error})") from error
    held = sorted({int(match[1]) for name in names if (match := re.fullmatch(r"block_(\d+)\.[ABmv]", name))})
    lacking = [f"{block(k)}.{part}" for k in held for part in _PARTS if f"{block(k)}.{part}" not in names]
    if not held or lacking:
        raise ConfigError(f"{key}={path}: expected block_K.A, .B, .m and .v of one block or more; {_names_of(lacking)}")
    return held


def _names_of(lacking: Sequence[str]) -> str:
    return f"{', '.join(lacking[:3])} is missing" if lacking else "it names no block"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(block, numbers))
