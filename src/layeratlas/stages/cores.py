"""The cores that are this process's own, and no more threads than that."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SET = "OMP_NUM_THREADS"


def own_cores() -> int:
    """Cores that this process may keep busy: by affinity, by its container's quota, by what SLURM allots to a task."""
    import joblib  # takes a fifth of a second to import

    cores = joblib.cpu_count()
    return min(cores, int(os.environ.get("SLURM_CPUS_PER_TASK", cores)))


def limit_threads() -> None:
    """Lower the threads of torch, OpenMP and MKL to the cores that are this process's own.

    A number that was set by the user, or by a launcher that shares the machine among its workers, stays.
    """
    if _SET not in os.environ:
        import torch

        torch.set_num_threads(min(own_cores(), torch.get_num_threads()))


@contextmanager
def shared_cores(processes: int) -> Iterator[None]:
    """Processes that are started inside take an equal share of the cores each, unless their threads' number is set already."""
    if _SET in os.environ:
        yield
        return
    os.environ[_SET] = str(max(1, own_cores() // processes))
    try:
        yield
    finally:
        del os.environ[_SET]
