"""A build that is stopped by hand, or killed: what was answered is kept, and the next call goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_server import FaultServer, serve_faults
from solving import kill_again_and_again, recipe, sent

from factory import journal


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_it_at_once_and_keeps_what_was_answered(tmp_path: Path, server: FaultServer, times: int) -> None:
    tag = f"stopped-{times}"
    prompts = [f"{'solve' if n < 10 else 'hang'} {n + 10} 1 of {tag} number {n}" for n in range(40)]
    asked = recipe(tmp_path, server.url, prompts).model_dump_json()
    (tmp_path / "asked.yaml").write_text(asked)  # JSON is YAML
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from factory.cli import main; main()"
    command = [sys.executable, "-c", program, "build", str(tmp_path / "asked.yaml"), "--runs", str(tmp_path / "runs")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    while sent(server, tag) < 40:
        assert process.poll() is None
        time.sleep(0.05)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    _, errors = process.communicate(timeout=60)  # what hangs would hang for an hour
    if times == 1:
        assert process.returncode == 130
        assert errors.splitlines()[-1] == (
            "factory: interrupted; what is finished is kept, and the same command goes on from there"
        )
    assert len(journal.read_journal(tmp_path / "runs" / ".samples")) == 10


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_like_an_undisturbed_build(tmp_path: Path, server: FaultServer) -> None:
    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    killed = kill_again_and_again(tmp_path / "killed", server, "killed", 6, 120)
    assert killed >= 4
    asked = sent(server, "killed")
    kill_again_and_again(tmp_path / "whole", server, "killed", 0, 120)
    stores = [journal.read_journal(tmp_path / name / "runs" / ".samples") for name in ("killed", "whole")]
    texts = [sorted((t.answer_text, t.index) for t in s.values()) for s in stores]
    assert texts[0] == texts[1] and len(texts[0]) == 240
    assert 240 <= asked <= 240 + 8 * killed
