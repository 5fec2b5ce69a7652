"""The package reads top-down like the data flow: each module imports only from those above it."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
PACKAGE = SOURCE / "layeratlas"
ORDER = (
    "errors",
    "options",
    "layers",
    "arrays",
    "findings",
    "files",
    "statistics",
    "corpora",
    "models",
    "metrics",
    "extraction",
    "affinity",
    "analyses",
    "runs",
    "studies",
    "report",
    "stages",
    "layeratlas_guard",
    "layeratlas_sweeper",
)
OWNERS = {
    "hydra": {"stages", "layeratlas_guard", "layeratlas_sweeper"},
    "omegaconf": {"stages", "layeratlas_guard", "layeratlas_sweeper"},
    "pydantic": {"options"},
    "transformers": {"models"},
    "huggingface_hub": {"models"},
    "datasets": {"corpora"},
    "pickle": set(),
}
FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py") if path.is_relative_to(PACKAGE) else path.stem


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "layeratlas":
            yield from (f"layeratlas.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_every_module_has_its_place_in_the_order():
    found = {module_of(path) for path in FILES} - {"run"}
    assert found == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_from_those_above_it(path):
    place = ORDER.index(module_of(path)) if module_of(path) in ORDER else len(ORDER)
    for name in imported(path):
        if name.startswith("layeratlas."):
            other = name.split(".")[1]
            assert other == module_of(path) or ORDER.index(other) < place, f"{path.name} imports {name}, which stands below it"


def test_no_two_modules_import_each_other_even_when_called():
    names = {path: ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for path in FILES}
    graph = {name: {other for other in imported(path) if other in names.values()} - {name} for path, name in names.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_foreign_library_is_known_to_its_owner_alone(path):
    for name in imported(path):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or module_of(path) in owners, f"{path.name} imports {name}"


@pytest.mark.slow
def test_a_filled_store_needs_no_transformers():
    import subprocess
    import sys

    code = "import sys, layeratlas.stages.pipeline; print('transformers' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "sys.argv[1:] = ['--help']; main.main()",
        "sys.argv[1:] = ['--cfg', 'job']; main.main()",
        "sys.argv[1:] = ['-sc', 'install=bash']; main.main()",
        "sys.argv[1:] = ['stage=status', 'sweep_dir=sweep']; main.main()",
        "layeratlas.read_run('sweep/0').table('affinity')",
        "layeratlas.read_sweep('sweep')",
    ],
)
def test_what_explains_or_reads_finished_work_imports_no_torch(code, tmp_path):
    import shutil
    import subprocess
    import sys

    shutil.copytree(Path(__file__).parent / "files" / "sweep_of_29c6b20" / "sweep", tmp_path / "sweep")
    large = "('torch', 'transformers', 'matplotlib')"
    told = f"atexit.register(lambda: print([name in sys.modules for name in {large}]))"  # --help leaves the process
    ask = f"import atexit, sys, layeratlas; from layeratlas.stages import main; {told}; {code}"
    run = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.strip().splitlines()[-1] == "[False, False, False]", run.stdout
