"""Python files of an exported model: modules of these packages with relative imports, in one flat folder.

transformers copies the files that a model's code imports by `from .name import ...`, next to each other and without
subfolders. `discrete_diffusion.backbones.dit` therefore becomes `backbones_dit.py`.
"""

import ast
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

NAMESPACE = "discrete_diffusion."
MODEL = f"{NAMESPACE}checkpoints.transformers_export.model"
MODELING_FILE = "modeling_discrete_diffusion"

ANNOTATIONS = '''# SPDX-License-Identifier: Apache-2.0
"""Annotations of tensors with their shapes, for installations without jaxtyping."""


class Shaped:
    """`Shaped[Tensor, "b l"]` is `Tensor`."""

    def __class_getitem__(cls, item):
        return item[0]


Bool = Float = Int = Shaped
'''


def modeling_files(targets: Iterable[str]) -> dict[str, str]:
    """Return the text of each Python file of a model, by file name.

    The modeling file imports all others, because transformers 4 copies only the files that it imports itself.

    Args:
        targets: Dotted paths of the classes and functions that config.json names.

    Raises:
        ValueError: If a target is not a class or function of these packages.
    """
    parts = {target: _definition(*target.rpartition(".")[::2]) for target in sorted(targets)}
    texts: dict[str, str] = {}
    pending = [MODEL, *(module for module, _ in parts.values())]
    while pending:
        module = pending.pop()
        if module not in texts:
            texts[module], imported = _with_relative_imports(module)
            pending += imported
    main = texts.pop(MODEL)
    files = {"annotations.py": ANNOTATIONS, **{f"{_file(module)}.py": texts[module] for module in sorted(texts)}}
    imports = [f"from .{name.removesuffix('.py')} import __name__ as _" for name in files]
    table = [
        f'from .{_file(module)} import {name}\nPARTS["{target}"] = {name}' for target, (module, name) in parts.items()
    ]
    main = "\n".join(
        [f"{main}\n", "# Files that this one needs, all of them for transformers 4.", *imports, *table, ""]
    )
    return {f"{MODELING_FILE}.py": main, **files}


def _file(module: str) -> str:
    return module.removeprefix(NAMESPACE).replace(".", "_")


def _with_relative_imports(module: str) -> tuple[str, list[str]]:
    """Return the text of a module as it stands in the exported folder, and the modules that it imports."""
    source, tree = _read(module)
    lines, imported = source.splitlines(), []
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in sorted(statements, key=lambda node: -node.lineno):
        origin = node.module or ""
        if origin == "jaxtyping":
            found = [("annotations", alias.name, alias) for alias in node.names]
        elif origin.startswith(NAMESPACE):
            homes = [(*_definition(origin, alias.name), alias) for alias in node.names]
            imported += [home for home, _, _ in homes]
            found = [(_file(home), name, alias) for home, name, alias in homes]
        else:
            continue
        indent = " " * node.col_offset
        lines[node.lineno - 1 : node.end_lineno] = [
            f"{indent}from .{file} import {name}"
            + (f" as {local}" if (local := alias.asname or alias.name) != name else "")
            for file, name, alias in found
        ]
    package = f"discrete-diffusion-{module.split('.')[1]}"
    header = [f"# {module} of {package} {version(package)}", "# SPDX-License-Identifier: Apache-2.0"]
    return "\n".join([*header, *lines, ""]), imported


def _definition(module: str, name: str) -> tuple[str, str]:
    """Return the module that defines a name, and its name there, through re-exports.

    Raises:
        ValueError: If it is not defined in these packages.
    """
    for node in _read(module)[1].body if module.startswith(NAMESPACE) else ():
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return _definition(str(node.module), alias.name)
        elif name in _names(node):
            return module, name
    raise ValueError(f"Expected a class, function or constant of ours, got {module}.{name}.")


def _names(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


@cache
def _read(module: str) -> tuple[str, ast.Module]:
    """Return the source of a module and its syntax tree.

    Raises:
        ValueError: If there is no such module.
    """
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise ValueError(f"Expected a module of ours, got {module}.")
    source = Path(spec.origin).read_text(encoding="utf-8")
    return source, ast.parse(source)
