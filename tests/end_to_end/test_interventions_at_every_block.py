"""The bundled experiment at all 18 blocks: what edits cost everywhere, from the command line alone."""

import numpy as np
import pandas as pd
import pytest


@pytest.mark.nightly
def test_every_block_of_the_bundled_gemma_has_its_cost_beside_its_draws_and_what_becomes_of_later_layers(command, tmp_path):
    """396 runs: every block, two languages, the eraser and ten draws. Files and runs lie below tmp_path."""
    made = (f"hydra.run.dir={tmp_path / 'outputs' / 'edits_bundled'}",)
    assert command("experiment=edits_bundled", f"store.dir={tmp_path / 'store'}", where=made) == 0
    every = ",".join(f"[{k}]" for k in range(1, 19))
    swept = ["experiment=interventions_bundled", f"model_a.edit_blocks={every}", f"store.dir={tmp_path / 'store'}"]
    assert command("-m", *swept, where=(f"hydra.sweep.dir={tmp_path / 'sweep'}",)) == 0
    table = pd.read_parquet(tmp_path / "sweep" / "tables" / "interventions.parquet")
    assert len(table) == 18 * 2 * 11
    assert np.isfinite(table[["value", "ci_low", "ci_high"]]).all().all()
    own = table[~table["is_control"]]
    assert (own[["draws", "energy_draws"]] == 5).all().all()
    pooled = pd.read_parquet(tmp_path / "sweep" / "tables" / "interventions_pooled.parquet")
    assert set(zip(pooled["language"], pooled["against"], strict=True)) == {
        (c, a) for c in ("en", "de") for a in ("size", "energy")
    }
    assert ((pooled["p"] > 0) & (pooled["p"] <= 1) & (pooled["places"] == 18)).all()
    later = pd.read_parquet(tmp_path / "sweep" / "tables" / "interventions_downstream.parquet")
    assert len(later) == 11 * 2 * sum(range(1, 19))  # from each block to the last, two statistics
