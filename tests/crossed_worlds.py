"""Simulated designs: tasks with items of their own, languages that share the items of a task."""

import numpy as np

from layeratlas.statistics.crossed import EFFECTS, Components, Design, Split, components, halves

TASKS, LANGUAGES, ITEMS, CELLS = 5, 4, 20, 30


def design(tasks: int = TASKS, languages: int = LANGUAGES) -> Design:
    return Design(tasks, languages, [np.arange(task * languages, (task + 1) * languages) for task in range(tasks)])


def planted(rng: np.random.Generator, levels: int, size: float) -> np.ndarray:
    """Effects of this size, as `statistics.crossed` defines it."""
    effects = rng.standard_normal((levels, CELLS))
    effects -= effects.mean(axis=0)
    return effects * np.sqrt(size * CELLS * (levels - 1) / (effects**2).sum())


def items(rng: np.random.Generator, task: float, language: float, *, modes: int = 5, shared: float = 0.8) -> np.ndarray:
    """What each item adds to its matrix (tasks, languages, items, cells): noise of a few shapes, most of it common to languages."""
    own = rng.standard_normal((TASKS, LANGUAGES, ITEMS, modes))
    noise = np.sqrt(shared) * rng.standard_normal((TASKS, 1, ITEMS, modes)) + np.sqrt(1 - shared) * own
    effects = planted(rng, TASKS, task)[:, None] + planted(rng, LANGUAGES, language)
    return noise @ rng.standard_normal((modes, CELLS)) + effects[:, :, None]


def split(values: np.ndarray, labels: np.ndarray) -> Split:
    """Matrices that are means over items, each item a group."""
    tasks, languages, n, cells = values.shape
    means = np.stack([[values[t][:, labels[t] == half].mean(axis=1) for t in range(tasks)] for half in (0, 1)])
    left = n // 2
    without = [np.stack([(means[labels[t, i], t] * left - values[t, :, i]) / (left - 1) for i in range(n)]) for t in range(tasks)]
    return Split(means.reshape(2, tasks * languages, cells), without, list(labels))


def estimated(values: np.ndarray, rng: np.random.Generator, splits: int = 20) -> Components:
    parts = [split(values, labels) for labels in halves(ITEMS, TASKS, splits, rng)]
    return components(design(), parts, 0.95)


def rejected(seed: int, modes: int) -> dict[str, bool]:
    """Whether each test says p <= .05 in a world without effects, and that of the difference in one whose two effects are equal."""
    rng = np.random.default_rng([7, seed])
    found = estimated(items(rng, 0, 0, modes=modes), rng)
    p = {name: found.sizes[name].p for name in EFFECTS} | {"difference": found.difference.p}
    p["difference_of_equals"] = estimated(items(rng, 1.0, 1.0, modes=modes), rng).difference.p
    return {name: bool(value <= 0.05) for name, value in p.items()}
