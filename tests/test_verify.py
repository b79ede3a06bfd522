"""verify from outside: outcomes and reasons, order, threads, asyncio, hostile rows, and nothing left running."""

import asyncio
import concurrent.futures
import contextlib
import os
import pathlib
import subprocess
import sys
import time

import pytest

from curation.errors import UserError
from curation.verify import check_gold, check_golds, verifier_version, verify, verify_all

HANG = r"\sum_{n=1}^{10^{10}} n^n + \int_0^{9^{9^{9}}} e^{x^{x}} dx"  # beyond our grammar, and math-verify never returns
GSM8K_GOLD = "He pays 3 * 4 = <<3*4=12>>12 dollars and 6 more.\n#### 18"


@pytest.mark.parametrize(
    ("gold", "response", "outcome", "why"),
    [
        ("1/2", r"... so \boxed{0.5}", "correct", "equal"),
        (GSM8K_GOLD, r"<think>\boxed{17}?</think> It is \boxed{\$18}.", "correct", "equal"),
        ("18", "The answer is 19.", "incorrect", "different"),
        ("18", "<think>18 is", "incorrect", "unclosed_thought"),
        ("18", "  ", "incorrect", "no_answer"),
        (None, "18", "undetermined", "no_gold"),
        ("", "18", "undetermined", "no_gold"),
        ("18", r"\boxed{" + "1+" * 2000 + "1}", "undetermined", "too_long"),
        ("0.33", r"\boxed{1/3}", "undetermined", "rounded"),
        ("315", "We get a total of 315 apples. Of these 314 are red", "undetermined", "ambiguous"),
        (r"\int x dx", r"\boxed{\int x dx}", "correct", "equal"),
    ],
)
def test_outcome_and_reason(gold: str | None, response: str, outcome: str, why: str) -> None:
    verdict = verify(gold, response)
    assert (verdict.outcome, verdict.why) == (outcome, why)


def test_verdict_says_what_was_found_and_by_what() -> None:
    verdict = verify("7", r"\boxed{8}")
    assert (verdict.extracted, verdict.rule) == ("8", "boxed")
    assert verdict.verifier == verifier_version()
    assert "math-verify 0.9" in verdict.verifier
    assert 0 <= verdict.seconds < 1


def test_text_domain_is_exact_after_blanks_and_case() -> None:
    assert verify("New  York", "<answer>new york</answer>", domain="text").outcome == "correct"
    assert verify("0.5", "<answer>1/2</answer>", domain="text").outcome == "incorrect"


def test_sequences_keep_their_order() -> None:
    golds = [str(n) for n in range(50)]
    verdicts = verify(golds, [rf"\boxed{{{n % 40}}}" for n in range(50)])
    assert [v.outcome == "correct" for v in verdicts] == [n < 40 for n in range(50)]


def test_mistakes_of_the_caller() -> None:
    with pytest.raises(UserError, match="2 golds for 1 responses"):
        verify(["1", "2"], ["1"])
    with pytest.raises(UserError, match="unknown domain 'chess'; the verifier knows math, text"):
        verify("1", "1", domain="chess")


def test_a_hung_row_costs_itself_only() -> None:
    rows = [("5", r"\boxed{5}", "math"), ("5", rf"\boxed{{{HANG}}}", "math")] * 2 + [(r"\int x dx", r"\int x  dx", "math")]
    verdicts = list(verify_all(rows, timeout_s=1.0))
    assert [v.outcome for v in verdicts[::2]] == ["correct"] * 3
    assert {v.why for v in verdicts[1::2]} <= {"timeout", "unparseable_answer"}
    assert max(v.seconds for v in verdicts) < 4


@pytest.mark.parametrize(("gold", "said"), [(r"10\text{ cm}", "10^(10^(10^9"), ("10", "10^2)))"), ("2", "2~3"), ("10", "10^^2")])
def test_what_math_verify_reads_a_part_of_is_not_accepted(gold: str, said: str) -> None:
    for one, other in ((gold, said), (said, gold)):
        assert verify(one, rf"\boxed{{{other}}}").outcome != "correct"


def test_several_workers_say_the_same_in_the_same_order() -> None:
    kinds = [("1/2", r"\boxed{0.5}", "math"), (None, "5", "math"), ("5", "<think>5", "math"), ("a", "A", "text")]
    kinds += [("7", r"\boxed{8}", "math"), (r"\int x dx", r"\boxed{\int y dy}", "math")]
    rows = kinds * 60
    alone, together = (list(verify_all(rows, timeout_s=60, workers=n)) for n in (1, 2))
    assert [(v.outcome, v.why, v.extracted, v.rule) for v in together] == [(v.outcome, v.why, v.extracted, v.rule) for v in alone]


def test_look_ahead_is_bounded() -> None:
    read = 0

    def rows():  # type: ignore[no-untyped-def]
        nonlocal read
        for _ in range(2000):
            read += 1
            yield ("5", r"\boxed{\int y dy}", "math")

    next(verify_all(rows()))
    assert read < 600


def test_from_threads_and_asyncio() -> None:
    pair = (r"\int x dx", r"\boxed{\int y dy}")
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        outcomes = {f.result().outcome for f in [threads.submit(verify, *pair) for _ in range(8)]}
    assert outcomes <= {"undetermined", "incorrect"}

    async def judged() -> str:
        return (await asyncio.to_thread(verify, "1/2", r"\boxed{0.5}")).outcome

    assert asyncio.run(judged()) == "correct"


@pytest.mark.parametrize(
    "gold",
    [
        r"10\text{ cm}",
        "(3,4]",
        r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
        "Evelyn",
        r"\text{(C)}",
        "1,000,000",
        r"3\frac{1}{2}",
        r"x \in [-2,7]",
        GSM8K_GOLD,
        r"Adding, \[x=\boxed{3}.\]",
        r"\text{October 30}",
        r"\prod_{i=1}^n a_i",
    ],
)
def test_golds_that_can_be_checked(gold: str) -> None:
    assert check_gold(gold).outcome == "correct"


@pytest.mark.parametrize(
    ("gold", "why"),
    [(None, "no_gold"), ("", "no_gold"), ("((", "unparseable_gold"), (r"\frac{1}{", "unparseable_gold")],
)
def test_golds_that_cannot(gold: str | None, why: str) -> None:
    verdict = check_gold(gold, "math")
    assert (verdict.outcome, verdict.why) == ("undetermined", why)


def test_check_golds_streams_in_order() -> None:
    verdicts = check_golds([("1", "math"), ("((", "math"), ("three", "text")])
    assert [v.outcome for v in verdicts] == ["correct", "undetermined", "correct"]


def _running(marker: str) -> list[str]:
    """Command lines of processes that name `marker`."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # gone since it was listed
            found.append(path.read_bytes().decode(errors="replace"))
    return [line for line in found if marker in line]


SCRIPT = """
import sys
from curation.verify import verify_all
hang = {hang!r}
rows = [("5", "\\boxed{{" + hang + "}}", "math")] * 2 + [("x", "\\boxed{{\\int y dy}}", "math")]
for verdict in verify_all(rows, timeout_s={timeout_s}):
    print(verdict.why, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_nothing_is_left_behind(tmp_path: pathlib.Path, killed: bool) -> None:
    """A script without a __main__ guard, run to its end or killed while a worker hangs: no warning and no orphan."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(hang=HANG, timeout_s=600 if killed else 1))
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    child = subprocess.Popen([sys.executable, script], env=environment, stdout=-1, stderr=-1, text=True)
    if killed:
        time.sleep(4)
        child.kill()
    out, error = child.communicate(timeout=60)
    assert killed or (len(out.splitlines()), error) == (3, "")
    deadline = time.monotonic() + 10
    while (left := _running(str(tmp_path))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
