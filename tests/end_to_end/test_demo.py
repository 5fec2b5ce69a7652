"""The demo: a sweep whose page shows all that pages hold; in small on tiny models, and every night as people run it."""

import time

import pandas as pd
import pytest
from pages_by_hand import data_of

import layeratlas

PARTS = ("depth", "joint")


def page_of(sweep) -> dict:
    """What the page of a sweep holds; each run has a page of its own too."""
    runs = layeratlas.read_sweep(sweep)
    assert all((run.folder / "report.html").is_file() for run in runs)
    page = (sweep / "report.html").read_text(encoding="utf-8")
    assert all(f"<h3>{study}</h3>" in page for study in PARTS)
    held = data_of(page)
    assert held["runs"]["rows"] == len(runs)
    assert held["runs"]["pages"] == [f"./{run.folder.name}/report.html" for run in runs]
    return held


def placed(held: dict) -> set[tuple[str, str]]:
    """The models and languages whose layers are points of the projector."""
    (projection, *_) = held["projections"]
    of = {kind: [projection[kind]["names"][place] for place in projection[kind]["of"]] for kind in ("model", "reads")}
    assert [space["name"] for space in projection["spaces"]] == ["uncentred", "centred"]
    return set(zip(of["model"], of["reads"], strict=True))


@pytest.mark.slow
def test_the_demo_in_small_ends_with_a_page_of_all_its_parts(command, tiny, checkpoint_folder, tmp_path):
    folders = [checkpoint_folder(name) for name in ("llama", "gpt2")]
    models = ",".join(map(str, folders))
    swept = [f"model@model_{side}=gpt2" for side in "ab"] + [f"model_{side}.id={models}" for side in "ab"]
    rest = [option for option in tiny if not option.startswith("model")]
    assert command("-m", "experiment=demo", *swept, *rest, "control=none", "metric=cka_linear_debiased") == 0
    held = page_of(tmp_path / "sweep")
    assert held["runs"]["rows"] == 10
    assert placed(held) == {(folder.name, language) for folder in folders for language in ("en", "de")}
    assert len(held["charts"]["joint"]) == 1


@pytest.mark.nightly
def test_the_demo_on_the_bundled_models_takes_less_than_a_quarter_of_an_hour(command, tmp_path):
    start = time.perf_counter()
    assert command("-m", "experiment=demo") == 0
    assert time.perf_counter() - start < 15 * 60
    held = page_of(tmp_path / "sweep")
    assert held["runs"]["rows"] == 40
    assert len(held["projections"]) == 4  # two metrics, texts and their control
    assert len(placed(held)) == 4
    assert pd.read_csv(tmp_path / "sweep" / "jobs.csv")["state"].eq("done").sum() == 40
    margins = pd.read_parquet(tmp_path / "sweep" / "tables" / "depth_pairs.parquet").sort_values("margin", ascending=False)
    drawn = {chart["title"]: chart["series"][0]["y"] for chart in held["charts"]["depth"]}
    assert drawn == {f"Swap margin of each pair: {of}": list(rows["margin"]) for of, rows in margins.groupby("condition")}
