"""Peak memory, in a process of its own for each setting: of extraction above the weights, and of runs on stored activations.

    uv run tests/benchmarks/memory.py extraction           batches of 16 texts x 512 tokens
    uv run tests/benchmarks/memory.py stored               80 x 80 stored layers of 8,192 dimensions, 2,048 items: 5.4 GB in /tmp
    uv run tests/benchmarks/memory.py stored 8 1024 256    the same of 8 x 8 layers of 1,024 dimensions, 256 items, not kept

Random numbers do: memory depends on shapes only. Asked for: stored activations are compared, with `statistics=quick`, in less
than 6 GB. Exits with 1 if that does not hold.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import Figures, measure, show

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SCRIPT = Path(__file__).resolve().parents[2] / "src" / "run.py"
TEXTS, TOKENS = 16, 512
STORED = 6.0


def above_weights(layers: int, texts: int) -> float:
    """Megabytes of peak resident memory above what is resident once the model is loaded and has run once."""
    import psutil
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from conftest import byte_tokenizer
    from transformers import LlamaConfig, LlamaModel

    from layeratlas.extraction import pooling
    from layeratlas.extraction.activations import Extractor, Side
    from layeratlas.extraction.batching import Batching
    from layeratlas.files.store import Store
    from layeratlas.models import Checkpoint, Needs

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


def extraction() -> Figures:
    """Megabytes above the weights, by layers and texts."""
    megabytes = {}
    for layers, texts in ((4, 16), (16, 16), (4, 64), (4, 256)):
        run = subprocess.run([sys.executable, __file__, "one", str(layers), str(texts)], capture_output=True, text=True, check=True)
        megabytes[f"{layers}_layers_{texts}_texts"] = float(run.stdout)
    return {"megabytes": megabytes, "least": min(megabytes.values()), "most": max(megabytes.values())}


def stored() -> Figures:
    """Of 80 x 80 layers, and of 20 x 20."""
    return {f"{layers}_layers": stored_of(layers) for layers in (80, 20)}


def stored_of(layers: int, width: int = 8192, items: int = 2048) -> Figures:
    """Gigabytes of the whole process at its largest, and seconds, for a metric of neighbours and one of Gram matrices."""
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        sides = [written(Path(scratch) / side, layers, width, items, seed) for seed, side in enumerate(("a", "b"))]
        texts = Path(scratch) / "texts.jsonl"
        texts.write_text("".join(json.dumps({"id": str(i), "text": f"Text {i}."}) + "\n" for i in range(items)))
        for metric in ("mutual_knn", "cka_linear_debiased"):
            chosen = [f"model@model_{side.name}=stored" for side in sides] + [f"model_{side.name}.path={side}" for side in sides]
            data = ["dataset=local", f"dataset.path={texts}", f"dataset.n={items}", f"hydra.run.dir={scratch}/{metric}"]
            start = time.perf_counter()
            asked = [*chosen, *data, f"metric={metric}", "statistics=quick"]
            process = subprocess.Popen([sys.executable, str(SCRIPT), *asked], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                sys.exit(f"{metric}: the run failed")
            used = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            figures[metric] = {"gigabytes": used / 1e9, "seconds": time.perf_counter() - start}
    return figures


def written(folder: Path, layers: int, width: int, items: int, seed: int) -> Path:
    """Layers on the way from one random layer to another, in half precision."""
    folder.mkdir()
    start, end = np.random.default_rng(seed).standard_normal((2, items, width), dtype=np.float32)
    for layer, angle in enumerate(np.linspace(0, np.pi / 2, layers), 1):
        np.save(folder / f"block_{layer}.npy", (np.cos(angle) * start + np.sin(angle) * end).astype(np.float16))
    return folder


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(above_weights(int(sys.argv[2]), int(sys.argv[3]))))
    elif sys.argv[2:]:
        show(stored_of(*map(int, sys.argv[2:])))
    else:
        done = measure(__file__, {"extraction": extraction, "stored": stored}, sys.argv[1:])
        used = [one["gigabytes"] for one in done["stored"]["80_layers"].values()] if "stored" in done else []
        sys.exit(int(any(gigabytes > STORED for gigabytes in used)))
