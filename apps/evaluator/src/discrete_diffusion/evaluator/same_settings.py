"""Comparison of the settings of a stopped run and of the one that resumes it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from discrete_diffusion.evaluator.record import write


def expect_same_settings(run: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise for the first setting in which the run to resume differs.

    Args:
        run: Start of the message, as in "FILE was begun".
        before: Settings of the stopped run, as JSON.
        now: Settings of the command.

    Raises:
        FileExistsError: If a setting differs.
    """
    old, new = (dict(_leaves(one)) for one in (before, now))
    for name in dict.fromkeys([*new, *old]):
        if old.get(name) != new.get(name):
            raise FileExistsError(
                f"{run} with another `{name}`, {_short(old.get(name))} instead of {_short(new.get(name))}: resume it "
                "with the same settings, or choose another `output`."
            )


def keep_settings(directory: Path, path: Path, settings: Mapping[str, Any], *, noun: str) -> None:
    """Write the settings of a folder, or compare them with those that it has.

    Args:
        directory: The folder.
        path: File of the settings.
        settings: Everything that the results depend on, as JSON.
        noun: Content of the folder, with its article.

    Raises:
        FileExistsError: If the folder has other settings, with the first difference.
    """
    text = json.dumps(settings, indent=2)
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        expect_same_settings(f"{directory} holds {noun}", before, json.loads(text))
    else:
        write(path, text)


def _leaves(node: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name of each setting, and its value as text, in which NaN equals itself."""
    if isinstance(node, Mapping) and node:
        for key, child in node.items():
            yield from _leaves(child, f"{name}.{key}" if name else key)
    else:
        yield name, json.dumps(node)


def _short(value: str | None) -> str:
    text = "none" if value is None else value
    return text if len(text) <= 60 else f"{text[:57]}..."
