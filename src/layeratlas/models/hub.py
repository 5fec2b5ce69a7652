"""Naming and fetching what lies on the Hugging Face hub, or in a folder of the same format."""

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from layeratlas.errors import ConfigError
from layeratlas.files.identity import fingerprint
from layeratlas.files.paths import expanded

UNLIMITED = 10**9  # tokens; tokenizers without a limit name one far beyond
_SMALL = ["*config.json", "modules.json", "config_sentence_transformers.json"]
_WEIGHTS = "*.safetensors"
_PICKLES = ["pytorch_model*.bin", "*.bin", "*.pt", "*.pth", "*.ckpt"]
_FOREIGN = ["*.gguf", "*.h5", "*.msgpack", "*.onnx"]
_TOKENIZERS = ["tokenizer*", "vocab*", "*.model", "*.tiktoken", "*.vocab"]
_NEEDED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py"]


def local_folder(location: str) -> Path | None:
    folder = expanded(location)
    return folder if folder.is_dir() else None


def require_files(location: str, revision: str, key: str, *, weights: bool = True) -> None:
    """Raises ConfigError, with the `key` that names it, for a folder that is no checkpoint or a hub id that is out of reach."""
    folder = local_folder(location)
    if folder:
        _require_model(folder, f"{key}={location}", weights=weights)
    else:
        _require_on_hub(location, revision, key)


def require_adapter(location: str, key: str) -> None:
    """The same for an adapter."""
    folder = local_folder(location)
    if folder is None:
        _require_on_hub(location, "main", key)
    elif not (folder / "adapter_config.json").is_file():
        raise ConfigError(f"{key}={location}: no adapter here (no adapter_config.json); save it with peft's save_pretrained")


def _require_on_hub(location: str, revision: str, key: str) -> None:
    if expanded(location).is_file():
        raise ConfigError(f"{key}={location}: is a file; expected the folder that it lies in")
    if location.startswith(("/", ".", "~")) or location.count("/") > 1:
        raise ConfigError(f"{key}={location}: no such folder")
    try:
        resolve_commit(location, revision)
    except ConfigError as error:
        raise ConfigError(f"{key}={location}: {str(error).removeprefix(f'model {location}: ')}") from None


def _require_model(folder: Path, where: str, *, weights: bool) -> None:
    if not (folder / "config.json").is_file():
        adapter = " but an adapter, which goes into .adapter beside the .id of its model" if _any(folder, ["adapter_*"]) else ""
        raise ConfigError(f"{where}: no model here{adapter} (no config.json); expected a folder saved with save_pretrained")
    if not _any(folder, _TOKENIZERS):
        raise ConfigError(
            f"{where}: no tokenizer here (no tokenizer.json or vocabulary); save the model's own beside it with save_pretrained"
        )
    if not weights or _any(folder, [_WEIGHTS]):
        return
    if pickles := _any(folder, _PICKLES):
        raise ConfigError(
            f"{where}: the weights are pickles ({pickles[0]}), which can run any code when they are read, so that they are not;"
            f" to convert those of a source that you trust: {conversion(folder)}"
        )
    others = f" but {others[0]}" if (others := _any(folder, _FOREIGN)) else ""
    raise ConfigError(f"{where}: no weights here{others}; expected *.safetensors, as save_pretrained writes them")


def conversion(folder: Path) -> str:
    """The command that writes a folder's pickled weights as safetensors, reading nothing but tensors from them."""
    code = (
        f"import torch, pathlib, safetensors.torch as s; f = pathlib.Path({json.dumps(str(folder), ensure_ascii=False)});"
        ' w = {k: v.clone().contiguous() for p in sorted(f.glob("pytorch_model*.bin"))'
        ' for k, v in torch.load(p, weights_only=True).items()}; s.save_file(w, f / "model.safetensors", {"format": "pt"})'
    )
    return f"python -c {shlex.quote(code)}"


def _any(folder: Path, patterns: Sequence[str]) -> list[str]:
    return sorted(path.name for pattern in patterns for path in folder.glob(pattern) if path.is_file())


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
