"""Models from the Hugging Face hub, or from a folder in the same format."""

from dataclasses import dataclass
from pathlib import Path

from layeratlas.errors import ConfigError
from layeratlas.models.base import AbstractModel, Source
from layeratlas.store import Store, fingerprint


@dataclass(frozen=True, kw_only=True)
class Checkpoint(AbstractModel):
    """`id` is a hub id (`owner/name`) or a local folder; `revision` a branch, tag or commit of the former."""

    revision: str = "main"

    def fingerprint(self) -> str:
        folder = self._folder
        return _folder_fingerprint(folder) if folder else f"{self.id}@{_resolve_commit(self.id, self.revision)}"

    def source(self, store: Store) -> Source:
        folder = self._folder
        return Source(str(folder)) if folder else Source(self.id, _resolve_commit(self.id, self.revision))

    @property
    def _folder(self) -> Path | None:
        folder = Path(self.id).expanduser()
        return folder if folder.is_dir() else None


def _folder_fingerprint(folder: Path) -> str:
    """Names, sizes and modification times: reading gigabytes of weights on every run would cost more than the run."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return fingerprint([(p.relative_to(folder).as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in files])


def _resolve_commit(model_id: str, revision: str) -> str:
    """The commit that a branch or tag stands for, asked from the hub or, without a network, from its cache on this machine."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model_id, revision=revision, allow_patterns=["config.json"])).name
    except GatedRepoError:
        raise ConfigError(
            f"model {model_id}: access is restricted; accept its licence on its hub page and set HF_TOKEN or run `hf auth login`"
        ) from None
    except LocalEntryNotFoundError:
        raise ConfigError(
            f"model {model_id}: not in the local hub cache, and the hub cannot be reached; download it where there is a network"
        ) from None
    except HFValidationError as error:
        raise ConfigError(f"model id {model_id!r}: no such folder, and not a hub id of the form owner/name ({error})") from None
    except HfHubHTTPError as error:
        raise ConfigError(f"model {model_id} at revision {revision}: {str(error).splitlines()[0]}") from error
