"""Classifiers of the published code that are none of ours."""

from collections.abc import Mapping
from typing import Any

from discrete_diffusion.checkpoints.published.config import setting

OTHERS = {
    "hyenadna": "whose network runs code that comes with its weights",
    "dimamba": "whose last norm is modulated there, and is not here",
}


def classifier_refusal(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a published classifier cannot become a `DiTClassifier` of noisy sequences, None if it can.

    Returns:
        What it is, in words, and the task of the trainer that makes a classifier for the same purpose.

    Raises:
        ValueError: if the configuration does not say what it is.
    """
    backbone = str(setting(config, "classifier_backbone"))
    pooling = setting(config, "classifier_model.pooling", "mean")
    if setting(config, "is_eval_classifier", False):
        return (
            "one of clean sequences (is_eval_classifier), which judges samples and steers nothing",
            "clean_classifier",
        )
    if setting(config, "is_fudge_classifier", False) or pooling == "no_pooling":
        return "FUDGE's, which reads <bos> first, and ours the sequence behind it", "prefix_classifier"
    if setting(config, "is_pplm_classifier", False) or pooling == "attention_mean":
        return "PPLM's or NOS's, which reads a generator's hidden states", "hidden_classifier"
    if setting(config, "parameterization", None) == "ar":
        return "one from left to right (parameterization=ar), which reads <bos> first", "prefix_classifier"
    if backbone != "dit":
        return f"a {backbone}, {OTHERS.get(backbone, 'which is none of the published code')}", "noisy_classifier"
    if pooling != "mean":
        return f"pooling={pooling}, which the published code takes over another axis or not at all", "noisy_classifier"
    return None
