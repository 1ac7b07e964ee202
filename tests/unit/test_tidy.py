"""The habits of this repository, checked. A failure says where, what, and what to do instead.

In the manner of TigerBeetle's tidy.zig: what a reviewer would have to say twice is said here.
"""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("gateway", "ide", "metering", "router", "serving")
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".json",
    ".sql",
    ".yml",
    ".yaml",
    ".txt",
    ".sh",
    ".sse",
    ".jinja",
    "",
}

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

NOT_MONEY = {
    "ide/simulator/files.py": "psi, as a number for readers of JSON",
    "ide/simulator/plots.py": "coordinates of a plot",
    "ide/simulator/world.py": "chance and ramps: factors that end as whole millionths",
    "metering/drift.py": "a slope and its error: statistics of token counts",
    "metering/poster.py": "seconds: how long rows gather, when to ask again",
    "metering/postgres_link.py": "seconds: when to try again to connect",
    "metering/postgres_watch.py": "seconds: how long to wait for an answer",
    "metering/redis_pools.py": "seconds: how long to wait for Redis",
    "metering/reputation_store.py": "pieces of evidence, faded: statistics of conduct",
    "metering/spool.py": "seconds: how long rows have waited",
    "metering/spool_log.py": "seconds: how long what is booked is kept",
    "metering/spool_queue.py": "seconds: how long rows gather, and their pace",
    "metering/sqlite_file.py": "seconds: how long to wait for another process",
}
"""Files of metering/ and ide/ that may hold a float or divide, and what it is if not money."""

NEEDS_A_SHORT_PATH = {
    "serving/ray_node.py": "Ray keeps Unix sockets there, whose paths have a limit",
    "serving/vllm_process.py": "vLLM keeps Unix sockets there, whose paths have a limit",
}
"""Files that may name /tmp, because TMPDIR can be too long, and why."""

HEAVY = ("ray", "torch", "transformers", "vllm")
CLIENTS = ("aiohttp", "httpx", "requests")

Problems = Iterator[str]


class Source:
    """One Python file, read once."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.room = path.partition("/")[0]
        self.nodes = list(ast.walk(ast.parse(text, path)))

    def at(self, node: ast.AST, message: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {message}"


@cache
def texts() -> dict[str, str]:
    """Return every text file that git tracks or would track, by its path."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for path in paths
        if path.suffix in TEXT and path.is_file()
    }


@cache
def sources() -> tuple[Source, ...]:
    return tuple(Source(path, text) for path, text in texts().items() if path.endswith(".py"))


@cache
def modules() -> dict[str, Source]:
    """Return the rooms' modules by dotted name; a package goes by its folder's."""
    return {
        source.path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): source
        for source in sources()
        if source.room in ROOMS
    }


# Rules of one file.


def money_is_whole(source: Source) -> Problems:
    if source.room not in ("metering", "ide") or source.path in NOT_MONEY:
        return
    hint = "; if it is not money, name the file in NOT_MONEY and say what it is"
    for node in source.nodes:
        match node:
            case ast.Constant(value=float()):
                yield source.at(node, f"a float; money is whole nano-USD or IO base units{hint}")
            case ast.Name(id="float"):
                yield source.at(node, f"`float`; money is int{hint}")
            case ast.BinOp(op=ast.Div(), right=right) if not _joins_path(right):
                yield source.at(node, f"`/`; use mul_div_floor or mul_div_ceil of money.py{hint}")
            case ast.AugAssign(op=ast.Div()):
                yield source.at(node, f"`/=`; use mul_div_floor or mul_div_ceil of money.py{hint}")


def _joins_path(right: ast.expr) -> bool:
    return isinstance(right, ast.JoinedStr) or (
        isinstance(right, ast.Constant) and isinstance(right.value, str)
    )


def nothing_is_printed(source: Source) -> Problems:
    if source.room not in ROOMS or source.path.startswith("gateway/cli/"):
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and _name(node.func) == "print":
            yield source.at(node, "print(); use click.echo in a command, the log elsewhere")


def errors_are_named(source: Source) -> Problems:
    for node in source.nodes:
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = "everything" if node.type is None else _name(node.type)
        raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
        if caught in ("everything", "Exception", "BaseException") and not raises:
            yield source.at(
                node, f"catches {caught} and goes on; name the errors you expect, or raise again"
            )


def middleware_is_plain_asgi(source: Source) -> Problems:
    if source.path == "tests/unit/test_tidy.py":
        return
    for node in source.nodes:
        named = _name(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        decorator = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if named == "BaseHTTPMiddleware" or (decorator and _name(node.func) == "middleware"):
            yield source.at(
                node,
                "convenience middleware (+267 us a request); write a class with "
                "__call__(scope, receive, send)",
            )


def tasks_are_kept(source: Source) -> Problems:
    for node in source.nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = _name(node.value.func)
            if name in ("create_task", "ensure_future"):
                yield source.at(
                    node,
                    f"{name}() and nobody holds the task: it may vanish with its error; "
                    "keep it and await or cancel it",
                )


def no_globals(source: Source) -> Problems:
    for node in source.nodes:
        if isinstance(node, ast.Global):
            yield source.at(node, "`global`; make it a field of an object that is passed in")


def heavy_imports_stay_in_serving(source: Source) -> Problems:
    if source.room not in ROOMS:
        return
    for node, module in _imports(source):
        top = module.partition(".")[0]
        if top in HEAVY and source.room != "serving":
            yield source.at(node, f"imports {top}; only files of serving/ that need it may")
        if top in CLIENTS:
            yield source.at(
                node,
                f"imports {top}; requests to nodes go through gateway/nodes/upstream.py, "
                "the rest through urllib.request off the loop",
            )


def functions_are_short(source: Source) -> Problems:
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield source.at(
                    node,
                    f"{node.name} has {lines} lines of {FUNCTION_LINES_MAX}; "
                    "move a loop's body or a branch into a function of its own",
                )


def files_are_short(source: Source) -> Problems:
    lines = source.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{source.path}: {lines} lines of {FILE_LINES_MAX}; give its second noun its own file"


def _name(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _imports(source: Source) -> Iterator[tuple[ast.AST, str]]:
    for node in source.nodes:
        match node:
            case ast.Import(names=names):
                yield from ((node, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield node, module
                yield from ((node, f"{module}.{alias.name}") for alias in names)


# Rules of the whole.


def rooms_have_a_readme_that_lists_their_files() -> Problems:
    for room in ROOMS:
        readme = texts().get(f"{room}/README.md")
        if readme is None:
            yield f"{room}/README.md is missing; one page: what the room owns, promises, refuses"
            continue
        for source in sources():
            name = Path(source.path).name
            if source.room == room and name != "__init__.py" and f"{name}`" not in readme:
                yield f"{room}/README.md does not list {source.path}; say there what it is"


def modules_are_used() -> Problems:
    """A module is imported by another, run by itself, or named in a string or a file."""
    rooms = [source for source in sources() if source.room in ROOMS]
    imported = {module for source in rooms for _, module in _imports(source)}
    named = "\n".join(
        text
        for path, text in texts().items()
        if not path.startswith("tests/") and ".md" not in path
    )
    for module, source in modules().items():
        runs = 'if __name__ == "__main__"' in source.text
        in_string = re.search(rf"[\"' ]{re.escape(module)}[:\"']", named) is not None
        package = source.path.endswith(("__init__.py", "__main__.py"))
        command = source.path.startswith("gateway/cli/")
        if not (package or command or runs or in_string or module in imported):
            yield f"{source.path} is imported by nothing but tests; wire it in or delete it"


def names_are_used() -> Problems:
    """A name at the top of a module occurs somewhere else too."""
    words = Counter(
        word for source in sources() for word in re.findall(r"[A-Za-z_]\w*", source.text)
    )
    for source in modules().values():
        for node in ast.parse(source.text).body:
            for name in _defined(node):
                decorated = bool(getattr(node, "decorator_list", None))
                if words[name] == 1 and not decorated and not name.startswith("__"):
                    yield source.at(node, f"{name} is used nowhere; delete it")


def _defined(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def no_paths_of_one_machine() -> Problems:
    folder = re.compile(r"(?<![\w./])/(?:work|tmp|root)(?=[/\s\"'`]|$)", re.MULTILINE)
    for path, text in texts().items():
        for found in folder.finditer(text):
            if path in NEEDS_A_SHORT_PATH or path == "tests/unit/test_tidy.py":
                continue
            line = text.count("\n", 0, found.start()) + 1
            yield (
                f"{path}:{line}: {found.group()} is a folder of one machine; "
                "use tmp_path, tempfile or a path relative to the file"
            )


FILE_RULES: tuple[Callable[[Source], Problems], ...] = (
    money_is_whole,
    nothing_is_printed,
    errors_are_named,
    middleware_is_plain_asgi,
    tasks_are_kept,
    no_globals,
    heavy_imports_stay_in_serving,
    functions_are_short,
    files_are_short,
)
REPOSITORY_RULES: tuple[Callable[[], Problems], ...] = (
    rooms_have_a_readme_that_lists_their_files,
    modules_are_used,
    names_are_used,
    no_paths_of_one_machine,
)


@pytest.mark.parametrize("rule", FILE_RULES)
def test_each_file(rule: Callable[[Source], Problems]) -> None:
    problems = [problem for source in sources() for problem in rule(source)]
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize("rule", REPOSITORY_RULES)
def test_the_whole(rule: Callable[[], Problems]) -> None:
    problems = list(rule())
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize(
    ("rule", "path", "bad"),
    [
        (money_is_whole, "metering/x.py", "a = 1.5"),
        (money_is_whole, "ide/x.py", "a = b / c"),
        (money_is_whole, "ide/x.py", "a /= c"),
        (money_is_whole, "ide/x.py", "a = float(b)"),
        (nothing_is_printed, "router/x.py", "print(1)"),
        (errors_are_named, "tests/x.py", "try:\n    a()\nexcept Exception:\n    pass"),
        (errors_are_named, "gateway/x.py", "try:\n    a()\nexcept:\n    b()"),
        (middleware_is_plain_asgi, "gateway/x.py", "class A(BaseHTTPMiddleware): ..."),
        (middleware_is_plain_asgi, "gateway/x.py", "@app.middleware('http')\ndef a(): ..."),
        (tasks_are_kept, "gateway/x.py", "asyncio.create_task(a())"),
        (no_globals, "gateway/x.py", "def a():\n    global b"),
        (heavy_imports_stay_in_serving, "gateway/x.py", "from ray import serve"),
        (heavy_imports_stay_in_serving, "serving/x.py", "import httpx"),
        (functions_are_short, "ide/x.py", "def a():\n" + "    b()\n" * FUNCTION_LINES_MAX),
        (files_are_short, "ide/x.py", "a\n" * (FILE_LINES_MAX + 1)),
    ],
)
def test_the_rules_find_what_they_forbid(
    rule: Callable[[Source], Problems], path: str, bad: str
) -> None:
    assert list(rule(Source(path, bad)))


@pytest.mark.parametrize(
    ("rule", "path", "good"),
    [
        (money_is_whole, "metering/x.py", "a = Path(b) / 'migrations'"),
        (money_is_whole, "router/x.py", "a = b / 2.0"),
        (errors_are_named, "gateway/x.py", "try:\n    a()\nexcept Exception:\n    b()\n    raise"),
        (tasks_are_kept, "gateway/x.py", "self.task = asyncio.create_task(a())"),
        (heavy_imports_stay_in_serving, "serving/x.py", "from ray import serve"),
    ],
)
def test_the_rules_let_pass_what_is_good(
    rule: Callable[[Source], Problems], path: str, good: str
) -> None:
    assert not list(rule(Source(path, good)))
