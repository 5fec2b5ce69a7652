"""A language as the other parts need to know it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """The fields of a file in conf/language; all but the code may be left open.

    `flores` is the code of FLORES-200, `script` the code of ISO 15924, `sentence_final` the marks that end a sentence,
    `aliases` are other codes by which tokenizers know the language.
    """

    code: str
    flores: str = ""
    name: str = ""
    native_name: str = ""
    script: str = ""
    direction: str = "ltr"
    family: str = ""
    resource: str | int | None = None
    sentence_final: Sequence[str] = ()
    aliases: Sequence[str] = ()

    @property
    def codes(self) -> list[str]:
        """Every code of this language, the most exact one first: zho_Hans, zh, zho, cmn."""
        given = [self.flores, self.code, self.flores.split("_")[0], *self.aliases]
        return list(dict.fromkeys(code for code in given if code))

    def __str__(self) -> str:
        return self.code
