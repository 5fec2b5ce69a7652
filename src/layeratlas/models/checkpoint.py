"""Models from the Hugging Face hub, or from a folder in the same format."""

from dataclasses import dataclass

from layeratlas.files.store import Store
from layeratlas.models.base import AbstractModel
from layeratlas.models.card import Card, read_card
from layeratlas.models.hub import configs, fetch, fingerprint_of, local_folder, require_files, resolve_commit, token_limit
from layeratlas.models.settings import Source


@dataclass(frozen=True, kw_only=True)
class Checkpoint(AbstractModel):
    """`id` is a hub id (`owner/name`) or a local folder; `revision` a branch, tag or commit of the former."""

    revision: str = "main"

    def fingerprint(self) -> str:
        return fingerprint_of(self.id, self.revision)

    def card(self) -> Card:
        return read_card(local_folder(self.id) or configs(self.id, self.revision))

    def token_limit(self) -> int | None:
        return token_limit(self.id, self.revision)

    def require_files(self, key: str) -> None:
        require_files(self.id, self.revision, f"{key}.id", weights=self.random_init is None)
        super().require_files(key)

    def source(self, store: Store) -> Source:
        folder = local_folder(self.id)
        return Source(str(folder)) if folder else Source(self.id, resolve_commit(self.id, self.revision))

    def prefetch(self, store: Store) -> None:
        if local_folder(self.id) is None:
            fetch(self.id, self.revision)
        self.prefetch_adapter()
