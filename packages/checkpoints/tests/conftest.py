"""Tiny untrained generator, and mutations of the files of a checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import ThresholdLabel, smiles_tokenizer

SAMPLERS = "discrete_diffusion.guidance"
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10_000_000, 1_000_000_000, "os.system", "discrete_diffusion.processes.Uniform"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["_target_", "x", "process"]), inner),
    max_leaves=4,
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every entry of a nested dictionary or list, as its holder and key."""
    entries = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    return [place for key, child in entries for place in [(node, key), *places(child)]]


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
        "data": {"kind": "molecules", "length": 12},
        "length": 12,
    }
    network = DiT(**backbone).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return Checkpoint(config, network, tokenizer, ThresholdLabel("qed", 0.5))


@pytest.fixture
def mutate() -> Callable[..., None]:
    """Read a folder again and again, one of its JSON files changed, and expect no error but those of the user."""

    def mutate(file: Path, read: Callable[[Path], object]) -> None:
        original = file.read_text()

        @settings(
            max_examples=100,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.function_scoped_fixture],
        )
        @given(st.data())
        def check(data: st.DataObject) -> None:
            content = json.loads(original)
            content.pop("digests", None)  # so that the parts are read, too
            for _ in range(data.draw(st.integers(1, 2))):
                found = places(content)
                if not found:
                    break
                holder, key = found[data.draw(st.integers(0, len(found) - 1))]
                if data.draw(st.booleans()) or isinstance(holder, list):
                    holder[key] = data.draw(VALUES)
                else:
                    del holder[key]
            file.write_text(json.dumps(content))
            try:
                read(file.parent)
            except (ValueError, FileNotFoundError) as error:
                assert str(error)  # noqa: PT017, most mutations fail and some do not

        check()

    return mutate
