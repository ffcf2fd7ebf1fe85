"""Measured computations: each by this library and by the textbook formula, on the same weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks import textbook
from discrete_diffusion.backbones import DiT, DiTClassifier, HiddenClassifier
from discrete_diffusion.guidance import (
    FUDGE,
    NOS,
    ClassifierBased,
    ClassifierFree,
    ClassLikelihood,
    FirstOrder,
    Hybrid,
    autoregressive,
    last,
    masked_ancestral,
    sample,
)
from discrete_diffusion.processes import (
    Absorbing,
    Ancestral,
    AutoregressiveNLL,
    Classifier,
    ContinuousNELBO,
    NetworkDenoiser,
    NextToken,
    Uniform,
)
from discrete_diffusion.schedules import LogLinear

SCHEDULE = LogLinear()
GAMMA = 2.0


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        ours: The work by this library.
        textbook: The same work by the textbook formula.
        size: Batch, length and vocabulary.
        same: Both return the same numbers; otherwise draws from one distribution.
        bytes_moved: Least traffic with memory beside the matrix products of `ours`.
        rounds: Number of measurements.
        memory: Measure the memory too, which takes one more call of each.
    """

    ours: Callable[[], torch.Tensor]
    textbook: Callable[[], torch.Tensor]
    size: tuple[int, int, int]
    same: bool = True
    bytes_moved: float = 0.0
    rounds: int = 3
    memory: bool = True


def network(v: int, tiny: bool, **options) -> DiT:
    torch.manual_seed(0)
    size = (
        {"hidden_size": 16, "num_blocks": 1, "num_heads": 2}
        if tiny
        else {"hidden_size": 256, "num_blocks": 4, "num_heads": 4}
    )
    return randomized(DiT(v, dropout=0.0, **size, **options))


def classifier(v: int, tiny: bool, **options) -> DiTClassifier:
    torch.manual_seed(1)
    size = (
        {"hidden_size": 16, "num_blocks": 1, "num_heads": 2}
        if tiny
        else {"hidden_size": 128, "num_blocks": 2, "num_heads": 4}
    )
    return randomized(DiTClassifier(v, num_outputs=2, dropout=0.0, **size, **options))


def randomized(module):
    # New networks return zeros, which hides differences.
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return module.eval()


def process_of(kind: str, v: int):
    return Absorbing(SCHEDULE, v, mask_id=0) if kind == "mdlm" else Uniform(SCHEDULE, v)


def data(kind: str, b: int, length: int, v: int, t: torch.Tensor | None = None):
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randint(1, v, (b, length), generator=generator)
    t = torch.full((b,), 0.5) if t is None else t
    return x0, process_of(kind, v).corrupt(x0, t, generator=generator), t


def training(kind: str, tiny: bool) -> Row:
    b, length, v = (4, 8, 10) if tiny else (256, 32, 40)
    net, (x0, _, _) = network(v, tiny), data(kind, b, length, v)
    process, objective = process_of(kind, v), ContinuousNELBO(process_of(kind, v))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)

    def noisy(generator: torch.Generator):
        t = objective.times(b, generator=generator)
        return t, process.corrupt(x0, t, generator=generator)

    def step(loss: Callable[[torch.Generator], torch.Tensor]) -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(torch.Generator().manual_seed(0)).mean()
        value.backward()
        optimizer.step()
        return value.detach()

    def ours(generator: torch.Generator) -> torch.Tensor:
        return objective.loss(NetworkDenoiser(process, net), x0, generator=generator)

    def plain(generator: torch.Generator) -> torch.Tensor:
        t, xt = noisy(generator)
        logits = net(xt, SCHEDULE.sigma(t))
        if kind == "udlm":
            return (1 - objective.times.t_min) * textbook.udlm_loss(logits, x0, xt, t, SCHEDULE)
        log_x0 = textbook.subs(logits, xt, 0)
        return (1 - objective.times.t_min) * textbook.mdlm_loss(log_x0, x0, xt, t, SCHEDULE, 0)

    return Row(lambda: step(ours), lambda: step(plain), (b, length, v), bytes_moved=12 * parameters(net), rounds=2)


def ar_training(tiny: bool) -> Row:
    b, length, v = (4, 8, 10) if tiny else (256, 32, 40)
    net, (x0, _, _) = network(v, tiny, causal=True, time_conditioning=False), data("udlm", b, length, v)

    def step(loss: Callable[[], torch.Tensor]) -> torch.Tensor:
        net.zero_grad()
        value = loss().mean()
        value.backward()
        return value.detach()

    def plain() -> torch.Tensor:
        shifted = torch.cat([torch.zeros_like(x0[:, :1]), x0[:, :-1]], 1)
        log_probs = net(shifted, torch.zeros(b)).log_softmax(-1)
        return -(textbook.one_hot(x0, v) * log_probs).sum(-1)

    model = NextToken(net, bos_id=0)
    return Row(
        lambda: step(lambda: AutoregressiveNLL().loss(model, x0)),
        lambda: step(plain),
        (b, length, v),
        bytes_moved=12 * parameters(net),
        rounds=2,
    )


def loss(kind: str, tiny: bool) -> Row:
    b, length, v = (2, 4, 50) if tiny else (8, 128, 30522)
    t = torch.linspace(0.1, 0.9, b)
    x0, xt, _ = data(kind, b, length, v, t)
    logits = torch.randn(b, length, v, generator=torch.Generator().manual_seed(1)).requires_grad_()
    process = process_of(kind, v)

    def gradient(values: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(values.mean(), logits)[0]

    def plain() -> torch.Tensor:
        if kind == "udlm":
            return gradient(textbook.udlm_loss(logits, x0, xt, t, SCHEDULE))
        return gradient(textbook.mdlm_loss(textbook.subs(logits, xt, 0), x0, xt, t, SCHEDULE, 0))

    share = 1.0 if kind == "udlm" else (xt == 0).float().mean().item()
    # The logits are read forward and backward, and their gradient is written.
    traffic = (2 * share + 1) * 4 * logits.numel()
    return Row(
        lambda: gradient(process.diffusion_loss(logits, x0, xt, t)),
        plain,
        (b, length, v),
        bytes_moved=traffic,
        rounds=3,
    )


def sampling(kind: str, tiny: bool, b: int, length: int, v: int, steps: int, rounds: int = 1) -> Row:
    if tiny:
        b, length, v, steps = min(b, 2), 6, 10, 3
    net, process = network(v, tiny), process_of(kind, v)
    denoiser, start = (
        NetworkDenoiser(process, net),
        process.prior((b, length), generator=torch.Generator().manual_seed(0)),
    )
    times = torch.linspace(1, 0, steps + 1)

    def ours() -> torch.Tensor:
        if kind == "mdlm":
            return last(masked_ancestral(denoiser, start, times, mask_id=0, survival=SCHEDULE.alpha))
        return sample(Ancestral(process, denoiser), start, times)

    def plain() -> torch.Tensor:
        return textbook.sample(posterior(kind, net), start, steps)

    return Row(
        ours, plain, (b, length, v), same=False, bytes_moved=4 * parameters(net) * steps, rounds=rounds, memory=False
    )


def posterior(kind: str, net: Callable[..., torch.Tensor], **label: torch.Tensor):
    def probabilities(xt: torch.Tensor, t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        logits = net(xt, SCHEDULE.sigma(t), **label)
        if kind == "udlm":
            return textbook.udlm_posterior(logits, xt, t, s, SCHEDULE)
        return textbook.mdlm_posterior(textbook.subs(logits, xt, 0), xt, t, s, SCHEDULE, 0)

    return probabilities


def ar_sampling(tiny: bool) -> Row:
    b, length, v = (2, 6, 10) if tiny else (4, 64, 40)
    net, start = network(v, tiny, causal=True, time_conditioning=False), torch.zeros(b, length, dtype=torch.int64)
    model = NextToken(net, bos_id=0)

    def ours() -> torch.Tensor:
        return last(autoregressive(model, start, use_at=True))

    return Row(
        ours,
        lambda: textbook.generate(lambda x, i: next_token(net, x)[:, i].exp(), start),
        (b, length, v),
        same=False,
        bytes_moved=4 * parameters(net) * length,
        memory=False,
    )


def next_token(net: Callable[..., torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    return net(torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1), torch.zeros(len(x))).log_softmax(-1)


def guided(method: str, kind: str, tiny: bool) -> Row:
    """One guided step."""
    b, length, v = (2, 4, 6) if tiny else ((8, 16, 20) if method == "exact" else (64, 32, 40))
    net = network(v, tiny, **({"num_classes": 3} if method == "classifier-free" else {}))
    process = process_of(kind, v)
    _, xt, t = data(kind, b, length, v)
    s, kernel = t - 1 / 32, Ancestral(process, NetworkDenoiser(process, net))
    likelihood = ClassLikelihood(Classifier(process, classifier(v, tiny)), 1)
    if method == "classifier-free":
        y, null = (torch.full((b,), label) for label in (1, 2))
        guide = ClassifierFree(kernel, GAMMA, null_label=2)

        def plain() -> torch.Tensor:
            both = [posterior(kind, net, y=label)(xt, t, s).log() for label in (y, null)]
            return textbook.classifier_free(*both, GAMMA)

    elif method == "exact":
        y, guide = None, ClassifierBased(kernel, likelihood, GAMMA)

        def plain() -> torch.Tensor:
            return textbook.classifier_based(posterior(kind, net)(xt, t, s).log(), xt, t, likelihood, GAMMA)

    elif method == "hybrid":
        y, guide = None, Hybrid(kernel, likelihood, GAMMA, exact=4)

        def plain() -> torch.Tensor:
            log_probs = posterior(kind, net)(xt, t, s).log()
            return textbook.hybrid(log_probs, xt, t, likelihood, GAMMA, 4)

    else:
        y, guide = None, FirstOrder(kernel, likelihood, GAMMA)

        def plain() -> torch.Tensor:
            return textbook.first_order(posterior(kind, net)(xt, t, s).log(), xt, t, likelihood, GAMMA)

    label = {} if y is None else {"y": y}
    return Row(no_grad(lambda: guide(xt, t, s, **label).exp()), no_grad(plain), (b, length, v))


def fudge(tiny: bool) -> Row:
    b, length, v, top_k = (2, 5, 8, 3) if tiny else (4, 32, 40, 20)
    net, start = network(v, tiny, causal=True, time_conditioning=False), torch.zeros(b, length, dtype=torch.int64)
    prefixes = classifier(v, tiny, causal=True, time_conditioning=False)
    likelihood = ClassLikelihood(Classifier(None, prefixes), 1)
    # A plain function cannot continue a prefix: the textbook reads every prefix from its start.
    rereading = ClassLikelihood(Classifier(None, lambda x, sigma: prefixes(x, sigma)), 1)
    guide = FUDGE(NextToken(net, bos_id=0), likelihood, GAMMA, top_k)

    def next_guided(x: torch.Tensor, i: int) -> torch.Tensor:
        return textbook.fudge(next_token(net, x)[:, i], x, i, rereading, GAMMA, top_k)

    return Row(
        lambda: last(autoregressive(guide, start, use_at=True)),
        lambda: textbook.generate(next_guided, start),
        (b, length, v),
        same=False,
        bytes_moved=4 * parameters(net) * length,
        memory=False,
    )


def nos(steps: int, tiny: bool) -> Row:
    b, length, v = (2, 4, 6) if tiny else (64, 32, 40)
    net, process = network(v, tiny), process_of("udlm", v)
    denoiser, (_, xt, t) = NetworkDenoiser(process, net), data("udlm", b, length, v)
    torch.manual_seed(2)
    likelihood = ClassLikelihood(Classifier(process, randomized(HiddenClassifier(16 if tiny else 256, 2))), 1)
    guide = NOS(denoiser, likelihood, gamma=1.0, steps=steps, step_size=0.01, stability=0.1)
    sigma = SCHEDULE.sigma(t)

    def plain() -> torch.Tensor:
        return textbook.nos(
            lambda: net.encode(xt, sigma),
            lambda hidden: net.decode(hidden, sigma).log_softmax(-1),
            lambda hidden: likelihood(hidden, t),
            steps,
            step_size=0.01,
            stability=0.1,
        )

    return Row(lambda: guide(xt, t).exp(), plain, (b, length, v))


def no_grad(work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    return torch.no_grad()(work)


def parameters(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


ROWS: dict[str, Callable[[bool], Row]] = {
    "training step, UDLM": lambda tiny: training("udlm", tiny),
    "training step, MDLM": lambda tiny: training("mdlm", tiny),
    "training step, AR": ar_training,
    "loss and gradient, UDLM": lambda tiny: loss("udlm", tiny),
    "loss and gradient, MDLM": lambda tiny: loss("mdlm", tiny),
    "sampling, MDLM, 32 steps": lambda tiny: sampling("mdlm", tiny, 64, 32, 40, 32),
    "sampling, MDLM, 128 steps": lambda tiny: sampling("mdlm", tiny, 16, 32, 40, 128),
    "sampling, MDLM, one sample, 128 steps": lambda tiny: sampling("mdlm", tiny, 1, 32, 40, 128, 3),
    "sampling, MDLM, large vocabulary, 8 steps": lambda tiny: sampling("mdlm", tiny, 4, 128, 30522, 8),
    "sampling, UDLM, 32 steps": lambda tiny: sampling("udlm", tiny, 64, 32, 40, 32),
    "sampling, UDLM, one sample, 128 steps": lambda tiny: sampling("udlm", tiny, 1, 32, 40, 128, 3),
    "sampling, UDLM, large vocabulary, 4 steps": lambda tiny: sampling("udlm", tiny, 4, 128, 30522, 4),
    "sampling, AR": ar_sampling,
    "D-CFG step, UDLM": lambda tiny: guided("classifier-free", "udlm", tiny),
    "D-CFG step, MDLM": lambda tiny: guided("classifier-free", "mdlm", tiny),
    "D-CBG step, exact, UDLM": lambda tiny: guided("exact", "udlm", tiny),
    "D-CBG step, exact, MDLM": lambda tiny: guided("exact", "mdlm", tiny),
    "D-CBG step, first order, UDLM": lambda tiny: guided("first order", "udlm", tiny),
    "D-CBG step, first order, MDLM": lambda tiny: guided("first order", "mdlm", tiny),
    "D-CBG step, hybrid, 4 changes, UDLM": lambda tiny: guided("hybrid", "udlm", tiny),
    "D-CBG step, hybrid, 4 changes, MDLM": lambda tiny: guided("hybrid", "mdlm", tiny),
    "FUDGE sampling, 20 candidates": fudge,
    "NOS, 1 step": lambda tiny: nos(1, tiny),
    "NOS, 4 steps": lambda tiny: nos(4, tiny),
}
