"""Every YAML composes, resolves and binds to what it names."""

import inspect
import re
import unicodedata

import pytest
from composing import CONF, composed
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, get_method
from omegaconf import OmegaConf
from scripts import share_of_script

from layeratlas.corpora import Language

GROUPS = ("model", "dataset", "control", "language", "pooling", "normalization", "metric", "k", "statistics", "analysis", "stage")
NAMES = {group: [path.stem for path in sorted((CONF / group).glob("*.yaml"))] for group in GROUPS}
FILES = [(group, name) for group, names in NAMES.items() for name in names]
PATHS = {"stored": ["model_a.path=x"]} | {name: ["dataset.path=x"] for name in ("local", "common_words", "wikipedia_leads")}
PATHS |= {name: ["sweep_dir=x"] for name in ("status", "summarize")}
PATHS |= {"import": ["matrices.path=x"]}
SIDED = {"model": "model@model_a", "language": "language@language_a"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("LAYERATLAS_STORE", "unused")
    monkeypatch.setenv("LAYERATLAS_RUN_ID", "unused")


def targets(node: object) -> list[dict]:
    if isinstance(node, dict):
        return ([node] if "_target_" in node else []) + [t for value in node.values() for t in targets(value)]
    return []


@pytest.mark.parametrize("row", range(max(map(len, NAMES.values()))))
def test_every_file_binds_each_of_its_keys_to_its_target(row):
    """One composition binds a file of each group: the first of each, then the second of each, and so on."""
    chosen = {group: names[min(row, len(names) - 1)] for group, names in NAMES.items()}
    choices = [
        f"{group}=[{name}]" if group == "analysis" else f"{SIDED.get(group, group)}={name}" for group, name in chosen.items()
    ]
    config = composed(*choices, *(more for name in chosen.values() for more in PATHS.get(name, [])))
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    found = targets(resolved)
    assert found
    for node in found:
        options = {key: value for key, value in node.items() if not key.startswith("_")}
        target = (get_method if node.get("_partial_") else get_class)(node["_target_"])
        given_at_run_time = (None,) * (2 if node.get("_partial_") else 0)
        inspect.signature(target).bind(*given_at_run_time, **options)


@pytest.mark.parametrize(("group", "name"), FILES, ids=lambda value: value)
def test_no_name_of_a_file_is_a_bare_number_and_each_says_what_it_is(group, name):
    assert not name.isdigit()
    text = (CONF / group / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("#") or group == "k"


def test_a_model_file_states_every_field_that_a_user_may_set():
    for path in (CONF / "model").glob("*.yaml"):
        node = OmegaConf.load(path)
        parameters = inspect.signature(get_class(node._target_)).parameters
        assert set(node) - {"_target_"} == set(parameters), path.name


@pytest.mark.parametrize("name", [path.stem for path in (CONF / "dataset").glob("*.yaml")])
def test_a_dataset_file_states_every_field_that_a_user_may_set(name):
    node = composed(f"dataset={name}").dataset
    assert set(node) - {"_target_"} == set(inspect.signature(get_class(node._target_)).parameters)


LANGUAGES = {path.stem: OmegaConf.load(path) for path in sorted((CONF / "language").glob("*.yaml"))}
# The languages of Global-MMLU (Singh et al., 2024).
GLOBAL_MMLU = """
am ar bn cs de el en es fa fil fr ha he hi id ig it ja ko ky
lt mg ms ne nl ny pl pt ro ru si sn so sr sv sw te tr uk vi
yo zh
"""


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_language_file_is_named_by_its_code_and_has_every_field(name):
    node = LANGUAGES[name]
    assert node.code == Language(**node).code == name
    fields = ["code", "flores", "name", "native_name", "script", "direction", "family", "resource", "sentence_final"]
    assert [field for field in node if field != "aliases"] == fields
    assert all(node[field] for field in node if field != "resource")
    assert node.resource in ("high", "mid", "low", None)
    assert len(set(node.sentence_final)) == len(node.sentence_final) >= 2
    assert all(unicodedata.category(mark) == "Po" for mark in node.sentence_final)


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_language_is_written_in_its_script_and_direction(name):
    node = LANGUAGES[name]
    assert share_of_script(node.native_name, node.script) == 1
    assert node.flores.endswith(f"_{node.script}")
    assert (node.direction == "rtl") == (unicodedata.bidirectional(node.native_name[0]) in ("R", "AL"))


def test_no_two_languages_have_a_code_or_name_in_common():
    for field in ("code", "flores", "name", "native_name"):
        values = [node[field] for code, node in LANGUAGES.items() if not (field == "flores" and code == "no")]  # no is nb there
        assert len(set(values)) == len(values)


def test_the_languages_of_global_mmlu_are_there():
    codes = GLOBAL_MMLU.split()
    assert len(codes) == 42
    assert [code for code in codes if code not in LANGUAGES] == []


def test_the_language_of_b_follows_that_of_a():
    assert composed("language@language_a=hi").language_b.code == "hi"
    assert composed("language@language_a=hi", "language@language_b=de").language_b.code == "de"


def test_no_control_can_be_swept_beside_the_others():
    assert composed().control is composed("control=none").control is None
    assert composed("control=cipher").control.sides == ["a", "b"]


def test_k_reaches_the_metric_from_the_group_and_as_a_free_number():
    assert composed("k=k50").metric.k == 50
    assert composed("k.k=7").metric.k == 7


def test_all_models_of_the_study_are_there():
    names = {path.stem for path in (CONF / "model").glob("*.yaml")}
    assert {"llama-3.1-70b", "mixtral-8x7b", "falcon-mamba-7b", "gemma-2-9b-it", "gpt2", "gpt-oss-20b", "tiny-aya-fire"} <= names
    assert len(names) >= 38


def test_a_dataset_of_the_hub_is_pinned_to_a_commit():
    given = {name: OmegaConf.load(CONF / "dataset" / f"{name}.yaml").get("revision") for name in NAMES["dataset"]}
    pinned = {name: revision for name, revision in given.items() if revision}
    assert len(pinned) == 13
    assert [name for name, revision in pinned.items() if not re.fullmatch(r"[0-9a-f]{40}", revision)] == []


def test_every_key_of_the_main_config_has_a_comment():
    lines = (CONF / "config.yaml").read_text(encoding="utf-8").split("\nhydra:")[0].splitlines()
    bare = [line for line in lines if line.strip() and "#" not in line and not line.rstrip().endswith(":") and "_self_" not in line]
    assert bare == []


@pytest.mark.parametrize("name", [path.stem for path in (CONF / "hydra" / "launcher").glob("*.yaml")])
def test_a_launcher_preset_holds_only_what_its_launcher_knows(name):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        launcher = compose("config", [f"hydra/launcher={name}"], return_hydra_config=True).hydra.launcher
    assert launcher._target_.split(".")[1] in ("hydra_submitit_launcher", "hydra_joblib_launcher")
    if "timeout_min" in launcher:  # a signal that comes before submitit listens to it kills the job
        assert launcher.timeout_min * 60 - launcher.signal_delay_s > 120
