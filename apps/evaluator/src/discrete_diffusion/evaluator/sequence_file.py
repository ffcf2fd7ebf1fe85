"""Files of sequences that grow batch by batch."""

import csv
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TextIO

from discrete_diffusion.commandline.lock import OutputLock
from discrete_diffusion.datasets import read_table
from discrete_diffusion.evaluator.record import write
from discrete_diffusion.evaluator.same_settings import expect_same_settings

STDOUT = "-"
FASTA = (".fa", ".fasta", ".faa", ".fna")
ENDINGS = (".csv", ".tsv", ".jsonl", ".smi", ".txt", *FASTA)


def format_of(output: str) -> str:
    """Return the ending that decides the format of a file; that of standard output is `.txt`.

    Raises:
        ValueError: If the ending is unknown.
    """
    ending = ".txt" if output == STDOUT else Path(output).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"Expected `output` to end in {', '.join(ENDINGS)}, or -, got {output}.")
    return ending


def format_rows(ending: str, rows: Sequence[Mapping[str, Any]], *, header: bool) -> str:
    """Return rows as text.

    | Ending | Rows |
    | --- | --- |
    | .csv, .tsv | a header, then one row a line |
    | .jsonl | one object a line |
    | .fasta, .fa, .faa, .fna | `>sample-INDEX` with further columns, then the sequence |
    | .smi | the sequence, a tab, `sample-INDEX` |
    | .txt | one sequence a line; a line break inside is written as a space |

    Args:
        ending: Ending of the file.
        rows: Columns, the same for all rows. CSV, TSV and JSONL take any; the others need `index` and `sequence`.
        header: Whether the header precedes the rows, for formats that have one.
    """
    if ending in (".csv", ".tsv"):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]), delimiter="\t" if ending == ".tsv" else ",", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()
    return "".join(_line(ending, row) for row in rows)


def _line(ending: str, row: Mapping[str, Any]) -> str:
    if ending == ".jsonl":
        return json.dumps(dict(row), ensure_ascii=False) + "\n"
    sequence = row["sequence"]
    if ending in FASTA:
        further = "".join(f" {name}={value}" for name, value in row.items() if name not in ("index", "sequence"))
        return f">sample-{row['index']}{further}\n{sequence}\n"
    if ending == ".smi":
        return f"{sequence}\tsample-{row['index']}\n"
    return " ".join(sequence.splitlines() or [""]) + "\n"


def is_finished(path: Path) -> bool:
    """Return whether a file has all sequences of its run."""
    return path.is_file() and path.stat().st_size > 0 and not _progress_of(path).exists()


def _progress_of(path: Path) -> Path:
    return path.with_name(path.name + ".progress")


class SequenceFile:
    """File of sequences that grows by whole batches, and goes on where a run that was stopped has left it.

    A file `NAME.progress` beside it holds the settings and the state of an unfinished run. Other processes are locked
    out.

    Args:
        output: File, whose ending decides the format, or `-` for standard output, one sequence a line.
        settings: Everything that the sequences depend on. A run with other settings does not go on with the file.

    Raises:
        ValueError: If the ending is unknown, or another process writes to the file.
        FileExistsError: If the file exists and is finished, or belongs to other settings.
    """

    def __init__(self, output: str, settings: Mapping[str, Any]) -> None:
        self.state: dict[str, Any] = {}
        self._settings = dict(settings)
        self._path = None if output == STDOUT else Path(output)
        self._ending = format_of(output)
        self._file: TextIO = sys.stdout
        if self._path is None:
            return
        self._progress = _progress_of(self._path)
        self._lock = OutputLock(self._path)
        try:
            self._open(self._path)
        except BaseException:
            self._lock.release()
            raise

    def written(self) -> list[str]:
        """Return the sequences that the run that was stopped has written."""
        if self._path is None or not self.state.get("rows"):
            return []
        rows = read_table(self._path, names=("sequence", "smiles"))
        return list(rows["smiles" if self._ending == ".smi" else "sequence"])

    def write(self, rows: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> None:
        """Append rows, and keep the state that a later run goes on from."""
        if rows:
            self._file.write(format_rows(self._ending, rows, header=not self.state.get("rows", 0)))
        self._file.flush()
        if self._path is not None:
            os.fsync(self._file.fileno())
        self.state = {**state, "rows": self.state.get("rows", 0) + len(rows)}
        if self._path is not None:
            self.state["bytes"] = self._path.stat().st_size
            text = json.dumps({"settings": self._settings, "state": self.state})
            write(self._progress, text)

    def finish(self) -> None:
        """Mark the file as complete."""
        if self._path is not None:
            self._progress.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._path is not None:
            self._file.close()
            self._lock.release()

    def _open(self, path: Path) -> None:
        if path.exists():
            self._go_on(path)
        else:
            self._file = path.open("w", encoding="utf-8", newline="")
            # A run that is stopped before its first batch is resumed, too.
            self.write([], {})

    def _go_on(self, path: Path) -> None:
        if not self._progress.exists():
            raise FileExistsError(f"Expected `output` to be a new file, but {path} exists.")
        kept = json.loads(self._progress.read_text(encoding="utf-8"))
        now = json.loads(json.dumps(self._settings))
        expect_same_settings(f"{path} was begun", kept["settings"], now)
        self.state = kept["state"]
        if path.stat().st_size < self.state["bytes"]:
            raise FileExistsError(f"{path} is shorter than the stopped run has left it: delete it to begin anew.")
        self._file = path.open("r+", encoding="utf-8", newline="")
        self._file.truncate(self.state["bytes"])
        self._file.seek(0, io.SEEK_END)
