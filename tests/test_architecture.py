"""Holds the map of ``dfkd.__doc__`` and its rule: imports point up the page. So the build checks "data-free"."""

import ast
import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "platform" / "dfkd"
BLOCKS = ("SETTINGS", "METHOD", "EXPERIMENT", "OUTSIDE WORLD", "JOBS")

#: Libraries that a block may import besides the standard library. Blocks that are not named here may import any.
LIBRARIES = {"SETTINGS": frozenset[str](), "METHOD": frozenset({"torch"})}
#: Where a library is at home; nobody else imports it.
HOMES = {
    "ray": ("cluster/", "jobs/ray_cluster.py", "jobs/floor.py"),
    "mlflow": ("tracking/",),
    "optuna": ("search/", "cluster/searcher.py", "cluster/tuner.py", "jobs/search_files.py"),
    "pydantic": ("config/",),
    "yaml": ("config/",),
    "matplotlib": ("jobs/report_figures.py",),
    "jinja2": ("jobs/report.py",),
    "onnx": ("export/",),
    "onnxruntime": ("export/",),
}
#: Imports that must wait inside a function: the module is loaded where the library is not wanted yet.
LAZY = {"jobs/search_files.py": "optuna"}
#: What METHOD never calls: it synchronises, talks or names a device. METHOD's exceptions: (file, call) -> reason.
FORBIDDEN_CALLS = (
    *(".cuda", ".cpu", ".item", ".tolist", ".numpy", ".nonzero"),
    *("print", "__import__", ".import_module"),
)
ALLOWED_CALLS: dict[tuple[str, str], str] = {
    ("distillation.py", ".cpu"): "a checkpoint's random state is the processor's",
    ("distillation.py", ".tolist"): "an epoch's means, once",
    ("interface.py", ".cpu"): "before the training",
    ("layer_random.py", ".cpu"): "a checkpoint's random state is the processor's",
    ("preview.py", ".cpu"): "a picture, as often as one is asked for",
    ("preview.py", ".numpy"): "a picture, as often as one is asked for",
    ("supervised.py", ".cpu"): "a checkpoint's random state is the processor's",
    ("supervised.py", ".tolist"): "an epoch's means, once",
    ("synthesis/spaceshipnet.py", ".tolist"): "a seed of a layer that is drawn anew, once an epoch",
    ("baselines/image_crops.py", ".nonzero"): "crops are cut before the training",
}


@dataclass(frozen=True)
class Import:
    file: str  # below the package, e.g. losses/kd.py
    line: int
    name: str  # what is imported, e.g. torch.nn or dfkd.domain
    at_top: bool  # of the module: not inside a function

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"


@cache
def the_map() -> dict[str, str]:
    """Read module or folder -> block off the package's docstring."""
    docstring = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text()))
    assert docstring is not None
    blocks, block = {}, ""
    for line in docstring.splitlines():
        block = next((name for name in BLOCKS if line.startswith(name + " ")), block)
        entry = re.match(r"``(\w+)``  ", line)
        if entry:
            blocks[entry[1]] = block
    return blocks


@cache
def sources(folder: Path = PACKAGE) -> list[tuple[str, ast.Module]]:
    files = sorted(folder.rglob("*.py"))
    return [(file.relative_to(folder).as_posix(), ast.parse(file.read_text(), filename=str(file))) for file in files]


def imports(folder: Path = PACKAGE) -> Iterator[Import]:
    for file, tree in sources(folder):
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        inside = {id(node) for function in functions for node in ast.walk(function)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(file, node.lineno, alias.name, id(node) not in inside)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}:{node.lineno}: imports are absolute here"
                for alias in node.names:  # `from dfkd import losses` names a module just as `dfkd.losses` does
                    yield Import(file, node.lineno, f"{node.module}.{alias.name}", id(node) not in inside)


def block_of(file: str) -> str:
    return the_map()[file.split("/")[0].removesuffix(".py")]


def modules_of(*blocks: str) -> list[str]:
    """Dotted names of all modules of these blocks."""
    files = (file for file, _ in sources() if file != "__init__.py" and block_of(file) in blocks)
    return ["dfkd." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in files]


def run_python(code: str, *arguments: str, path: str = "platform") -> str:
    """Run code in a fresh interpreter at the repository's root; give what it printed."""
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def test_every_module_is_on_the_map_and_the_map_names_nothing_else() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert set(the_map()) == there - {"__init__"}
    assert set(the_map().values()) == set(BLOCKS)


def test_imports_point_up_the_page() -> None:
    order = {block: place for place, block in enumerate(BLOCKS)}
    wrong = []
    for found in imports():
        if not found.name.startswith("dfkd."):
            continue
        target = found.name.split(".")[1]
        if found.file == "__init__.py" or order[block_of(found.file)] < order[the_map()[target]]:
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


def test_settings_and_method_import_no_other_library_than_their_own() -> None:
    wrong = []
    for found in imports():
        library = found.name.split(".")[0]
        allowed = LIBRARIES.get(block_of(found.file)) if found.file != "__init__.py" else frozenset[str]()
        if allowed is not None and library not in allowed | sys.stdlib_module_names | {"dfkd"}:
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_at_its_home_alone(library: str) -> None:
    found = [one for one in imports() if one.name.split(".")[0] == library]
    assert found, f"nothing imports {library}: drop its line from HOMES"
    wrong = [str(one) for one in found if not one.file.startswith(HOMES[library])]
    wrong += [f"{one}, outside of a function" for one in found if one.at_top and LAZY.get(one.file) == library]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", ["platform", "tests", "benchmarks", "experiments"])
def test_nothing_imports_the_commands(folder: str) -> None:
    wrong = [str(found) for found in imports(ROOT / folder) if found.name.split(".")[0] == "experiments"]
    assert not wrong, "\n".join(wrong)


def test_method_never_synchronises_talks_or_names_a_device() -> None:
    wrong = []
    for file, tree in sources():
        if file == "__init__.py" or block_of(file) != "METHOD":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                dotted = isinstance(node.func, ast.Attribute)
                call = ast.unparse(node.func) if not dotted else f".{node.func.attr}"
                if call in FORBIDDEN_CALLS and (file, call) not in ALLOWED_CALLS:
                    wrong.append(f"{file}:{node.lineno} calls {call}()")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", ["", "platform", "."])
def test_import_platform_is_the_standard_library_at_the_root(path: str) -> None:
    """A ``platform/__init__.py`` would hide it from every process that is started here."""
    assert not (ROOT / "platform" / "__init__.py").exists()
    found = run_python("import platform; platform.system(); print(platform.__file__)", path=path)
    assert Path(found).parent == Path(sysconfig.get_paths()["stdlib"])


def test_import_platform_is_the_standard_library_under_pytest() -> None:
    assert platform.__file__ == f"{sysconfig.get_paths()['stdlib']}/platform.py"


def test_method_loads_nothing_from_below_it() -> None:
    """What `ast` cannot see: an import that is made at run time."""
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print(*sys.modules)"
    loaded = run_python(code, *modules_of("METHOD")).split()
    ours = {name for name in loaded if name.startswith("dfkd.")}
    assert ours <= set(modules_of("SETTINGS", "METHOD"))
    assert "dfkd.distillation" in ours


def test_method_data_and_assembly_work_without_the_outside_world() -> None:
    code = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "mlflow", "optuna", "pydantic", "yaml"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
    experiment = [name for name in modules_of("EXPERIMENT") if not name.startswith("dfkd.config")]
    assert "dfkd.assembly" in experiment and "dfkd.data.parquet" in experiment
    run_python(code, *modules_of("METHOD"), *experiment)
