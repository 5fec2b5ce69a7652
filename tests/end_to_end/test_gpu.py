"""On a GPU: the numbers that the CPU gives. Run with `uv run pytest -m gpu` where there is one."""

import numpy as np
import pytest
import torch
from conftest import TEXTS
from metric_rows import METRICS, Row

from layeratlas import affinity_matrix
from layeratlas.extraction import pooling
from layeratlas.extraction.batching import Batching
from layeratlas.extraction.forward import Texts, extract
from layeratlas.models import Needs

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
GPU = torch.device("cuda")

each_row = pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)


@each_row
def test_a_matrix_is_that_of_the_cpu(row: Row):
    x, y = row.layers(0)
    on_gpu = affinity_matrix(row.metric, [torch.from_numpy(x).to(GPU)], [torch.from_numpy(y).to(GPU)])
    np.testing.assert_allclose(on_gpu, affinity_matrix(row.metric, [x], [y]), rtol=1e-6, atol=1e-9)


@each_row
def test_permuted_matrices_are_those_of_the_cpu(row: Row):
    generator = torch.Generator().manual_seed(0)
    orders = torch.stack([torch.randperm(row.n, generator=generator) for _ in range(3)])
    drawn = []
    for device in (GPU, torch.device("cpu")):
        a, b = ([row.metric.signature(torch.from_numpy(x).to(device))] for x in row.layers(0))
        drawn.append(row.metric.permuted_affinity(a, b, orders).cpu())
    torch.testing.assert_close(drawn[0], drawn[1], rtol=1e-6, atol=1e-9)


def test_products_are_no_coarser_than_float32():
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-4), ("bfloat16", 0.05)])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_activations_are_those_of_the_cpu(checkpoint, store, architecture, dtype, close):
    poolings = {"last": pooling.last, "mean": pooling.mean}
    pooled = []
    for device in (GPU, torch.device("cpu")):
        model = checkpoint(architecture, dtype=dtype).load(store, device, Needs(256))
        texts = Texts(TEXTS, model.encoder.encode(TEXTS))
        pooled.append(extract(model, texts, poolings, Batching(4, 4096), lambda n, tokens: None).pooled)
    for name in poolings:
        for layer, expected in pooled[1][name].items():
            assert ((pooled[0][name][layer] - expected).norm(dim=1) / expected.norm(dim=1)).max() < close
