"""One file from several: what it must hold, and what it must not."""

import ast
import builtins
import symtable
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from discrete_diffusion.backbones import DiMamba, DiT
from discrete_diffusion.checkpoints.transformers_export.flatten import flatten

BACKBONES = "discrete_diffusion.backbones"
EVERYTHING = [
    f"{BACKBONES}.DiT",
    f"{BACKBONES}.DiMamba",
    f"{BACKBONES}.UNet",
    *(
        f"discrete_diffusion.processes.{name}"
        for name in ("Uniform", "Absorbing", "Marginal", "NetworkDenoiser", "NextToken")
    ),
    *(f"discrete_diffusion.schedules.{name}" for name in ("LogLinear", "Cosine", "Geometric", "Polynomial")),
    "discrete_diffusion.guidance.ClassifierFree",
    "discrete_diffusion.guidance.AncestralSampler",
    "discrete_diffusion.guidance.AutoregressiveSampler",
]


def run(text: str, name: str = "flattened") -> ModuleType:
    module = ModuleType(name)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        exec(compile(text, name, "exec"), module.__dict__)
    finally:
        del sys.modules[name]
    return module


def write(folder: Path, **files: str) -> None:
    """A package `discrete_diffusion.made` with these modules."""
    home = folder / "discrete_diffusion" / "made"
    home.mkdir(parents=True)
    for name, text in files.items():
        (home / f"{name}.py").write_text(text, encoding="utf-8")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import discrete_diffusion
    from discrete_diffusion.checkpoints.transformers_export import source_modules

    monkeypatch.setattr(
        discrete_diffusion, "__path__", [*discrete_diffusion.__path__, str(tmp_path / "discrete_diffusion")]
    )

    def made(**files: str) -> None:
        write(tmp_path, **files)

    yield made
    source_modules.read.cache_clear()
    for name in [name for name in sys.modules if name.startswith("discrete_diffusion.made")]:
        del sys.modules[name]


def test_every_name_in_the_file_is_bound_in_it():
    text = flatten(EVERYTHING).text
    module = run(text)
    known = {*vars(module), *dir(builtins)}

    def unknown(table: symtable.SymbolTable) -> set[str]:
        found = {one.get_name() for one in table.get_symbols() if one.is_global() and one.get_name() not in known}
        return found.union(*map(unknown, table.get_children())) if table.get_children() else found

    assert unknown(symtable.symtable(text, "flattened", "exec")) == set()


def test_it_imports_nothing_of_ours_and_no_shapes():
    tree = ast.parse(flatten(EVERYTHING).text)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"torch"}


@pytest.mark.parametrize("kind", [DiT, DiMamba])
def test_networks_are_the_same_bit_for_bit(kind: type[torch.nn.Module], generator: torch.Generator):
    sizes = {"vocab_size": 7, "hidden_size": 16, "num_blocks": 2, "num_classes": 2}
    sizes |= {"num_heads": 2} if kind is DiT else {}
    network = kind(**sizes).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    copy = getattr(run(flatten([f"{BACKBONES}.{kind.__name__}"]).text), kind.__name__)(**sizes).eval()
    copy.load_state_dict(network.state_dict())
    xt = torch.randint(7, (3, 9), generator=generator)
    sigma, y = torch.rand(3, generator=generator), torch.tensor([0, 1, 2])
    assert torch.equal(copy(xt, sigma, y), network(xt, sigma, y))
    assert type(copy) is not kind


def test_what_is_not_referred_to_is_left_out():
    text = flatten([f"{BACKBONES}.DiT"]).text
    assert "class DiT(" in text
    assert "class DiTSize" not in text
    assert "class UNet" not in text
    assert '"""Diffusion transformer (DDiT) of SEDD' in text  # docstrings stay


def test_the_same_name_for_two_things(made):
    made(
        one="from jaxtyping import Float\n\n_size = 2  # of one\n\n\n"
        'def first(x: Float[int, "b"]):\n    return x * _size\n',
        two="from discrete_diffusion.made.one import first as begin\n\n# Why three.\n_size = 3\n"
        'Pair = tuple[int, int]\n"""Two."""\n\n\ndef second(x: Pair):\n    return begin(x) * _size\n',
        three='Pair = tuple[int, int]\n"""Two."""\n\n\ndef third() -> Pair:\n    return 1, 2\n',
    )
    source = flatten(["discrete_diffusion.made.two.second", "discrete_diffusion.made.three.third"])
    module = run(source.text)
    assert module.second(5) == 30
    assert module.third() == (1, 2)
    assert source.text.count("Pair = ") == 1
    assert "# Why three.\n_two_size = 3" in source.text
    assert "_size = 2  # of one" in source.text
    assert "def first(x: int):" in source.text
    assert source.modules == tuple(f"discrete_diffusion.made.{name}" for name in ("one", "two", "three"))


def test_definitions_of_one_name_are_told_apart(made):
    made(one="def same(x):\n    return x + 1\n", two="class same:\n    value = 7\n")
    source = flatten(["discrete_diffusion.made.one.same", "discrete_diffusion.made.two.same"])
    module = run(source.text)
    assert source.names == {"discrete_diffusion.made.one.same": "same", "discrete_diffusion.made.two.same": "two_same"}
    assert (module.same(1), module.two_same.value) == (2, 7)


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        (
            "from math import pi as f\n\n\ndef a():\n    return f\n",
            "from math import e as f\n\n\ndef b():\n    return f\n",
            "meaning of f",
        ),
        ("def a():\n    return 1\n", "def a(a):\n    return a\n\n\ndef b():\n    return a\n", "argument"),
        (
            "def a():\n    return 1\n",
            "from discrete_diffusion.made import one\n\n\ndef b():\n    return one.a()\n",
            "a module of ours",
        ),
    ],
)
def test_what_cannot_be_one_file_is_refused(made, one: str, two: str, message: str):
    made(one=one, two=two)
    with pytest.raises(ValueError, match=message):
        flatten(["discrete_diffusion.made.one.a", "discrete_diffusion.made.two.b"])


@pytest.mark.parametrize("path", ["os.system", "discrete_diffusion.nothing.Here", f"{BACKBONES}.Nothing"])
def test_what_is_not_ours_is_refused(path: str):
    with pytest.raises(ValueError, match="of ours, got"):
        flatten([path])
