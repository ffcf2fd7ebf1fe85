"""Small trained models that ship with this package: a folder for each."""

from pathlib import Path

ROOT = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the models."""
    return sorted(file.parent.name for file in ROOT.glob("*/config.json"))


def folder(name: str) -> Path:
    """Return the folder of a model: config.json, weights, tokenizer, classifiers, and its card README.md.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: If there is no such model.
    """
    if name not in names():
        raise ValueError(f"Expected one of the models {', '.join(names())}, got {name!r}.")
    return ROOT / name


__all__ = ["folder", "names"]
