"""What is printed where nobody reads any more: `layeratlas --help | head` closes the pipe after ten lines."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Console:
    """A stream that goes on in silence once its reader has left: a run is not lost for a closed terminal."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._silence()

    def _silence(self) -> None:
        """Let the file descriptor lead nowhere: also what stands in the stream's buffer is written when Python ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def unbroken() -> Iterator[None]:
    """Standard output and errors as such streams; what is left in their buffers is written before they are put back."""
    streams = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    consoles = {name: _Console(stream) for name, stream in streams.items() if stream is not None}
    try:
        for name, console in consoles.items():
            setattr(sys, name, console)
        yield
    finally:
        for name, console in consoles.items():
            console.flush()
            if getattr(sys, name) is console:
                setattr(sys, name, streams[name])
