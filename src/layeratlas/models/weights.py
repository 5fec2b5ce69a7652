"""Whether a network's weights are those of its checkpoint."""

import copy
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layeratlas.errors import ConfigError

_NAMED = 3

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Weights:
    """What did not pass from a checkpoint into a network.

    `absent` are names of the network's tensors that the loader filled in some other way. Of those that the checkpoint has in
    another shape, `shapes` tells that shape and the network's. `unused` are names of the checkpoint's tensors. `random` says
    that none was to be read.
    """

    absent: frozenset[str] = frozenset()
    shapes: Mapping[str, tuple[Shape, Shape]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    random: bool = False


def passed(network: PreTrainedModel, loading_info: Mapping[str, Any]) -> Weights:
    """What of a checkpoint has arrived, `loading_info` being what transformers returns of it.

    Its list of missing tensors leaves out what the architecture's code asks to be ignored, so the mark that the loader leaves
    on each parameter counts too.
    """
    unmarked = {
        name
        for name, weight in network.named_parameters(remove_duplicate=False)
        if not weight.is_meta and not getattr(weight, "_is_hf_initialized", False)  # weights kept on disk are not marked
    }
    shapes = {name: (tuple(theirs), tuple(ours)) for name, theirs, ours in loading_info["mismatched_keys"]}
    parameters = {name for name, weight in network.named_parameters() if weight.is_floating_point() and not weight.is_meta}
    absent_or_computed = unmarked | set(loading_info["missing_keys"])
    computed = {name for name in absent_or_computed & parameters if _computed(name, network)}
    doubtful = absent_or_computed - computed | set(shapes)
    tensors = tensors_of(network)
    loaded = {id(tensor) for name, tensor in tensors.items() if name not in doubtful}
    absent = frozenset(name for name in doubtful if name not in tensors or id(tensors[name]) not in loaded)  # the others are tied
    return Weights(absent, shapes, tuple(sorted(loading_info["unexpected_keys"])))


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint holds of a network, by name: its parameters, and the buffers that are not made anew each time.

    Not asked by `state_dict`: in 4 bits, on a CPU, that unpacks weights in place and leaves their scales as they were packed.
    """
    tensors: dict[str, Tensor] = dict(network.named_parameters(remove_duplicate=False))
    for path, module in network.named_modules(remove_duplicate=False):
        lasting = {name: buffer for name, buffer in module._buffers.items() if name not in module._non_persistent_buffers_set}
        tensors |= {f"{path}.{name}" if path else name: buffer for name, buffer in lasting.items() if buffer is not None}
    return tensors


def _computed(name: str, network: PreTrainedModel) -> bool:
    """Whether a parameter's values are those that its architecture computes, such as Marian's sinusoids: making it anew gives them.

    They are no constant, as that is what a forgotten norm begins with too.
    """
    owner, _, own_name = name.rpartition(".")
    present, made = network.get_parameter(name).detach(), copy.deepcopy(network.get_submodule(owner))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        made.get_parameter(own_name).normal_()
        network._init_weights(made)
    return torch.equal(made.get_parameter(own_name), present) and len(present.unique()) > 1


def part_of(weights: Weights, network: nn.Module, part: nn.Module) -> Weights:
    """Of these weights, those of one part of the network, by the names that they have there."""
    path = path_of(network, part)
    absent = frozenset(name.removeprefix(path) for name in weights.absent if name.startswith(path))
    shapes = {name.removeprefix(path): both for name, both in weights.shapes.items() if name.startswith(path)}
    return Weights(absent, shapes, weights.unused, weights.random)


def path_of(network: nn.Module, part: nn.Module) -> str:
    """What the names of a part's tensors begin with in the network: nothing, or a path and a dot."""
    path = next(name for name, module in network.named_modules() if module is part)
    return f"{path}." if path else ""


def require_blocks(weights: Weights, tower: nn.Module, blocks: nn.ModuleList, model: str) -> None:
    """Refuse blocks that are not wholly the checkpoint's, and a checkpoint with more blocks than the network."""
    path = path_of(tower, blocks)
    refuse_absent(weights, [name for name in weights.absent if name.startswith(path)], tower, model)
    if spare := [name for name in weights.unused if _is_of_a_further_block(name, path, blocks)]:
        raise ConfigError(
            f"model {model}: the checkpoint has more than the {len(blocks)} blocks that its config.json names: {listed(spare)} are"
            " not used"
        )


def unused_in(weights: Weights, tower: nn.Module, blocks: nn.ModuleList) -> tuple[str, ...]:
    """Names of the checkpoint's tensors that lie inside one of these blocks and are not used there."""
    inside = re.compile(rf"(?:^|\.){re.escape(path_of(tower, blocks))}\d+\.")
    return tuple(name for name in weights.unused if inside.search(name))


def refuse_absent(weights: Weights, names: Collection[str], network: nn.Module, model: str) -> None:
    """Raise, naming three, if any of these tensors are not the checkpoint's."""
    if not names:
        return
    of_network = len(tensors_of(network))
    if all(name in weights.shapes for name in names):
        shapes = [f"{name} is {_size(theirs)} and not {_size(ours)}" for name, (theirs, ours) in sorted(weights.shapes.items())]
        raise ConfigError(
            f"model {model}: {len(names)} of its {of_network} weights have another shape in the checkpoint: {listed(shapes)};"
            " its config.json belongs to another checkpoint"
        )
    others = f" The checkpoint has {len(weights.unused)} that are not used: {listed(weights.unused)}" if weights.unused else ""
    raise ConfigError(
        f"model {model}: {len(names)} of its {of_network} weights are not in the checkpoint: {listed(sorted(names))}"
        f" (random_init=0 would ask for random ones).{others}"
    )


def require_adapter(loading_info: Any, adapter: str, model: str) -> None:
    """Refuse an adapter of which something is missing, has no place, or has another shape; `loading_info` is transformers' own."""
    problems = {
        "misses": sorted(loading_info.missing_keys),
        "has no place in this model for": sorted(loading_info.unexpected_keys),
        "has another shape for": sorted(name for name, *_ in loading_info.mismatched_keys),
    }
    if lines := [f"{problem} {len(names)} weights ({listed(names)})" for problem, names in problems.items() if names]:
        raise ConfigError(f"model {model}: adapter={adapter} {'; '.join(lines)}; it belongs to another model")


def _is_of_a_further_block(name: str, path: str, blocks: nn.ModuleList) -> bool:
    """Whether a tensor lies where one of these blocks would have it, if there were more of them."""
    inside = [key for key, _ in blocks[0].named_parameters()]
    match = re.search(rf"(?:^|\.){re.escape(path)}(\d+)\.(.+)$", name)
    return bool(match) and int(match[1]) >= len(blocks) and match[2] in inside


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", .." if len(names) > _NAMED else "")


def _size(shape: Shape) -> str:
    return " x ".join(str(n) for n in shape) or "a number"
