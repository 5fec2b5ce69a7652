"""The ways in which a run can refuse to go on."""

from pathlib import Path

_LONGEST = 300  # characters of a message that nobody wrote for a console


class ConfigError(ValueError):
    """A mistake in what the user asked for: one line (what, where, expected, available), exit code 2."""


class Undefined(ValueError):
    """A quantity that does not exist for these data, such as the similarity of a constant layer: which, and why.

    It costs what was asked for and nothing else. Any other error of a computation is a bug.
    """


class Damaged(ConfigError):
    """A finished run, or a sweep's record, that is no longer what was written."""


class Skipped(ConfigError):
    """What was asked for does not exist, such as a language that the dataset lacks: a mistake in one run, a gap in a sweep."""


class ActivationError(RuntimeError):
    """Activations that cannot be trusted (not finite, zero, constant, duplicated): model, layer and item are named."""


class Failure(RuntimeError):
    """What was asked for was done and went wrong for no mistake and no bug: one line, exit code 1."""


class JobError(Failure):
    """A job of a sweep that failed, reported in one line; unlike its cause it survives the way from one process to another."""


class Ended(BaseException):
    """A command that ends here: why, and the file that keeps the traceback, if there is one.

    No Exception: Hydra would print lines of its own, or turn it into a warning.
    """

    def __init__(self, error: BaseException, trace: Path | None = None) -> None:
        self.error, self.trace = error, trace


def one_line(error: BaseException) -> str:
    """What went wrong: the message of those errors that people are meant to read, and the class of all others before it."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, ConfigError | Failure) else f"{type(error).__name__}: {text[:_LONGEST]}"
