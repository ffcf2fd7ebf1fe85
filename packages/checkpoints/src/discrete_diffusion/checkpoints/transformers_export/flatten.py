"""One source file from several: definitions of ours with all that they refer to, and no import of ours."""

import ast
import builtins
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from discrete_diffusion.checkpoints.transformers_export.source_modules import (
    Module,
    Origin,
    bound,
    is_ours,
    loaded,
    read,
    resolve,
    without_shapes,
)

Definition = tuple[str, str]
"""A module of ours and a name that is bound in it."""

WIDTH = 120
# A signature on three lines, which may fit on one without its shapes.
_HEAD = re.compile(r"^( *def \w+\()\n +(.+[^,\n])\n *(\).*:)$", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """A file that stands alone.

    Attributes:
        text: the file.
        names: what each of the definitions that were asked for is called in it, by its dotted path.
        modules: the modules that definitions were taken from, each behind those that it needs.
    """

    text: str
    names: dict[str, str]
    modules: tuple[str, ...]


def flatten(paths: Sequence[str]) -> Source:
    """Put classes, functions and constants, given by their dotted paths, into one file with all that they refer to.

    What is not referred to is left out; what is keeps its docstring and comments, module after module in the order of
    their imports. Imports of other packages are merged at the top. Annotations with shapes (`Float[Tensor, "b l"]`)
    keep the type alone, so that jaxtyping is not needed. Of two definitions of one name, the same are written once, and
    the second of others gets its module's name in front.

    Raises:
        ValueError: a path that names nothing of ours, or names that cannot be told apart in one file.
    """
    needed = _Needed()
    roots = {path: needed.add(*path.rpartition(".")[::2]) for path in paths}
    modules = needed.ordered()
    names = _names(needed, [*roots.values()], modules)
    written: set[str] = set()
    sections = [_section(read(module), needed.definitions[module], names, written) for module in modules]
    text = "\n\n\n".join([_imports(needed.external), *filter(None, sections)]) + "\n"
    return Source(text, {path: names[root] for path, root in roots.items()}, tuple(modules))


@dataclass
class _Needed:
    """What is taken from which module, and what that asks of other modules and packages."""

    definitions: dict[str, list[str]] = field(default_factory=dict)
    edges: dict[str, list[str]] = field(default_factory=dict)
    external: dict[str, Origin] = field(default_factory=dict)

    def add(self, module: str, name: str) -> Definition:
        """Take a definition and what it refers to; return where it really is."""
        origin = resolve(module, name) if is_ours(module) else None
        if origin is None or not is_ours(origin[0]) or origin[1] is None:
            raise ValueError(f"Expected a class, function or constant of ours, got {module}.{name}.")
        home, name = origin[0], origin[1]
        taken = self.definitions.setdefault(home, [])
        self.edges.setdefault(home, [])
        if name not in taken:
            taken.append(name)
            for used in sorted(loaded(read(home).statements[name])):
                self._follow(home, used)
        return home, name

    def ordered(self) -> list[str]:
        """The modules, each behind those that it needs."""
        order: dict[str, None] = {}

        def visit(module: str, above: tuple[str, ...] = ()) -> None:
            for other in self.edges[module]:
                if other not in order and other not in above:
                    visit(other, (*above, module))
            order[module] = None

        for module in self.edges:
            visit(module)
        return list(order)

    def _follow(self, home: str, name: str) -> None:
        origin = resolve(home, name)
        if origin is None:
            return
        if is_ours(origin[0]):
            module, _ = self.add(origin[0], origin[1] or "")
            if module != home and module not in self.edges[home]:
                self.edges[home].append(module)
        elif self.external.setdefault(name, origin) != origin:
            raise ValueError(f"Expected one meaning of {name} in one file, and {home} has another than modules before.")


def _names(needed: _Needed, roots: Sequence[Definition], modules: Sequence[str]) -> dict[Definition, str]:
    """What each definition is called in the file; those that were asked for come first."""
    names: dict[Definition, str] = {}
    holders: dict[str, Definition | None] = dict.fromkeys([*dir(builtins), *needed.external])
    for definition in [*roots, *((module, name) for module in modules for name in needed.definitions[module])]:
        if definition in names:
            continue
        module, name = definition
        holder = holders.get(name)
        if name in holders and not (holder and _same(holder, definition)):
            private, stem = "_" * name.startswith("_"), module.rpartition(".")[2]
            name = f"{private}{stem.upper() if name.isupper() else stem}_{name.lstrip('_')}"
            if name in holders:
                raise ValueError(f"Expected names that can be told apart, got {name} twice.")
        holders.setdefault(name, definition)
        names[definition] = name
    return names


def _same(one: Definition, other: Definition) -> bool:
    first, second = (ast.dump(read(module).statements[name]) for module, name in (one, other))
    return first == second


def _section(module: Module, defined: Sequence[str], names: dict[Definition, str], written: set[str]) -> str:
    """The definitions of one module in their order, without those that another module had in the same words."""
    statements = {module.statements[name].lineno: module.statements[name] for name in defined}
    parts, aliases, renamed = [], [], {}
    for local in sorted({name for one in statements.values() for name in (*loaded(one), *bound(one))}):
        origin = resolve(module.name, local)
        if origin is None or origin[1] is None or not is_ours(origin[0]):
            continue
        final = names.get((origin[0], origin[1]), local)
        if final == origin[1] != local:  # imported under another name
            if local in names.values():
                raise ValueError(f"Expected {local} of {module.name} to mean one thing in one file.")
            aliases.append(f"{local} = {final}")
        elif final != local:
            renamed[local] = final
    for _, statement in sorted(statements.items()):
        own = [names[module.name, name] for name in bound(statement) if (module.name, name) in names]
        if not written.issuperset(own):
            written.update(own)
            parts.append(_rewritten(module, statement, renamed))
    if not parts:
        return ""
    return "\n\n\n".join([f"# {module.name}", *(["\n".join(aliases)] if aliases else []), *parts])


def _rewritten(module: Module, statement: ast.stmt, renamed: dict[str, str]) -> str:
    """The text of a statement, its shapes taken away and some of its names changed."""
    start, end = module.span(statement)
    if clash := renamed.keys() & {node.arg for node in ast.walk(statement) if isinstance(node, ast.arg)}:
        raise ValueError(f"Expected no argument in {module.name} of a name that another module has too, got {clash}.")
    text = bytearray(module.source[start:end])
    edits = [*without_shapes(statement), *_renaming(module, statement, renamed)]
    spans = sorted(((*module.offsets(node), new) for node, new in edits), reverse=True)
    for first, last, new in spans:
        text[first - start : last - start] = new.encode()
    return _HEAD.sub(lambda head: joined if len(joined := "".join(head.groups())) <= WIDTH else head[0], text.decode())


def _renaming(module: Module, statement: ast.stmt, renamed: dict[str, str]) -> Iterator[tuple[ast.expr, str]]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and node.id in renamed:
            yield node, renamed[node.id]
    if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name in renamed:
        yield module.name_of(statement), renamed[statement.name]


def _imports(external: dict[str, Origin]) -> str:
    """The imports, first of the standard library and then of other packages."""
    plain, names = set(), dict[str, set[str]]()
    for local, (module, attribute) in external.items():
        if attribute is None:
            plain.add(f"import {module}" if module == local else f"import {module} as {local}")
        else:
            names.setdefault(module, set()).add(attribute if attribute == local else f"{attribute} as {local}")
    lines = [
        *sorted(plain),
        *(f"from {module} import {', '.join(sorted(names[module], key=_kind_first))}" for module in sorted(names)),
    ]
    standard, others = list[str](), list[str]()
    for line in lines:
        top = line.split()[1].partition(".")[0]
        (standard if top in sys.stdlib_module_names else others).append(line)
    return "\n\n".join("\n".join(block) for block in (standard, others) if block)


def _kind_first(name: str) -> tuple[bool, bool, str]:
    return not name.isupper(), not name[0].isupper(), name.casefold()
