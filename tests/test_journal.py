"""The store of samples: complete keys, whole lines, one file for each writer, packed when nobody writes."""

from __future__ import annotations

import logging
import multiprocessing
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from curation.records import Trace
from factory import journal, packing
from factory.journal import Store
from factory.sampling import Answer, Identity, Request, answered

IDENTITY = Identity(model="m", revision="r", endpoint="http://h/v1", sampling={"max_tokens": 64})
ASKED = {"messages": [{"role": "user", "content": "q"}]}


def kept(text: str) -> Trace:
    return answered(Request("p", 0, ()), IDENTITY, Answer(text, "stop"))


def fill(folder: Path, *texts: str, start: int = 0) -> None:
    with Store(folder) as store:
        for n, text in enumerate(texts, start):
            store.add(f"{n:016}", kept(text), ASKED)


@pytest.mark.parametrize(
    "change", [{"template": "t"}, {"model": "n"}, {"revision": "s"}, {"endpoint": "http://i/v1"}, {"sampling": {"max_tokens": 65}}]
)
def test_another_teacher_or_value_is_another_sample(change: dict[str, object]) -> None:
    messages = ({"role": "user", "content": "a"},)
    assert journal.sample_key(messages, 0, IDENTITY) != journal.sample_key(messages, 0, {**IDENTITY, **change})


def test_another_system_prompt_or_index_is_another_sample() -> None:
    user = {"role": "user", "content": "a"}
    system = {"role": "system", "content": "be brief"}
    keys = {journal.sample_key(m, i, IDENTITY) for m in ((user,), (system, user)) for i in (0, 1)}
    assert len(keys) == 4


def test_a_continuation_is_another_sample_than_the_beginning() -> None:
    user = ({"role": "user", "content": "a"},)
    assert len({journal.sample_key(user, 0, IDENTITY, prefix) for prefix in ("", "<think>\nso", "<think>\nso far")}) == 3


def test_a_line_that_lacks_only_its_end_is_whole(tmp_path: Path) -> None:
    fill(tmp_path, "1")
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-1])
    assert len(journal.read_journal(tmp_path)) == 1


def test_zeros_and_halves_that_a_power_cut_left_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, "1", "2", "3")
    (path,) = tmp_path.glob("*.jsonl")
    one, two, three = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(one + two[:40] + b"\0" * 200 + b"}}\n" + b"\0" * 50 + b"\n[]\n" + three)
    with caplog.at_level(logging.WARNING):
        assert [t.answer_text for t in journal.read_journal(tmp_path).values()] == ["1", "3"]
    assert "3 torn line(s)" in caplog.text


def test_writers_never_share_a_file(tmp_path: Path) -> None:
    with Store(tmp_path) as first, Store(tmp_path) as second:
        first.add("0" * 16, kept("1"), ASKED)
        second.add("1" * 16, kept("2"), ASKED)
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert sorted(journal.read_journal(tmp_path)) == ["0" * 16, "1" * 16]


def test_a_store_that_nothing_was_added_to_leaves_no_journal(tmp_path: Path) -> None:
    fill(tmp_path / "deep" / "folder")
    assert not list((tmp_path / "deep" / "folder").glob("*.jsonl"))


def test_texts_survive_in_a_journal_and_packed(tmp_path: Path) -> None:
    text = 'line\nend\r\n\u2028 "quoted" \\ \x00 \U0001f600 ' + "x" * 100_000
    trace = answered(Request("p", 3, ()), IDENTITY, Answer(f"<think>{text}</think>{text}", "length", None, 1, 2, 0.25))
    with Store(tmp_path) as store:
        store.add("a" * 16, trace, ASKED)
        assert dict(store.get(["a" * 16])) == {"a" * 16: trace}  # while it is being written
    assert journal.read_journal(tmp_path) == {"a" * 16: trace}
    packing.pack(tmp_path, 0)
    with Store(tmp_path) as store:
        (sample,) = store.every()
        assert (sample.trace, sample.asked) == (trace, ASKED)


def test_only_what_is_asked_for_is_read_in_the_order_of_the_disk(tmp_path: Path) -> None:
    fill(tmp_path, "0", "1", "2", "3")
    with Store(tmp_path) as store:
        found = store.get([f"{n:016}" for n in (3, 9, 1)])
        assert [t.answer_text for _, t in found] == ["1", "3"]
        assert f"{2:016}" in store and f"{9:016}" not in store and len(store) == 4


def test_packing_keeps_every_sample_leaves_open_journals_alone_and_can_be_repeated(tmp_path: Path) -> None:
    fill(tmp_path, *map(str, range(300)))
    fill(tmp_path, "other", start=300)
    before = journal.read_journal(tmp_path)
    with Store(tmp_path) as writing:
        writing.add(f"{999:016}", kept("open"), ASKED)
        journals = {p: p.read_bytes() for p in tmp_path.glob("*.jsonl")}
        packed = packing.pack(tmp_path, 0)
        assert packed is not None and len(list(tmp_path.glob("*.jsonl"))) == 1
        writing.add(f"{1000:016}", kept("later"), ASKED)
    assert journal.read_journal(tmp_path) == before | {f"{999:016}": kept("open"), f"{1000:016}": kept("later")}
    for path, content in journals.items():  # a kill before the journals were deleted
        if not path.exists():
            path.write_bytes(content)
    assert journal.read_journal(tmp_path) == before | {f"{999:016}": kept("open"), f"{1000:016}": kept("later")}
    assert packing.pack(tmp_path, 1 << 40) is None


def test_a_reader_goes_on_while_others_pack(tmp_path: Path) -> None:
    fill(tmp_path, "1", "2")
    with Store(tmp_path) as reader:
        packing.pack(tmp_path, 0)
        assert [t.answer_text for _, t in reader.get([f"{n:016}" for n in range(2)])] == ["1", "2"]


def test_a_file_that_is_being_packed_is_not_read(tmp_path: Path) -> None:
    fill(tmp_path, "1", "2")
    (tmp_path / ".packed-0123.parquet").write_bytes(b"PAR1 half of it")
    assert len(journal.read_journal(tmp_path)) == 2


def test_a_journal_of_the_same_name_and_length_is_packed_beside_the_last_one(tmp_path: Path) -> None:
    for start in (0, 2):
        fill(tmp_path, "a", "b", start=start)
        assert packing.pack(tmp_path, 0) is not None
    assert len(journal.read_journal(tmp_path)) == 4


def _write_many(folder: Path, first: int) -> None:
    fill(folder, *(f"text {n}" for n in range(200)), start=first)
    packing.pack(folder, 0)


def test_many_processes_write_and_pack_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, 1000 * n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert len(journal.read_journal(tmp_path)) == 800


def test_failed_samples_are_kept_but_not_found(tmp_path: Path) -> None:
    failed = answered(Request("p", 0, ()), IDENTITY, Answer("", "error", error="answered 500"))
    with Store(tmp_path) as store:
        store.add("0" * 16, failed, ASKED)
        assert "0" * 16 not in store
    packing.pack(tmp_path, 0)
    assert journal.read_journal(tmp_path) == {}


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
            with journal.Store(Path(sys.argv[1])) as store:
                for n in range(100):
                    store.add(f"{n:016}", answered(Request("p", n, ()), identity, Answer("x" * 700, "stop")), {})
        except UserError as error:
            print(error)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith(f"a sample could not be written to {tmp_path} (")
    assert "make room and run again" in ran.stdout
    assert list(journal.read_journal(tmp_path)) == [f"{n:016}" for n in range(2)]
