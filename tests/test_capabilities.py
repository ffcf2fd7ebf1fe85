"""Capabilities of models follow from their networks, those of Hugging Face from their architectures."""

import pytest
import torch

from discrete_diffusion.backbones import DiT, HuggingFaceCausalLM, HuggingFaceMaskedLM
from discrete_diffusion.guidance import Causal, Latent
from discrete_diffusion.processes import Absorbing, CausalNextToken, LatentNextToken, NetworkDenoiser, NextToken
from discrete_diffusion.schedules import LogLinear

SIZES = {"vocab_size": 12, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
LLAMA = {**SIZES, "model_type": "llama", "intermediate_size": 16, "num_key_value_heads": 2}
MAMBA = {"model_type": "mamba", "vocab_size": 12, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
BERT = {**SIZES, "model_type": "bert", "intermediate_size": 16}
DISTILBERT = {"model_type": "distilbert", "vocab_size": 12, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}


@pytest.mark.parametrize(
    ("config", "kind"), [(LLAMA, CausalNextToken), (MAMBA, LatentNextToken)], ids=["llama", "mamba"]
)
@torch.no_grad()
def test_a_causal_language_model_is_continued_only_if_it_keeps_keys_and_values(config, kind):
    model = NextToken(HuggingFaceCausalLM(config).eval(), 0)
    assert type(model) is kind
    assert isinstance(model, Causal) == (kind is CausalNextToken)
    x, t = torch.randint(12, (2, 5), generator=torch.Generator().manual_seed(0)), torch.ones(2)
    at = torch.zeros(2, 5, dtype=torch.bool)
    at[:, 3] = True
    torch.testing.assert_close(model(x, t, at=at), model(x, t)[at], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("config", "opens"), [(BERT, True), (DISTILBERT, False)], ids=["bert", "distilbert"])
def test_a_masked_language_model_is_opened_only_if_its_head_is_a_chain(config, opens):
    denoiser = NetworkDenoiser(Absorbing(LogLinear(), 12, mask_id=3), HuggingFaceMaskedLM(config).eval())
    assert isinstance(denoiser, Latent) == opens
    assert not isinstance(denoiser, Causal)


def test_our_networks_can_be_opened():
    network = DiT(vocab_size=12, hidden_size=16, num_blocks=1, num_heads=2)
    assert isinstance(NetworkDenoiser(Absorbing(LogLinear(), 12, mask_id=3), network), Latent)
