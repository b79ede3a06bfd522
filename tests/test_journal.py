"""The journal of samples: complete keys, whole lines, one file for each writer."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from curation.errors import UserError
from curation.records import Trace
from factory import journal
from factory.sampling import Answer, Identity, Request, answered

IDENTITY = Identity(model="m", revision="r", endpoint="http://h/v1", sampling={"max_tokens": 64})


def kept(text: str) -> Trace:
    return answered(Request("p", 0, ()), IDENTITY, Answer(text, "stop"))


@pytest.mark.parametrize(
    "change", [{"model": "n"}, {"revision": "s"}, {"endpoint": "http://i/v1"}, {"sampling": {"max_tokens": 65}}]
)
def test_another_teacher_or_value_is_another_sample(change: dict[str, object]) -> None:
    messages = ({"role": "user", "content": "a"},)
    assert journal.sample_key(messages, 0, IDENTITY) != journal.sample_key(messages, 0, {**IDENTITY, **change})


def test_another_system_prompt_or_index_is_another_sample() -> None:
    user = {"role": "user", "content": "a"}
    system = {"role": "system", "content": "be brief"}
    keys = {journal.sample_key(m, i, IDENTITY) for m in ((user,), (system, user)) for i in (0, 1)}
    assert len(keys) == 4


def test_a_line_that_lacks_only_its_end_is_whole(tmp_path: Path) -> None:
    with journal.writer(tmp_path) as append:
        append("0" * 16, kept("1"))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert len(journal.read_journal(tmp_path)) == 1


def test_writers_never_share_a_file(tmp_path: Path) -> None:
    with journal.writer(tmp_path) as first, journal.writer(tmp_path) as second:
        first("0" * 16, kept("1"))
        second("1" * 16, kept("2"))
    assert len(list(tmp_path.iterdir())) == 2
    assert list(journal.read_journal(tmp_path)) == ["0" * 16, "1" * 16]


def test_a_writer_that_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError), journal.writer(tmp_path / "deep" / "folder"):
        raise UserError("the endpoint is down")
    assert list((tmp_path / "deep" / "folder").iterdir()) == []


def test_texts_survive(tmp_path: Path) -> None:
    text = 'line\nend\r\n\u2028 "quoted" \\ \x00 \U0001f600 ' + "x" * 100_000
    trace = answered(Request("p", 3, ()), IDENTITY, Answer(f"<think>{text}</think>{text}", "length", None, 1, 2, 0.25))
    with journal.writer(tmp_path) as append:
        append("k" * 16, trace)
    assert journal.read_journal(tmp_path) == {"k" * 16: trace}


def test_a_full_disk_is_one_sentence_and_loses_nothing_written(tmp_path: Path) -> None:
    # RLIMIT_FSIZE stands in for the disk: like it, it takes part of a line before it refuses.
    program = """
        import resource, sys
        from pathlib import Path
        from curation.errors import UserError
        from factory import journal
        from factory.sampling import Answer, Request, answered
        identity = {"model": "m", "revision": "", "endpoint": "", "sampling": {}}
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))
        try:
            with journal.writer(Path(sys.argv[1])) as append:
                for n in range(100):
                    append(f"{n:016}", answered(Request("p", n, ()), identity, Answer("x" * 700, "stop")))
        except UserError as error:
            print(error)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith(f"a sample could not be written to {tmp_path} (")
    assert "make room and run again" in ran.stdout
    assert list(journal.read_journal(tmp_path)) == [f"{n:016}" for n in range(2)]


def test_only_wanted_samples_are_read(tmp_path: Path) -> None:
    with journal.writer(tmp_path) as append:
        for n in range(3):
            append(f"{n:016}", kept(str(n)))
    assert [key for key, _ in journal.entries(tmp_path, {f"{1:016}"})] == [f"{1:016}"]
    assert len(list(journal.entries(tmp_path))) == 3


def test_a_journal_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert journal.read_journal(tmp_path / "none") == {}
