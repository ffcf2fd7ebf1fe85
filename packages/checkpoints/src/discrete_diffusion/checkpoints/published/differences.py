"""Settings of the published code that this library handles differently."""

from collections.abc import Mapping
from typing import Any

from discrete_diffusion.checkpoints.published.config import EPS, number, parameterization, setting
from discrete_diffusion.checkpoints.published.dimamba import DROPOUT


def differences(config: Mapping[str, Any], labelled: bool) -> tuple[str, ...]:
    """Return one line for each such setting that affects the model's outputs or its training."""
    kind, reading = parameterization(config), setting(config, "parameterization")
    masked, t_min = setting(config, "subs_masking", False), number(config, "training.sampling_eps", 1e-3)
    dimamba = setting(config, "backbone") == "dimamba"
    dropped = number(config, "model.dropout", DROPOUT) if dimamba else DROPOUT
    applies = {
        "parameterization=d3pm with masks: the network is read as SUBS, which never predicts a mask": (
            kind == "absorbing" and reading == "d3pm" and not masked
        ),
        "subs_masking=true with uniform noise: the mask is a token like the others": kind == "uniform" and masked,
        **_of_noise(config),
        "training.use_simple_ce_loss=true: trained by cross-entropy, and read as leave-one-out as published": (
            kind == "uniform" and setting(config, "training.use_simple_ce_loss", False)
        ),
        "training.guidance.cond_dropout=0: the null label was not trained, and classifier-free guidance needs it": (
            labelled and not number(config, "training.guidance.cond_dropout", 0)
        ),
        f"training.sampling_eps={t_min}: likelihoods are measured from t = 1e-3 on": (
            kind != "autoregressive" and number(config, "T", 0) == 0 and float(t_min) != 1e-3
        ),
        "backbone=hf_dit: heads were counted by the rotary frequencies, and dropout is taken to be 0.1": (
            setting(config, "backbone") == "hf_dit"
        ),
        f"model.dropout={dropped}: the published dimamba drops {DROPOUT} whatever it says": (
            dimamba and float(dropped) != DROPOUT
        ),
        "model.tie_word_embeddings=true: embedding and output are two matrices here, which training would part": (
            dimamba and setting(config, "model.tie_word_embeddings", False) is True
        ),
        "parameterization=ar: a sequence is what follows <bos>, one token less than model.length": (
            kind == "autoregressive"
        ),
    }
    return tuple(line for line, holds in applies.items() if holds)


def classifier_differences(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the same lines for the configuration of a noisy classifier."""
    return tuple(line for line, holds in _of_noise(config).items() if holds)


def _of_noise(config: Mapping[str, Any]) -> dict[str, bool]:
    conditioned, eps = setting(config, "time_conditioning", False), number(config, "noise.eps", EPS)
    return {
        "training.change_of_variables=true: the network was fed t, and is fed sigma(t) here": bool(
            conditioned and setting(config, "training.change_of_variables", False)
        ),
        f"noise.eps={eps}: the published code has 1e-3 whatever it says": float(eps) != EPS,
    }
