"""Naming and fetching what lies on the Hugging Face hub, or in a folder of the same format."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layeratlas.errors import ConfigError
from layeratlas.store import fingerprint

UNLIMITED = 10**9  # tokens; tokenizers without a limit name one far beyond
_SMALL = ["*config.json", "modules.json", "config_sentence_transformers.json"]
_NEEDED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py"]


def local_folder(location: str) -> Path | None:
    folder = Path(location).expanduser()
    return folder if folder.is_dir() else None


def fingerprint_of(location: str, revision: str) -> str:
    """`owner/name@commit`, or for a folder a hash of its files' names, sizes and modification times.

    Reading gigabytes of weights on every run would cost more than the run.
    """
    folder = local_folder(location)
    if folder is None:
        return f"{location}@{resolve_commit(location, revision)}"
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return fingerprint([(p.relative_to(folder).as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in files])


def token_limit(location: str, revision: str) -> int | None:
    """The longest input that a tokenizer's settings allow, or None if they say that any will do, or nothing."""
    settings = (local_folder(location) or configs(location, revision)) / "tokenizer_config.json"
    try:
        limit = json.loads(settings.read_text(encoding="utf-8")).get("model_max_length")
    except (OSError, ValueError, AttributeError):  # a loader will say what is wrong with it
        return None
    return int(limit) if isinstance(limit, int | float) and 0 < limit < UNLIMITED else None


def resolve_commit(repository: str, revision: str) -> str:
    """The commit that a branch or tag stands for, asked from the hub or, without a network, from its cache on this machine."""
    return configs(repository, revision).name


def configs(repository: str, revision: str) -> Path:
    """A folder with the repository's small files, at the commit that a branch or tag stands for."""
    return _download(repository, revision, _SMALL)


def fetch(repository: str, revision: str) -> Path:
    """Download a repository's weights (safetensors), tokenizer and configs into the hub's cache on this machine."""
    return _download(repository, revision, _NEEDED)


def _download(repository: str, revision: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download  # takes a second to import

    with _explained(repository, revision):
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))


@contextmanager
def _explained(repository: str, revision: str) -> Iterator[None]:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        yield
    except GatedRepoError:
        raise ConfigError(
            f"model {repository}: access is restricted; accept its licence on its hub page and set HF_TOKEN or run `hf auth login`"
        ) from None
    except LocalEntryNotFoundError:
        raise ConfigError(
            f"model {repository}: not in the local hub cache, and the hub cannot be reached;"
            " run stage=prefetch where there is a network"
        ) from None
    except HFValidationError as error:
        raise ConfigError(f"model id {repository!r}: no such folder, and not a hub id of the form owner/name ({error})") from None
    except HfHubHTTPError as error:
        raise ConfigError(f"model {repository} at revision {revision}: {str(error).splitlines()[0]}") from error
