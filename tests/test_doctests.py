"""The examples in docstrings of what somebody calls from a notebook."""

import doctest

import pytest
from sweeps_by_hand import write_run

import layeratlas
from layeratlas.metrics import CKALinear, MutualKNN
from layeratlas.statistics import diagonal, matrices, multiplicity, nulls, swaps
from layeratlas.studies import sweep_of

SHOWN = [
    *(getattr(layeratlas, name) for name in layeratlas.__all__),
    *(MutualKNN, CKALinear, sweep_of, swaps.swaps, swaps.shared_depths, matrices.correlate, multiplicity.corrected),
    *(nulls.add_one_p, nulls.attainable_p, diagonal.on_off_diagonal),
]


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.__name__)
def test_the_example_of_a_public_function_gives_what_it_says(shown, tmp_path):
    names = {}
    if ">>> " in shown.__doc__ and "folder" in shown.__doc__:
        statistics = {"by_group": False, "level": 0.95}
        for job in (0, 1):
            write_run(tmp_path / "sweep" / str(job), "ant", "bee", seed=job, statistics=statistics)
        names = {"folder": tmp_path / "sweep" / "0", "sweep_folder": tmp_path / "sweep"}
    module = __import__(shown.__module__, fromlist=[shown.__name__])
    (example,) = doctest.DocTestFinder(recurse=False).find(shown, shown.__name__, module, globs={**vars(module), **names})
    assert example.examples, f"{shown.__name__} has no example"
    said = []
    failed = doctest.DocTestRunner(verbose=False).run(example, out=said.append).failed
    assert not failed, "".join(said)
