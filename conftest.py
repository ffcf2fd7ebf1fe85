"""Fixtures shared by the tests of all packages: seeded randomness, and the Oracle that enumerates tiny worlds exactly.

The Oracle is the specification. It knows nothing of the packages: it multiplies explicit matrices over all sequences.
"""

import itertools
import random
import signal
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import settings
from torch import Tensor

# Tests run in parallel processes; threads within each would fight over the same cores.
torch.set_num_threads(1)

# Of what a shell runs in the background nothing hears Ctrl-C, and tests send it to the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every machine, however slow.
settings.register_profile("deterministic", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("deterministic")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="of all that tests draw (default: 0)")


def _seed_everything(item: pytest.Item) -> None:
    seed = item.config.getoption("--seed")
    random.seed(seed)
    torch.manual_seed(seed)


# Parallel processes share the tests out anew in every run: what a test draws may not depend on those before it.
# Twice, as fixtures that several tests share draw in only the first of them.
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _seed_everything(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    _seed_everything(item)


class Oracle:
    """A joint distribution over all `v**l` sequences and, optionally, `p(y | x_0)`, corrupted token by token by

        q(x_t | x_0) = alpha_t x_0 + (1 - alpha_t) noise.

    Every method returns exact probabilities (not logarithms) in float64.

    Args:
        joint: p(x_0), shape (v,) * l.
        noise: the distribution that corrupted tokens are drawn from, shape (v,).
        likelihood: p(y | x_0), shape (v,) * l + (classes,).
    """

    def __init__(self, joint: Tensor, noise: Tensor, likelihood: Tensor | None = None):
        self.length, self.vocab_size = joint.ndim, joint.shape[0]
        self.joint = joint.double().flatten() / joint.double().sum()
        self.noise = noise.double() / noise.double().sum()
        self.likelihood = None if likelihood is None else likelihood.double().reshape(len(self.joint), -1)
        self.sequences = torch.tensor(list(itertools.product(range(self.vocab_size), repeat=self.length)))

    @classmethod
    def random(cls, vocab_size: int, length: int, noise: Tensor, *, classes: int = 2, mask_id: int | None = None):
        """A random positive joint distribution (zero on sequences that contain `mask_id`) and random labels."""
        generator = torch.Generator().manual_seed(vocab_size * 100 + length)
        joint = torch.rand((vocab_size,) * length, generator=generator, dtype=torch.float64) ** 3 + 1e-3
        if mask_id is not None:
            for axis in range(length):
                joint.index_fill_(axis, torch.tensor([mask_id]), 0.0)
        logits = 2 * torch.randn((vocab_size,) * length + (classes,), generator=generator, dtype=torch.float64)
        return cls(joint, noise, logits.softmax(-1))

    def index(self, x: Tensor) -> Tensor:
        """The number of each sequence: (..., l) tokens to (...) integers."""
        powers = self.vocab_size ** torch.arange(self.length - 1, -1, -1)
        return (x * powers).sum(-1)

    def token_corruption(self, alpha: float) -> Tensor:
        """The (v, v) matrix from one clean token to one corrupted token."""
        return alpha * torch.eye(self.vocab_size, dtype=torch.float64) + (1 - alpha) * self.noise

    def corruption(self, alpha: float) -> Tensor:
        """The (v^l, v^l) matrix q(x_t | x_0), rows x_0."""
        return self._product([self.token_corruption(alpha)] * self.length)

    def conditional_joint(self, y: int | None = None) -> Tensor:
        """p(x_0 | y), or p(x_0)."""
        if y is None:
            return self.joint
        joint = self.joint * self.likelihood[:, y]
        return joint / joint.sum()

    def posterior(self, alpha: float, y: int | None = None) -> Tensor:
        """The (v^l, v^l) matrix p(x_0 | x_t, y), rows x_t; rows of impossible x_t are zero."""
        weights = (self.conditional_joint(y)[:, None] * self.corruption(alpha)).T
        return torch.nan_to_num(weights / weights.sum(1, keepdim=True))

    def denoiser(self, alpha: float, y: int | None = None) -> Tensor:
        """p(x_0^l | x_t, y) of every sequence x_t, shape (v^l, l, v): the mean parameterisation."""
        posterior = self.posterior(alpha, y)
        onehot = torch.nn.functional.one_hot(self.sequences, self.vocab_size).double()
        return torch.einsum("nm,mlv->nlv", posterior, onehot)

    def leave_one_out(self, alpha: float, y: int | None = None) -> Tensor:
        """p(x_0^l | x_t without its position l, y) of every sequence x_t, shape (v^l, l, v)."""
        onehot = torch.nn.functional.one_hot(self.sequences, self.vocab_size).double()
        joint, clean = self.conditional_joint(y), torch.ones_like(self.token_corruption(1.0))
        columns = []
        for position in range(self.length):
            matrices = [self.token_corruption(alpha)] * self.length
            matrices[position] = clean
            weights = (joint[:, None] * self._product(matrices)).T
            column = weights @ onehot[:, position]
            columns.append(torch.nan_to_num(column / column.sum(-1, keepdim=True)))
        return torch.stack(columns, 1)

    def classifier(self, alpha: float) -> Tensor:
        """p(y | x_t) of every sequence x_t, shape (v^l, classes)."""
        return self.posterior(alpha) @ self.likelihood

    def bayes_kernel(self, alpha_t: float, alpha_s: float, y: int | None = None) -> Tensor:
        """p(x_s^l | x_t, y) of every x_t, shape (v^l, l, v), by Bayes' rule on explicit matrices."""
        distribution_s = self.conditional_joint(y) @ self.corruption(alpha_s)
        ratio = alpha_t / alpha_s
        weights = (distribution_s[:, None] * self._product([self.token_corruption(ratio)] * self.length)).T
        joint = torch.nan_to_num(weights / weights.sum(1, keepdim=True))
        onehot = torch.nn.functional.one_hot(self.sequences, self.vocab_size).double()
        return torch.einsum("nm,mlv->nlv", joint, onehot)

    def transition(self, kernel: Tensor) -> Tensor:
        """The (v^l, v^l) matrix of a step whose positions are drawn independently from `kernel` (v^l, l, v)."""
        result = torch.ones(len(kernel), 1, dtype=torch.float64)
        for position in range(self.length):
            result = (result[:, :, None] * kernel[:, None, position]).flatten(1)
        return result

    def distribution(self, kernel: Callable[[Tensor, Tensor, Tensor], Tensor], times: Sequence[float]) -> Tensor:
        """Exact distribution of x_0 under ancestral sampling with `kernel(xt, t, s) -> log p(x_s | x_t)`."""
        distribution = self._product([self.noise[None]] * self.length)[0]
        for t, s in itertools.pairwise(times):
            batch = torch.full((len(self.sequences),), 1.0, dtype=torch.float64)
            distribution = distribution @ self.transition(kernel(self.sequences, batch * t, batch * s).double().exp())
        return distribution

    def _product(self, matrices: Sequence[Tensor]) -> Tensor:
        result = torch.ones(1, 1, dtype=torch.float64)
        for matrix in matrices:
            result = torch.kron(result, matrix)
        return result


@pytest.fixture
def generator(request: pytest.FixtureRequest) -> torch.Generator:
    return torch.Generator().manual_seed(request.config.getoption("--seed"))


@pytest.fixture(scope="session")
def oracle() -> type[Oracle]:
    """The Oracle class: `oracle.random(vocab_size, length, noise, mask_id=...)`."""
    return Oracle
