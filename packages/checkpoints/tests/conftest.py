"""A tiny generator that was never trained, with all that a checkpoint holds."""

import pytest
import torch

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import ThresholdLabel, smiles_tokenizer

SAMPLERS = "discrete_diffusion.guidance"


@pytest.fixture
def checkpoint() -> Checkpoint:
    tokenizer = smiles_tokenizer(["CCO", "c1ccccc1", "[NH3+]"])
    schedule = {"_target_": "discrete_diffusion.schedules.LogLinear", "eps": 1e-3}
    process = {
        "_target_": "discrete_diffusion.processes.Uniform",
        "schedule": schedule,
        "vocab_size": len(tokenizer),
    }
    backbone = {"vocab_size": len(tokenizer), "hidden_size": 8, "num_blocks": 1, "num_heads": 2, "num_classes": 2}
    denoiser = {"_target_": "discrete_diffusion.processes.NetworkDenoiser", "_partial_": True, "process": process}
    objective = {"_target_": "discrete_diffusion.processes.ContinuousNELBO", "process": process}
    lift = {"_target_": "discrete_diffusion.processes.Ancestral", "_partial_": True, "process": process}
    sampler = {"_target_": f"{SAMPLERS}.AncestralSampler", "process": process, "lift": lift, "steps": 2}
    config = {
        "model": {"denoiser": denoiser, "objective": objective, "sampler": sampler},
        "backbone": {"_target_": "discrete_diffusion.backbones.DiT", **backbone},
        "data": {"kind": "molecules"},
        "length": 12,
    }
    network = DiT(**backbone).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return Checkpoint(config, network, tokenizer, ThresholdLabel("qed", 0.5))
