"""What the pages say of adding an analysis, study, metric, pooling, dataset, language or control, done to the letter."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from pages import CONF_PAGE, ROOT, commands, files_shown, moves, users_own_files, write_users_own_files

import layeratlas
from layeratlas.stages import schema

SRC = ROOT / "src" / "layeratlas"
ANALYSES, STUDIES, EXTRACTION, METRICS = (SRC / part / "README.md" for part in ("analyses", "studies", "extraction", "metrics"))
DATASETS = ROOT / "conf" / "dataset" / "README.md"
PAGES = [ANALYSES, STUDIES, EXTRACTION, METRICS, DATASETS]
OWN = [(page, line) for page in [ANALYSES, STUDIES, EXTRACTION, DATASETS] for line in commands(page) if "--config-dir mine" in line]
OWN = [pytest.param(page, line, id=f"{page.parent.name}: {line.partition('mine ')[2]}") for page, line in OWN]


@pytest.fixture
def forgotten(monkeypatch):
    """Modules of one test's own folder are not those of the next one's."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    schema._require_part.cache_clear()
    yield
    for page in PAGES:
        for name in users_own_files(page):
            sys.modules.pop(Path(name).stem, None)


def tiny_models(arguments: list[str], tiny: list[str]) -> list[str]:
    """The arguments with tiny models in place of those that are named, and few items and permutations."""
    same = "model_b=${model_a}" in arguments
    sides = [each for each in tiny if each.startswith(("model@model_a", "model_a.") if same else ("model@", "model_"))]
    few = ["dataset.n=40", "k=3", "statistics.permutations=19", "statistics.groups=4"]
    few += [each for each in tiny if each.startswith("store.dir")]
    texts = [] if any(each.startswith("dataset=") for each in arguments) else [each for each in tiny if each.startswith("dataset")]
    return [*(each for each in arguments if not each.startswith("model@")), *sides, *few, *texts]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), OWN)
def test_files_of_a_users_own_as_a_page_shows_them_do_what_it_says(command, tiny, tmp_path, forgotten, page, line):
    write_users_own_files(tmp_path, "", page)
    assert command(*tiny_models(shlex.split(line)[1:], tiny)) == 0
    if page == STUDIES:
        sweep = tmp_path / "sweep"
        assert (sweep / "tables" / "spread.parquet").is_file()
        assert (sweep / "figures" / "spread.png").is_file()
        return
    run = layeratlas.read_run(tmp_path / "out")
    if page == ANALYSES:
        assert run.table("lengths")["value"].gt(0).all()
        assert {"lengths", "lengths_items"} <= set(run.tables)
        assert run.result["analyses"]["lengths"]["tests"] == ["nll.p"]
        assert (run.folder / "lengths_axes.safetensors").is_file()
        assert (run.folder / "figures" / "lengths.png").is_file()
        assert (run.folder / "report.html").is_file()
    elif page == EXTRACTION:
        assert run.result["pooling"] == "parts.second_part(share=0.25)"
    else:
        control = "control=first_words" in line
        assert run.result["dataset"]["name"] == ("sums+first_words" if control else "sums")
        assert run.table("items")["text_b"].str.contains(r"^\d plus \d$" if control else " estas ").all()


def test_a_dataset_of_the_hub_builds_on_one_of_ours():
    (name,) = [name for name in users_own_files(DATASETS) if name.endswith("reviews.yaml")]
    shown = OmegaConf.create(users_own_files(DATASETS)[name])
    (pattern,) = [default for default in shown.defaults if default != "_self_"]
    assert set(shown) - {"defaults"} <= set(OmegaConf.load(ROOT / "conf" / "dataset" / f"{pattern}.yaml"))


def test_every_recipe_names_the_line_that_exports_its_class():
    for page in (ANALYSES, STUDIES, METRICS, DATASETS):
        exported = [line for name, content in files_shown(page, "src").items() for line in content.splitlines()]
        assert exported, page
        targets = [OmegaConf.create(content)["_target_"] for content in files_shown(page, "conf").values()]
        assert {target.rpartition(".")[2] for target in targets} == {line.rpartition(" ")[2] for line in exported}


@pytest.mark.slow
def test_the_same_files_in_this_repository_do_what_the_pages_say(tmp_path, checkpoint_folder):
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", copy / "conf")
    for page in PAGES:
        follow(page, copy)
    models = [*("model@model_a=gpt2", f"model_a.id={checkpoint_folder('llama')}", "model_b=${model_a}", "k=3", "dataset.n=40")]
    chosen = [
        "dataset=sums",
        "control=first_words",
        "control.sides=[b]",
        "language@language_b=eo",
        "pooling=second_part",
        "metric=norm_correlation",
    ]
    asked = ["analysis=[lengths]", "study=[spread]", "seed=0,1", "statistics=off", "hydra.sweep.dir=sweep", "store.dir=store"]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    command = [sys.executable, str(copy / "src" / "run.py"), "-m", *models, *chosen, *asked]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300, env=environment)
    run = layeratlas.read_run(tmp_path / "sweep" / "0")
    assert run.result["analyses"]["lengths"]["tests"] == ["nll.p"]
    assert (run.result["pooling"], run.result["metric"]["name"]) == ("second_part(share=0.5)", "norm_correlation")
    assert run.result["dataset"]["name"] == "sums+first_words"
    assert (run.folder / "figures" / "lengths.png").is_file()
    assert (tmp_path / "sweep" / "tables" / "spread.parquet").is_file()
    assert (tmp_path / "sweep" / "figures" / "spread.png").is_file()


def follow(page: Path, copy: Path) -> None:
    """Do what a page says of this repository, in a copy of it."""
    own = users_own_files(page) | users_own_files(CONF_PAGE)
    for name, place in moves(page):
        content = "".join(line for line in own[name].splitlines(keepends=True) if not line.startswith("    views = "))
        (copy / place).write_text(content, encoding="utf-8")
    for name, lines in files_shown(page, "src").items():
        with (copy / name).open("a", encoding="utf-8") as file:
            file.write(lines)
    for name, line in files_shown(page, "conf").items():
        text, changed = re.subn(r"^_target_: .*\n", line, (copy / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert changed == 1
        (copy / name).write_text(text, encoding="utf-8")
    if page == EXTRACTION:
        pooling = copy / "src" / "layeratlas" / "extraction" / "pooling.py"
        function = own["mine/parts.py"].partition("\n\n\n")[2]
        ours = pooling.read_text(encoding="utf-8").replace("__all__ = [", '__all__ = [\n    "second_part",')
        pooling.write_text(f"{ours}\n\n{function}", encoding="utf-8")
