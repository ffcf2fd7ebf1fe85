"""Model class of an exported folder, loaded by transformers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput, MaskedLMOutput

from discrete_diffusion.checkpoints.build import build
from discrete_diffusion.checkpoints.samplers import with_steps
from discrete_diffusion.guidance import ClassifierFree, last
from discrete_diffusion.processes import Ancestral

PARTS: dict[str, Callable[..., Any]] = {}
"""Classes and functions by the names that config.json gives them; the export fills them in."""


class DiscreteDiffusionConfig(PretrainedConfig):
    """Fields of config.json: `model`, `backbone`, `data` and `length`."""

    model_type = "discrete_diffusion"


class DiscreteDiffusionModel(PreTrainedModel):
    """Generator of token sequences with its denoiser and sampler."""

    config_class = DiscreteDiffusionConfig
    base_model_prefix = "network"
    main_input_name = "input_ids"

    def __init__(self, config: DiscreteDiffusionConfig) -> None:
        super().__init__(config)
        self.network = build(config.backbone, PARTS.__getitem__)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Leave the weights as the network has initialized them."""

    def denoiser(
        self, xt: Tensor, t: Tensor | None = None, *, y: Tensor | None = None, at: Tensor | None = None
    ) -> Tensor:
        """Return log p(x_0 | x_t, y), normalized: (b, l, v), or (n, v) for the positions where `at` is true.

        Args:
            xt: Token ids (b, l).
            t: Times (b,): 0 is data and 1 is noise. An autoregressive model does not need them.
            y: Labels (b,); None and `null_label` mean "no condition".
            at: Positions (b, l), by default all.
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
        """Draw token ids (count, length) with classifier-free guidance (D-CFG, arXiv 2412.10193).

            log p^gamma(. | y) = gamma log p(. | y) + (1 - gamma) log p(. | no condition) + const

        Args:
            count: Number of sequences.
            y: One label for all sequences, or a label for each, (count,).
            gamma: Guidance scale: 0 is unconditional, 1 conditional, above 1 sharper.
            steps: Sampling steps of a diffusion model, by default the number that was saved.
            generator: Source of randomness, by default torch's global generator.

        Raises:
            ValueError: If there are no such labels or steps, or `gamma` is set without a label.
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
        sampler = with_steps(build(self.config.model["sampler"], PARTS.__getitem__), steps)
        shape = (count, self.config.length)
        return last(sampler(self._denoiser(), shape, y=y, on_kernel=guidance, generator=generator, device=self.device))

    @property
    def null_label(self) -> int | None:
        """Label that means "no condition", None for a model without labels."""
        return self.config.backbone.get("num_classes")

    def _denoiser(self) -> Any:
        return build(self.config.model["denoiser"], PARTS.__getitem__)(network=self.network)


class DiscreteDiffusionForMaskedLM(DiscreteDiffusionModel):
    """Diffusion model: all positions at once, from noise to data."""

    def forward(
        self,
        input_ids: Tensor,
        sigma: Tensor | None = None,
        y: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput | tuple[Tensor]:
        """Return the network's logits for the clean tokens, (b, l, v).

        Args:
            input_ids: Noisy token ids (b, l).
            sigma: Noise levels -log alpha(t), (b,), by default zero, "no noise". A network with time conditioning then
                takes every token for a clean one; `denoiser` computes the noise levels from times.
            y: Labels (b,); None means "no condition".
            attention_mask: Ignored. Padding is a token like any other, as in training.
            return_dict: False returns a tuple.
        """
        sigma = torch.zeros(len(input_ids), device=input_ids.device) if sigma is None else sigma
        logits = self.network(input_ids, sigma, y)
        return (logits,) if return_dict is False else MaskedLMOutput(logits=logits)

    def kernel(self, xt: Tensor, t: Tensor, s: Tensor, *, y: Tensor | None = None) -> Tensor:
        """Return log p(x_s | x_t, y), normalized, (b, l, v): one step from t (b,) to s < t, where 0 is data.

        The methods of `discrete_diffusion.guidance` wrap this function.
        """
        denoiser = self._denoiser()
        return Ancestral(denoiser.process, denoiser)(xt, t, s, y=y)


class DiscreteDiffusionForCausalLM(DiscreteDiffusionModel):
    """Autoregressive model: one token at a time, from left to right."""

    def forward(
        self,
        input_ids: Tensor,
        y: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> CausalLMOutput | tuple[Tensor]:
        """Return the network's logits for the token after each of `input_ids`, (b, l, v).

        Args:
            input_ids: Token ids (b, l) that begin with `<bos>`.
            y: Labels (b,); None means "no condition".
            attention_mask: Ignored. Padding is a token like any other, as in training.
            return_dict: False returns a tuple.
        """
        logits = self.network(input_ids, torch.zeros(len(input_ids), device=input_ids.device), y)
        return (logits,) if return_dict is False else CausalLMOutput(logits=logits)
