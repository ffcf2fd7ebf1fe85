"""Species10: genomes of ten species, or others."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa

import datasets
from discrete_diffusion.datasets.cache import cache_folder, keep
from discrete_diffusion.datasets.fasta import clean_sequence, fasta_files, fasta_stem, is_fasta, read_fasta
from discrete_diffusion.datasets.files import check_columns, read_file
from discrete_diffusion.datasets.hub import from_hub

SPECIES = (
    "Homo_sapiens",
    "Mus_musculus",
    "Drosophila_melanogaster",
    "Danio_rerio",
    "Caenorhabditis_elegans",
    "Gallus_gallus",
    "Gorilla_gorilla",
    "Felis_catus",
    "Salmo_trutta",
    "Arabidopsis_thaliana",
)
"""Species of the paper, by their number in its data (`species_label`)."""

FORMAT = 1
"""Part of every fingerprint; change it whenever this file cuts differently."""

_BATCH = 2**26  # letters written at a time
_SCHEMA = pa.schema({"sequence": pa.string(), "species": pa.string()})

Record = tuple[str, str]
"""Species and sequence."""


def species10(
    path: str | os.PathLike[str] | None = None,
    *,
    chunk: int = 32_768,
    max_unknown: float = 0.5,
    name: str = "yairschiff/ten_species",
) -> datasets.Dataset:
    """Return genomes cut into sequences of `chunk` letters, with the columns `sequence` and `species`.

    The data of arXiv 2412.10193 are ten genomes cut into 32,768 letters without overlap; they have no
    split. The rest at the end of a chromosome is left out, and so are chunks of which more than the share
    `max_unknown` is N. Letters are A, C, G, T and N alone. Chunks are written to the cache folder once, and read from
    there as they are needed, so that genomes need not fit into memory.

    Args:
        path: Folder of FASTA files, each named after its species; FASTA file whose records are named after their
            species (`>Homo_sapiens ...` or `>Homo_sapiens|chr1 ...`); or CSV, TSV, JSON, JSON-lines or Parquet file
            with the columns `sequence` and `species`, or the paper's `species_label`. All but Parquet may be gzipped.
        chunk: Letters in a sequence.
        max_unknown: Largest share of N in a sequence.
        name: Data set of the Hugging Face hub with such columns, if there is no `path`. The paper's data set is a
            loading script, which `datasets` does not run since version 4: use the FASTA files of its ten assemblies.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If a file cannot be read, lacks a column, or has no chunk.
        UnreachableDataError: If there is no `path` and the hub cannot be reached.
    """
    if chunk < 1:
        raise ValueError(f"Expected `chunk` >= 1, got {chunk}.")
    if not 0 <= max_unknown <= 1:
        raise ValueError(f"Expected 0 <= `max_unknown` <= 1, got {max_unknown}.")
    records, origin = _hub(name) if path is None else _local(Path(path).expanduser())
    digest = hashlib.sha256(repr([FORMAT, chunk, max_unknown, origin]).encode()).hexdigest()
    kept = cache_folder() / f"species-{digest[:24]}.arrow"
    if not kept.exists():
        keep(kept, lambda partial: _write(_chunks(records(), chunk, max_unknown), partial))
    if kept.exists():
        rows = datasets.Dataset.from_file(str(kept))
    else:
        table = pa.Table.from_batches(_chunks(records(), chunk, max_unknown), _SCHEMA)
        rows = datasets.Dataset(datasets.table.InMemoryTable(table))
    if not len(rows):
        raise ValueError(
            f"Expected sequences of at least {chunk} letters (`chunk`), at most {max_unknown:.0%} of them N "
            f"(`max_unknown`), in {name if path is None else path}, got none."
        )
    return rows


def _local(path: Path) -> tuple[Callable[[], Iterator[Record]], object]:
    """Return a reader of the records at `path`, and a fingerprint that changes with them."""
    if not (path.is_dir() or is_fasta(path)):
        return _of_table(read_file(path, text=["sequence", "species"]), path), _stamp([path])
    files, named_by_file = fasta_files(path), path.is_dir()

    def records() -> Iterator[Record]:
        for file in files:
            for word, sequence in read_fasta(file):
                yield fasta_stem(file) if named_by_file else word.partition("|")[0], sequence

    return records, _stamp(files)


def _stamp(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    return [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def _hub(name: str) -> tuple[Callable[[], Iterator[Record]], object]:
    rows = from_hub(name, "a folder of FASTA files, one for each species,", split="train")
    return _of_table(rows.data.table, name), rows._fingerprint


def _of_table(table: pa.Table, origin: object) -> Callable[[], Iterator[Record]]:
    column = "species_label" if {"species", "species_label"} & {*table.column_names} == {"species_label"} else "species"
    check_columns(table, ["sequence", column], origin)
    if table.column("sequence").null_count or table.column(column).null_count:
        raise ValueError(f"Expected a sequence and a species in every row of {origin}.")

    def records() -> Iterator[Record]:
        for batch in table.select(["sequence", column]).to_batches(max_chunksize=256):
            for sequence, species in zip(*(one.to_pylist() for one in batch.columns), strict=True):
                yield _name(species, origin), clean_sequence(sequence)

    return records


def _name(species: int | str, origin: object) -> str:
    if isinstance(species, str):
        return species
    if not 0 <= species < len(SPECIES):
        raise ValueError(f"Expected `species_label` from 0 to {len(SPECIES) - 1} in {origin}, got {species}.")
    return SPECIES[species]


def _chunks(records: Iterator[Record], chunk: int, max_unknown: float) -> Iterator[pa.RecordBatch]:
    pieces = (
        (piece, species)
        for species, sequence in records
        for piece in (sequence[i : i + chunk] for i in range(0, len(sequence) - chunk + 1, chunk))
        if piece.count("N") <= max_unknown * chunk
    )
    while batch := list(itertools.islice(pieces, max(1, _BATCH // chunk))):
        yield pa.record_batch([pa.array(column, pa.string()) for column in zip(*batch, strict=True)], schema=_SCHEMA)


def _write(batches: Iterable[pa.RecordBatch], path: str) -> None:
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
