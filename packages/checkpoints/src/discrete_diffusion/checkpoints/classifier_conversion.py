"""Somebody else's classifier becomes one of ours, beside the generator that it steers."""

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
    """Read a noisy classifier (D-CBG, arXiv 2412.10193) of the published code, and write it as one of ours.

    It is a `.ckpt` of a DiT that averages over positions. Nothing in it is run. What is written, whole or not at all,
    is read by `load_classifier`.

    Args:
        source: the `.ckpt`.
        directory: a new folder.
        generator: folder, run or hub name of a converted generator, or of one of ours, whose process, vocabulary,
            length and time conditioning the classifier was trained with.
        overwrite: replace the classifier that `directory` holds.
        trust_remote_code: of the generator, as for `load`.

    Raises:
        FileExistsError: if `directory` holds something that is not to be replaced.
        FileNotFoundError, ConnectionError: if there is no such source or generator.
        ValueError: if the source cannot be read, is of a kind that we do not have, or was trained beside another
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
