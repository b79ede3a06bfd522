"""The rules of the project that a reviewer should not have to remember."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from factory.recipe import CONFIGS, load_recipe, recipe_names

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "curation": {"curation"},
    "training": {"training", "curation"},
    "cards": {"cards", "curation"},
    "factory": {"factory", "training", "cards", "curation"},
}
FLAGS = {
    "distill": {"--student", "--config", "--set", "--runs", "--out", "--plan", "--gpus", "--gpu-memory-gib"},
    "grpo": {"--student", "--config", "--set", "--runs", "--out"},
    "eval": {"--suite", "--against", "--limit", "--set", "--runs", "--out", "--workers"},
    "list": set(),
    "run": {"--size", "--plan", "--set", "--runs", "--out", "--workers"},
    "plan": {"--teacher", "--problems", "--benchmarks", "--limit", "--set", "--runs", "--pilot"},
    "cached": {"--teacher", "--problems", "--benchmarks", "--limit", "--set", "--runs", "--index"},
    "build": {
        *("--teacher", "--problems", "--benchmarks", "--limit", "--set", "--runs", "--out", "--workers"),
        *("--executor", "--budget-usd", "--budget-tokens"),
    },
    "verify": {"--gold", "--response", "--domain", "--out", "--explain", "--audit", "--workers"},
    "why": {"--table"},
    "diff": {"--html"},
    "push": {"--public", "--dry-run", "--allow-license-clash"},
    "view": {"--port", "--no-browser"},
}


def _modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def _name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path):
    """Modules of ours that a file imports, at its top or inside a function; (name, at the top)."""
    tree = ast.parse(path.read_text())
    known = {_name(p) for package in ALLOWED for p in _modules(package)}
    top = {id(n) for n in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((a.name, id(node) in top) for a in node.names if a.name.split(".")[0] in ALLOWED)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ALLOWED:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in known else node.module), id(node) in top


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_downwards(package):
    wrong = [
        f"{_name(path)} imports {name}"
        for path in _modules(package)
        for name, _ in _imports(path)
        if name.split(".")[0] not in ALLOWED[package]
    ]
    assert not wrong


def test_no_module_imports_itself_through_others():
    arrows = {_name(p): {name for name, top in _imports(p) if top} for package in ALLOWED for p in _modules(package)}

    def visit(module, path):
        assert module not in path, f"circle: {' -> '.join([*path, module])}"
        if module not in done:
            for below in arrows.get(module, ()):
                visit(below, [*path, module])
            done.add(module)

    done = set()
    for module in arrows:
        visit(module, [])


def test_every_module_says_what_it_is():
    bare = []
    for package in ALLOWED:
        for path in _modules(package):
            tree = ast.parse(path.read_text())
            if path.name not in ("__main__.py",) and not ast.get_docstring(tree):
                bare.append(_name(path))
    assert not bare


# What other programs may import. A name that goes or changes here breaks somebody's notebook or trainer.
PUBLIC = {
    "curation.verify": {"verify", "verify_all", "check_gold", "check_golds", "verifier_version", "verifier_versions"},
    "curation.extract": {"extract", "extract_from_answer", "extract_gold"},
    "curation.records": {"canonical_json", "content_id", "from_frame", "problem", "schema", "to_frame", "trace"},
    "training.rewards": {"accuracy_reward", "code_reward", "countdown_reward", "format_reward", "tag_count_reward"},
    "cards.push": {"push"},
    "factory.build": {"build"},
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_functions_are_these_and_each_is_described(module):
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
    assert {f.name for f in functions} == PUBLIC[module]
    assert {f.name for f in functions if ast.get_docstring(f)} == PUBLIC[module]


def test_file_names_say_what_is_inside():
    assert not [p for package in ALLOWED for p in _modules(package) if p.stem in {"utils", "util", "common", "helpers", "misc"}]


def test_nothing_is_switched_off_or_unfinished():
    words = ("TODO", "FIXME", "XXX", "NotImplementedError", "mark.skip", "mark.xfail", "importorskip")
    files = [p for package in (*ALLOWED, "tests") for p in _modules(package) if p != Path(__file__)]
    assert not [f"{p.name}: {word}" for p in files for word in words if word in p.read_text()]


def test_commands_and_flags_are_these_and_no_more():
    from factory.cli import cli

    found = {name: {o for p in c.params for o in p.opts if o.startswith("--")} for name, c in cli.commands.items()}
    assert found == FLAGS


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_has_its_header(name):
    from factory.describe import _header

    assert load_recipe(name).name == name
    assert {"Command", "Needs", "Cost", "Yield", "Original"} <= set(_header(CONFIGS / "recipes" / f"{name}.yaml"))


def test_help_is_light():
    heavy = "{'torch', 'transformers', 'datasets', 'vllm', 'polars', 'numpy', 'sympy', 'pydantic', 'aiohttp', 'rich'}"
    code = f"import sys; sys.argv = ['factory', '--help']; import factory.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_packages_and_version_are_declared_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(ALLOWED)
    assert project["project"]["scripts"] == {"factory": "factory.cli:main"}
    assert not [p for package in ALLOWED for p in _modules(package) if "__version__" in p.read_text()]
