"""Names that older checkpoints use for classes that have moved since."""

from typing import Any

SAMPLERS = "discrete_diffusion.checkpoints.samplers"
MOVED = {
    "discrete_diffusion.processes.Denoiser": "discrete_diffusion.processes.NetworkDenoiser",
    f"{SAMPLERS}.AncestralSampler": "discrete_diffusion.guidance.AncestralSampler",
    f"{SAMPLERS}.AutoregressiveSampler": "discrete_diffusion.guidance.AutoregressiveSampler",
}
"""Current target of each that has moved."""


def with_current_names(node: Any) -> Any:
    """Return the configuration of an older checkpoint with the targets and arguments of this version."""
    if isinstance(node, list):
        return [with_current_names(child) for child in node]
    if not isinstance(node, dict):
        return node
    current = {name: with_current_names(child) for name, child in node.items()}
    if isinstance(node.get("_target_"), str):
        current["_target_"] = MOVED.get(node["_target_"], node["_target_"])
        if current["_target_"] == "discrete_diffusion.guidance.AncestralSampler" and "lift" not in node:
            lift = {"_target_": "discrete_diffusion.processes.Ancestral", "_partial_": True}
            current["lift"] = {**lift, "process": current.get("process")}
    return current
