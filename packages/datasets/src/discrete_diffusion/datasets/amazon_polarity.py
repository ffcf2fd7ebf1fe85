"""Amazon Polarity: product reviews, negative or positive."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute

import datasets
from discrete_diffusion.datasets.files import check_columns, read_file
from discrete_diffusion.datasets.hub import from_hub

POLARITIES = ("negative", "positive")
_ORIGINAL = ("label", "title", "content")
_HEADERLESS = ("class from 1", "title", "content")


def amazon_polarity(
    path: str | os.PathLike[str] | None = None, *, name: str = "fancyzhx/amazon_polarity"
) -> datasets.Dataset | datasets.DatasetDict:
    """Return product reviews with the columns `text`, `title` and `polarity` ("negative" or "positive").

    Zhang et al., arXiv 1509.01626. `text` is the review without its title, and the test set is the `validation`, as in
    the code of arXiv 2412.10193.

    Args:
        path: CSV file in the original format (label 1 or 2, title, content; no header); or CSV, JSON, JSON-lines or
            Parquet file with these columns by name and labels 0 and 1, as on the hub; or folder with the original
            train.csv and test.csv. All but Parquet may be gzipped. By default, the hub is read.
        name: Data set of the Hugging Face hub.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read, a column is missing, or a label has another value.
        UnreachableDataError: If there is no `path` and the hub cannot be reached.
    """
    if path is None:
        parts = from_hub(name, "a CSV, JSON or Parquet file, or the folder of train.csv and test.csv,")
        tables = {part: parts[part].with_format("arrow")[:] for part in ("train", "test")}
        rows = {part: _reviews(table, name, 0) for part, table in tables.items()}
        return datasets.DatasetDict(train=rows["train"], validation=rows["test"])
    path = Path(path).expanduser()
    if path.is_dir():
        return datasets.DatasetDict(train=_read(path / "train.csv"), validation=_read(path / "test.csv"))
    return _read(path)


def _read(path: Path) -> datasets.Dataset:
    # The original files have no header and number the classes from 1, the others number them from 0.
    table = read_file(path, text=["title", "content"], header=_HEADERLESS)
    if table.column_names == [*_HEADERLESS]:
        return _reviews(table.rename_columns(_ORIGINAL), path, 1)
    return _reviews(table, path, 0)


def _reviews(table: pa.Table, source: object, negative: int) -> datasets.Dataset:
    check_columns(table, _ORIGINAL, source)
    labels = table.column("label")
    if not pa.types.is_integer(labels.type) or not set(labels.unique().to_pylist()) <= {negative, negative + 1}:
        found = ", ".join(map(str, labels.unique().to_pylist()[:5]))
        raise ValueError(f"Expected the labels {negative} and {negative + 1} in {source}, got {found}.")
    if table.column("content").null_count:
        raise ValueError(
            f"Expected a text in every row of {source}, but {table.column('content').null_count} have none."
        )
    polarity = pa.array(POLARITIES).take(pa.compute.subtract(labels.combine_chunks(), negative))
    columns = {"text": table.column("content"), "title": table.column("title"), "polarity": polarity}
    return datasets.Dataset(datasets.table.InMemoryTable(pa.table(columns)))
