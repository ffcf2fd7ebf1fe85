"""Description of a checkpoint."""

from discrete_diffusion.checkpoints import Checkpoint


def describe(checkpoint: Checkpoint) -> str:
    """Return one line that describes a checkpoint."""
    model = checkpoint.config["model"]
    kind = (model.get("process") or model["objective"])["_target_"].rpartition(".")[2]
    size = sum(parameter.numel() for parameter in checkpoint.network.parameters())
    label = "no labels" if checkpoint.label is None else "classes " + ", ".join(checkpoint.label.class_names[:6])
    return f"{kind}, {size:,} parameters, {checkpoint.config['data']['kind']} of {checkpoint.length} tokens, {label}"
