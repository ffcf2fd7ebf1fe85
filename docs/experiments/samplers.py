"""Compare samplers on a trained model of molecules: quality against network evaluations.

uv run python docs/experiments/samplers.py CHECKPOINT samplers.csv

Each sampler draws 1,024 unconditional molecules for each budget and seed. Evaluations are counted, not assumed.
"""

import csv
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from discrete_diffusion.checkpoints import Checkpoint, load
from discrete_diffusion.eval import ReferenceMolecules, evaluate_molecules, qed, unigram_entropy
from discrete_diffusion.guidance import (
    CountEvaluations,
    EntropyBound,
    HighestConfidence,
    LowestEntropy,
    RandomOrder,
    State,
    TauLeaping,
    by_order,
    corrected,
    first_hitting,
    last,
    masked_ancestral,
    trajectory,
    trapezoidal,
    uniformization,
)
from discrete_diffusion.processes import (
    Absorbing,
    Ancestral,
    Capped,
    NoisyConditional,
    PredictorCorrector,
    Remasking,
    Rescaled,
    ReverseRates,
)
from discrete_diffusion.schedules import uniform_grid

SAMPLES, BATCH, SEEDS = 1024, 256, (1, 2, 3)
BUDGETS = (8, 16, 32, 64)
Draw = Callable[[Tensor, Tensor, torch.Generator], Iterator[State]]


def grid(steps: int) -> Tensor:
    """Equal steps of time in float32."""
    return uniform_grid(steps).float()


def samplers(checkpoint: Checkpoint, network: CountEvaluations, budget: int) -> Iterator[tuple[str, Draw]]:
    """Each sampler of the model's process that has about this budget of evaluations for a sample."""
    denoiser = checkpoint.denoiser(network)
    process = denoiser.process

    def walk(kernel: Callable[..., Tensor], steps: int) -> Draw:
        return lambda x, y, g: trajectory(kernel, x, grid(steps), y=y, generator=g)

    yield "ancestral", walk(Ancestral(process, denoiser), budget)
    for psi in (0.5, 0.9):
        yield f"predictor-corrector, psi {psi}", walk(PredictorCorrector(process, denoiser, psi), budget)
    rates = ReverseRates(process, denoiser)
    yield "tau-leaping", walk(TauLeaping(rates, Ancestral(process, denoiser)), budget)
    yield (
        "trapezoidal",
        lambda x, y, g: trapezoidal(rates, Ancestral(process, denoiser), x, grid(budget // 2), y=y, generator=g),
    )
    if isinstance(process, Absorbing):
        mask_id, schedule, length = process.mask_id, process.schedule, checkpoint.length
        survival = {"mask_id": mask_id, "survival": schedule.alpha}
        yield "choose first", lambda x, y, g: masked_ancestral(denoiser, x, grid(budget), **survival, y=y, generator=g)
        for name, rate in (("cap 0.02", Capped(0.02)), ("rescale 0.05", Rescaled(0.05)), ("cap 0.1", Capped(0.1))):
            yield f"remasking, {name}", walk(Remasking(process, denoiser, rate), budget)
        loop = (0.55, 0.05, 0.1)
        yield "remasking, loop", walk(Remasking(process, denoiser, Capped(0.02), loop), budget)
        k = -(-length // budget)
        if budget <= length:
            time = lambda share: schedule.inverse(1 - share)  # noqa: E731
            for name, order in {
                "random order": RandomOrder(k),
                "highest confidence first": HighestConfidence(k),
                "lowest entropy first": LowestEntropy(k),
            }.items():
                yield (
                    name,
                    lambda x, y, g, o=order: by_order(denoiser, x, o, mask_id=mask_id, time=time, y=y, generator=g),
                )
            hit = partial(first_hitting, denoiser, **survival, inverse=schedule.inverse, k=k)
            yield "first hitting", lambda x, y, g: hit(x, y=y, generator=g)
        if budget == BUDGETS[0]:
            for gamma in (0.1, 1.0):
                order = EntropyBound(gamma)
                yield (
                    f"entropy bound {gamma}",
                    lambda x, y, g, o=order: by_order(denoiser, x, o, mask_id=mask_id, y=y, generator=g),
                )
            hit_one = partial(first_hitting, denoiser, **survival, inverse=schedule.inverse)
            yield "first hitting, one at a time", lambda x, y, g: hit_one(x, y=y, generator=g)
        return
    conditional, kernel = NoisyConditional(process, denoiser), Ancestral(process, denoiser)
    for name, steps, corrections, at_once in (
        ("1 after each step", budget // 2, 1, 1),
        ("3 after each step", budget // 4, 3, 1),
        ("a quarter at once", budget // 2, 1, checkpoint.length // 4),
    ):
        yield (
            f"Gibbs-corrected, {name}",
            lambda x, y, g, n=steps, k=corrections, a=at_once: corrected(
                kernel, conditional, x, grid(n), corrections=k, at_once=a, y=y, generator=g
            ),
        )
    if budget == BUDGETS[0]:
        noise = process.log_noise(torch.zeros(())).exp()
        exact = partial(uniformization, conditional, kernel, noise=noise, survival=process.schedule.alpha)
        yield (
            "uniformization",
            lambda x, y, g: exact(x, inverse=process.schedule.inverse, y=y, generator=g),
        )


def main(folder: str, path: str) -> None:
    """Write one row for each sampler, budget and seed."""
    checkpoint = load(folder)
    checkpoint.network.requires_grad_(False)
    data = checkpoint.data()
    training = ReferenceMolecules.of(data.train.with_format(None)[data.column][:])
    fields = ("sampler", "budget", "seed", "evaluations", "valid", "unique", "novel", "qed", "entropy")
    with Path(path).open("w", newline="") as file:
        table = csv.DictWriter(file, fields)
        table.writeheader()
        for budget in BUDGETS:
            network = CountEvaluations(checkpoint.network)
            process = checkpoint.denoiser().process
            for name, draw in samplers(checkpoint, network, budget):
                for seed in SEEDS:
                    network.reset()
                    generator = torch.Generator().manual_seed(seed)
                    strings = []
                    for _ in range(SAMPLES // BATCH):
                        x = process.prior((BATCH, checkpoint.length), generator=generator)
                        y = None if checkpoint.null_label is None else torch.full((BATCH,), checkpoint.null_label)
                        strings += checkpoint.decode(last(draw(x, y, generator)))
                    report = evaluate_molecules(strings, training)
                    values = [qed(one) for one in report.novel]
                    entropies = [unigram_entropy(one) for one in strings if one]
                    row = {
                        "sampler": name,
                        "budget": budget,
                        "seed": seed,
                        "evaluations": round(network.rows / SAMPLES, 2),
                        "valid": len(report.valid),
                        "unique": len(report.unique),
                        "novel": len(report.novel),
                        "qed": round(sum(v for v in values if v is not None) / max(len(values), 1), 4),
                        "entropy": round(sum(entropies) / max(len(entropies), 1), 4),
                    }
                    table.writerow(row)
                    file.flush()
                    print(*row.values(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
