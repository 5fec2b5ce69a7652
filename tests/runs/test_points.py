"""Points of layers as a published page of a projector holds them, and what is recomputed from them."""

import json

import numpy as np
import pandas as pd
import pytest
from pages import ROOT, blocks

from layeratlas.errors import ConfigError
from layeratlas.runs.published_points import axis_with_language, over_layers, read_points

MODELS = {"Llama-1B": 5, "oss-20b": 4}


def page(folder, *, change=lambda point: point, name="POINT_TRACES"):
    """A page in the published format, of points that are known here."""
    rng, rows, traces = np.random.default_rng(0), [], []
    for model, layers in MODELS.items():
        for subset, sign in (("en", 1), ("hi", -1)):
            custom = []
            for layer in range(1, layers + 1):
                place = rng.normal(size=3) + np.array([0, 2 * sign, 0])
                point = {"subset": subset, "model": model, "slug": model.lower(), "layer": layer, "pair_key": f"{model}{layer}"}
                point |= {"pair_cka": 0.6 + layer / 50, "pair_d3": 0.0} | {f"pc{k + 1}": x for k, x in enumerate(place)}
                custom.append(point)
                rows.append(point)
            traces.append({"name": f"{model} {subset}", "custom": custom})
    table = pd.DataFrame(rows)
    axes = ["pc1", "pc2", "pc3"]
    both = table.pivot(index=["model", "layer"], columns="subset", values=axes)
    apart = np.sqrt(sum((both[axis]["en"] - both[axis]["hi"]) ** 2 for axis in axes))
    for trace in traces:
        for point in trace["custom"]:
            point["pair_d3"] = float(apart[point["model"], point["layer"]])
        trace["custom"] = [change(point) for point in trace["custom"]]
    text = (
        f'<html><script>var x = "</div>";</script><script type="application/json" id="{name}">{json.dumps(traces)}</script></html>'
    )
    (folder / "projector.html").write_text(text, encoding="utf-8")
    return folder / "projector.html", table, apart


def test_the_published_table_is_recomputed_from_the_points(tmp_path):
    path, table, apart = page(tmp_path)
    points = read_points(path)
    assert len(points) == 2 * sum(MODELS.values())
    found = over_layers(points).set_index("model")
    for model in MODELS:
        own = apart[model]
        cka = table[(table["model"] == model) & (table["subset"] == "en")]["pair_cka"]
        row = found.loc[model]
        assert row[["distance_mean", "distance_median", "distance_sd", "distance_largest"]].tolist() == pytest.approx(
            [own.mean(), own.median(), own.std(ddof=1), own.max()]
        )
        assert row[["similarity_mean", "similarity_median", "similarity_smallest"]].tolist() == pytest.approx(
            [cka.mean(), cka.median(), cka.min()]
        )
    marks = np.where(table["subset"] == "en", 1, -1)
    axes = axis_with_language(points, "pc2").set_index("model")["r"]
    assert axes["all models"] == pytest.approx(np.corrcoef(table["pc2"], marks)[0, 1])
    own = table["model"] == "oss-20b"
    assert axes["oss-20b"] == pytest.approx(np.corrcoef(table["pc2"][own], marks[own])[0, 1])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda point: {key: value for key, value in point.items() if key != "pc3"}, "its points lack pc3$"),
        (lambda point: point | {"pc1": None}, "its points hold what is no finite number$"),
        (lambda point: point | {"layer": 1}, "layer 1 of Llama-1B in en stands there more than once$"),
        (lambda point: point | {"subset": "en" if point["layer"] == 1 else point["subset"]}, "stands there more than once$"),
        (lambda point: point | {"pair_d3": 9.0}, "states a distance of 9 .* and its own points lie"),
    ],
)
def test_points_that_cannot_be_are_refused_in_one_line(tmp_path, change, line):
    path, _, _ = page(tmp_path, change=change)
    with pytest.raises(ConfigError, match=rf"projector\.html: .*{line}"):
        read_points(path)


def test_a_page_without_points_is_refused(tmp_path):
    path, _, _ = page(tmp_path, name="OTHER")
    with pytest.raises(ConfigError, match=r"projector\.html: holds no points \(no JSON with the id POINT_TRACES\)$"):
        read_points(path)
    with pytest.raises(ConfigError, match=r"none\.html: cannot be read"):
        read_points(tmp_path / "none.html")


def test_published_files_are_read_as_the_page_on_configuration_says(tmp_path, monkeypatch):
    _, table, _ = page(tmp_path)
    curve = [0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.2, 0.2]
    curves = {"base": {"fire": {"hi": curve}}, "tuned": {"fire": {"hi": [*[0.1] * 7, 0.9]}}}
    (tmp_path / "curves.json").write_text(json.dumps({"curves": curves}), encoding="utf-8")
    (code,) = [block for block in blocks(ROOT / "conf" / "README.md", "python") if "published" in block]
    monkeypatch.chdir(tmp_path)
    said: dict = {}
    exec(code, said)
    assert said["committed"].to_dict("records") == [{"concept": "fire", "language": "hi", "base": 1, "tuned": -1}]
    assert said["failed"]["variant"].tolist() == ["tuned"]
    assert said["peaks"].set_index("variant")["last"].to_dict() == {"base": 0.2, "tuned": 0.9}
    assert len(said["points"]) == len(table)
    assert said["distances"]["model"].tolist() == list(MODELS)
    assert said["axes"]["model"].tolist() == [*MODELS, "all models"]
