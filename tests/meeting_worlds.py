"""Two languages in one model, made up: concepts that both say, an offset of each, a subspace that is a language's own, noise.

`strengths` are how strongly each layer's vectors hold the item's concept. Lengths go with items on both sides, as translations' do,
and `length` is how strongly vectors hold theirs.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from layeratlas.affinity.matrix import Affinity
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import Alignment, Comparison
from layeratlas.arrays import Activations
from layeratlas.corpora import Language
from layeratlas.metrics import (
    CSLS,
    MEXA,
    AbstractMetric,
    CKALinearDebiased,
    MutualKNN,
    PairedCosine,
    PairedCosineCentred,
    RetrievalAt1,
    RetrievalAt1Mutual,
)
from layeratlas.statistics import Inference

WIDTH, CONCEPTS, OWN = 24, 8, 4


def every_metric(k: int) -> tuple[AbstractMetric, ...]:
    """All that `alignment` measures by default."""
    retrieval = (RetrievalAt1(), RetrievalAt1Mutual(), CSLS(k=k), MEXA())
    return (*retrieval, PairedCosineCentred(), PairedCosine(), CKALinearDebiased(), MutualKNN(k=k))


METRICS = every_metric(k=3)


@dataclass(frozen=True)
class World:
    strengths: tuple[float, ...]
    n: int = 40
    offset: float = 2.0
    own: float = 0.5
    noise: float = 1.0
    length: float = 0.0
    constant: tuple[int, ...] = ()

    def sides(self, seed: int) -> tuple[Activations, Activations]:
        rng = np.random.default_rng(seed)
        concepts, size = rng.standard_normal((self.n, CONCEPTS)), rng.integers(5, 40, self.n)
        lengths = {side: size + rng.integers(0, 3, self.n) for side in "ab"}
        layers: dict[str, dict[str, torch.Tensor]] = {"a": {}, "b": {}}
        for k, strength in enumerate(self.strengths, start=1):
            shared = strength * concepts @ rng.standard_normal((CONCEPTS, WIDTH)) / np.sqrt(CONCEPTS)
            of_length = rng.standard_normal(WIDTH)
            for side in "ab":
                x = shared + self.offset * rng.standard_normal(WIDTH) + self.noise * rng.standard_normal((self.n, WIDTH))
                x += self.own * rng.standard_normal((self.n, OWN)) @ rng.standard_normal((OWN, WIDTH))
                x += self.length * np.outer((lengths[side] - 22) / 10, of_length)
                x = np.repeat(x[:1], self.n, axis=0) if k in self.constant else x
                layers[side][f"block_{k}"] = torch.from_numpy(x).float()
        return tuple(
            Activations(layers[side], len(self.strengths), torch.from_numpy(lengths[side]).float())  # type: ignore[return-value]
            for side in "ab"
        )

    def comparison(self, seed: int, inference: Inference) -> Comparison:
        """What of a run the analysis reads."""
        a, b = self.sides(seed)
        texts = {f"text_{side}": [f"text {i} of side {side}" for i in range(self.n)] for side in "ab"}
        items = pd.DataFrame({"id": [f"i{i}" for i in range(self.n)], "group": [f"g{i % 4}" for i in range(self.n)], **texts})
        nothing = np.zeros((len(a.names), len(b.names)))
        affinity = Affinity(nothing, nothing, a.names, b.names, a.depths, b.depths, self.n, [], [])
        languages = {"a": Language("en"), "b": Language("de")}
        return Comparison(affinity, a, b, Signer(RetrievalAt1(), torch.device("cpu")), items, languages, inference, seed)


def inferring(permutations: int = 39, groups: int = 10, **options) -> Inference:
    defaults = {"alpha": 0.05, "level": 0.95, "within_groups": False, "by_group": False, "block": 1}
    return Inference(permutations=permutations, groups=groups, **(defaults | options))


def alignment(metrics=METRICS, **options) -> Alignment:
    return Alignment(**({"metrics": list(metrics), "threshold": 0.85, "consecutive": 3, "folds": 5, "seed": 0} | options))
