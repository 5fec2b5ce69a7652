"""Peak memory of extraction above the weights, in a process of its own for each setting.

    uv run tests/benchmarks/memory.py

Random weights do: the numbers depend on shapes only. Batches are 16 texts x 512 tokens.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

TEXTS, TOKENS = 16, 512


def measure(layers: int, texts: int) -> float:
    """Megabytes of peak resident memory above what is resident once the model is loaded and has run once."""
    import psutil
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from conftest import byte_tokenizer
    from transformers import LlamaConfig, LlamaModel

    from layeratlas import pooling
    from layeratlas.activations import Extractor, Side
    from layeratlas.batching import Batching
    from layeratlas.models import Checkpoint, Needs
    from layeratlas.store import Store

    config = LlamaConfig(
        vocab_size=260,
        hidden_size=576,
        intermediate_size=1536,
        num_attention_heads=9,
        num_key_value_heads=3,
        num_hidden_layers=layers,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        LlamaModel(config).save_pretrained(folder)
        byte_tokenizer(bos=False).save_pretrained(folder)
        model = Checkpoint(id=str(folder), dtype="float32")
        store = Store(Path(scratch) / "store")
        loaded = model.load(store, torch.device("cpu"), Needs(TOKENS))
        object.__setattr__(model, "load", lambda *arguments: loaded)
        extractor = Extractor(
            store, {"last": pooling.last, "mean": pooling.mean}, Batching(TEXTS, TEXTS * TOKENS), torch.device("cpu")
        )
        before = psutil.Process().memory_info().rss
        Path("/proc/self/clear_refs").write_text("5")  # the kernel's peak starts anew here
        extractor.fill(Side(model, [f"{i:04d} " * 200 for i in range(texts)], TOKENS), ["last", "mean"])
        peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return peak / 1000 * 1.024 - before / 1e6


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
    else:
        for layers, texts in ((4, 16), (16, 16), (4, 64), (4, 256)):
            run = subprocess.run([sys.executable, __file__, str(layers), str(texts)], capture_output=True, text=True, check=True)
            print(f"{layers:2d} layers, {texts:3d} texts: {float(run.stdout):.0f} MB above the weights")
