"""The table of src/layeratlas/corpora/stimuli/README.md, from the values of its result file."""

from collections.abc import Mapping
from typing import Any

from claims.tables_of_statistics import markdown


def retrieval(values: Mapping[str, Any]) -> str:
    rows = []
    for of in values["rows"]:
        shares = (f"{of[key]:.3g}" for key in ("finds_english", "found_from_english", "assigned"))
        lengths = of["characters"]
        rows.append(
            [of["set"], of["language"], *shares, f"{lengths['median']:.2f} ({lengths['shortest']:.2f} to {lengths['longest']:.2f})"]
        )
    head = ["set", "language", "finds English", "found from English", "assigned", "characters over English: median (range)"]
    return markdown(head, rows)
