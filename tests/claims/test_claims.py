"""Pages say what the result files hold, and no page that is held as a whole says more."""

import importlib
import json
import re
from typing import Any

import pytest
from benchmarks.results import OF_A_MACHINE, keep
from claims.make import PROGRAMS, RUNS, command, made
from claims.registry import FOLDER, ROOT, Claim, between, claims, flowing, registry, says, uncovered, value_of, with_between
from claims.tables import Table, tables
from pages import PAGES

CLAIMS = claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.plain[:60])
def test_a_claim_stands_on_its_page_and_says_what_its_file_holds(claim: Claim):
    assert " ".join(claim.plain.split()) in flowing(claim.page)
    assert len(claim.numbers) == len(claim.sources)
    for printed, source in zip(claim.numbers, claim.sources, strict=True):
        assert says(printed, value_of(source)), f"{claim.page} says {printed}; {source} is {value_of(source)}"


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
def test_a_table_of_a_page_is_what_its_result_file_makes(table: Table):
    assert stands(table, (ROOT / table.page).read_text(encoding="utf-8")), "run `uv run tests/claims/tables.py`"


def stands(table: Table, text: str) -> bool:
    return between(text, table.name) == f"\n\n{table.rendered()}\n\n"


def test_every_table_that_is_marked_on_a_page_is_made_from_what_is_named():
    marked = {(page, name) for page in PAGES for name in re.findall(r"<!-- end of (.+?) -->", page.read_text(encoding="utf-8"))}
    assert marked == {(ROOT / table.page, table.name) for table in tables()} | {(ROOT / "README.md", "default run")}


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
def test_a_digit_changed_in_a_table_is_seen(table: Table):
    text = (ROOT / table.page).read_text(encoding="utf-8")
    inside = between(text, table.name)
    place = [found.start() for found in re.finditer(r"\d", inside)][-1]
    changed = f"{inside[:place]}{(int(inside[place]) + 1) % 10}{inside[place + 1 :]}"
    assert not stands(table, with_between(text, table.name, changed))


@pytest.mark.parametrize("table", [table for table in tables() if table.file], ids=lambda table: table.name)
def test_a_number_changed_in_a_result_file_is_seen_in_its_table(table: Table, monkeypatch, tmp_path):
    held = json.loads((FOLDER / f"{table.file}.json").read_text(encoding="utf-8"))
    (tmp_path / f"{table.file}.json").write_text(json.dumps(moved(held)), encoding="utf-8")
    monkeypatch.setattr("claims.tables.FOLDER", tmp_path)
    assert not stands(table, (ROOT / table.page).read_text(encoding="utf-8"))


def moved(node: object) -> object:
    """With each share another one."""
    if isinstance(node, dict):
        return {key: moved(inner) for key, inner in node.items()}
    if isinstance(node, list):
        return [moved(inner) for inner in node]
    return node + 0.01 if isinstance(node, float) else node


@pytest.mark.parametrize("page", registry()["whole"])
def test_no_number_of_a_page_is_without_a_claim(page):
    assert [*uncovered(page)] == []


def test_every_page_is_held_as_a_whole():
    """But for the page of findings, whose template holds no number (test_findings.py)."""
    whole = {page.partition("#")[0] for page in registry()["whole"]}
    unheld = {str(page.relative_to(ROOT)) for page in PAGES} - whole
    assert unheld <= {"conf/experiment/FINDINGS.md", "tests/benchmarks/README.md"}


@pytest.mark.parametrize("page", registry()["definitions"])
def test_a_text_that_is_no_claim_stands_on_its_page(page):
    assert [text for text in registry()["definitions"][page] if " ".join(text.split()) not in flowing(page)] == []


def test_the_nightly_run_makes_every_result_file():
    assert {file.stem for file in FOLDER.glob("*.json")} == RUNS.keys() | PROGRAMS.keys()


@pytest.mark.parametrize("name", [*RUNS, *PROGRAMS])
def test_each_result_file_names_the_command_that_makes_it(name):
    assert held_of(name)["command"] == command(name)


def held_of(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("printed", "value", "holds"),
    [
        *[(".455", 0.4549, True), (".455", 0.4561, False), ("54 %", 0.5432, True), ("54 %", 0.55, False), ("-.044", -0.0441, True)],
        *[("< .001", 0.0009, True), ("< .001", 0.0011, False)],
    ],
)
def test_a_number_is_held_to_the_digits_that_it_is_printed_with(printed, value, holds):
    assert says(printed, value) == holds


def test_a_number_that_nobody_claims_is_seen(monkeypatch, tmp_path):
    (tmp_path / "PAGE.md").write_text(
        "In `3` of\n.37 cases, see [4](5), 12 s, Gemma 3 270M (2024).\n```\n6\n```\n", encoding="utf-8"
    )
    monkeypatch.setattr("claims.registry.ROOT", tmp_path)
    assert [place.split(" in ")[0] for place in uncovered("PAGE.md")] == [".37"]


def test_how_long_something_takes_is_held_on_the_page_of_benchmarks(monkeypatch, tmp_path):
    page = tmp_path / "tests" / "benchmarks" / "PAGE.md"
    page.parent.mkdir(parents=True)
    page.write_text("It takes 12 s and 1.4 GB (2024).\n", encoding="utf-8")
    monkeypatch.setattr("claims.registry.ROOT", tmp_path)
    assert [place.split(" in ")[0] for place in uncovered("tests/benchmarks/PAGE.md")] == ["12", "1.4"]


def test_a_table_is_written_into_a_place_that_is_still_empty():
    text = "a\n<!-- made -->\n<!-- end of made -->\nb\n"
    assert with_between(text, "made", "\n\n| 1 |\n\n") == "a\n<!-- made -->\n\n| 1 |\n\n<!-- end of made -->\nb\n"
    with pytest.raises(AssertionError, match="typed has no one place"):
        with_between(text, "typed", "")


def test_a_table_that_no_result_file_makes_holds_no_number(monkeypatch, tmp_path):
    page = "<!-- made -->\n\n| 0.37 |\n\n<!-- end of made -->\n<!-- typed -->\n\n| 0.38 |\n\n<!-- end of typed -->\n"
    (tmp_path / "PAGE.md").write_text(page, encoding="utf-8")
    monkeypatch.setattr("claims.registry.ROOT", tmp_path)
    known = {"table": [{"page": "PAGE.md", "name": "made"}], "claim": [], "definitions": {}}
    monkeypatch.setattr("claims.registry.registry", lambda: known)
    assert [place.split(" in ")[0] for place in uncovered("PAGE.md")] == ["0.38"]


def test_what_a_command_needs_is_run_before_it(monkeypatch, tmp_path):
    ran: list[list[str]] = []
    monkeypatch.setattr("claims.make.subprocess.run", lambda command, **_: ran.append(command))
    monkeypatch.setitem(RUNS, "interventions", (RUNS["interventions"][0], lambda folder: {"folder": str(folder)}))
    assert made("interventions", tmp_path)["values"] == {"folder": str(tmp_path / "interventions")}
    assert [command[2:4] for command in ran] == [
        ["experiment=edits_bundled", "report.enabled=false"],
        ["-m", "experiment=interventions_bundled"],
    ]


def test_a_program_writes_its_result_file_into_the_folder_that_is_named(monkeypatch, tmp_path):
    program = "from benchmarks.results import keep\nkeep('counted', 'program.py', {'share': 0.25})\n"
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    monkeypatch.setitem(PROGRAMS, "counted", str(tmp_path / "program.py"))
    assert made("counted", tmp_path) == {"command": "uv run program.py", "values": {"share": 0.25}}


def test_what_is_timed_names_its_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("CLAIMS_FOLDER", str(tmp_path))
    monkeypatch.setattr("benchmarks.results.gflops", lambda: 314.2)
    keep("timed", "program.py", {"ratio": 2.0}, within=1.5)
    written = json.loads((tmp_path / "timed.json").read_text(encoding="utf-8"))
    assert re.fullmatch(r"\d+ cores of .+, 314 GFLOP/s in products of float32 matrices", written.pop("machine"))
    assert written == {"command": "uv run program.py", "within": 1.5, "values": {"ratio": 2.0}}


def test_a_measure_is_kept_to_five_digits_under_its_script_and_its_name(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "benchmarks"))
    monkeypatch.setenv("CLAIMS_FOLDER", str(tmp_path))
    monkeypatch.setattr("results.machine", lambda: "2 cores of a processor")
    figures = {"pairs": 540, "ratios": {"ours": 1.2345678}}
    measure = importlib.import_module("measuring").measure
    assert measure("/a/folder/metrics.py", {"floor": lambda: figures, "other": dict}, ["floor"]) == {"floor": figures}
    (file,) = tmp_path.iterdir()
    written = json.loads(file.read_text(encoding="utf-8"))
    assert (file.name, written["command"]) == ("metrics_floor.json", "uv run tests/benchmarks/metrics.py floor")
    assert written["values"] == {"pairs": 540, "ratios": {"ours": 1.2346}}
    assert (written["within"], written["machine"]) == (2.0, "2 cores of a processor")


@pytest.mark.parametrize(
    ("held", "anew", "agree"),
    [
        ({"values": {"p": 0.25}}, {"values": {"p": 0.25009}}, True),
        ({"values": {"p": 0.25}}, {"values": {"p": 0.2502}}, False),
        ({"values": {"p": [0.25, 1]}}, {"values": {"p": [0.25]}}, False),
        ({"values": {"name": "block_1"}}, {"values": {"name": "block_2"}}, False),
        ({"within": 1.5, "values": {"ratio": 2}}, {"values": {"ratio": 2.9}}, True),
        ({"within": 1.5, "values": {"ratio": 2}}, {"values": {"ratio": 3.1}}, False),
        ({"within": 1.5, "values": {"ratio": 2}}, {"values": {"ratio": 1.3}}, False),
        ({"within": 1.5, "values": {"name": "block_1"}}, {"values": {"name": "block_1"}}, True),
        ({"within": 1.5, "values": {"name": "block_1"}}, {"values": {"name": "block_2"}}, False),
        ({"within": 1.5, "values": {"ratio": 2, "seconds": {"b": 1}}}, {"values": {"ratio": 2, "seconds": {"b": 9}}}, True),
        ({"within": 1.5, "values": {"ratio": 2, "seconds": {"b": 1}}}, {"values": {"ratio": 2, "seconds": {}}}, False),
    ],
)
def test_numbers_made_anew_are_the_same_to_four_digits_or_within_a_stated_factor(held, anew, agree):
    assert agrees(held, anew) == agree


def agrees(held: dict[str, Any], anew: dict[str, Any]) -> bool:
    """To four decimals, as cores differ in the order in which they add; or within the factor of the file, but for times."""
    ours, theirs = flat(held["values"]), flat(anew["values"])
    if ours.keys() != theirs.keys():
        return False
    compared = [key for key in ours if "within" not in held or not set(OF_A_MACHINE) & set(key.split("."))]
    return all(same(ours[key], theirs[key], held.get("within")) for key in compared)


def same(held: float | str, anew: float | str, within: float | None) -> bool:
    if isinstance(held, str) or isinstance(anew, str):
        return held == anew
    if within is None:
        return anew == pytest.approx(held, abs=1e-4, rel=0, nan_ok=True)
    return held / within <= anew <= held * within


@pytest.mark.nightly
@pytest.mark.parametrize("name", [*RUNS, *PROGRAMS])
def test_a_result_file_made_anew_is_the_same(name, tmp_path):
    assert agrees(held_of(name), made(name, tmp_path))


def flat(node: object, prefix: str = "") -> dict[str, float | str]:
    """Numbers and words by their paths."""
    if isinstance(node, list):
        return flat({str(place): inner for place, inner in enumerate(node)}, prefix)
    if isinstance(node, dict):
        return {name: value for key, inner in node.items() for name, value in flat(inner, f"{prefix}{key}.").items()}
    return {prefix: node} if isinstance(node, int | float | str) else {}
