"""The tree keeps its rules: who imports whom, what is loaded when, what no file may run."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gantools"
FILES = sorted(PACKAGE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Rooms and the rooms that they may import besides themselves and report. `commands` and the app
# (cli, options, manual, __main__) join everything.
MAY_IMPORT = {
    "io": set(),
    "ops": set(),
    "networks": {"io", "ops"},
    "latents": {"io", "ops", "networks"},
    "inversion": {"io", "ops", "networks", "latents"},  # its results are latents of every space
    "faces": {"io", "ops", "networks"},
    "evaluation": {"io", "ops", "networks"},
    "spectra": {"io", "ops", "networks", "training"},  # its testbeds are trainings (S3.7, S3.12)
    # evaluation for the best snapshot (S0.15); inversion for the encoders that are trained (S2.10).
    "training": {"io", "ops", "networks", "evaluation", "inversion"},
}
APP = {"cli", "options", "manual", "report", "commands", "__init__", "__main__"}

HEAVY = {
    "torch", "torchvision", "numpy", "PIL", "safetensors", "rich", "scipy", "sklearn",
    "matplotlib", "imageio", "imageio_ffmpeg", "tqdm",
}  # fmt: skip
OPTIONAL = {"zarr", "facenet_pytorch", "lpips", "torch_fidelity", "pytorch_msssim"}
RUNS_CODE = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "code"}


def room(name: str) -> str:
    """`io` of gantools.io.stream; `cli` of gantools.cli."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def name_of(path: Path) -> str:
    """The module's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


MODULES = {name_of(path): path for path in FILES}


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Full names that import statements among the nodes load: modules, for `from` also below."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            below = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in below if name in MODULES)


def _is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The statements that run when the module is imported: nothing inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if not _is_typing(child):
            yield child
            yield from at_import(child)


def loads(name: str) -> set[str]:
    """What importing a module of ours imports by itself."""
    return set(imported(at_import(tree(MODULES[name]))))


def closure(name: str) -> dict[str, str]:
    """Every module of ours that importing `name` loads, with the one that asked for it."""
    found, todo = {name: ""}, [name]
    while todo:
        here = todo.pop()
        for other in loads(here):
            if other in MODULES and other not in found:
                found[other] = here
                todo.append(other)
    return found


def foreign(name: str) -> dict[str, str]:
    """Libraries that importing `name` loads, with the module of ours that does."""
    return {lib.split(".")[0]: ours for ours in closure(name) for lib in loads(ours)}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_every_room_is_known() -> None:
    found = {room(name) for name in MODULES}
    assert found - APP == set(MAY_IMPORT), "a new room needs its line in MAY_IMPORT"


@pytest.mark.parametrize("name", MODULES)
def test_rooms_import_what_they_may(name: str) -> None:
    """Also for types and inside functions: an edge is an edge."""
    if room(name) in APP:
        return
    allowed = MAY_IMPORT[room(name)] | {room(name), "report", "__init__"}
    for other in imported(ast.walk(tree(MODULES[name]))):
        if other.split(".")[0] == "gantools":
            assert room(other) in allowed, f"{name} imports {other}"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    for name in MODULES:
        for other in loads(name) & set(MODULES):
            if other != "gantools":
                assert name not in closure(other), f"{name} and {other} import each other"


@pytest.mark.parametrize("name", ["gantools.cli", "gantools.options", "gantools.report",
                                  "gantools.manual", "gantools.io.sample", "gantools.io.seeds",
                                  "gantools.io.source", "gantools.io.sink"])  # fmt: skip
def test_start_up_loads_nothing_heavy(name: str) -> None:
    """--help, completion and usage errors never import torch, numpy or PIL."""
    found = foreign(name)
    assert not (HEAVY | OPTIONAL) & set(found), {n: found[n] for n in found if n in HEAVY}


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) == "io"])
def test_io_never_loads_torch(name: str) -> None:
    for other in imported(ast.walk(tree(MODULES[name]))):
        assert other.split(".")[0] not in {"torch", "torchvision"}
    assert "torch" not in foreign(name)


@pytest.mark.parametrize(
    "name", ["gantools.latents.edit", "gantools.latents.mixing", "gantools.commands._edit_plan",
             "gantools.latents.masks", "gantools.latents.compositing", "gantools.commands._overlay",
             "gantools.commands._mixing", "gantools.io.direction_library",
             "gantools.latents.distribution", "gantools.latents.attribute_model"]
)  # fmt: skip
def test_edits_of_w_never_load_torch(name: str) -> None:
    assert "torch" not in foreign(name)


@pytest.mark.parametrize("name", MODULES)
def test_heavy_optional_libraries_are_loaded_where_they_are_used(name: str) -> None:
    """Training has to run on a machine that lacks them."""
    assert not OPTIONAL & {lib.split(".")[0] for lib in loads(name)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_in_a_file_can_run(path: Path) -> None:
    """No pickle, no evaluation of text, no loader of torch or numpy that could unpickle."""
    for name in imported(ast.walk(tree(path))):
        assert name.split(".")[0] not in RUNS_CODE, name
    for name, call in calls(path):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert name not in {"eval", "exec", "compile", "__import__"}, name
        assert not name.endswith(("import_module", "exec_module", "load_module")), name
        if name.startswith(("os.", "subprocess.")):
            assert name not in {"os.system", "os.popen"} and "shell" not in given, name
        if name in {"torch.load", "torch.hub.load", "torch.jit.load"}:
            assert name == "torch.load" and given.get("weights_only") == "True", "weights_only=True"
        if name in {"np.load", "numpy.load"}:
            assert given.get("allow_pickle") == "False", "allow_pickle=False"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_app_prints_and_ends_the_process(path: Path) -> None:
    """The rest raises, or calls report."""
    if path.stem in {"cli", "manual", "report", "__main__"}:
        return
    for name, _ in calls(path):
        assert name not in {"print", "sys.exit", "exit", "quit", "os._exit"}, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_and_public_name_is_explained(path: Path) -> None:
    """A line for the module; a docstring for what others may call, methods of protocols aside."""
    module = tree(path)
    if path.name != "__main__.py":
        assert ast.get_docstring(module), "a module's first line says what it is"
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


# Text that ties a file to one machine: home and scratch folders, a registry's host.
ELSEWHERE = ("/" + "root/", "/" + "work/", "/" + "home/", "/" + "opt/", "py" + "pi.org")


def test_no_file_names_a_machine() -> None:
    folders = [PACKAGE, ROOT / "tests", ROOT / "man", ROOT / "completions", ROOT / ".ci"]
    files = [f for folder in folders for f in folder.rglob("*") if f.is_file()]
    files += [ROOT / "README.md", ROOT / "pyproject.toml"]
    text = {".py", ".md", ".toml", ".json", ".bash", ".fish", ".1", ".5", ""}
    for file in files:
        if file.suffix in text and "__pycache__" not in file.parts:
            content = file.read_bytes().decode("utf-8", "replace")
            assert not [word for word in ELSEWHERE if word in content], file


def test_every_man_page_is_installed_in_its_section() -> None:
    """`man gantools-stream` finds section 5; a new page needs its line in pyproject.toml."""
    shared = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    for page in (ROOT / "man").iterdir():
        section = page.suffix[1:]
        assert shared[f"man/{page.name}"] == f"share/man/man{section}/{page.name}"
    assert {name for name in shared if name.startswith("completions/")} == {
        f"completions/{file.name}" for file in (ROOT / "completions").iterdir()
    }


def test_every_library_that_is_imported_is_declared() -> None:
    """A plain install has all that any module imports, wherever in it."""
    called = {"PIL": "pillow", "sklearn": "scikit-learn"}
    declared = {re.split(r"[<>=~! ]", line)[0] for line in PROJECT["project"]["dependencies"]}
    for name, path in MODULES.items():
        for other in imported(ast.walk(tree(path))):
            top = other.split(".")[0]
            if top != "gantools" and top not in sys.stdlib_module_names:
                assert called.get(top, top.replace("_", "-")) in declared, f"{name} imports {top}"
