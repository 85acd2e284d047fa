"""The house's own rules: what importing costs, what the package shows, how long a module is."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rareseg
import rareseg_runner

PACKAGE = Path(rareseg.__file__).parent
RUNNER = Path(rareseg_runner.__file__).parent
MODULES = sorted([*PACKAGE.rglob("*.py"), *RUNNER.rglob("*.py")])
HEAVY = ("torch", "monai", "numba")
FOR_TRAINING = (*HEAVY, "rareseg", "pydantic", "yaml", "joblib")
"""What the runner does without."""
REGISTERS = ("rareseg.prediction.networks", "rareseg.training.losses")
"""The packages of which every module may register a section of the recipe."""

LARGEST_MODULE = 400
LARGEST_ROOM = 15
"""With its `__init__.py`."""

PUBLIC = {
    "PatchLoader",
    "PatchSampler",
    "Predictor",
    "Detector",
    "load",
    "Recipe",
    "ScoreTable",
    "LumpsSettings",
    "SpecksSettings",
    "Store",
    "__version__",
    "apply_point",
    "build_store",
    "choose_operating_point",
    "evaluate",
    "inspect_dataset",
    "load_bundle",
    "open_dataset",
    "open_store",
    "plan_recipe",
    "predict",
    "score_cases",
    "train",
    "tune",
    "write_lumps",
    "write_specks",
}


def heavy_after(code: str) -> list[str]:
    """Return which heavy packages a fresh interpreter has loaded after ``code``."""
    ask = f"\nimport json, sys; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    return printed_by(code + ask)


def printed_by(code: str) -> list[str]:
    """Return the list of names that a fresh interpreter prints, as JSON, in its last line."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


HELP = """
import sys
from rareseg.cli import main
sys.argv = ["rareseg", *{arguments!r}]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


def test_import_loads_nothing_heavy():
    assert heavy_after("import rareseg; assert 'train' in dir(rareseg)") == []


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    assert heavy_after(HELP.format(arguments=arguments)) == []


def test_the_runner_loads_nothing_of_what_trains():
    code = "import rareseg_runner.image_detector, rareseg_runner.formats"
    ask = (
        f"\nimport json, sys; print(json.dumps([m for m in {FOR_TRAINING!r} if m in sys.modules]))"
    )
    assert printed_by(code + ask) == []


def test_the_heavy_names_are_seen_when_they_are_loaded():
    assert "torch" in heavy_after("import rareseg; rareseg.load_bundle")


@pytest.mark.parametrize("package", REGISTERS)
def test_importing_the_package_of_a_register_imports_every_module_of_it(package):
    code = f"""
import json, pkgutil, sys
import {package} as package
names = [found.name for found in pkgutil.iter_modules(package.__path__, "{package}.")]
assert names
print(json.dumps([name for name in names if name not in sys.modules]))
"""
    assert printed_by(code) == [], "add the module to the imports of the package's __init__.py"


def test_the_page_of_settings_is_made_with_every_register_filled():
    pytest.importorskip("sphinx")
    conf = Path(__file__).parents[1] / "docs" / "conf.py"
    code = f"""
import json, runpy, sys
runpy.run_path({str(conf)!r})
print(json.dumps([name for name in {REGISTERS!r} if name not in sys.modules]))
"""
    assert printed_by(code) == []


def test_the_public_names_are_exactly_these():
    assert set(rareseg.__all__) == PUBLIC
    assert set(dir(rareseg)) == PUBLIC
    assert rareseg.__all__ == sorted(rareseg.__all__)


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_a_public_name_is_what_its_module_defines(name):
    found = getattr(rareseg, name)
    assert found.__name__ == name
    assert found.__module__ == rareseg._HOMES[name]
    assert found is getattr(importlib.import_module(found.__module__), name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="trian"):
        rareseg.trian  # noqa: B018


def test_type_checkers_see_the_same_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        (alias.asname, node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == set(rareseg._HOMES.items())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_fits_into_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LARGEST_MODULE


def drawn_modules(package: str) -> list[str]:
    """Read a drawing of docs/architecture.md: the paths of a package's modules below src."""
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = page.split(f"src/{package}/\n")[1].split("```")[0]
    found, folder = [], []
    for line in drawing.splitlines():
        head, listed = line[:26], line[26:]
        name = head.strip().rstrip("/")
        depth = (len(head) - len(head.lstrip())) // 2
        if listed.startswith("#") and not head.strip().endswith("/"):
            found.append(f"{package}/{name}.py")
            continue
        if name:
            folder = [*folder[: depth - 1], *(() if name == "." else (name,))]
        if not listed.startswith("#"):
            names = [part.strip() for part in listed.split("·") if part.strip()]
            found += ["/".join([package, *folder, f"{module}.py"]) for module in names]
    return found


def test_the_drawing_of_the_house_names_every_module_once():
    there = [
        path.relative_to(PACKAGE.parent).as_posix()
        for path in MODULES
        if path.stem not in ("__init__", "__main__")
    ]
    assert sorted([*drawn_modules("rareseg"), *drawn_modules("rareseg_runner")]) == sorted(there)


def test_a_room_holds_about_a_dozen_modules():
    rooms = {path.parent for path in MODULES}
    crowded = {
        room.relative_to(PACKAGE.parent).as_posix(): len(list(room.glob("*.py")))
        for room in rooms
        if len(list(room.glob("*.py"))) > LARGEST_ROOM
    }
    assert crowded == {}


def test_no_two_modules_have_one_name():
    names = [path.stem for path in MODULES if not path.stem.startswith("__")]
    doubled = sorted(name for name in set(names) if names.count(name) > 1)
    assert doubled == ["errors"]  # one tree: what the runner can raise, and the rest


def test_no_two_records_have_one_name():
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(path.relative_to(PACKAGE.parent).as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_imports_inside_functions_stand_in_the_command_line_alone():
    inside = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in MODULES
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {Path(name).parts[1] for name in inside} <= {"cli"}


def compiled() -> dict[str, dict[str, object]]:
    """Every function that numba compiles, and the options that it is compiled with."""
    found = {}
    for path in MODULES:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            for mark in function.decorator_list:
                call = mark.func if isinstance(mark, ast.Call) else mark
                if ast.unparse(call).split(".")[-1] not in {"jit", "njit", "vectorize"}:
                    continue
                options = mark.keywords if isinstance(mark, ast.Call) else []
                found[f"{path.stem}.{function.name}"] = {
                    option.arg: ast.literal_eval(option.value) for option in options
                }
    return found


def test_kernels_let_other_threads_run_and_start_none_of_their_own():
    kernels = compiled()
    assert "cutting._cut_images" in kernels
    # What is inlined is part of the kernels that call it.
    whole = {name: options for name, options in kernels.items() if options.get("inline") is None}
    assert [name for name, options in whole.items() if options.get("nogil") is not True] == []
    assert [name for name, options in kernels.items() if options.get("parallel")] == []
    texts = (path.read_text(encoding="utf-8") for path in MODULES)
    assert not any("prange" in text for text in texts)


def name_of(command) -> str:
    return command.name or command.callback.__name__


def test_every_command_has_an_example():
    from rareseg.cli import app

    assert [
        command.callback.__name__
        for command in app.registered_commands
        if not (command.epilog or "").startswith(f"Example: rareseg {name_of(command)} ")
    ] == []
    assert {name_of(command) for command in app.registered_commands} == {
        "demo",
        "inspect",
        "audit",
        "plan",
        "preview",
        "train",
        "tune",
        "calibrate",
        "compare",
        "search",
        "consensus",
        "suspects",
        "predict",
        "monitor",
        "serve",
        "export",
        "benchmark",
        "evaluate",
        "review",
        "apply-review",
    }


OF_EXTRAS = (
    *("timm", "highdicom", "pydicom", "h5py", "pi_heif", "pycocotools", "supervision"),
    *("openvino", "onnxruntime", "onnxscript"),
)


def test_what_skips_for_want_of_an_extra_runs_in_test_extras():
    root = Path(__file__).parents[1]
    skips = re.compile(
        rf'importorskip\(\s*(?:module\b|"(?:{"|".join(OF_EXTRAS)})\b)'
        r"|def test_\w+\([^)]*\bdicom\b"
    )
    recipe = (root / "Makefile").read_text(encoding="utf-8").split("test-extras: ")[1]
    named = re.findall(r"tests/[\w/.]+", recipe.split("\n\n")[0])
    found = [
        path.relative_to(root).as_posix()
        for path in (root / "tests").rglob("*.py")
        if skips.search(path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 5
    left_out = [
        path
        for path in found
        if path != "tests/conftest.py"
        and not any(path == one or path.startswith(f"{one}/") for one in named)
    ]
    assert left_out == [], "name them in the recipe of test-extras"
