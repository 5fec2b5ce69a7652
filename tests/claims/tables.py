"""Tables of pages, each written from a result file: `uv run tests/claims/tables.py` writes all of them.

A `[[table]]` of pages.toml says what stands on `page` between `<!-- NAME -->` and `<!-- end of NAME -->`: what the function `by`
(MODULE:FUNCTION in tests/) makes of the values of the result file `from`, or of nothing where no file is named.
"""

import json
import pkgutil
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from claims.registry import FOLDER, ROOT, registry, with_between


@dataclass(frozen=True)
class Table:
    page: str
    name: str
    by: str
    file: str | None

    def rendered(self) -> str:
        render = pkgutil.resolve_name(self.by)
        if self.file is None:
            return render()
        return render(json.loads((FOLDER / f"{self.file}.json").read_text(encoding="utf-8"))["values"])


def tables() -> list[Table]:
    return [Table(entry["page"], entry["name"], entry["by"], entry.get("from")) for entry in registry()["table"]]


def main() -> None:
    for table in tables():
        page = ROOT / table.page
        text = page.read_text(encoding="utf-8")
        page.write_text(with_between(text, table.name, f"\n\n{table.rendered()}\n\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
