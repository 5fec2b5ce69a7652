import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from layeratlas.affinity.normalization import DropTopDimensions, length_residual, unit
from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.errors import ActivationError, ConfigError
from layeratlas.metrics import CKALinear, MutualKNN

CPU = torch.device("cpu")


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """The layers whose signatures were computed, not read."""
    layers, compute = [], Signer._computed
    monkeypatch.setattr(Signer, "_computed", lambda *arguments: layers.append(arguments[2]) or compute(*arguments))
    return layers


def side(source: str | None = "texts of a model", n: int = 30) -> Activations:
    generator = torch.Generator().manual_seed(0)
    layers = {f"block_{k}": torch.randn(n, 8, generator=generator) for k in (1, 2, 3)}
    return Activations(layers, 3, torch.arange(1.0, n + 1), source)


def test_small_signatures_are_read_from_the_store_the_next_time_without_activations(store, computed):
    signer, a = Signer(MutualKNN(k=3).with_slack(), CPU, store=store), side()
    first, second = signer(a, "a"), signer(a, "a")
    assert computed == ["block_1", "block_2", "block_3"]
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.similarities, other.similarities)


def test_one_list_serves_every_number_of_neighbours(store, computed):
    Signer(MutualKNN(k=3).with_slack(), CPU, store=store)(side(n=120), "a")
    a = side(n=120)
    kept = Signer(MutualKNN(k=10).with_slack(), CPU, store=store)(a, "a")
    assert len(computed) == 3
    assert kept[1].indices.shape == (120, 100)
    fresh = MutualKNN(k=10).signature(a.layers["block_2"])
    assert torch.equal(kept[1].indices[:, :10], fresh.indices)


@pytest.mark.parametrize(
    "other",
    [
        lambda store: (Signer(MutualKNN(k=3), CPU, unit, "unit", store), side()),
        lambda store: (Signer(MutualKNN(k=3), CPU, store=store), side(source="other texts")),
        lambda store: (Signer(MutualKNN(k=5), CPU, store=store), side()),
    ],
    ids=["normalization", "activations", "longer lists"],
)
def test_what_a_signature_depends_on_has_a_key_of_its_own(store, other, computed):
    Signer(MutualKNN(k=3), CPU, store=store)(side(), "a")
    signer, a = other(store)
    signer(a, "a")
    assert len(computed) == 6


def test_large_signatures_and_those_of_unknown_vectors_are_not_kept(store):
    Signer(CKALinear(), CPU, store=store)(side(), "a")
    Signer(MutualKNN(k=3), CPU, store=store)(side(source=None), "a")
    assert list(store.objects()) == []


def test_a_damaged_signature_is_made_again(store):
    signer = Signer(MutualKNN(k=3), CPU, store=store)
    first = signer(side(), "a")
    for path in store.objects():
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    for one, other in zip(first, signer(side(), "a"), strict=True):
        assert torch.equal(one.indices, other.indices)


def test_a_layer_is_normalised_before_the_metric_sees_it():
    a = side()
    lengths = length_residual(a.layers["block_1"], a.lengths)
    found = Signer(CKALinear(), CPU, length_residual)(a, "a")[0]
    np.testing.assert_allclose(found.x, CKALinear().signature(lengths).x, atol=1e-7)
    assert Signer(CKALinear(), CPU, DropTopDimensions(3))(a, "a")[0].x.shape == (30, 5)


def test_a_layer_that_has_no_signature_is_named():
    a = side()
    a.layers["block_2"][4] = torch.nan
    with pytest.raises(ActivationError, match=r"^metric cka_linear, side b, block_2: activations hold NaN or infinite values$"):
        Signer(CKALinear(), CPU)(a, "b")


def test_a_mistake_of_the_config_stays_one():
    with pytest.raises(ConfigError, match=r"^normalization.dimensions: cannot drop 8 of 8 dimensions$"):
        Signer(CKALinear(), CPU, DropTopDimensions(8))(side(), "a")


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_store_that_cannot_be_written_costs_signatures_nothing_but_time(store, computed, monkeypatch, caplog, code):
    expected = Signer(MutualKNN(k=3), CPU)(side(), "a")

    def refuse(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    found = Signer(MutualKNN(k=3), CPU, store=store)(side(), "a")
    assert all(torch.equal(one.indices, other.indices) for one, other in zip(found, expected, strict=True))
    assert [record.getMessage() for record in caplog.records] == [
        f"side a: store.dir={store.root}: cannot write ({os.strerror(code)}); signatures are not kept, and are computed again the"
        " next time"
    ]
    assert store.leftovers() == []


def test_a_store_that_fills_up_between_two_layers_keeps_the_signatures_of_the_first(store, computed, monkeypatch):
    write, written = Path.write_bytes, []

    def fill_up(path, content):
        if written:
            write(path, content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill_up)
        Signer(MutualKNN(k=3), CPU, store=store)(side(), "a")
    Signer(MutualKNN(k=3), CPU, store=store)(side(), "a")
    assert computed == ["block_1", "block_2", "block_3", "block_2", "block_3"]
