"""The table of metrics of src/layeratlas/metrics/README.md, from what they declare; tests/claims/tables.py writes it there."""

from metric_rows import METRICS

HEAD = "| metric | definition | estimator | range | chance | unchanged by | cost | source |"
SHORT = {"feature_permutation": "order of dimensions", "feature_scale": "scale of dimensions", "item_scale": "scale of items"}


def table() -> str:
    abouts = {row.metric.name: row.metric.about for row in reversed(METRICS)}
    lines = [HEAD, "|" + "---|" * HEAD.count(" |")]
    for row in METRICS:
        about = abouts.pop(row.metric.name, None)
        if about is None:
            continue
        low, high = (f"{bound:g}".replace("inf", "∞") for bound in about.bounds)
        kept = sorted(about.invariances - ({"feature_permutation"} if "rotation" in about.invariances else set()))
        unchanged = ", ".join(SHORT.get(name, name) for name in kept) or "nothing"
        cells = [f"`{about.name}`", about.definition, about.estimator, f"{low} to {high}", about.chance, unchanged, about.cost]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in [*cells, about.source]) + " |")
    return "\n".join(lines)
