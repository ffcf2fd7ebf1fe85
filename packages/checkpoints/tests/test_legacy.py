import json
from pathlib import Path

import torch

from discrete_diffusion.checkpoints import Checkpoint, load


def test_a_checkpoint_with_the_names_of_version_0_1_samples_as_before(checkpoint: Checkpoint, tmp_path: Path):
    where = checkpoint.save(tmp_path / "checkpoint")
    config = json.loads((where / "config.json").read_text())
    del config["digests"]
    config["model"]["denoiser"]["_target_"] = "discrete_diffusion.processes.Denoiser"
    config["model"]["sampler"]["_target_"] = "discrete_diffusion.checkpoints.samplers.AncestralSampler"
    del config["model"]["sampler"]["lift"]
    (where / "config.json").write_text(json.dumps(config))
    older = load(where)
    assert older.config == checkpoint.config
    draws = [one.sample(4, generator=torch.Generator().manual_seed(0)) for one in (older, checkpoint)]
    assert torch.equal(*draws)


def test_a_left_to_right_checkpoint_of_version_0_1_loads(checkpoint: Checkpoint, tmp_path: Path):
    denoiser = {"_target_": "discrete_diffusion.processes.NextToken", "_partial_": True, "bos_id": 0}
    sampler = {"_target_": "discrete_diffusion.checkpoints.samplers.AutoregressiveSampler", "bos_id": 0}
    checkpoint.config["model"].update(denoiser=denoiser, sampler=sampler)
    checkpoint.config["backbone"]["causal"] = True
    older = load(checkpoint.save(tmp_path / "checkpoint"))
    assert older.config["model"]["sampler"]["_target_"] == "discrete_diffusion.guidance.AutoregressiveSampler"
    assert older.sample(2, generator=torch.Generator().manual_seed(0)).shape == (2, 12)
