"""Left-to-right sampling of a real network, through wrappers of another package, reads every token once."""

import torch

from discrete_diffusion.backbones import DiT
from discrete_diffusion.guidance import ClassifierFree, Nucleus, Temperature, autoregressive, last
from discrete_diffusion.processes import NextToken

LENGTH, ROWS, NULL = 12, 5, 2


class Feeds:
    """Counts the tokens that a network is fed."""

    def __init__(self, network: DiT) -> None:
        self.network, self.tokens = network, 0
        self.decode = network.decode

    def __call__(self, x, *args, **kwargs):
        self.tokens += x.numel()
        return self.network(x, *args, **kwargs)

    def encode(self, x, *args, **kwargs):
        self.tokens += x.numel()
        return self.network.encode(x, *args, **kwargs)

    def extend(self, x, *args, **kwargs):
        self.tokens += x.numel()
        return self.network.extend(x, *args, **kwargs)


def causal_network() -> DiT:
    torch.manual_seed(0)
    network = DiT(7, 16, 2, 2, cond_size=8, num_classes=NULL, causal=True, time_conditioning=False).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def drawn(model, **options):
    start = torch.zeros(ROWS, LENGTH, dtype=torch.int64)
    y = torch.tensor([0, 1, 0, 1, 1])
    return last(autoregressive(model, start, y=y, generator=torch.Generator().manual_seed(1), **options))


def test_no_prefix_is_read_twice_under_guidance():
    network = Feeds(causal_network())

    def guided(model):
        return Nucleus(Temperature(ClassifierFree(model, 1.5, NULL), 0.9), 0.95)

    remembered = drawn(guided(NextToken(network, bos_id=0)), use_at=True)
    # conditional and unconditional
    assert network.tokens == 2 * ROWS * LENGTH
    network.tokens = 0
    assert torch.equal(remembered, drawn(guided(NextToken(network, bos_id=0))))
    assert network.tokens == 2 * ROWS * LENGTH**2
