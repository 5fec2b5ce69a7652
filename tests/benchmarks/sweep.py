"""What a sweep over all pairs costs once the store is filled: 24 models with the layer counts of Wolfram and Schein (2025).

    uv run tests/benchmarks/sweep.py study         24 models, one dataset: 276 pairs of 2048 items; some ten minutes
    uv run tests/benchmarks/sweep.py quick         8 models, with permutations and intervals
    uv run tests/benchmarks/sweep.py signatures    neighbour lists of one layer, of few dimensions and of many
    uv run tests/benchmarks/sweep.py 24 8          the study of the paper: 2208 pairs, an hour; not kept

The activations are noise around a common signal, written into a store of their own (1 GB a dataset at 128 dimensions a layer): what
is timed never loads a model. Small sweeps on a dataset of their own give the constants of

    seconds = start + pairs x fixed + layer pairs x cell + layers x signature

and these predict the study, whose signatures are made in it, before it is run.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from hydra import compose, initialize_config_dir
from measuring import Figures, measure, show
from race import race

import layeratlas
from layeratlas.extraction.activations import Side
from layeratlas.extraction.shards import ITEMS
from layeratlas.files.store import Store
from layeratlas.layers import all_layers
from layeratlas.metrics import MutualKNN
from layeratlas.stages.plan import planned

SCRIPT = Path(__file__).resolve().parents[2] / "src" / "run.py"
N, WIDTH = 2048, 128
FEW, MORE = 4, 10  # models of the sweeps that give the constants
PROCESSES = os.cpu_count() or 1  # what the launcher of these sweeps starts
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
PAIRS = list(combinations(LAYERS.values(), 2))


def study() -> Figures:
    """All models on one dataset, and what the constants say of the paper's study, on eight."""
    return swept(len(LAYERS), 1, "off")


def quick() -> Figures:
    """What permutations and intervals add."""
    return swept(8, 1, "quick")


def swept(models: int, datasets: int = 1, statistics: str = "off") -> Figures:
    chosen = dict(list(LAYERS.items())[:models])
    with tempfile.TemporaryDirectory() as temporary:
        study = Study(Path(temporary), statistics)
        start_up = seconds(["-c", "import layeratlas.stages.main, layeratlas.stages.pipeline, layeratlas.report.figures"])
        cost = calibrated(study)
        alone = seconds([str(SCRIPT), *study.run(list(chosen)[:2], "calibration"), f"hydra.run.dir={study.folder / 'alone'}"])
        names = [f"texts_{number}" for number in range(datasets)]
        for name in names:
            study.fill(name, chosen)
        made, found = (study.sweep(into, chosen, names) for into in ("made", "found"))
    expected = {"made": cost.of(made.pairs, made.cells, datasets * sum(chosen.values()))}
    expected["found"] = cost.of(found.pairs, found.cells, 0)
    took = {"made": made.seconds, "found": found.seconds}
    return {
        **{"models": models, "datasets": datasets, "pairs": made.pairs, "few": FEW, "more": MORE},
        "seconds": {
            **{"start": cost.start, "a_pair": cost.fixed, "start_up": start_up, "a_pair_alone": alone},
            **{"predicted": expected, "measured": took},
        },
        "milliseconds": {"a_pair_of_layers": 1000 * cost.cell, "a_signature": 1000 * cost.signature},
        "minutes": {"of_300_pairs": 300 * found.seconds / found.pairs / 60},
        "hours": {"of_the_paper": cost.of(8 * len(PAIRS), 8 * sum(a * b for a, b in PAIRS), 0) / 3600},
        "ratios": {name: expected[name] / took[name] for name in took},
    }


def signatures() -> Figures:
    """Of a layer's neighbour lists by its dimensions, of one dimension, and of all layers of the paper, were they so wide."""
    metric, milliseconds = MutualKNN(k=10, listed=100), {}
    for width in (WIDTH, 4096):
        x = torch.randn(N, width, generator=torch.Generator().manual_seed(0))
        milliseconds[str(width)] = 1000 * race({"signature": lambda x=x: metric.signature(x)}, 5)["signature"]
    milliseconds["a_dimension"] = (milliseconds["4096"] - milliseconds[str(WIDTH)]) / (4096 - WIDTH)
    layers = 8 * sum(LAYERS.values())
    return {"layers": layers, "milliseconds": milliseconds, "minutes": {"of_the_paper": layers * milliseconds["4096"] / 60_000}}


@dataclass(frozen=True)
class Cost:
    """Seconds of a sweep on this machine: to start, for each pair, each pair of layers, each layer whose signature is made."""

    start: float
    fixed: float
    cell: float
    signature: float

    def of(self, pairs: int, cells: int, layers: int) -> float:
        return self.start + pairs * self.fixed + cells * self.cell + layers * self.signature


@dataclass(frozen=True)
class Swept:
    """What a sweep took: `inside` and `cells_each` for each of its jobs, the rest in all."""

    seconds: float
    inside: np.ndarray
    cells_each: np.ndarray

    @property
    def pairs(self) -> int:
        return len(self.cells_each)

    @property
    def cells(self) -> int:
        return int(self.cells_each.sum())


def calibrated(study: "Study") -> Cost:
    """The constants, from a sweep of few and one of more models: what a cell costs from single jobs, the rest from whole sweeps."""
    few, more = (dict(list(LAYERS.items())[:models]) for models in (FEW, MORE))
    study.fill("calibration", more)
    made = study.sweep("calibration-made", more, ["calibration"])
    small, large = (study.sweep(f"calibration-{len(some)}", some, ["calibration"]) for some in (few, more))
    cell = max(0.0, np.polyfit(large.cells_each, large.inside, 1)[0]) / PROCESSES
    fixed = (large.seconds - small.seconds - cell * (large.cells - small.cells)) / (large.pairs - small.pairs)
    start = large.seconds - large.pairs * fixed - large.cells * cell
    return Cost(start, fixed, cell, (made.seconds - large.seconds) / sum(more.values()))


@dataclass(frozen=True)
class Study:
    """A store of synthetic activations in `folder`, and the sweeps over it."""

    folder: Path
    statistics: str

    def fill(self, dataset: str, layers: dict[str, int]) -> None:
        """Put models of so many blocks into the store, as extractions of these texts would have left them."""
        self.texts(dataset).write_text("\n".join(f"{dataset} {i}" for i in range(N)))
        for name, blocks in layers.items():
            if not (config := self.folder / name / "config.json").exists():  # a file written anew is another model to the store
                config.parent.mkdir()
                config.write_text(json.dumps({"name": name}))
            extracted(self._side(name, dataset), self.folder / "store", blocks)

    def sweep(self, into: str, layers: dict[str, int], datasets: list[str]) -> Swept:
        models = ",".join(str(self.folder / name) for name in layers)
        texts = ",".join(str(self.texts(dataset)) for dataset in datasets)
        swept = [f"model_a.id={models}", f"model_b.id={models}", f"dataset.path={texts}"]
        launched = ["hydra/launcher=local_parallel", "hydra.sweeper.summarize=false", f"hydra.sweep.dir={self.folder / into}"]
        wall = seconds([str(SCRIPT), "-m", *launched, *self._common(), *swept])
        runs = layeratlas.read_sweep(self.folder / into)
        inside = [sum(run.result["timing"].values()) for run in runs]
        return Swept(wall, np.array(inside), np.array([run.affinity.size for run in runs]))

    def run(self, pair: list[str], dataset: str) -> list[str]:
        sides = [f"model_{side}.id={self.folder / name}" for side, name in zip("ab", pair, strict=True)]
        return [*self._common(), *sides, f"dataset.path={self.texts(dataset)}"]

    def texts(self, dataset: str) -> Path:
        return self.folder / f"{dataset}.txt"

    def _common(self) -> list[str]:
        sides = [f"model@model_{side}=gpt2" for side in "ab"]
        return [*sides, "stage=compare", "dataset=local", f"store.dir={self.folder / 'store'}", f"statistics={self.statistics}"]

    def _side(self, name: str, dataset: str) -> Side:
        """What a run of this model looks up in the store."""
        os.environ |= {"LAYERATLAS_STORE": str(self.folder / "store"), "LAYERATLAS_RUN_ID": "benchmark"}
        with initialize_config_dir(str(SCRIPT.parents[1] / "conf"), version_base="1.3"):
            plan = planned(compose("config", self.run([name, name], dataset)))
        side = plan.sides["a"]
        assert isinstance(side, Side)
        return side


def extracted(side: Side, store: Path, blocks: int) -> None:
    """The shards of one model's activations: a signal common to all models, and noise of each layer's own."""
    generator = torch.Generator().manual_seed(blocks)
    common = torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(0))
    for i, shard in enumerate(side.shards):
        signal = common[256 * i : 256 * i + len(shard.texts)]
        noise = (torch.randn(len(signal), WIDTH, generator=generator) for _ in range(blocks + 2))
        vectors = {layer: signal + x for layer, x in zip(all_layers(blocks, final_norm=True), noise, strict=True)}
        record = {"record": json.dumps({"model": side.label})}
        with Store(store).building(side.folder("last"), shard.key, ".safetensors") as path:
            path.write_bytes(safetensors.torch.save(vectors, metadata=record))
        sizes = [len(text) for text in shard.texts]
        told = {"tokens": sizes, "bytes": sizes, "characters": sizes, "truncated": False, "last_token": "x"}
        with Store(store).building(side.folder(ITEMS), shard.key, ".parquet") as path:
            pd.DataFrame(told).to_parquet(path)


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    return time.perf_counter() - start


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].isdigit():
        show(swept(*(int(argument) if argument.isdigit() else argument for argument in sys.argv[1:])))
    else:
        measure(__file__, {run.__name__: run for run in (study, quick, signatures)}, sys.argv[1:])
