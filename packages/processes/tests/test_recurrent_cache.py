"""Cache of a recurrent network, used only where the whole of its prefix still holds."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.processes import NextToken

V, BOS, LENGTH, SIZE, EXACT = 3, 0, 5, 4, {"rtol": 0, "atol": 1e-12}


class Recurrent(torch.nn.Module):
    """h_t = tanh(h_{t-1} W + e(x_t) + label), twice, and a count of the tokens that it was fed.

    What it remembers is (last input, state) of each layer, (b, d, 1) and (b, d, d), as wide as a sequence is long:
    it is the number of axes that tells it from keys and values.
    """

    def __init__(self):
        super().__init__()
        self.fed = 0
        generator = torch.Generator().manual_seed(0)

        def draw(*shape):
            return torch.nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.tokens, self.labels, self.out = draw(V, SIZE), draw(2, SIZE), draw(SIZE, V)
        self.weights = torch.nn.ParameterList([draw(SIZE, SIZE) for _ in range(2)])

    def extend(self, tokens, sigma, y=None, past=None):
        x = self.tokens[tokens] if y is None else self.tokens[tokens] + self.labels[y][:, None]
        extended = []
        for layer, weight in enumerate(self.weights):
            state = x.new_zeros(len(x), SIZE, SIZE) if past is None else past[layer][1]
            hidden = []
            for position in x.unbind(1):
                state = torch.tanh(state @ weight + position[:, None])
                hidden.append(state[:, 0])
            extended.append((x[:, -1, :, None], state))
            x = torch.stack(hidden, 1)
        self.fed += tokens.shape[1]
        return x, tuple(extended)

    def encode(self, xt, sigma, y=None):
        return self.extend(xt, sigma, y)[0]

    def decode(self, hidden, sigma, y=None, at=None):
        logits = hidden @ self.out
        return logits if at is None else logits[at]

    def forward(self, xt, sigma, y=None, at=None):
        return self.decode(self.encode(xt, sigma, y), sigma, y, at)


@pytest.fixture
def network():
    return Recurrent().eval()


@pytest.fixture
def model(network):
    return NextToken(network, BOS)


def uncached(network):
    """The same model over a function that has no `extend`."""
    return NextToken(lambda *args, **kwargs: network(*args, **kwargs), BOS)


def column(x, i):
    at = torch.zeros_like(x, dtype=torch.bool)
    at[:, i] = True
    return at


@torch.no_grad()
@pytest.mark.parametrize("step", [1, 2])
def test_from_left_to_right_every_token_is_read_once(network, model, generator, step):
    x = torch.randint(V, (6, LENGTH), generator=generator)
    expected = uncached(network)(x)
    network.fed = 0
    for i in range(0, LENGTH, step):
        torch.testing.assert_close(model(x, at=column(x, i)), expected[:, i], **EXACT)
    assert network.fed == LENGTH


@torch.no_grad()
@pytest.mark.parametrize(
    ("change", "fed"),
    [("nothing", 1), ("the last token", 4), ("the column again", 3), ("an earlier column", 2), ("the labels", 4)],
)
def test_what_has_changed_is_read_from_the_start(network, model, change, fed):
    x, y, i = torch.tensor([[1, 0, 2, 1, 0], [1, 2, 0, 1, 1], [1, 1, 1, 2, 0]]), torch.tensor([0, 1, 1]), 3
    model(x, y=y, at=column(x, 2))
    network.fed = 0
    if change == "the last token":
        x = x.clone()
        x[1, 1] = 0
    elif change == "the column again":
        i = 2
    elif change == "an earlier column":
        i = 1
    elif change == "the labels":
        y = 1 - y
    result = model(x, y=y, at=column(x, i))
    assert network.fed == fed
    torch.testing.assert_close(result, uncached(network)(x, y=y)[:, i], **EXACT)


CALLS = st.tuples(
    st.integers(0, LENGTH - 1),  # the column
    st.lists(st.integers(0, 5), min_size=1, max_size=4),  # which rows of the pool, in which order
    st.sampled_from([None, 1]),  # the labels
    st.integers(0, LENGTH),  # a place whose token is changed, none at LENGTH
)


@given(calls=st.lists(CALLS, min_size=2, max_size=8))
@torch.no_grad()
def test_any_calls_in_any_order_are_right(calls):
    network = Recurrent().eval()
    model, plain = NextToken(network, BOS), uncached(network)
    pool = torch.randint(V, (6, LENGTH), generator=torch.Generator().manual_seed(0))
    for i, rows, label, place in calls:
        x = pool[rows]
        if place < LENGTH:
            x[0, place] = (x[0, place] + 1) % V
        y = None if label is None else torch.full((len(x),), label)
        torch.testing.assert_close(model(x, y=y, at=column(x, i)), plain(x, y=y, at=column(x, i)), **EXACT)
