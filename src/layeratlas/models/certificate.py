"""What was proved of a model when it was loaded, before its first text counts."""

from dataclasses import dataclass

import torch


def rounding(dtype: str) -> float:
    """How far a batch may move a token's states by rounding alone, relative to their length: half of the dtype's digits.

    That is the square root of the machine epsilon. Honest models of 30 blocks move by 3e-6 (float32), 3e-3 (float16) and 2e-2
    (bfloat16), and rounding adds up like the square root of the depth, while a mask that is ignored moves states by a tenth
    of their length and more.
    """
    return torch.finfo(getattr(torch, dtype)).eps ** 0.5


def overflow(dtype: str) -> str:
    """What to do about states that are not finite."""
    return "its numbers end at 65504: set dtype to bfloat16 or float32" if dtype == "float16" else "look at the weights"


@dataclass(frozen=True)
class Certificate:
    """What was checked and measured of a loaded model, on two short texts of different length.

    Weights: `weights` says where they are from (`checkpoint`, or `random` if that was asked for), `tensors` how many the heard
    part of the network has. `absent` names those that the checkpoint lacks and that move no layer (such as a pooler),
    `unused` those of the checkpoint that the network has no place for.
    Layers: `blocks`, `width` and `final_norm` as heard; each equals, bit for bit, a hidden state that the network reports.
    `heard_at` says where: `block outputs`, or `next inputs` where the network changes states between its blocks. `stream` is
    the one heard of several parallel ones.
    Padding: `leak` is how far other ids under the mask move a real token's states, `drift` how far sharing a padded batch moves
    them; both relative to the token's own state, the largest of any token and layer. If one exceeds its tolerance, padding is
    no padding to this model: texts run `alone`.
    Attention: whether what is heard as attention was found equal to what the network reports; None if it was not asked for.
    Positions: `readable` is the most tokens that the network and its tokenizer take (None: no limit met), `trained` the number
    of positions that its config names, `max_length` where texts are cut.
    """

    weights: str = "checkpoint"
    tensors: int = 0
    absent: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    blocks: int = 0
    width: int = 0
    final_norm: bool = True
    heard_at: str = "block outputs"
    stream: int | None = None
    leak: float = 0.0
    leak_tolerance: float = 0.0
    drift: float = 0.0
    drift_tolerance: float = 0.0
    alone: bool = False
    attention: bool | None = None
    readable: int | None = None
    trained: int | None = None
    max_length: int = 0

    def __str__(self) -> str:
        return "; ".join(part for part in (self._weights(), self._layers(), self._padding(), self._positions()) if part)

    def _weights(self) -> str:
        if self.weights == "random":
            return f"{self.tensors} random weights, as asked for"
        absent = f" but {', '.join(self.absent[:3])}, which no layer needs" if self.absent else ""
        unused = f" ({len(self.unused)} more there are not used)" if self.unused else ""
        return f"all {self.tensors} weights are the checkpoint's{absent}{unused}"

    def _layers(self) -> str:
        norm = "final norm" if self.final_norm else "no final norm"
        between = ", heard as they enter the next one" if self.heard_at != "block outputs" else ""
        stream = f", stream {self.stream}" if self.stream is not None else ""
        attention = ", attention as it reports it" if self.attention else ""
        return f"{self.blocks} blocks x {self.width}{stream}{between} and {norm} as it reports them{attention}"

    def _padding(self) -> str:
        moved = f"what lies under the mask moves a token by {self.leak:.1g}, sharing a batch by {self.drift:.1g}"
        limits = f"(at most {self.leak_tolerance:.1g}, {self.drift_tolerance:.1g})"
        return f"{moved} {limits}{', so each text runs alone' if self.alone else ''}"

    def _positions(self) -> str:
        reads = f" (it reads {self.readable})" if self.readable is not None else ""
        return f"texts are cut at {self.max_length} tokens{reads}"
