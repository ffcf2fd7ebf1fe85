"""Model class of an exported folder, loaded by transformers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput, MaskedLMOutput

from discrete_diffusion.checkpoints.samplers import with_steps
from discrete_diffusion.guidance import ClassifierFree, last
from discrete_diffusion.processes import Ancestral

PARTS: dict[str, Callable[..., Any]] = {}
"""Targets that config.json may name; the export fills them in."""


class DiscreteDiffusionConfig(PretrainedConfig):
    """What was trained, as config.json says it: `model`, `backbone`, `data` and `length`."""

    model_type = "discrete_diffusion"


class DiscreteDiffusionModel(PreTrainedModel):
    """A generator of token sequences with its denoiser and its sampler."""

    config_class = DiscreteDiffusionConfig
    base_model_prefix = "network"
    main_input_name = "input_ids"

    def __init__(self, config: DiscreteDiffusionConfig) -> None:
        super().__init__(config)
        self.network = _build(config.backbone)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Nothing: the network has drawn its own."""

    def denoiser(
        self, xt: Tensor, t: Tensor | None = None, *, y: Tensor | None = None, at: Tensor | None = None
    ) -> Tensor:
        """log p(x_0 | x_t, y), normalized: (b, l, v), or (n, v) of the positions where `at` (b, l) is true.

        Args:
            xt: token ids (b, l).
            t: times (b,), 0 is data and 1 is noise; a model that goes from left to right does without.
            y: labels (b,); None and `null_label` are "no condition".
        """
        return self._denoiser()(xt, t, y=y, at=at)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        *,
        y: int | Tensor | None = None,
        gamma: float = 1.0,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw sequences, (count, length) token ids, steered by classifier-free guidance (D-CFG, arXiv 2412.10193):

            log p^gamma(. | y) = gamma log p(. | y) + (1 - gamma) log p(. | no condition) + const

        Args:
            y: the label of all, or of each, (count,).
            gamma: 0 is unconditional, 1 conditional, beyond 1 sharper.
            steps: of a diffusion model; None is what it was saved with.
            generator: where the randomness comes from, torch's default generator if None.

        Raises:
            ValueError: if there are no such labels or steps, or `gamma` is given without a label.
        """
        if y is None and gamma != 1:
            raise ValueError(f"Expected labels for guidance with `gamma` = {gamma}, got None: pass `y=`.")
        guidance = []
        if y is not None:
            if self.null_label is None:
                raise ValueError("Expected no `y`: this model was trained without labels.")
            y = torch.as_tensor(y, device=self.device).expand(count)
            if not bool(((y >= 0) & (y <= self.null_label)).all()):
                raise ValueError(f"Expected 0 <= `y` <= {self.null_label}, the null label, got {y.tolist()}.")
            guidance.append(partial(ClassifierFree, gamma=gamma, null_label=self.null_label))
        sampler = with_steps(_build(self.config.model["sampler"]), steps)
        shape = (count, self.config.length)
        return last(sampler(self._denoiser(), shape, y=y, on_kernel=guidance, generator=generator, device=self.device))

    @property
    def null_label(self) -> int | None:
        """The label that means "no condition", None where there are no labels."""
        return self.config.backbone.get("num_classes")

    def _denoiser(self) -> Any:
        return _build(self.config.model["denoiser"])(network=self.network)


class DiscreteDiffusionForMaskedLM(DiscreteDiffusionModel):
    """A diffusion model: all positions at once, from noise to data."""

    def forward(
        self,
        input_ids: Tensor,
        sigma: Tensor | None = None,
        y: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput | tuple[Tensor]:
        """Return the network's logits of the clean tokens, (b, l, v).

        Args:
            input_ids: noisy token ids (b, l).
            sigma: noise levels -log alpha(t), (b,). None is zero, "no noise": what a network without time conditioning
                is fed in any case. One with it takes every token at its word then, and `denoiser` knows the time.
            y: labels (b,); None is "no condition".
            attention_mask: not read. Padding is a token like others, as in training.
            return_dict: False returns a tuple.
        """
        sigma = torch.zeros(len(input_ids), device=input_ids.device) if sigma is None else sigma
        logits = self.network(input_ids, sigma, y)
        return (logits,) if return_dict is False else MaskedLMOutput(logits=logits)

    def kernel(self, xt: Tensor, t: Tensor, s: Tensor, *, y: Tensor | None = None) -> Tensor:
        """log p(x_s | x_t, y), normalized, (b, l, v): one step back in time, from t (b,) to s < t; s = 0 is the data.

        This is what the functions of `discrete_diffusion.guidance` steer.
        """
        denoiser = self._denoiser()
        return Ancestral(denoiser.process, denoiser)(xt, t, s, y=y)


class DiscreteDiffusionForCausalLM(DiscreteDiffusionModel):
    """A model that goes from left to right."""

    def forward(
        self,
        input_ids: Tensor,
        y: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> CausalLMOutput | tuple[Tensor]:
        """Return the network's logits of the token that follows each of `input_ids`, (b, l, v).

        Args:
            input_ids: token ids (b, l), the first of them that of `<bos>`.
            y: labels (b,); None is "no condition".
            attention_mask: not read. Padding is a token like others, as in training.
            return_dict: False returns a tuple.
        """
        logits = self.network(input_ids, torch.zeros(len(input_ids), device=input_ids.device), y)
        return (logits,) if return_dict is False else CausalLMOutput(logits=logits)


def _build(node: Any) -> Any:
    """What a description in config.json stands for, parts first."""
    if isinstance(node, list):
        return [_build(child) for child in node]
    if not isinstance(node, dict):
        return node
    arguments = {name: _build(child) for name, child in node.items() if name not in ("_target_", "_partial_")}
    if "_target_" not in node:
        return arguments
    part = PARTS[node["_target_"]]
    return partial(part, **arguments) if node.get("_partial_") else part(**arguments)
