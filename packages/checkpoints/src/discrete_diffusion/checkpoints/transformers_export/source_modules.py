"""Modules of ours as source: what they define, where their names come from, and which parts of them are shapes."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

NAMESPACE = "discrete_diffusion"
SHAPES = "jaxtyping"

Origin = tuple[str, str | None]
"""A module and a name in it; None is the module itself."""


@dataclass(frozen=True)
class Module:
    """A module of ours, read and not run.

    Attributes:
        statements: what binds each name at its top level.
        imports: where each imported name comes from, imports for type checkers included.
    """

    name: str
    source: bytes
    tree: ast.Module
    statements: dict[str, ast.stmt]
    imports: dict[str, Origin]

    def offsets(self, node: ast.expr) -> tuple[int, int]:
        """Where an expression begins and ends, in bytes of the source."""
        starts = self._line_starts()
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def span(self, statement: ast.stmt) -> tuple[int, int]:
        """Where a statement begins and ends, with the comments above it and the docstring below a constant."""
        lines = self.source.splitlines(keepends=True)
        decorators = getattr(statement, "decorator_list", [])
        first = min([statement.lineno, *(decorator.lineno for decorator in decorators)]) - 1
        while first and lines[first - 1].startswith(b"#"):
            first -= 1
        after = self.tree.body[self.tree.body.index(statement) + 1 :][:1]
        last = (
            after[0]
            if after and isinstance(statement, ast.Assign | ast.AnnAssign) and _is_docstring(after[0])
            else statement
        )
        starts = self._line_starts()
        assert last.end_lineno is not None
        return starts[first], starts[last.end_lineno] - 1

    def name_of(self, statement: ast.FunctionDef | ast.ClassDef) -> ast.Name:
        """The name in the head of a definition, as an expression with its place."""
        line = self.source.splitlines()[statement.lineno - 1]
        column = line.index(statement.name.encode(), statement.col_offset + len(b"def "))
        end = column + len(statement.name.encode())
        line_number = statement.lineno
        return ast.Name(
            statement.name, lineno=line_number, end_lineno=line_number, col_offset=column, end_col_offset=end
        )

    def _line_starts(self) -> list[int]:
        starts = [0]
        for line in self.source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return starts


def is_ours(module: str) -> bool:
    """Whether a module is in our namespace."""
    return module.startswith(f"{NAMESPACE}.")


@cache
def read(name: str) -> Module:
    """Read a module of ours.

    Raises:
        ValueError: if there is none.
    """
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise ValueError(f"Expected a module of ours, got {name}.")
    source = Path(spec.origin).read_bytes()
    tree = ast.parse(source)
    statements = {bound_name: statement for statement in tree.body for bound_name in bound(statement)}
    imports = {}
    for statement in tree.body:
        inside = statement.body if isinstance(statement, ast.If) else [statement]
        for one in inside:
            imports.update(_imported(one))
    return Module(name, source, tree, statements, imports)


def resolve(module: str, name: str) -> Origin | None:
    """Where a name of a module of ours is defined, through our re-exports; None if the module does not bind it.

    Raises:
        ValueError: if it is said to come from a module of ours that does not have it.
    """
    here = read(module)
    if name in here.statements:
        return module, name
    if name not in here.imports:
        return None
    origin, attribute = here.imports[name]
    if not is_ours(origin):
        return origin, attribute
    found = None if attribute is None else resolve(origin, attribute)
    if found is None:
        raise ValueError(f"Expected {module} to import classes, functions or constants of ours, not modules: {name}.")
    return found


def bound(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top level defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def loaded(node: ast.AST) -> set[str]:
    """The names that are read in a statement, but for those that shapes alone need."""
    if isinstance(node, ast.Name):
        return {node.id}
    children = [_kind(node)] if _has_shape(node) else ast.iter_child_nodes(node)
    return {name for child in children for name in loaded(child)}


def without_shapes(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """The expressions that name shapes, and what stands for each of them without."""
    union = isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)
    operands = list(_operands(node)) if union else [node]
    if any(_has_shape(operand) for operand in operands):
        kinds = dict.fromkeys(ast.unparse(_kind(one) if _has_shape(one) else one) for one in operands)
        assert isinstance(node, ast.expr)
        yield node, " | ".join(kinds)
        return
    for child in ast.iter_child_nodes(node):
        yield from without_shapes(child)


_TYPES = ("Float", "Int", "Bool", "Shaped")


def _has_shape(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in _TYPES


def _kind(node: ast.AST) -> ast.expr:
    assert isinstance(node, ast.Subscript)
    assert isinstance(node.slice, ast.Tuple)
    return node.slice.elts[0]


def _operands(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _operands(node.left)
        yield from _operands(node.right)
    else:
        yield node


def _imported(statement: ast.stmt) -> dict[str, Origin]:
    if isinstance(statement, ast.Import):
        return {alias.asname or alias.name: (alias.name, None) for alias in statement.names}
    if isinstance(statement, ast.ImportFrom) and statement.module is not None:
        return {alias.asname or alias.name: (statement.module, alias.name) for alias in statement.names}
    return {}


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
