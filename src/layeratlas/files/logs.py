"""How log lines are written: without tokens and control characters, and with no message for each line that a full disk refuses."""

import logging
import sys

from layeratlas.files.credentials import redacted
from layeratlas.files.inert import inert


class Formatter(logging.Formatter):
    """Only a record begins at the left margin: whatever a name may hold, no line of it can be taken for another record."""

    def format(self, record: logging.LogRecord) -> str:
        first, *more = redacted(super().format(record)).split("\n")
        return "\n".join([inert(first), *(f"    {inert(line)}" if line else "" for line in more)])


class LogFile(logging.FileHandler):
    """A log that ends, with one line on the console, where it cannot be written."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:  # the file cannot even be made
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        sys.stderr.write(f"layeratlas: {self.baseFilename} cannot be written ({error.strerror or error}); the log ends here\n")
        self.setLevel(logging.CRITICAL + 1)
