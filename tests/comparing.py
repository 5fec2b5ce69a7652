"""What analyses are given, made by hand."""

import pandas as pd

from layeratlas.affinity.matrix import Affinity
from layeratlas.affinity.signatures import Signer
from layeratlas.analyses import Comparison
from layeratlas.arrays import Activations
from layeratlas.corpora import Language
from layeratlas.statistics import Inference

ENGLISH = Language(code="en")
OFF = Inference(permutations=0, groups=0, alpha=0.05, level=0.95, within_groups=False, by_group=False, block=1)


def comparison_of(affinity: Affinity, a: Activations, b: Activations, signer: Signer) -> Comparison:
    """Of items without texts, all of one group."""
    items = pd.DataFrame({"id": [str(i) for i in range(affinity.n)], "group": "all"})
    return Comparison(affinity, a, b, signer, items=items, languages={"a": ENGLISH, "b": ENGLISH}, inference=OFF, seed=0)
