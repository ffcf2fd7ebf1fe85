"""`uv run trainer convert`: conversion of a published checkpoint to the format of this project."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from discrete_diffusion.commandline import report_errors
from discrete_diffusion.commandline.parser import OneLineParser
from discrete_diffusion.trainer import resolvers

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from discrete_diffusion.checkpoints import Checkpoint, Converted, ConvertedClassifier
    from discrete_diffusion.datasets import Label

GROUPS = ("data", "label", "tokenizer")
DATA = {
    "qm9": "qm9",
    "lm1b": "lm1b",
    "text8": "text8",
    "text8-crop": "text8_crops",
    "ten_species": "species10",
    "amazon_polarity": "amazon_polarity",
    "openwebtext": "openwebtext",
    "openwebtext-train": "openwebtext",
}
"""Options of `data` by the published name of the data set."""
WRAPPED = {"lm1b": "lm1b_wrapped"}
LABELS = ("qed", "ring_count")
"""Options of `label` with the name of their column."""


def main(arguments: Sequence[str]) -> None:
    """Run `trainer convert` with the arguments of the command line.

    Raises:
        ValueError: If the arguments exclude each other, or an override is outside data, label and tokenizer.
    """
    given = _parser().parse_intermixed_args(arguments)
    with report_errors("convert"):
        # Argument errors and --help do not wait for transformers.
        from discrete_diffusion.checkpoints import convert_classifier, expect_free, read_foreign

        groups = {override.lstrip("+~").partition("=")[0].partition(".")[0] for override in given.overrides}
        if not groups <= set(GROUPS):
            raise ValueError(
                f"Expected overrides of {', '.join(GROUPS)}, got {', '.join(sorted(groups - set(GROUPS)))}."
            )
        if given.generator is not None:
            if given.overrides or given.tokenizer or given.weights:
                raise ValueError("Expected nothing of data, label, tokenizer and weights beside `--generator`.")
            classifier = convert_classifier(
                given.source,
                given.directory,
                given.generator,
                overwrite=given.overwrite,
                trust_remote_code=given.trust_remote_code,
            )
            print(_closing_of_classifier(classifier, given))
            return
        expect_free(given.directory, given.source, overwrite=given.overwrite)
        converted = read_foreign(
            given.source,
            weights=given.weights,
            tokenizer=_tokenizer(given),
            default_tokenizer=lambda: _usual_tokenizer(given.overrides),
            trust_remote_code=given.trust_remote_code,
        )
        if groups & {"data", "label"}:
            converted = _with_data(converted, given.overrides)
        converted.checkpoint.save(given.directory)
        print(_closing(converted, given.directory))


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="trainer convert",
        description="Make a checkpoint of ours of a published one: a Lightning .ckpt of the code of UDLM or MDLM, a "
        "folder of their hub format, or its name on the Hugging Face hub; or a classifier's .ckpt, with --generator. "
        "Nothing in it is run.",
    )
    parser.add_argument("source", help="a .ckpt, a folder, a run of ours, or a name on the hub")
    parser.add_argument("directory", help="a new folder")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="data=NAME label=NAME ...",
        help="what it was trained on, as for training, so that the evaluator can measure its likelihood and novelty",
    )
    parser.add_argument(
        "--weights", choices=("ema", "last"), help="of a .ckpt: averaged (where there are any, the default) or last"
    )
    parser.add_argument("--tokenizer", help="its folder or its name on the hub, where the source has none")
    parser.add_argument(
        "--generator", help="of a classifier: the converted generator, or a run of ours, that it steers"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint in the folder")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="build what a checkpoint of ours names that is not ours"
    )
    return parser


def _with_data(converted: "Converted", overrides: Sequence[str]) -> "Converted":
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from discrete_diffusion.checkpoints import trained_on

    chosen = _chosen(converted, overrides)
    config = _compose([*chosen, f"data.length={converted.checkpoint.length}"])
    settings = cast(dict[str, Any], OmegaConf.to_container(config.data, resolve=True))
    labeled = converted.checkpoint.label is not None or any(override.startswith("label") for override in chosen)
    return trained_on(converted, settings, instantiate(config.label) if labeled and config.label else None)


def _chosen(converted: "Converted", overrides: Sequence[str]) -> list[str]:
    """Return the overrides, completed from the published configuration.

    Raises:
        ValueError: If neither the overrides nor the published configuration name the data.
    """
    published = converted.data_settings
    chosen = [override for override in overrides if not override.startswith("tokenizer")]
    if not any(override.startswith("data=") for override in chosen):
        name = str(published.get("train"))
        found = WRAPPED.get(name) if published.get("wrap") is True else None
        option = found or DATA.get(name)
        if option is None:
            raise ValueError("Expected `data=NAME` beside the other overrides: the source does not name its data.")
        chosen.insert(0, f"data={option}")
    column, percentile = published.get("label_col"), published.get("label_col_pctile")
    named = any(override.startswith("label=") for override in chosen)
    if converted.checkpoint.label is not None and column in LABELS and not named:
        chosen.append(f"label={column}")
        if isinstance(percentile, int | float):
            chosen.append(f"label.percentile={percentile}")
    return chosen


def _tokenizer(given: argparse.Namespace) -> Any:
    from hydra.utils import instantiate
    from transformers import PreTrainedTokenizerBase

    if not any(override.startswith("tokenizer") for override in given.overrides):
        return given.tokenizer
    if given.tokenizer is not None:
        raise ValueError("Expected either `--tokenizer` or `tokenizer=`, got both.")
    tokenizer = instantiate(_compose(given.overrides).tokenizer)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ValueError(
            "Expected an existing tokenizer: one built from the data numbers its symbols in another order than the "
            "model may."
        )
    return tokenizer


def _usual_tokenizer(overrides: Sequence[str]) -> Any:
    """Return the default tokenizer of the named data, or None if it is built from the data."""
    from hydra.utils import instantiate

    if not any(override.startswith("data=") for override in overrides):
        return None
    config = _compose(overrides).tokenizer
    return None if config.get("_partial_", False) else instantiate(config)


def _compose(overrides: Sequence[str]) -> "DictConfig":
    from hydra import compose, initialize_config_module
    from hydra.errors import MissingConfigException

    resolvers.register()
    with initialize_config_module("discrete_diffusion.trainer.config", version_base="1.3"):
        try:
            return compose("trainer", list(overrides))
        except MissingConfigException as error:
            raise ValueError(
                f"There is no {error.missing_cfg_file}: choose one of {', '.join(error.options or ())}."
            ) from error


def _closing(converted: "Converted", directory: str) -> str:
    checkpoint = converted.checkpoint
    lines = [f"Read {converted.origin}: {_described(checkpoint)}.", *_notes(converted)]
    lines.append(f"Written to {directory}.")
    if "rows" in checkpoint.config["data"]:
        lines += ["\nMeasure and steer it:", f"  uv run evaluator checkpoint={directory}"]
    else:
        lines += [
            f"\nSample from Python: load({str(directory)!r}).sample(16, generator=torch.Generator()).",
            "`uv run evaluator` needs to know its training data: convert it again with data=NAME "
            "(and label=NAME if it has classes).",
        ]
    return "\n".join(lines)


def _closing_of_classifier(converted: "ConvertedClassifier", given: argparse.Namespace) -> str:
    checkpoint = converted.checkpoint
    assert checkpoint.label is not None
    size = sum(parameter.numel() for parameter in checkpoint.network.parameters())
    lines = [
        f"Read {converted.origin}: {size:,} parameters, {_classes(checkpoint.label)}, for {given.generator}.",
        *_notes(converted),
        f"Written to {given.directory}.",
    ]
    if "rows" in converted.generator.config["data"]:
        options = f"checkpoint={given.generator} guidance=classifier_based classifier={given.directory}"
        lines += ["\nSteer with it:", f"  uv run evaluator {options}"]
    else:
        lines += [
            f"\nSteer from Python: load_classifier({given.directory!r}).likelihood(1) for ClassifierBased.",
            "`uv run evaluator` needs to know the training data of the generator: convert it again with data=NAME.",
        ]
    return "\n".join(lines)


def _notes(converted: "Converted | ConvertedClassifier") -> list[str]:
    if not converted.notes:
        return []
    return ["Ignored or different here:", *(f"  {note}" for note in converted.notes)]


def _described(checkpoint: "Checkpoint") -> str:
    model: Mapping[str, Any] = checkpoint.config["model"]
    kind = (model.get("process") or model["denoiser"])["_target_"].rpartition(".")[2]
    size = sum(parameter.numel() for parameter in checkpoint.network.parameters())
    steps = model["sampler"].get("steps")
    parts = [kind, f"{size:,} parameters", f"{len(checkpoint.tokenizer):,} symbols", f"{checkpoint.length} tokens"]
    parts += [] if steps is None else [f"{steps} steps"]
    label = checkpoint.label
    return ", ".join([*parts, "no labels" if label is None else _classes(label)])


def _classes(label: "Label") -> str:
    return f"{label.num_classes} classes ({', '.join(label.class_names[:6])})"
