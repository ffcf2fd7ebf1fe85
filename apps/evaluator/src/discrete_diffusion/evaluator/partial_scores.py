"""Scores of an unfinished run, from which the same command resumes it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from discrete_diffusion.checkpoints import Scores
from discrete_diffusion.evaluator.same_settings import expect_same_settings


class PartialScores:
    """File `OUTPUT.progress` with the settings of a run and the scores that it has so far, one batch a line.

    A torn line, of a process that was killed while it wrote, is removed with all that follows.

    Args:
        output: File of the scores, which appears when all are there; None to keep nothing on the disk.
        settings: Everything that the scores depend on.

    Raises:
        FileExistsError: If the file belongs to other settings.
    """

    def __init__(self, output: Path | None, settings: Mapping[str, Any]) -> None:
        self._path = None if output is None else output.with_name(output.name + ".progress")
        self._settings, self._bytes = dict(settings), 0
        self._batches: dict[str, list[Scores]] = {}
        if self._path is None or not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                content = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                content = None
            if not isinstance(content, dict):
                break
            if self._bytes:
                self._keep(**content)
            else:
                expect_same_settings(f"{output} was begun", content, json.loads(json.dumps(self._settings)))
            self._bytes += len(line)

    def of(self, model: str) -> list[Scores]:
        """Return the batches of a model that are scored, in their order."""
        return list(self._batches.get(model, []))

    def count(self) -> int:
        """Return the number of scores so far."""
        return sum(len(batch.nats) for batches in self._batches.values() for batch in batches)

    def add(self, model: str, batches: Sequence[Scores]) -> None:
        """Keep the next batches of a model."""
        self._batches.setdefault(model, []).extend(batches)
        if self._path is None:
            return
        lines = [] if self._bytes else [self._settings]
        lines += [{"model": model} | _as_json(one) for one in batches]
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.truncate(self._bytes)
            file.seek(self._bytes)
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
            self._bytes = file.tell()

    def close(self) -> None:
        """Delete the file of a run that is complete."""
        if self._path is not None:
            self._path.unlink()

    def _keep(self, *, model: str, per_token: list[list[float]] | None, exact: bool, **columns: list[float]) -> None:
        nats, error = (torch.tensor(columns[name], dtype=torch.float64) for name in ("nats", "standard_error"))
        tokens = torch.tensor(columns["tokens"], dtype=torch.int64)
        shares = None if per_token is None else torch.tensor(per_token, dtype=torch.float64)
        self._batches.setdefault(model, []).append(Scores(nats, error, tokens, shares, exact))


def _as_json(scores: Scores) -> dict[str, Any]:
    return {
        "nats": scores.nats.tolist(),
        "standard_error": scores.standard_error.tolist(),
        "tokens": scores.tokens.tolist(),
        "per_token": None if scores.per_token is None else scores.per_token.tolist(),
        "exact": scores.exact,
    }
