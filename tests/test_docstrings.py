"""Rules of docstrings and annotations that ruff does not check."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for home in ("packages", "apps") for path in ROOT.glob(f"{home}/*/src/**/*.py"))
TYPED = ("schedules", "processes", "guidance", "backbones")
CONSTRUCTORS = ("__init__", "__post_init__")


def identity(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts[4:])


TYPED_MODULES = [path for path in MODULES if identity(path).split(".")[0] in TYPED]


def public(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return not node.name.startswith("_") or node.name == "__call__"


def classes(source: str) -> Iterator[ast.ClassDef]:
    return (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and public(node))


def undocumented_errors(source: str) -> list[str]:
    """Return the classes that validate their arguments, and whose docstrings have no `Raises:`."""
    found = []
    for node in classes(source):
        constructors = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name in CONSTRUCTORS]
        docstrings = "".join(ast.get_docstring(one) or "" for one in (node, *constructors))
        validates = any(isinstance(one, ast.Raise) for method in constructors for one in ast.walk(method))
        if validates and "Raises:" not in docstrings:
            found.append(node.name)
    return found


def tensors_without_shape(source: str) -> list[str]:
    """Return the arguments and results of public functions that are tensors without a shape, except in callables."""
    functions = [(one, "") for one in ast.parse(source).body]
    functions += [(one, f"{node.name}.") for node in classes(source) for one in node.body]
    found = []
    for one, prefix in functions:
        if isinstance(one, ast.FunctionDef) and public(one):
            arguments = [*one.args.posonlyargs, *one.args.args, *one.args.kwonlyargs]
            annotations = {argument.arg: argument.annotation for argument in arguments} | {"return": one.returns}
            found += [f"{prefix}{one.name}: {name}" for name, node in annotations.items() if node and has_bare(node)]
    return found


def has_bare(annotation: ast.AST) -> bool:
    """Return whether `Tensor` is in an annotation outside `Float[Tensor, ...]` and the like, and outside `Callable`."""
    if isinstance(annotation, ast.Subscript):
        if isinstance(annotation.value, ast.Name) and annotation.value.id == "Callable":
            return False
        parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        if len(parts) == 2 and isinstance(parts[1], ast.Constant) and isinstance(parts[1].value, str):
            return False
    if isinstance(annotation, ast.Name):
        return annotation.id == "Tensor"
    return any(map(has_bare, ast.iter_child_nodes(annotation)))


@pytest.mark.parametrize("path", MODULES, ids=identity)
def test_classes_that_validate_document_their_errors(path: Path):
    assert undocumented_errors(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", TYPED_MODULES, ids=identity)
def test_tensors_of_public_functions_have_shapes(path: Path):
    assert tensors_without_shape(path.read_text(encoding="utf-8")) == []


def test_the_rules_find_what_they_forbid():
    assert undocumented_errors('class A:\n    def __init__(self):\n        raise ValueError("no")\n') == ["A"]
    source = """
def one(x: Tensor, y: Float[Tensor, "b"], draw: Callable[[int], Tensor]) -> tuple[Tensor, int]: ...
class Layer:
    def forward(self, x: Int[Tensor, "b l"] | None, past: Tensor | None) -> Float[Tensor, "b"]: ...
"""
    assert tensors_without_shape(source) == ["one: x", "one: return", "Layer.forward: past"]
