"""Draw the pictures of docs/images/samplers: python docs/figures/sampler_paths.py."""

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import torch
from matplotlib.patches import Rectangle
from panels import write
from rdkit import Chem
from rdkit.rdBase import BlockLogs
from torch import Tensor

from discrete_diffusion.checkpoints import Checkpoint, load
from discrete_diffusion.eval import ACCENT, INK, MUTED, RULE, new_figure, series_style
from discrete_diffusion.guidance import (
    AncestralSampler,
    ConfidenceRemaskingSampler,
    EntropyBound,
    FirstHittingSampler,
    GibbsCorrectedSampler,
    MaskedAncestralSampler,
    OrderSampler,
    PathPlanningSampler,
    Sampler,
    SampleStreams,
    SettlingSampler,
    State,
    TrapezoidalSampler,
    UniformizationSampler,
)
from discrete_diffusion.processes import (
    Absorbing,
    Ancestral,
    Capped,
    LeaveOneOutDenoiser,
    NoisyConditional,
    PredictorCorrector,
    Process,
    RawPrediction,
    Remasking,
    ReverseRates,
)

ROWS = 17
"""Largest number of states in a picture."""
TRIED = 24
"""Samples of which the first valid molecule is shown."""
MASKS, UNIFORM = "qm9-mdlm-small", "qm9-udlm-small"
SAMPLERS: dict[str, tuple[str, Callable[[Process], Sampler]]] = {
    "ancestral": (MASKS, lambda p: AncestralSampler(p, partial(Ancestral, p), steps=16)),
    "choose-first": (MASKS, lambda p: MaskedAncestralSampler(p, steps=16)),
    "first-hitting": (MASKS, lambda p: FirstHittingSampler(p, k=2)),
    "remasking": (MASKS, lambda p: AncestralSampler(p, partial(Remasking, p, rate=Capped(0.1)), steps=16)),
    "confidence-remasking": (MASKS, lambda p: ConfidenceRemaskingSampler(p, rate=Capped(0.1), steps=16)),
    "predictor-corrector": (MASKS, lambda p: AncestralSampler(p, partial(PredictorCorrector, p, psi=0.5), steps=16)),
    "gibbs-corrected": (
        UNIFORM,
        lambda p: GibbsCorrectedSampler(p, partial(Ancestral, p), partial(NoisyConditional, p), steps=16),
    ),
    "settling": (UNIFORM, lambda p: SettlingSampler(p, partial(LeaveOneOutDenoiser, p), steps=16)),
    "by-rates": (
        UNIFORM,
        lambda p: TrapezoidalSampler(p, partial(ReverseRates, p), partial(Ancestral, p), steps=16),
    ),
    "uniformization": (
        UNIFORM,
        lambda p: UniformizationSampler(p, partial(Ancestral, p), partial(NoisyConditional, p)),
    ),
    "by-order": (MASKS, lambda p: OrderSampler(p, EntropyBound(0.1))),
    "path-planning": (MASKS, lambda p: PathPlanningSampler(p, partial(RawPrediction, p), steps=16)),
}
"""Model and sampler of each picture."""


@cache
def model(name: str) -> Checkpoint:
    """Return a shipped model."""
    return load(name)


def molecule(sampler: Sampler, checkpoint: Checkpoint) -> list[State]:
    """Return the states of the first valid molecule of more than eight atoms and bonds, one row each."""
    y = torch.full((TRIED,), checkpoint.null_label)
    streams = SampleStreams(0, torch.arange(TRIED))
    with torch.no_grad():
        states = list(sampler(checkpoint.denoiser(), (TRIED, checkpoint.length), y=y, generator=streams))
    with BlockLogs():
        for row, string in enumerate(checkpoint.decode(states[-1].x)):
            if len(string) > 8 and Chem.MolFromSmiles(string) is not None:
                return [State(state.t, state.x[row : row + 1]) for state in states]
    raise RuntimeError("Expected a valid molecule among the samples.")


def without_repeats(states: list[State]) -> list[State]:
    """Return the states that differ from the one before, at most `ROWS` of them, evenly spread."""
    changed = states[:1] + [state for before, state in pairwise(states) if (before.x != state.x).any()]
    if len(changed) <= ROWS:
        return changed
    return [changed[round(index * (len(changed) - 1) / (ROWS - 1))] for index in range(ROWS)]


def draw(name: str, path: Path) -> None:
    """Write a picture: a state in each row from noise to data, a position in each column."""
    which, build = SAMPLERS[name]
    checkpoint = model(which)
    process = checkpoint.process
    assert process is not None
    states = without_repeats(molecule(build(process), checkpoint))
    tokens = checkpoint.tokenizer.convert_ids_to_tokens
    final = states[-1].x[0]
    end = min(int((final == checkpoint.tokenizer.eos_token_id).nonzero()[0]) + 3, len(final))
    mask = process.mask_id if isinstance(process, Absorbing) else None
    figure = new_figure(0.36 * end + 0.9, 0.3 * len(states) + 0.55)
    axes = figure.add_axes((0.8 / figure.get_figwidth(), 0.0, 1 - 0.85 / figure.get_figwidth(), 1.0))
    before: Tensor | None = None
    for row, state in enumerate(states):
        for column, token in enumerate(state.x[0, :end].tolist()):
            fill, ink, text = "white", INK, tokens(token)
            if token == mask:
                fill, text = RULE, ""
                if before is not None and before[column] != mask:
                    fill = ACCENT
            elif before is not None and before[column] != token:
                fill, ink = series_style(0)["color"], "white"
            if text.startswith("<"):
                text = {"<bos>": "⊢", "<eos>": "⊣", "<pad>": "·"}.get(text, "?")
            axes.add_patch(Rectangle((column, row), 0.94, 0.94, facecolor=fill, edgecolor="none"))
            size = 9 if len(text) < 3 else 5.5
            axes.text(column + 0.47, row + 0.5, text, ha="center", va="center", fontsize=size, color=ink)
        axes.text(-0.3, row + 0.5, f"t = {state.t:.2f}", ha="right", va="center", fontsize=8, color=MUTED)
        before = state.x[0]
    axes.set(xlim=(-0.05, end), ylim=(len(states) + 0.2, -0.2))
    axes.set_axis_off()
    write(figure, path)


if __name__ == "__main__":
    for name in SAMPLERS:
        draw(name, Path(__file__).parents[1] / "images" / "samplers" / f"{name}.png")
