"""Experiments of version 0.1 and the options that replace them."""

import re
from collections.abc import Sequence

GENERATOR = re.compile(
    r"(?P<data>qm9|text8|lm1b_wrapped|lm1b|amazon|species10|cifar10)_(?P<model>ar|mdlm|udlm)(_(?P<label>qed|ring_count|polarity))?"
)
CLASSIFIERS = {
    "qm9_noisy_classifier": "backbone=dit_tiny_classifier",
    "qm9_prefix_classifier": "backbone=dit_tiny_classifier backbone.pooling=last",
    "qm9_hidden_classifier": "backbone.mlp_size=null optimizer.lr=3e-5 lr_scheduler.min_lr=3e-7",
    "species10_noisy_classifier": "backbone=dimamba_classifier",
    "species10_prefix_classifier": "backbone=dimamba_classifier backbone.pooling=last",
    "species10_hidden_classifier": "backbone.mlp_size=null",
    "species10_clean_classifier": "backbone=dimamba_classifier",
    "amazon_noisy_classifier": "backbone=dit_tiny_classifier lr_scheduler.min_lr=3e-6",
    "amazon_prefix_classifier": "backbone=dit_tiny_classifier backbone.pooling=last steps=421875 lr_scheduler=constant "
    "lr_scheduler.num_warmup_steps=2500",
}
"""Options besides `experiment` and `task`, by the former name."""


def current_options(experiment: str) -> str | None:
    """Return the options that replace a former experiment, or None if it never existed."""
    if experiment in CLASSIFIERS:
        data, kind, _ = experiment.split("_")
        return f"experiment={data}_classifier task={kind}_classifier {CLASSIFIERS[experiment]}"
    found = GENERATOR.fullmatch(experiment)
    if found is None:
        return None
    data, model, label = found["data"], found["model"], found["label"]
    options = "experiment=lm1b data=lm1b_wrapped" if data == "lm1b_wrapped" else f"experiment={data}"
    if data == "qm9" or label:
        return f"{options} model={model} label={label or 'none'}"
    return f"{options} model={model}"


def refuse_former_experiments(arguments: Sequence[str]) -> None:
    """Check the command line for experiments of version 0.1.

    Raises:
        ValueError: If one is chosen; the message has the options that replace it.
    """
    for argument in arguments:
        group, _, experiment = argument.lstrip("+").partition("=")
        options = current_options(experiment) if group == "experiment" else None
        if options is not None:
            raise ValueError(f"`experiment={experiment}` is now `{options}`.")
