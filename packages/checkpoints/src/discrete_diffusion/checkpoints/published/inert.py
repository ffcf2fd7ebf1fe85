"""Files of `torch.save` read as data: objects become stand-ins without behavior."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.serialization import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    get_unsafe_globals_in_checkpoint,
    safe_globals,
)


class Inert:
    """Stand-in for an object of a foreign class, or for the result of a foreign function."""

    path: ClassVar[str]
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> "Inert":
        """Keep the arguments without calling anything."""
        self = super().__new__(cls)
        self.args, self.state = args, None
        return self

    def __init__(self, *args: Any) -> None:
        """Do nothing: `__new__` keeps the arguments, and unpickling may skip this method."""

    def __setstate__(self, state: Any) -> None:
        """Keep the state without setting attributes."""
        self.state = state


def load_inert(path: Path) -> tuple[Any, frozenset[str]]:
    """Read a file of `torch.save` with `weights_only=True`, tensors mapped from the file and not copied.

    Every class or function in the file other than those of tensors becomes an `Inert`, so no foreign code is imported
    or run. The allow-list of the process, which may contain real classes, is emptied for the time of the call.

    Returns:
        The content of the file, and the dotted paths of all stand-ins.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it was not written by `torch.save`, is damaged, or holds an object without a possible stand-in.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected a checkpoint of Lightning in {path}, but there is no such file.")
    with _nothing_allowed():
        try:
            names = frozenset(get_unsafe_globals_in_checkpoint(path))
            with safe_globals([(_stand_in(name), name) for name in sorted(names)]):
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:
            raise ValueError(f"{path} cannot be read as a checkpoint of Lightning: {_reason(error)}.") from error
    return content, names


@contextmanager
def _nothing_allowed() -> Iterator[None]:
    kept = get_safe_globals()
    clear_safe_globals()
    try:
        yield
    finally:
        clear_safe_globals()
        add_safe_globals(kept)


def _stand_in(path: str) -> Any:
    if path == "collections.defaultdict":  # torch fills plain dictionaries alone
        return _dictionary
    return type(path.rpartition(".")[2], (Inert,), {"path": path})


def _dictionary(*_: Any) -> dict[Any, Any]:
    return {}


def _reason(error: Exception) -> str:
    """Return the sentence with the cause, without torch's advice to run the file."""
    message = str(error)
    message = message.partition("WeightsUnpickler error: ")[2] or message
    lines = [line.strip() for line in message.splitlines() if line.strip() and not line.startswith("Weights only load")]
    return lines[0].partition(". ")[0].rstrip(". ") if lines else type(error).__name__
