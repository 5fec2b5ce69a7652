"""Finding the data files of installed packages, whose code is never imported."""

from importlib import metadata
from pathlib import Path

from layeratlas.errors import ConfigError


def package_files(
    package: str, below: str = "", remedy: str = "`uv sync --group data` installs the bundled models and texts"
) -> dict[str, Path]:
    """Data files of an installed distribution whose recorded path starts with `below`: path -> file."""
    try:
        files = metadata.distribution(package).files or []
    except metadata.PackageNotFoundError:
        raise ConfigError(f"package {package} is not installed; {remedy}") from None
    return {str(file): Path(str(file.locate())) for file in files if str(file).startswith(below)}
