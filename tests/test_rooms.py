"""The rooms of the package: each imports only from those below it."""

from __future__ import annotations

import ast

from tests.harness import ROOT

PACKAGE = ROOT / "batchq"

FLOORS = """
commands
webhook testing
installation
flower
task control overview metrics
capture
flow
observe
notify
decide
bulk
celery_side
journal
provider
money
settings
signals
events
logs
prompt
common
errors
""".split("\n")[1:-1]
"""From the top floor down. Rooms of one floor do not know of one another."""

APART = "emulator"
"""A product of its own: it imports nothing of the rest, and is imported by who starts it."""

HEIGHTS = {room: height for height, floor in enumerate(reversed(FLOORS)) for room in floor.split()}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room_of(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def imports_of(module: str) -> set[str]:
    """The modules of ours that one imports, anywhere in it: also those for types alone."""
    found = set[str]()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from a import b` is of the module a.b, where there is one.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & MODULES.keys()) or {node.module}
    return (found & MODULES.keys()) - {module}


IMPORTS = {module: imports_of(module) for module in MODULES}


def test_no_room_imports_from_one_above_or_beside_it() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if room_of(module) not in {"__init__", room_of(other)} and not is_below(other, module)
    ]
    assert wrong == []


def is_below(other: str, module: str) -> bool:
    below, above = room_of(other), room_of(module)
    if APART in {below, above}:
        return below == APART
    return HEIGHTS[below] < HEIGHTS[above]


def test_no_module_imports_itself_by_way_of_others() -> None:
    done, under_way = set[str](), list[str]()

    def visit(module: str) -> None:
        assert module not in under_way, f"a circle: {' -> '.join([*under_way, module])}"
        if module not in done:
            under_way.append(module)
            for other in sorted(IMPORTS[module]):
                visit(other)
            under_way.pop()
            done.add(module)

    for module in MODULES:
        visit(module)


def test_the_map_has_each_room() -> None:
    top = {path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms = top - {"__init__.py", "__pycache__"}
    assert {name.removesuffix(".py") for name in rooms} == HEIGHTS.keys() | {APART}
    the_map = (ROOT / "ARCHITECTURE.md").read_text().partition("## The map")[2].partition("##")[0]
    assert {name for name in rooms if f"`{name.removesuffix('.py')}" not in the_map} == set()
    assert len(rooms) <= 28


def test_each_folder_says_what_its_concern_is() -> None:
    undocumented = [
        module
        for module, path in MODULES.items()
        if path.name == "__init__.py" and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert undocumented == []


# How large things are


def bodies() -> list[int]:
    """The lines of each function's body, without its docstring, from the shortest on."""
    found = list[int]()
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                said = node.body[1:] if ast.get_docstring(node) is not None else node.body
                last = said[-1].end_lineno if said else None
                found.append(0 if last is None else last - said[0].lineno + 1)
    return sorted(found)


def test_most_files_are_a_page_or_two() -> None:
    lengths = [len(path.read_text().splitlines()) for path in MODULES.values()]
    assert sum(length <= 200 for length in lengths) >= 0.85 * len(lengths)


def test_functions_are_short() -> None:
    found = bodies()
    assert found[len(found) // 2] <= 6
    assert found[len(found) * 9 // 10] <= 17


def test_no_class_does_everything() -> None:
    wide = [
        f"{module}.{node.name}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and sum(
            isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name[0] != "_"
            for one in node.body
        )
        > 40
    ]
    assert wide == []
