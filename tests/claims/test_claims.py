"""Pages say what the result files hold, and no page that is held as a whole says more."""

import json

import pytest
from claims.claims import FOLDER, ROOT, Claim, claims, flowing, registry, says, uncovered, value_of
from claims.make import MADE, made

CLAIMS = claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.plain[:60])
def test_a_claim_stands_on_its_page_and_says_what_its_file_holds(claim: Claim):
    assert " ".join(claim.plain.split()) in flowing(claim.page)
    assert len(claim.numbers) == len(claim.sources)
    for printed, source in zip(claim.numbers, claim.sources, strict=True):
        assert says(printed, value_of(source)), f"{claim.page} says {printed}; {source} is {value_of(source)}"


@pytest.mark.parametrize("page", registry()["whole"])
def test_no_number_of_a_page_is_without_a_claim(page):
    assert [*uncovered(page)] == []


@pytest.mark.parametrize("page", registry()["definitions"])
def test_a_text_that_is_no_claim_stands_on_its_page(page):
    assert [text for text in registry()["definitions"][page] if " ".join(text.split()) not in flowing(page)] == []


def test_the_nightly_run_makes_every_result_file():
    assert {file.stem for file in FOLDER.glob("*.json")} == set(MADE)


def test_each_result_file_names_the_command_that_makes_it():
    for name, (arguments, _) in MADE.items():
        held = json.loads((ROOT / "tests" / "claims" / f"{name}.json").read_text(encoding="utf-8"))
        assert held["command"] == " ".join(["uv run src/run.py", *arguments])


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
    monkeypatch.setattr("claims.claims.ROOT", tmp_path)
    assert [place.split(" in ")[0] for place in uncovered("PAGE.md")] == [".37"]


def test_what_a_command_needs_is_run_before_it(monkeypatch, tmp_path):
    ran: list[list[str]] = []
    monkeypatch.setattr("claims.make.subprocess.run", lambda command, **_: ran.append(command))
    monkeypatch.setitem(MADE, "interventions", (MADE["interventions"][0], lambda folder: {"folder": str(folder)}))
    assert made("interventions", tmp_path)["values"] == {"folder": str(tmp_path / "interventions")}
    assert [command[2:4] for command in ran] == [
        ["experiment=edits_bundled", "report.enabled=false"],
        ["-m", "experiment=interventions_bundled"],
    ]


@pytest.mark.nightly
@pytest.mark.parametrize("name", MADE)
def test_a_result_file_made_anew_is_the_same(name, tmp_path):
    """To four decimals: cores differ in the order in which they add."""
    held = json.loads((ROOT / "tests" / "claims" / f"{name}.json").read_text(encoding="utf-8"))
    assert flat(made(name, tmp_path)["values"]) == pytest.approx(flat(held["values"]), abs=1e-4, nan_ok=True)


def flat(node: object, prefix: str = "") -> dict[str, float]:
    if isinstance(node, dict):
        return {name: value for key, inner in node.items() for name, value in flat(inner, f"{prefix}{key}.").items()}
    return {prefix: float(node)} if isinstance(node, int | float) else {}
