import os
import subprocess
import sys

import pytest

from factory import steps
from factory.steps import link, once, remove_abandoned


def _write(text, done):
    def work(folder):
        done.append(text)
        (folder / "a.txt").write_text(text)
        return {"n": len(text)}

    return work


def test_a_finished_piece_is_found_again(tmp_path):
    done = []
    first = once(tmp_path, "step", {"x": 1}, ["in"], _write("abc", done))
    again = once(tmp_path, "step", {"x": 1}, ["in"], _write("abc", done))
    assert done == ["abc"]
    assert (first.reused, again.reused) == (False, True)
    assert first._replace(reused=True) == again
    assert again.facts == {"n": 3}


@pytest.mark.parametrize(("settings", "inputs"), [({"x": 2}, ["in"]), ({"x": 1}, ["other"])])
def test_other_settings_or_inputs_are_another_piece(tmp_path, settings, inputs):
    done = []
    once(tmp_path, "step", {"x": 1}, ["in"], _write("a", done))
    once(tmp_path, "step", settings, inputs, _write("b", done))
    assert done == ["a", "b"]


def test_what_other_rules_left_is_done_again(tmp_path, monkeypatch):
    done = []
    once(tmp_path, "step", {"x": 1}, ["in"], _write("old", done))
    monkeypatch.setattr(steps, "RULES", "another")
    assert not once(tmp_path, "step", {"x": 1}, ["in"], _write("new", done)).reused
    assert done == ["old", "new"] and steps.find(tmp_path, "step", {"x": 1}, ["in"])


def test_the_digest_is_of_the_content_and_not_of_the_key(tmp_path):
    one = once(tmp_path, "step", 1, [], _write("same", []))
    two = once(tmp_path, "step", 2, [], _write("same", []))
    assert one.digest == two.digest and one.key != two.key


def test_a_piece_that_fails_leaves_nothing(tmp_path):
    def work(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        once(tmp_path, "step", 1, [], work)
    assert list(tmp_path.iterdir()) == []


def test_a_stale_piece_is_done_again(tmp_path):
    done = []
    for _ in range(2):
        once(tmp_path, "step", 1, [], _write("a", done), stale=lambda facts: facts["n"] == 1)
    assert done == ["a", "a"]


def test_what_a_dead_process_left_is_removed_and_what_a_living_one_holds_stays(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = os.uname().nodename
    left, held = tmp_path / f".step-0@{host}@{dead.pid}", tmp_path / f".step-1@{host}@{os.getpid()}"
    elsewhere = tmp_path / f".step-2@another-host@{dead.pid}"
    for folder in (left, held, elsewhere):
        folder.mkdir()
    remove_abandoned(tmp_path)
    assert not left.exists() and held.exists() and elsewhere.exists()


def test_linking_twice_leaves_one_name(tmp_path):
    source = tmp_path / "source"
    source.write_text("x")
    for _ in range(2):
        link(source, tmp_path / "to" / "target")
    assert [p.name for p in (tmp_path / "to").iterdir()] == ["target"]
    assert (tmp_path / "to" / "target").samefile(source)
