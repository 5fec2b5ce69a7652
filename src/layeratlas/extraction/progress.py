"""How far an extraction is: a bar on a terminal, a log line now and then elsewhere."""

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

from layeratlas.files.inert import inert

logger = logging.getLogger(__name__)

_SECONDS = 30.0


class Progress:
    """Counts texts and tokens; shows texts/s, tokens/s and the time left."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total = name, total
        self.texts = self.tokens = 0
        self.start = self.reported = time.monotonic()
        self.bar = tqdm(total=total, desc=f"extract {inert(name)}", unit="text", disable=not sys.stderr.isatty())

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.close()
        if kind is None:
            logger.info("extract %s: %s", self.name, self)

    def advance(self, texts: int, tokens: int) -> None:
        self.texts += texts
        self.tokens += tokens
        self.bar.set_postfix_str(f"{self.tokens / self._seconds:.0f} tokens/s", refresh=False)
        self.bar.update(texts)
        if self.bar.disable and time.monotonic() - self.reported > _SECONDS:
            self.reported = time.monotonic()
            logger.info("extract %s: %s", self.name, self)

    def __str__(self) -> str:
        left = (self.total - self.texts) * self._seconds / max(self.texts, 1)
        rates = f"{self.texts / self._seconds:.1f} texts/s, {self.tokens / self._seconds:.0f} tokens/s"
        return f"{self.texts} of {self.total} texts, {rates}, {left:.0f} s left"

    @property
    def _seconds(self) -> float:
        return max(time.monotonic() - self.start, 1e-9)
