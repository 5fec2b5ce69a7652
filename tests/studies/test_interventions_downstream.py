"""What an edit does to later layers: from vectors in which a language's own direction and what its loss does are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from drawing import illegible
from runs_by_hand import RunByHand

from layeratlas.affinity.signatures import Signer
from layeratlas.arrays import Activations
from layeratlas.metrics import CKALinear
from layeratlas.report.studies.interventions import downstream_figure
from layeratlas.runs.reading import Run
from layeratlas.studies import Interventions, Sweep
from layeratlas.studies.opened import Opened

N, D, BLOCKS = 30, 12, 4
STUDY = Interventions(random="random_directions", level=0.95, reorders=99, least_items=5, folds=5, seed=0)
LAYERS = [f"block_{k}" for k in range(1, BLOCKS + 1)]
PLAIN = {"id": "owner/ant", "edit": None, "edit_blocks": None, "edit_positions": "all", "skip_blocks": []}


def run_of(language: str, block: int, what: str, *, ids: str = "i", matched: str | None = None) -> Run:
    said = {"what": what, "rank": 1, "matched": matched}
    side = {"language": language, "control": None}
    result = {
        "a": side | {"edit": said},
        "b": side,
        "dataset": {"name": "texts", "same_texts": True},
        "provenance": {"config": {"model_a": PLAIN | {"edit": what, "edit_blocks": [block]}, "model_b": PLAIN}},
    }
    items = pd.DataFrame(
        {"id": [f"{ids}{i}" for i in range(N)], "nll_per_token_a": np.full(N, 3.5), "nll_per_token_b": np.full(N, 3.0)}
    )
    arrays = {"layers_b": np.array(LAYERS), "depth_b": np.arange(1, BLOCKS + 1) / BLOCKS}
    return RunByHand(Path(f"{language}{block}{what}"), result, arrays, items)


def opened(run: Run) -> Opened:
    """Two languages that differ along one direction and hold the same concepts; `span` takes it out from its block on."""
    rng = np.random.default_rng(0)
    concepts = rng.normal(size=(N, D))
    concepts[:, 0] = 0
    language = run.result["a"]["language"]
    own = np.random.default_rng(1 if language == "en" else 2).normal(0, 0.1, (N, D))
    axis = np.eye(D)[0] * (5 if language == "en" else -5)
    block, what = run.result["provenance"]["config"]["model_a"]["edit_blocks"][0], run.result["a"]["edit"]["what"]
    plain = {name: torch.from_numpy(concepts + own + axis).float() for name in LAYERS}
    edited = {
        name: torch.from_numpy(concepts + own + (0 * axis if what == "span" and k >= block else axis)).float()
        for k, name in enumerate(LAYERS, 1)
    }
    signer = Signer(CKALinear(), torch.device("cpu"))
    return Opened(Activations(edited, BLOCKS, source=str(run.folder)), Activations(plain, BLOCKS, source=language), signer)


def asked(*runs: Run, **options: Any) -> Any:
    return STUDY(Sweep(runs, pd.DataFrame(), [], [], **({"opener": opened} | options)))


def both(block: int, what: str, **options: Any) -> list[Run]:
    return [run_of(language, block, what, **options) for language in ("en", "de")]


def test_layers_from_the_edited_block_on_lose_their_language_and_find_their_translations():
    draws = [run for i in range(3) for run in both(2, f"random_directions_1_draw_{i}", matched="rank")]
    rows = asked(*both(2, "span"), *draws).parts["downstream"].set_index(["edit", "statistic", "layer"])
    own = rows.loc["span"]
    assert set(own.index.get_level_values("layer")) == {"block_2", "block_3", "block_4"}
    probe, retrieval = own.loc["language_probe"], own.loc["retrieval_at_1"]
    assert (probe["before"] == 1).all()
    assert (probe["ci_high"] < -0.2).all()
    assert (retrieval["after"] == 1).all()
    assert (retrieval["change"] >= 0).all()
    assert (own[["of_draws", "draws_low", "draws_high"]] == 0).all().all()
    assert (own["draws"] == 3).all()
    assert (probe["languages"] == "de-en").all()


def test_an_edit_in_one_language_alone_or_of_other_items_says_nothing_of_translations():
    assert "downstream" not in asked(run_of("en", 2, "span")).parts
    assert "downstream" not in asked(run_of("en", 2, "span"), run_of("de", 2, "span", ids="j")).parts


def test_without_the_vectors_costs_stand_and_what_is_missing_is_said():
    found = STUDY(Sweep(both(2, "span"), pd.DataFrame(), [], []))
    assert found is not None
    assert len(found.table) == 2
    assert found.warnings[0].startswith("nothing is said of the layers after an edit: ")


@pytest.mark.pictures
@pytest.mark.parametrize("block", [1, 4])
def test_the_picture_has_a_line_for_each_edited_block(block):
    figure = downstream_figure(asked(*both(block, "span"), *both(2, "span")).parts["downstream"])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [f"edited: block {block}", "edited: block 2"]
    assert illegible(figure) == []
