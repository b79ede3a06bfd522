"""The built wheel, installed in an environment of its own and used from another folder."""

import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def _run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    built = _run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    done = _run(folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_the_wheel_holds_the_packages_and_the_configs_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"factory", "training", "cards", "curation", "configs"}
    assert {f"configs/recipes/{p.name}" for p in (ROOT / "configs" / "recipes").iterdir()} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_command_builds_the_default_from_another_folder(installed, tmp_path):
    done = _run(installed / "factory", "build", "countdown", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1,200 examples in runs/countdown-" in done.stdout
    assert _run(installed / "python", "-c", "import torch").returncode != 0  # the core needs none


def test_help_takes_less_than_half_a_second(installed, tmp_path):
    def seconds():
        started = time.monotonic()
        assert _run(installed / "factory", "--help", cwd=tmp_path).returncode == 0
        return time.monotonic() - started

    assert min(seconds() for _ in range(5)) < 0.5


@pytest.mark.parametrize("stranger", ["factory-boy", "cards"])
def test_the_command_refuses_to_start_beside_a_package_of_the_same_name(wheel, stranger, tmp_path):
    # Without our dependencies but click: the guard comes before everything that needs them.
    venv.create(tmp_path / "venv", with_pip=True)
    bin_ = tmp_path / "venv" / "bin"
    for arguments in (["--no-deps", wheel], ["click"], [stranger]):
        done = _run(bin_ / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments)
        assert done.returncode == 0, done.stderr
    done = _run(bin_ / "factory", "list", cwd=tmp_path)
    assert done.returncode == 2
    assert "overwrites files of cot-factory" in done.stderr and stranger in done.stderr
