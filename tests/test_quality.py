import random
import time

import pytest

from curation.glance import glances
from curation.quality import repeated_lines, repeated_runs, trace_fault, whole_text

SENTENCES = [
    "First I write down what is known about the two trains and their speeds.",
    "The distance between the stations is 240 kilometres, so they close it at 120 each hour.",
    "That gives 2 hours, but wait, one of them leaves half an hour later than the other.",
    "In that half hour the early one covers 30 kilometres, which leaves 210 for both.",
    "Dividing 210 by 120 gives 1.75 hours, and adding the half hour gives 2.25.",
]


def _prose(count: int) -> str:
    draw = random.Random(3)
    chosen = "so the sum of these terms is now less than before and we check again with care if that holds"
    return "\n".join(" ".join(draw.sample(chosen.split(), 12)) + f" {number}." for number in range(count))


def _fault(answer: str, reasoning: str | None = "I think.", finish: str = "stop", error: str | None = None) -> str | None:
    return trace_fault(reasoning, answer, finish, error, require_thinking=False)


def test_a_good_trace_has_no_fault() -> None:
    assert _fault("The answer is \\boxed{2.25}.", "\n\n".join(SENTENCES)) is None
    assert _fault("It is 2.", _prose(900)) is None
    assert _fault("2", None) is None


@pytest.mark.parametrize(
    ("answer", "reasoning", "finish", "error", "reason"),
    [
        ("", None, "error", "timeout", "request_failed"),
        ("4", None, "stop", "connection reset", "request_failed"),
        (
            "Error after 6 attempts: Error code: 500 - {'error': {'message': 'Internal'}}",
            None,
            "stop",
            None,
            "request_failed",
        ),
        ('{"error": "overloaded"}', None, "stop", None, "request_failed"),
        ("so it is", "long thought", "length", None, "truncated"),
        ("", "a thought without an end", "stop", None, "unclosed_thought"),
        (" \n", None, "stop", None, "empty_answer"),
        ("", " ", "stop", None, "empty_answer"),
        ("It is 4.<|im_end|>", "thought", "stop", None, "broken_text"),
        ("It is 4.", "so <｜end▁of▁sentence｜> I", "stop", None, "broken_text"),
        ("so it is</think> 4", None, "stop", None, "broken_text"),
        ("It is \ufffd\ufffd\ufffd 4", None, "stop", None, "broken_text"),
        ("<start_of_turn>user", None, "stop", None, "broken_text"),
    ],
)
def test_each_fault_has_its_reason(answer: str, reasoning: str | None, finish: str, error: str | None, reason: str) -> None:
    assert _fault(answer, reasoning, finish, error) == reason


def test_thinking_is_missed_only_where_it_is_required() -> None:
    assert trace_fault(None, "4", "stop", None, require_thinking=True) == "missing_thinking"
    assert trace_fault(" ", "4", "stop", None, require_thinking=True) == "missing_thinking"
    assert trace_fault("2 and 2", "4", "stop", None, require_thinking=True) is None


@pytest.mark.parametrize(
    "text",
    [
        _prose(40) + "\n" + "Wait, no. BC^2 = 4c^2, so c^2 + 1 = 8c^2 and that is not right at all. " * 6,  # an end that loops
        _prose(40) + "\nThe final answer is $\\boxed{3}$. I hope it is correct.\n" * 15 + "It was 3.",  # a loop it left again
        _prose(10) + " \\boxed{1}" * 300,
        "the exact value is " + "0" * 900,
        "因此我们得到结果等于三" * 60,
        _prose(50) + "\n" + _prose(50) + "\n" + _prose(50),  # everything three times
        _prose(60) + "\n" + _prose(25) + "\nwords " + _prose(20),  # a third of a long text again
    ],
)
def test_loops_are_repetitive(text: str) -> None:
    assert _fault("4", text) == "repetitive"


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(SENTENCES) + "\n" + "\n".join(SENTENCES),  # a short solution stated twice
        "\n".join(f"For n = {n}: {n} + 7 = {n + 7}, which is not a square." for n in range(2, 60)),  # a list of cases
        "| a | b |\n" + "|---|---|\n" * 3 + "-" * 500 + "\n" + "=" * 300 + " " * 400,
        "He says ha ha ha ha ha and goes.",
        "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "",
    ],
)
def test_what_repeats_by_nature_stays(text: str) -> None:
    assert _fault("It is 4.", text) is None


def test_shares_are_counted_by_hand() -> None:
    words = [f"w{number}" for number in range(30)]
    assert repeated_runs(words) == (0.0, 1)
    twice = repeated_runs(words * 2)
    assert twice.share == pytest.approx(1 - 30 / 41)
    assert twice.times == 2
    assert repeated_runs(words[:19]) == (0.0, 0)
    line = "a line of exactly some length"
    assert repeated_lines(f"{line}\n{line}\nshort\nshort\nanother line of text that stands once") == pytest.approx(29 / (58 + 37))


@pytest.mark.parametrize(
    "piece", ["a", "ab ", "<|", "\n", "a b c d e f g h i j k\n", "Error ", "\ufffd ", "x" * 199 + "y", "</think"]
)
def test_time_is_linear_whatever_the_text(piece: str) -> None:
    start = time.perf_counter()
    _fault("4", piece * (2_000_000 // len(piece)))
    assert time.perf_counter() - start < 20


def test_a_glance_says_no_less_than_reading_and_changes_no_fault() -> None:
    draw = random.Random(7)
    letters = [
        *"abcdefgh",
        *" " * 6,
        "\n",
        "\t",
        "\x0b",
        "\x1c",
        "\x85",
        "\xa0",
        "\u2003",
        "\u2028",
        "\u3000",
        "é",
        "中",
        "😀",
        "\ud800",
        "<",
        "|",
        ">",
    ]
    blocks = ["".join(draw.choices(letters, k=draw.randint(1, 120))) for _ in range(60)]
    marks = [
        "",
        "",
        "",
        "é" * 399,
        "😀" * 399,
        "<|im_end|>",
        "<｜User｜>",
        "[INST]",
        "<</SYS>>",
        "<end_of_turn>",
        "\0",
        "\ufffd\ufffd",
    ]
    pairs = []
    for _ in range(600):
        some = draw.sample(blocks, draw.randint(1, 12))
        parts = [*draw.choices(some, k=draw.randint(1, 60)), draw.choice(marks)]
        draw.shuffle(parts)
        pairs.append((draw.choice(["\n", " ", ""]).join(parts), draw.choice(["4", "It is 4."])))
    texts = [whole_text(*pair) for pair in pairs]
    found = list(glances(texts))
    assert [glance.words for glance in found] == [len(text.split()) for text in texts]
    for text, glance in zip(texts, found, strict=True):
        assert glance.runs >= repeated_runs(text.split()).share - 1e-9
        assert glance.lines >= repeated_lines(text) - 1e-9
    faults = [trace_fault(*pair, "stop", None, require_thinking=False) for pair in pairs]
    assert faults == [trace_fault(*p, "stop", None, require_thinking=False, glance=g) for p, g in zip(pairs, found, strict=True)]
    assert {None, "broken_text", "repetitive"} == set(faults)
