"""What a sweep over all pairs costs once the store is filled: 24 models with the layer counts of Wolfram and Schein (2025).

    uv run tests/benchmarks/sweep.py                     all 276 pairs, 2048 items; some minutes
    uv run tests/benchmarks/sweep.py 8 basic quick       the first 8 models, another launcher, with permutations and intervals

The activations are noise around a common signal, written into a store of their own (1 GB at 128 dimensions a layer): what is
timed never loads a model. A first sweep finds no signatures in the store and makes them, the second finds them there. Of each sweep
the seconds that a pair takes are fitted as `fixed + per_cell x layers_a x layers_b` on a third of its pairs and predicted for all.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from hydra import compose, initialize_config_dir

import layeratlas
from layeratlas.activations import ITEMS, Side
from layeratlas.layers import all_layers
from layeratlas.models import AbstractModel
from layeratlas.plan import planned
from layeratlas.store import Store

SCRIPT = Path(__file__).resolve().parents[2] / "src" / "run.py"
N, WIDTH = 2048, 128
LAYERS = {
    "gemma-2b": 18,
    "llama-3.2-1b": 16,
    "gemma-2-2b": 26,
    "llama-3.1-8b": 32,
    "gemma-2-9b": 42,
    "falcon-40b": 60,
    "llama-3.1-70b": 80,
    "falcon-mamba-7b": 64,
    "gemma-7b": 28,
    "gemma-2-9b-it": 42,
    "gemma-2-27b": 46,
    "llama-3.1-8b-instruct": 32,
    "llama-3.1-70b-instruct": 80,
    "llama-3.2-3b": 28,
    "llama-3.2-3b-instruct": 28,
    "llama-3.2-11b-vision": 40,
    "llama-3.3-70b-instruct": 80,
    "mistral-7b-v0.3": 32,
    "mistral-nemo-base-2407": 40,
    "mixtral-8x7b": 32,
    "phi-3-mini-4k-instruct": 32,
    "phi-3-medium-4k-instruct": 40,
    "phi-3.5-mini-instruct": 32,
    "falcon-11b": 60,
}


def main(models: int = len(LAYERS), launcher: str = "local_parallel", statistics: str = "off") -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = folder / "texts.txt"
        texts.write_text("\n".join(f"text {i}" for i in range(N)))
        chosen = dict(list(LAYERS.items())[:models])
        folders = [fill(folder, name, layers, texts) for name, layers in chosen.items()]
        start_up = seconds(["-c", "import run, layeratlas.stages, layeratlas.figures"])
        print(f"{len(chosen)} models, {sum(chosen.values())} blocks, n = {N}; Python and imports {start_up:.1f} s")
        what = [f"statistics={statistics}", "hydra.sweeper.summarize=false"]
        for name in ("signatures made", "signatures in the store"):
            wall = sweep(folder / name.replace(" ", "-"), folders, texts, folder / "store", [f"hydra/launcher={launcher}", *what])
            told(folder / name.replace(" ", "-"), name, wall)
        alone = seconds([str(SCRIPT), *one(folders[:2], texts, folder / "store"), what[0], f"hydra.run.dir={folder / 'alone'}"])
        print(f"one pair in a process of its own: {alone:.1f} s, {alone - start_up:.1f} s beyond start-up and imports")


def fill(folder: Path, name: str, layers: int, texts: Path) -> Path:
    """Put a model of this many blocks into the store, as an extraction of these texts would have left it."""
    checkpoint = folder / name
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps({"name": name}))
    side = side_of(checkpoint, texts, folder / "store")
    generator = torch.Generator().manual_seed(layers)
    common = torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(0))
    stored = Store(folder / "store")
    for i, shard in enumerate(side.shards):
        signal = common[256 * i : 256 * i + len(shard.texts)]
        noise = (torch.randn(len(signal), WIDTH, generator=generator) for _ in range(layers + 2))
        vectors = {layer: signal + x for layer, x in zip(all_layers(layers, final_norm=True), noise, strict=True)}
        record = {"record": json.dumps({"model": name, "texts": side.label})}
        with stored.building(side.folder("last"), shard.key, ".safetensors") as path:
            path.write_bytes(safetensors.torch.save(vectors, metadata=record))
        sizes = [len(text) for text in shard.texts]
        with stored.building(side.folder(ITEMS), shard.key, ".parquet") as path:
            pd.DataFrame({"tokens": sizes, "bytes": sizes, "characters": sizes, "truncated": False, "last_token": "x"}).to_parquet(
                path
            )
    return checkpoint


def side_of(checkpoint: Path, texts: Path, store: Path) -> Side:
    """What a run of this model looks up in the store."""
    os.environ |= {"LAYERATLAS_STORE": str(store), "LAYERATLAS_RUN_ID": "benchmark"}
    with initialize_config_dir(str(SCRIPT.parents[1] / "conf"), version_base="1.3"):
        plan = planned(compose("config", one([checkpoint, checkpoint], texts, store)))
    model = plan.models["a"]
    assert isinstance(model, AbstractModel)
    return plan.side("a", model)


def one(folders: list[Path], texts: Path, store: Path) -> list[str]:
    sides = [f"model@model_{side}=gpt2" for side in "ab"] + [
        f"model_{side}.id={path}" for side, path in zip("ab", folders, strict=True)
    ]
    return [*sides, "stage=compare", "dataset=local", f"dataset.path={texts}", f"store.dir={store}"]


def sweep(into: Path, folders: list[Path], texts: Path, store: Path, options: list[str]) -> float:
    every = ",".join(map(str, folders))
    arguments = [override for override in one(folders[:2], texts, store) if not re.match(r"model_[ab]\.id", override)]
    sides = [f"model_{side}.id={every}" for side in "ab"]
    return seconds([str(SCRIPT), "-m", *options, f"hydra.sweep.dir={into}", *arguments, *sides])


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    return time.perf_counter() - start


def told(folder: Path, name: str, wall: float) -> None:
    runs = layeratlas.read_sweep(folder)
    cells = np.array([run.affinity.size for run in runs])
    took = np.array([sum(run.result["timing"].values()) for run in runs])
    each = wall / len(runs)
    print(f"{name}: {len(runs)} pairs in {wall:.0f} s ({each:.2f} s a pair, {each * 300 / 60:.1f} min for 300)")
    known = np.arange(len(runs)) % 3 == 0
    slope, fixed = np.polyfit(cells[known], took[known], 1)
    predicted = (fixed + slope * cells).sum()
    print(f"  inside a job {fixed:.2f} s + {slope * 1000:.3f} ms x cells; predicts {predicted:.0f} s of {took.sum():.0f} s")


if __name__ == "__main__":
    main(*(int(argument) if argument.isdigit() else argument for argument in sys.argv[1:]))
