"""Edits of the residual stream: what they change, what they leave alone, and which files are refused."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from layeratlas.arrays import Tokens
from layeratlas.errors import ConfigError
from layeratlas.extraction.forward import extract_batch
from layeratlas.extraction.pooling import mean
from layeratlas.models import HELD, Needs, settings
from layeratlas.models.editing import POSITIONS, header_of
from layeratlas.models.language_model import LanguageModel
from layeratlas.models.tokenization import collate

WIDTH, CPU = 32, torch.device("cpu")
TEXTS = ["A ship left the harbour before dawn.", "Stop!", "Why do rivers bend?"]
ARCHITECTURES = ["llama", "gpt2", "gpt_neox", "bert", "mamba"]


def projection(seed: int, rank: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(WIDTH, rank, generator=generator)).Q
    return {"A": basis, "B": basis, "m": torch.randn(WIDTH, generator=generator), "v": torch.zeros(WIDTH)}


EMPTY = {"A": torch.zeros(WIDTH, 1), "B": torch.zeros(WIDTH, 1), "m": torch.ones(WIDTH), "v": torch.zeros(WIDTH)}


@pytest.fixture
def written(tmp_path) -> Callable[..., str]:
    """The path of a file with these parts for these layers."""

    def write(name: str = "edit", **layers: Mapping[str, Tensor]) -> str:
        tensors = {
            f"{layer}.{part}": array.clone(memory_format=torch.contiguous_format)
            for layer, parts in layers.items()
            for part, array in parts.items()
        }
        safetensors.torch.save_file(tensors, tmp_path / f"{name}.safetensors")
        return str(tmp_path / f"{name}.safetensors")

    return write


def heard(model: LanguageModel, texts: list[str] = TEXTS) -> tuple[dict[str, Tensor], Tokens]:
    tokens = collate(model.encoder.encode(texts), model.encoder.pad_id)
    layers: dict[str, Tensor] = {}
    model.forward(tokens, lambda layer, hidden, attention: layers.update({layer: hidden.clone()}))
    return layers, tokens


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_edit_is_what_it_says_where_it_is_and_changes_nothing_before(load, written, architecture):
    parts = projection(0)
    plain, tokens = heard(load(architecture))
    edited, _ = heard(load(architecture, edit=written(block_2=parts)))
    for layer in ("embed", "block_1"):
        assert torch.equal(edited[layer], plain[layer])
    h = plain["block_2"]
    expected = h - (h - parts["m"]) @ parts["B"] @ parts["A"].T + parts["v"]
    real = tokens.mask
    torch.testing.assert_close(edited["block_2"][real], expected[real])
    torch.testing.assert_close(
        (edited["block_2"][real] - parts["m"]) @ parts["B"], torch.zeros(int(real.sum()), 2), atol=1e-5, rtol=0
    )
    assert not torch.allclose(edited["block_3"][real], plain["block_3"][real])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_empty_edit_changes_no_bit(load, written, dtype):
    plain, _ = heard(load(dtype=dtype))
    edited, _ = heard(load(dtype=dtype, edit=written(block_1=EMPTY, block_3=EMPTY)))
    assert all(torch.equal(edited[layer], states) for layer, states in plain.items())


def test_a_shift_is_added_and_an_oblique_projection_is_not_turned_round(load, written):
    oblique = projection(1) | {"A": torch.randn(WIDTH, 2, generator=torch.Generator().manual_seed(5)), "v": torch.ones(WIDTH)}
    plain, tokens = heard(load())
    edited, _ = heard(load(edit=written(block_1=oblique)))
    h = plain["block_1"][tokens.mask].double()
    expected = torch.stack([x - oblique["A"].double() @ (oblique["B"].double().T @ (x - oblique["m"])) + 1 for x in h])
    torch.testing.assert_close(edited["block_1"][tokens.mask].double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ("all", [[0, 1, 1, 1], [1, 1, 1, 0]]),
        ("all_but_first", [[0, 0, 1, 1], [0, 1, 1, 0]]),
        ("content", [[0, 0, 1, 1], [0, 1, 0, 0]]),
        ("last", [[0, 0, 0, 1], [0, 0, 1, 0]]),
    ],
)
def test_positions_by_hand(positions, expected):
    mask = torch.tensor([[False, True, True, True], [True, True, True, False]])  # padded on the left, and on the right
    special = torch.tensor([[False, True, False, False], [True, False, True, False]])
    none = torch.zeros_like(mask)
    tokens = Tokens(ids=mask.long(), mask=mask, special=special, punctuation=none, span=none, attention=None)
    assert POSITIONS[positions](tokens).int().tolist() == expected


def test_the_positions_of_a_config_are_those_that_can_be_edited():
    assert tuple(POSITIONS) == settings._POSITIONS


def test_tokens_that_are_not_chosen_keep_every_bit(load, written):
    plain, tokens = heard(load())
    edited, _ = heard(load(edit=written(block_1=projection(0)), edit_positions="last"))
    last = POSITIONS["last"](tokens)
    assert torch.equal(edited["block_1"][~last], plain["block_1"][~last])
    assert not torch.equal(edited["block_1"][last], plain["block_1"][last])


def test_a_text_is_edited_alike_alone_and_beside_others(load, written):
    model = load(edit=written(block_1=projection(0), block_2=projection(1)))
    together, tokens = heard(model)
    for i, text in enumerate(TEXTS):
        alone, _ = heard(model, [text])
        for layer, states in alone.items():
            torch.testing.assert_close(together[layer][i][tokens.mask[i]], states[0], atol=1e-5, rtol=1e-4)


def test_the_chosen_blocks_alone_are_edited_and_what_is_no_block_is_left_alone(load, written):
    path = written(embed=projection(3), block_1=projection(0), block_2=projection(1), final_norm=projection(4))
    plain, _ = heard(load())
    edited, _ = heard(load(edit=path, edit_blocks=[2]))
    assert all(torch.equal(edited[layer], plain[layer]) for layer in ("embed", "block_1"))
    assert not torch.equal(edited["block_2"], plain["block_2"])


def test_likelihoods_are_those_of_the_edited_network(load, written):
    shift = EMPTY | {"v": torch.linspace(-3, 3, WIDTH)}
    edited, by_hand = load(nll=True, edit=written(block_3=shift)), load(nll=True)
    handle = by_hand.blocks[2].register_forward_hook(lambda module, args, output: output + shift["v"])
    found, expected = (scores(model) for model in (edited, by_hand))
    handle.remove()
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, scores(by_hand))


def scores(model: LanguageModel) -> Tensor:
    return extract_batch(model, model.encoder.encode(TEXTS), {"mean": mean})[1][:, 0]


# --- what a model is called and known by ---------------------------------------------------------------------------------------


def test_an_edited_model_is_known_by_the_files_bytes_its_blocks_and_positions_and_lives_in_the_same_space(checkpoint, written):
    first, second = written("first", block_1=projection(0)), written("second", block_1=projection(1))
    plain = checkpoint()
    models = [
        checkpoint(edit=first),
        checkpoint(edit=second),
        checkpoint(edit=first, edit_blocks=[1]),
        checkpoint(edit=first, edit_positions="last"),
    ]
    assert len({str(model.identity()) for model in [plain, *models]}) == 5
    assert {model.weights for model in models} == {plain.weights}
    names = ["+first", "+second", "+first@1", "+first@last"]
    assert [model.name for model in models] == [f"tiny-llama{suffix}" for suffix in names]
    copy = Path(first).with_name("copy.safetensors")
    copy.write_bytes(Path(first).read_bytes())
    assert checkpoint(edit=str(copy)).identity() == models[0].identity()


def test_a_network_is_loaded_once_for_all_its_edits(checkpoint, written, store, monkeypatch):
    plain = checkpoint()
    needs = Needs(64)
    states = [heard(HELD.load(plain, store, CPU, needs))[0]]
    monkeypatch.setattr("layeratlas.models.loading._network", None)  # a second loading would fail
    for seed in (0, 1):
        states.append(heard(HELD.load(replace(plain, edit=written(str(seed), block_1=projection(seed))), store, CPU, needs))[0])
    states.append(heard(HELD.load(plain, store, CPU, needs))[0])
    assert torch.equal(states[0]["block_1"], states[3]["block_1"])
    assert not torch.equal(states[1]["block_1"], states[2]["block_1"])


# --- refusals -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        ({"block_4": EMPTY}, {}, "tiny-llama\\+edit has blocks 1 to 3, and the file edits block_4$"),
        ({"block_1": EMPTY}, {"edit_blocks": [1, 2]}, "model edit_blocks: .* holds no edit of block_2; it has block_1$"),
        (
            {"block_1": {p: a[:8] for p, a in EMPTY.items()}},
            {},
            r"block_1: A has shape \(8, 1\); tiny-llama\+edit wants \(32, 1\)$",
        ),
        ({"block_1": EMPTY | {"m": torch.full((WIDTH,), torch.nan)}}, {}, "block_1: m holds NaN or infinite values$"),
        ({"block_1": {"A": EMPTY["A"]}}, {}, "block_1.B, block_1.m, block_1.v is missing$"),
        ({"embed": EMPTY}, {}, "it names no block$"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(load, written, parts, options, message):
    with pytest.raises(ConfigError, match=message):
        load(edit=written(**parts), **({"edit_blocks": None} | options))


def test_no_file_or_another_kind_is_refused_before_a_model_is_loaded(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match=r"^model_a\.edit=nowhere: no such file"):
        checkpoint(edit="nowhere").require_files("model_a")
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(ConfigError, match=r"^model_a\.edit=.*text: no safetensors file"):
        checkpoint(edit=str(tmp_path / "text")).require_files("model_a")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{", "its header is no JSON"),
        ("[1]", "its header is no JSON object but list"),
        ('{"ids": 5}', "ids of its header is no list but int"),
        ('{"texts": "all"}', "texts of its header is no list but str"),
    ],
)
def test_a_header_that_says_nothing_sensible_is_refused_in_one_line(tmp_path, header, message):
    safetensors.torch.save_file({"block_1.v": torch.zeros(WIDTH)}, tmp_path / "edit", metadata={"header": header})
    with pytest.raises(ConfigError, match=message):
        header_of(str(tmp_path / "edit"))


def test_a_file_without_a_header_says_nothing(written):
    assert header_of(written(block_1=EMPTY)) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"edit": "x", "edit_positions": "first"},
            "^model edit_positions: expected one of all, all_but_first, content, last; got first$",
        ),
        ({"edit_blocks": [1]}, "^model edit: has no value"),
        ({"edit_positions": "last"}, "^model edit: has no value"),
    ],
)
def test_options_without_sense_are_refused(checkpoint, options, message):
    with pytest.raises(ConfigError, match=message):
        checkpoint(**options)
