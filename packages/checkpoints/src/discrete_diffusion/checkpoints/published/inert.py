"""Files of `torch.save` read as data: objects in them become stand-ins that only keep what is said of them."""

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
    """Stands for an object of somebody's class, or for what a call of somebody's function would have given."""

    path: ClassVar[str]
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> "Inert":
        """Keep the arguments; nothing is called with them."""
        self = super().__new__(cls)
        self.args, self.state = args, None
        return self

    def __init__(self, *args: Any) -> None:
        """Nothing: `__new__` has them, and a pickle may leave this out."""

    def __setstate__(self, state: Any) -> None:
        """Keep the state, and set no attribute by the names in it."""
        self.state = state


def load_inert(path: Path) -> tuple[Any, frozenset[str]]:
    """Read a file of `torch.save` with `weights_only=True`, tensors mapped from the file and not copied.

    Whatever class or function it names beyond those of tensors becomes an `Inert`, so that nobody's code is imported or
    run. The allow-list of the process, which may hold real classes, is set aside meanwhile.

    Returns:
        What the file holds, and the dotted paths of all that became stand-ins.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is none of `torch.save`, damaged, or holds what no stand-in can be made for.
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
    """The sentence that says what is wrong, without torch's advice to run the file."""
    said = str(error)
    said = said.partition("WeightsUnpickler error: ")[2] or said
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("Weights only load")]
    return lines[0].partition(". ")[0].rstrip(". ") if lines else type(error).__name__
