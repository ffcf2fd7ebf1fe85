from torch import nn

from discrete_diffusion.processes import NetworkTraits


class Labelled(nn.Module):
    causal = True

    def __init__(self) -> None:
        super().__init__()
        self.num_classes = 3


def test_attributes_are_read_and_others_have_their_defaults():
    assert NetworkTraits.of(Labelled()) == NetworkTraits(causal=True, num_classes=3)
    plain = NetworkTraits.of(nn.Linear(1, 1))
    assert (plain.causal, plain.time_conditioning, plain.num_values, plain.blueprint) == (False, True, None, None)
