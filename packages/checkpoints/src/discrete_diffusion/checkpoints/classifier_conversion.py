"""Conversion of published classifiers."""

from pathlib import Path

from discrete_diffusion.checkpoints.conversion import expect_free
from discrete_diffusion.checkpoints.hub import fetch
from discrete_diffusion.checkpoints.loading import load
from discrete_diffusion.checkpoints.published.classifier import converted_classifier
from discrete_diffusion.checkpoints.published.converted import ConvertedClassifier
from discrete_diffusion.checkpoints.published.lightning_checkpoint import read_lightning


def convert_classifier(
    source: str | Path,
    directory: str | Path,
    generator: str | Path,
    *,
    overwrite: bool = False,
    trust_remote_code: bool = False,
) -> ConvertedClassifier:
    """Convert a published noisy classifier (D-CBG, arXiv 2412.10193) to a checkpoint for `load_classifier`.

    It is written completely or not at all. The source is a `.ckpt` of a DiT that averages over positions, whose code is
    not run.

    Args:
        source: The `.ckpt`.
        directory: New folder.
        generator: Folder, run or hub name of the generator with whose process, vocabulary, length and time
            conditioning the classifier was trained.
        overwrite: Replace the classifier in `directory`.
        trust_remote_code: Build what the generator's checkpoint names, as in `load`.

    Raises:
        FileExistsError: If `directory` exists and may not be replaced.
        FileNotFoundError: If there is no such source or generator.
        ConnectionError: If the generator cannot be downloaded.
        ValueError: If the source cannot be read, has an unsupported architecture, or was trained for another
            generator.
    """
    expect_free(directory, source, overwrite=overwrite)
    if Path(source).is_dir():
        raise ValueError(f"Expected a Lightning `.ckpt` of a classifier, got the folder {source}.")
    found = read_lightning(source)
    if found.kind == "generator":
        raise ValueError(f"Expected a classifier in {source}, which holds a generator: `convert` reads it.")
    folder = fetch(generator)
    expect_free(directory, folder, overwrite=overwrite)
    converted = converted_classifier(found, load(folder, trust_remote_code=trust_remote_code), generator)
    converted.checkpoint.save(directory)
    return converted
