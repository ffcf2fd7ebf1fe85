"""LM1B: the One Billion Word benchmark."""

import os
from pathlib import Path

import datasets
from discrete_diffusion.datasets.detokenizer import lm1b_detokenized
from discrete_diffusion.datasets.hub import from_hub

FOLDERS = {"train": "training-monolingual.tokenized.shuffled", "validation": "heldout-monolingual.tokenized.shuffled"}


def lm1b(
    path: str | os.PathLike[str] | None = None, detokenize: bool = True, *, name: str = "dvruette/lm1b"
) -> datasets.Dataset | datasets.DatasetDict:
    """Return sentences in a column `text`, with the split of their source if it has one.

    Chelba et al., arXiv 1312.3005. The held-out sentences are the `validation`, as in the code of arXiv 2412.10193.
    They are read into the cache of `datasets`, not into memory.

    Args:
        path: Text file with one sentence per line, or folder of such files, plain or .gz; the folder of the original
            archive has a split. By default, the hub is read.
        name: Data set of the Hugging Face hub.
        detokenize: Whether to join the words and signs of a sentence, which spaces separate in the source.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is no sentence.
        UnreachableDataError: If there is no `path` and the hub cannot be reached.
    """
    rows: datasets.Dataset | datasets.DatasetDict
    if path is None:
        parts = from_hub(name, "the folder of the benchmark, or a text file of one sentence a line,")
        rows = datasets.DatasetDict(train=parts["train"], validation=parts["test"])
    else:
        rows = _read(Path(path).expanduser())
    return rows.map(_detokenized, batched=True) if detokenize else rows


def _detokenized(batch: dict[str, list[str]]) -> dict[str, list[str]]:
    return {"text": [lm1b_detokenized(text) for text in batch["text"]]}


def _read(path: Path) -> datasets.Dataset | datasets.DatasetDict:
    folders = {part: path / folder for part, folder in FOLDERS.items()}
    if all(folder.is_dir() for folder in folders.values()):
        return datasets.DatasetDict({part: _sentences(folder) for part, folder in folders.items()})
    return _sentences(path)


def _sentences(path: Path) -> datasets.Dataset:
    found = path.glob("[!.]*") if path.is_dir() else [path]
    files = sorted(str(file) for file in found if file.is_file())
    if not files:
        raise FileNotFoundError(
            f"Expected a text file of one sentence a line, or a folder of such, but {path} has none."
        )
    try:
        rows = datasets.load_dataset("text", data_files=files, split="train")
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise ValueError(f"{path} cannot be read as text: {reason}.") from error
    rows = rows.filter(lambda text: [bool(one.strip()) for one in text], input_columns="text", batched=True)
    if not len(rows):
        raise ValueError(f"Expected a sentence in a line of {path}, got none.")
    return rows
