"""`uv run trainer convert`: somebody else's checkpoint becomes one of ours."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from discrete_diffusion.commandline import report_errors
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
"""Our options of `data`, by the published names of the same data."""
WRAPPED = {"lm1b": "lm1b_wrapped"}
LABELS = ("qed", "ring_count")
"""Options of `label` that are called as the column they are made of."""


def main(arguments: Sequence[str]) -> None:
    """Run the command line that follows `trainer convert`."""
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
    parser = argparse.ArgumentParser(
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
    asked = converted.checkpoint.label is not None or any(override.startswith("label") for override in chosen)
    return trained_on(converted, settings, instantiate(config.label) if asked and config.label else None)


def _chosen(converted: "Converted", overrides: Sequence[str]) -> list[str]:
    """The overrides, with those that the published configuration answers where the person does not."""
    said = converted.said_of_data
    chosen = [override for override in overrides if not override.startswith("tokenizer")]
    if not any(override.startswith("data=") for override in chosen):
        name = str(said.get("train"))
        found = WRAPPED.get(name) if said.get("wrap") is True else None
        option = found or DATA.get(name)
        if option is None:
            raise ValueError("Expected `data=NAME` beside the other overrides: the source does not say what it is.")
        chosen.insert(0, f"data={option}")
    column, percentile = said.get("label_col"), said.get("label_col_pctile")
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
            "Expected a tokenizer that there is already: one made of the data numbers its symbols in its own order, "
            "which need not be the model's."
        )
    return tokenizer


def _usual_tokenizer(overrides: Sequence[str]) -> Any:
    """What the data that were named are read with by default, None where it is made of them."""
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
            f"\nIt samples from Python: load({str(directory)!r}).sample(16, generator=torch.Generator()).",
            "For `uv run evaluator` it has to say what it was trained on: convert it again with data=NAME "
            "(and label=NAME where it has classes).",
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
        asked = f"checkpoint={given.generator} guidance=classifier_based classifier={given.directory}"
        lines += ["\nSteer by it:", f"  uv run evaluator {asked}"]
    else:
        lines += [
            f"\nIt steers from Python: load_classifier({given.directory!r}).likelihood(1) for ClassifierBased.",
            "For `uv run evaluator` the generator has to say what it was trained on: convert it again with data=NAME.",
        ]
    return "\n".join(lines)


def _notes(converted: "Converted | ConvertedClassifier") -> list[str]:
    if not converted.notes:
        return []
    return ["Not understood, or otherwise here:", *(f"  {note}" for note in converted.notes)]


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
