"""What the README.md of every folder says can be done as it says."""

import ast
import pkgutil
import re
import shlex
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from metric_rows import METRICS
from omegaconf import OmegaConf
from pages import PAGES, ROOT, anchors, blocks, code, commands, links, moves, prose, text_of, users_own_files

from layeratlas.stages.command_line import understood
from layeratlas.stages.schema import checked

CONF = ROOT / "conf"
README = ROOT / "README.md"
PLACEHOLDER = re.compile(r"[A-Z…]")
NAMES = [str(page.parent.relative_to(ROOT)) for page in PAGES]
TYPED = sorted({line for page in PAGES for line in commands(page)})
OF_OTHERS = {"layeratlas -sc install=fish | source", "hydra/launcher=ray"}
RUN = ("uv run src/run.py", "layeratlas")


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request) -> Path:
    return request.param


def test_the_first_page_is_short():
    assert len(text_of(README).splitlines()) <= 200


def test_every_link_leads_to_a_file_and_a_heading_that_exist(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        target = target / "README.md" if target.is_dir() else target
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_reached_from_the_first_one():
    reached, ahead = set(), [README]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        near = {(page.parent / link.partition("#")[0]).resolve() for link in links(page)}
        ahead += [other for other in PAGES if other in near - reached]
    assert reached == set(PAGES)


def test_every_file_and_folder_that_a_page_names_exists(page):
    named = [span for span in code(page) if re.fullmatch(r"\.?[\w./-]+(\.py|\.md|\.png|/)|(src|tests|conf)/[\w./-]+", span)]
    searched = (page.parent, ROOT, ROOT / "src" / "layeratlas", ROOT / "tests")
    of_a_run = {"affinity.png", "depth_curves.png"}
    added = {name for move in moves(page) for name in move} | set(users_own_files(page))  # by whoever follows a recipe
    wrong = [name for name in set(named) - added if not any((folder / name).exists() for folder in searched)]
    assert [name for name in wrong if not PLACEHOLDER.search(name) and Path(name).name not in of_a_run] == []


def test_every_python_name_that_a_page_gives_can_be_imported(page):
    named = [*code(page), *re.findall(r"=(layeratlas\.\S+)", "".join(blocks(page)))]
    for block in blocks(page, "python"):
        if block.startswith("# src/"):  # a recipe's last step: tests/end_to_end/test_recipes.py does it
            continue
        named += [node.value.id + "." + node.attr for node in ast.walk(ast.parse(block)) if of_the_package(node)]
        imports = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)]
        named += [f"{node.module}.{alias.name}" for node in imports for alias in node.names]
    for name in named:
        if dotted := re.match(r"layeratlas(\.\w+)+", name):
            pkgutil.resolve_name(dotted[0])


def of_the_package(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "layeratlas"


def test_the_tree_is_the_one_there_is():
    (tree,) = [block for block in blocks(README) if "src/layeratlas/" in block]
    inside = re.findall(r"^  ((?:\S+ )+)", tree.split("src/layeratlas/")[1], re.MULTILINE)
    parts = [name for line in inside for name in line.split()]
    there = [path.name + "/" * path.is_dir() for path in (ROOT / "src" / "layeratlas").iterdir() if not path.name.startswith("__")]
    assert sorted(parts) == sorted(there)
    assert [name for name in re.findall(r"^(\S+)", tree, re.MULTILINE) if not (ROOT / name).exists()] == []


# ---------------------------------------------------------------- what is to be typed


@pytest.fixture
def composed(monkeypatch, tmp_path):
    """Compose what the command line would, the user's own files of conf/README.md included, and hold it to its types."""
    for name in ("LAYERATLAS_STORE", "LAYERATLAS_RUN_ID"):
        monkeypatch.setenv(name, "unused")
    for name, content in chain.from_iterable(users_own_files(page).items() for page in PAGES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "mine")

    def call(*overrides: str, own: bool) -> None:
        more = [f"hydra.searchpath=[{tmp_path / 'mine'}]"] if own else []
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", [*overrides, *more], return_hydra_config=True)
        checked(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]))

    return call


@pytest.mark.parametrize("line", TYPED)
def test_every_command_of_a_page_is_understood(line, composed):
    exported = dict(re.findall(r"export (\w+)=(\S+)", "".join("".join(blocks(page)) for page in PAGES)))
    arguments = shlex.split(re.sub(r"\$(\w+)", lambda name: exported[name[1]], line))
    if line.startswith(RUN):
        started = len(shlex.split(next(run for run in RUN if line.startswith(run))))
        understood_by_hydra([argument for argument in arguments[started:] if argument != "..."], composed)
    elif arguments[:2] == ["uv", "sync"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
        assert set(arguments[3::2]) <= set(extras)
    elif arguments[:2] == ["uv", "run"] and "/" in arguments[2]:
        assert (ROOT / arguments[2]).exists()
    else:  # others are run by .ci/run, or by the tests of the wheel
        ran = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
        assert line in ran or re.match(r"pip install (--no-deps|layeratlas-)", line), line


def understood_by_hydra(arguments, composed) -> None:
    """Each value of a sweep is composed once, beside one of the values of each other key."""
    own = "--config-dir" in arguments
    overrides = [a for a in arguments if a not in ("-m", "--help", "--config-dir", "mine")]
    sizes = [file.stem for file in (CONF / "k").glob("*.yaml")]
    ours = understood([*(["-m"] if "-m" in arguments else []), *overrides], sizes)
    values = [choices(override) for override in OverridesParser.create().parse_overrides([a for a in ours if a != "-m"])]
    assert "-m" in arguments or all(len(each) == 1 for each in values)
    for turn in range(max(map(len, values), default=1)):
        composed(*(each[turn % len(each)] for each in values), own=own)


def choices(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if isinstance(override.value(), Glob):
        group = str(override.key_or_group).partition("@")[0]
        return [f"{override.get_key_element()}={file.stem}" for file in sorted((CONF / group).glob("*.yaml"))[:3]]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def test_every_setting_that_a_page_names_exists(page):
    for key, value in settings(page):
        group = CONF / key.partition("@")[0]
        if (key, value.isdigit()) == ("k", True):
            continue  # any number
        if group.is_dir():
            chosen = [name for name in value.strip("[]").split(",") if name and not PLACEHOLDER.search(name)]
            assert [name for name in chosen if not (group / f"{name}.yaml").exists()] == [], f"{key}={value}"
        else:
            assert key in keys(), f"{key}={value}"


def settings(page: Path) -> list[tuple[str, str]]:
    """`KEY=VALUE` between backticks, several to a span; not those of Hydra itself, or of other programs."""
    spans = [span for span in code(page) if "$(" not in span and span not in OF_OTHERS]
    typed = [re.match(r"'?\+?([a-z][\w.@/]*)=(?!=)(\S*)", word) for span in spans for word in span.split()]
    found = [(match[1], match[2]) for match in typed if match]
    return [(key, value) for key, value in found if not key.startswith("hydra.") and not PLACEHOLDER.search(key)]


@cache
def keys() -> set[str]:
    """The keys of config.yaml, and those of any file of a group below the group's name."""
    found = dotted(OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml")))
    for file in CONF.glob("*/*.yaml"):
        node = OmegaConf.to_container(OmegaConf.load(file))
        group = file.parent.name
        names = {"model": ("model_a", "model_b")}.get(group, (f"{group}.{file.stem}" if group in ("analysis", "study") else group,))
        below = "" if "@package _global_" in file.read_text(encoding="utf-8") else None
        found |= {f"{name}.{key}" for name in names for key in dotted(node)} if below is None else dotted(node)
    return found


def dotted(node: object, prefix: str = "") -> set[str]:
    if not isinstance(node, dict):
        return set()
    return {f"{prefix}{key}" for key in node} | {one for key, value in node.items() for one in dotted(value, f"{prefix}{key}.")}


# ---------------------------------------------------------------- what is listed and counted


@pytest.mark.parametrize(
    ("group", "page"),
    [
        ("analysis", "."),
        ("analysis", "src/layeratlas/analyses"),
        ("analysis", "src/layeratlas/statistics"),
        ("dataset", "conf/dataset"),
        ("control", "conf/dataset"),
        ("pooling", "src/layeratlas/extraction"),
        ("normalization", "src/layeratlas/metrics"),
        ("metric", "src/layeratlas/metrics"),
        ("study", "src/layeratlas/studies"),
    ],
)
def test_every_file_of_a_group_is_on_its_page(group, page):
    listed = set(re.findall(r"\w+", " ".join(code(ROOT / page / "README.md"))))
    assert {file.stem for file in (CONF / group).glob("*.yaml")} - listed - {"none"} == set()


@pytest.mark.parametrize(
    ("group", "words"),
    [("model", "one of {} files"), ("dataset", "{} datasets"), ("language", "| {} of them"), ("metric", "| {} files: neighbours")],
)
def test_the_first_page_counts_the_files_of_a_group(group, words):
    assert words.format(len([*(CONF / group).glob("*.yaml")])) in text_of(README)


def test_every_metric_file_has_a_row_of_tests():
    named = {row.metric.name for row in METRICS}
    assert {path.stem for path in (CONF / "metric").glob("*.yaml")} <= named


def test_a_metric_file_is_named_as_its_metric():
    targets = {type(row.metric).__name__: row.metric.name for row in METRICS}
    for path in (CONF / "metric").glob("*.yaml"):
        cls = OmegaConf.load(path)["_target_"].rsplit(".", 1)[-1]
        assert cls == "RSA" or targets[cls] == path.stem


def test_no_page_speaks_a_dialect(page):
    assert re.findall(r"\b(?:told|found at a|without a word)\b", prose(page)) == []
