"""The ways in which a run can refuse to go on."""


class ConfigError(ValueError):
    """A mistake in what the user asked for: one line (what, where, expected, available), exit code 2."""


class Damaged(ConfigError):
    """A finished run, or what tells of a sweep, that is no longer what was written."""


class Skipped(ConfigError):
    """What was asked for does not exist, such as a language that the dataset lacks: a mistake in one run, a gap in a sweep."""


class ActivationError(RuntimeError):
    """Activations that cannot be trusted (not finite, zero, constant, duplicated): model, layer and item are named."""


class Failure(RuntimeError):
    """What was asked for was done and went wrong for no mistake and no bug: one line, exit code 1."""


class JobError(Failure):
    """A job of a sweep that failed, told in one line; unlike its cause it survives the way from one process to another."""


class Refused(BaseException):
    """A run that does not start, and why. No Exception: Hydra turns those of a callback into warnings."""

    def __init__(self, error: ConfigError) -> None:
        self.error = error
