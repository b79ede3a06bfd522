"""Verdicts on programs: the four kinds of tests, what a response looks like, and every way to pass without being right."""

import json
import threading

import pytest
from code_golds import DOUBLE, HUMANEVAL, LEETCODE, MBPP, STDIN, fenced, why

from curation import sandbox
from curation.code_gold import gold_from_apps, read_gold
from curation.code_tests import check, check_all, check_gold, code_blocks
from curation.output_compare import same_output

LEVELS = sandbox.available()


REVERSE = """class Solution:
    def reverse(self, head):
        done = None
        while head:
            head.next, done, head = done, head, head.next
        return done"""
RIGHT = [
    (DOUBLE, "def f(x): return 2 * x"),
    (DOUBLE, "class Solution:\n    def f(self, x): return x + x"),
    (DOUBLE, "f = lambda x: 2.0 * x"),
    (HUMANEVAL, "def zero(xs): return -xs[0] / xs[1]"),
    (HUMANEVAL, "    return -xs[0] / xs[1]"),
    (MBPP, "def f(x):\n    print('noise')\n    return x * 2"),
    (LEETCODE, REVERSE),
    (STDIN, "a, b = map(int, input().split())\nprint(a + b)"),
    (STDIN, "import sys\ndef main():\n    print(sum(map(int, sys.stdin.read().split())))\nif __name__ == '__main__': main()"),
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("gold", "code"), RIGHT)
def test_right_programs_pass(level, gold, code):
    verdict = check(gold, fenced(code), isolation=level)
    assert (verdict.outcome, verdict.why, verdict.extracted) == ("correct", "tests_passed", code + "\n")
    assert verdict.verifier == f"code 1 ({level})"


@pytest.mark.parametrize(
    ("gold", "code", "reason"),
    [
        (DOUBLE, "def f(x): return x", "tests_failed"),
        (DOUBLE, "def f(x): return str(2 * x)", "tests_failed"),
        (DOUBLE, "def f(x): return None", "tests_failed"),
        (DOUBLE, "def g(x): return 2 * x", "runtime_error"),
        (DOUBLE, "def f(x): return 1 / 0", "runtime_error"),
        (DOUBLE, "def f(x): return 2 *", "syntax_error"),
        (DOUBLE, "def f(x):\n    while True: pass", "timeout"),
        (DOUBLE, "import time\ndef f(x): time.sleep(99)", "timeout"),
        (DOUBLE, "def f(x): return bytearray(10 << 30)", "memory_limit"),
        (DOUBLE, "def f(x):\n    while True: print('x' * 10000)", "output_limit"),
        (DOUBLE, "def f(x): return 'x' * (20 << 20)", "output_limit"),
        (DOUBLE, "def f(x): return f(x)", "runtime_error"),
        (DOUBLE, "def f(x): import ctypes; ctypes.string_at(0)", "runtime_error"),
        (DOUBLE, "(" * 200 + ")" * 200 + "\n" + "-" * 90_000 + "1", "syntax_error"),
        (DOUBLE, "x" * 100_001, "too_long"),
        (STDIN, "print(3)", "tests_failed"),
        (STDIN, "print('3'); raise ValueError", "runtime_error"),
        (STDIN, "while True: print(4 * 'x' * 10000)", "output_limit"),
        (STDIN, "x = [0] * 10**10", "memory_limit"),
        (STDIN, "a b", "syntax_error"),
        (LEETCODE, "class Solution:\n    def reverse(self, head): return head", "tests_failed"),
        (LEETCODE, "class Solution:\n    def reverse(self, head): return 5", "tests_failed"),
        (LEETCODE, REVERSE.replace("return done", "done.next.next.next = done; return done"), "tests_failed"),
        (MBPP, "def f(x): return {'a': x}", "tests_failed"),
        ("{}", "f = 1", "unparseable_gold"),
        ("no json", "f = 1", "unparseable_gold"),
        ("[" * 5000, "f = 1", "unparseable_gold"),
        (json.dumps({"kind": "calls", "fn_name": "f", "inputs": [[1]], "outputs": []}), "f = 1", "unparseable_gold"),
        (json.dumps({"asserts": ["assert f(1) =="]}), "def f(x): return x", "unparseable_gold"),
        (json.dumps({"asserts": ["assert f(lambda: 1) == 2"]}), "def f(x): return 2", "untestable"),
    ],
)
def test_reasons(gold, code, reason):
    verdict = check(gold, fenced(code), timeout_s=1)
    outcome = "undetermined" if reason in ("unparseable_gold", "untestable") else "incorrect"
    assert (verdict.why, verdict.outcome) == (reason, outcome)


def test_a_program_named_like_a_builtin():
    """MBPP 126 asks for a function `sum`; elsewhere a builtin in a test is Python's own, whatever the program calls so."""
    assert why(json.dumps({"asserts": ["assert sum(10, 15) == 6"]}), "def sum(a, b): return 6") == "tests_passed"
    gold = json.dumps({"asserts": ["assert set(f(1)) == set([2])"]})
    assert why(gold, "def f(x): return [3]\ndef set(x): return 0") == "tests_failed"


def test_builtin_types_are_values():
    """MBPP 533: `remove_datatype((4, 5, 7.7), int)`."""
    gold = json.dumps({"asserts": ["assert f((4, 7.7), int) == [7.7]", "assert f((4,), list) is list"]})
    assert why(gold, "def f(xs, t): return t if t is list else [x for x in xs if not isinstance(x, t)]") == "tests_passed"
    assert why(gold, "def f(xs, t): return eval") == "tests_failed"


def test_a_gold_that_needs_a_missing_package_is_undetermined():
    for tests in ({"test": "def check(c): assert c() == 1", "entry_point": "f"}, {"fn_name": "f", "inputs": [[]], "outputs": [1]}):
        assert why(json.dumps({"preamble": "import no_such_package", **tests}), "def f(): return 1") == "missing_package"
    script = {"preamble": "print(1); import no_such_package", "inputs": [""], "outputs": ["1"]}
    assert why(json.dumps(script), "print(1)") == "unparseable_gold"
    assert why(json.dumps({**script, "preamble": "print('noise'); x = 1"}), "print(x)") == "tests_passed"
    assert why(DOUBLE, "import no_such_package\ndef f(x): return 2 * x") == "runtime_error"


def test_classes_of_the_program_are_reached_through_its_process():
    setup = "root = Node(1)\nroot.left = Node(2)"
    gold = json.dumps({"setup": setup, "asserts": ["assert depth(root) == 2", "assert depth(root.left) == 1"]})
    code = "class Node:\n    def __init__(self, v): self.left = None\ndef depth(n): return 0 if n is None else 1 + depth(n.left)"
    assert why(gold, code) == "tests_passed"
    assert why(gold, code.replace("return 0", "return 1")) == "tests_failed"


def test_an_expected_error_is_raised_again():
    test = "def check(candidate):\n    try:\n        candidate(-1)\n    except ValueError:\n        return\n    assert False"
    gold = json.dumps({"test": test, "entry_point": "f"})
    assert why(gold, "def f(x): raise ValueError('negative')") == "tests_passed"
    assert why(gold, "def f(x): raise KeyError('negative')") == "runtime_error"
    assert why(gold, "def f(x): return 0") == "tests_failed"


VALUES = "[None, True, -1, 2**70, 1.5, float('inf'), 'é\\ud800', b'x', 1j, (1, [2]), {3}, frozenset({4}), {(1, 2): [5]}, range(3)]"


def test_values_cross_unchanged():
    asserts = [
        f"assert repr(f({VALUES})) == repr({VALUES})",
        "assert list(g()) == [0, 1, 2]",
        "assert type(h()) is int and h() == 7",
    ]
    asserts += ["import collections, decimal, datetime, fractions", "assert f(collections.deque([1])) == collections.deque([1])"]
    asserts += [
        f"assert f({v}) == {v}" for v in ("decimal.Decimal('0.1')", "datetime.date(2020, 1, 2)", "fractions.Fraction(1, 3)")
    ]
    code = "import enum\nclass E(enum.IntEnum): A = 7\ndef f(x): return x\ndef g(): yield from range(3)\ndef h(): return E.A"
    assert why(json.dumps({"asserts": asserts}), code) == "tests_passed"


def test_numpy_values_are_plain_numbers():
    gold = json.dumps({"fn_name": "f", "inputs": [[[1, 2]]], "outputs": [[2.0, 4.0]]})
    assert why(gold, "import numpy\ndef f(x): return numpy.array(x) * 2.0", timeout_s=20) == "tests_passed"


def test_published_forms_of_calls():
    wrapped = gold_from_apps({"input_output": json.dumps({"fn_name": "f", "inputs": [[1], [5]], "outputs": [[2], [10]]})})
    assert why(wrapped, "def f(x): return 2 * x") == "tests_passed"
    rows = {"fn_name": "f", "inputs": ["[1, 2]\n3", "[]\n0"], "outputs": ["[3, 6]", "[]"]}
    lines = gold_from_apps(json.dumps(rows))
    assert why(lines, "def f(xs, k): return tuple(x * k for x in xs)") == "tests_passed"
    strict = json.dumps({"fn_name": "f", "inputs": [[1], [2]], "outputs": [[1], [2, 2]]})
    assert why(strict, "def f(x): return [x] * x") == "tests_passed"
    assert why(strict, "def f(x): return 1 if x == 1 else [2, 2]") == "tests_failed"
    near = json.dumps({"fn_name": "f", "inputs": [[3.0]], "outputs": [{"1": 0.3333333}]})
    assert why(near, "def f(x): return {1: 1 / x}") == "tests_passed"
    keys = gold_from_apps(json.dumps({"fn_name": "f", "inputs": [[{"1": 5}]], "outputs": [5]}))
    assert why(keys, "class Solution:\n    def f(self, d: Dict[int, int]) -> int: return d[1]") == "tests_passed"


def test_gold_kinds_are_told_by_their_fields():
    kinds = [read_gold(g)["kind"] for g in (DOUBLE, HUMANEVAL, MBPP, LEETCODE, STDIN, '{"inputs": ["1"], "outputs": ["1"]}')]
    assert kinds == ["calls", "check", "asserts", "check", "stdin", "stdin"]
    assert (check_gold(DOUBLE).outcome, check_gold("{}").why) == ("correct", "unparseable_gold")
    assert read_gold(json.dumps({"test": "x", "entry_point": "f", "prompt": "import re\n"}))["preamble"] == "import re\n"


@pytest.mark.parametrize(
    ("response", "blocks"),
    [
        ("a\n```python\nx = 1\n```\nb\n```\ny = 2\n```\n", ["x = 1\n", "y = 2\n"]),
        ("```bash\npip install x\n```\n```py\nx = 1\n```", ["x = 1\n"]),
        ("```python\nx = 1", ["x = 1"]),
        ("  1. So:\n   ```Python\n   x = 1\n   ```", ["x = 1\n"]),
        ("<think>```python\nx = 1\n```", []),
        ("x = 1", ["x = 1"]),
        ("~~~python\nx = 1\n~~~", ["x = 1\n"]),
        ("", []),
        ("```json\n{}\n```", ["```json\n{}\n```"]),
    ],
)
def test_blocks(response, blocks):
    assert code_blocks(response) == blocks


def test_which_block_is_judged():
    right, wrong = "```python\ndef f(x): return 2 * x\n```\n", "```python\ndef f(x): return x\n```\n"
    assert check(DOUBLE, wrong + right).outcome == "correct"
    assert check(DOUBLE, right + wrong).outcome == "incorrect"
    assert check(DOUBLE, right + "For example:\n```python\nprint(f(3))\n```\n```\nOutput is 6.\n```\n").outcome == "correct"
    assert check(DOUBLE, "def f(x): return 2 * x").outcome == "correct"
    assert check(DOUBLE, "I do not know.").why == "syntax_error"
    assert check(DOUBLE, "<think>never ending").why == "no_answer"
    indented = check(DOUBLE, "1. Do this:\n   ```python\n   def f(x):\n       return 2 * x\n   ```\n")
    assert indented.outcome == "correct"


def test_output_is_compared_by_lines_and_tokens():
    assert same_output("1 2 \n3\n\n", "1 2\n3")
    assert same_output("0.33333334\n", "0.3333333333") and same_output("2", "2.0") and same_output("1e3", "1000.0")
    assert not same_output("0.334", "0.3333333333")
    assert not same_output("yes", "YES") and not same_output("1 2", "1 2 3") and not same_output("1000001", "1000000")
    assert not same_output("nan", "1.0") and not same_output("", "0")
    assert not same_output("9" * 1_000_000, "1.0")


def test_many_in_order_and_from_threads():
    codes = [f"def f(x): return x * {n % 3}" for n in range(12)]
    items = [(DOUBLE, fenced(code)) for code in codes]
    expected = ["correct" if n % 3 == 2 else "incorrect" for n in range(12)]
    assert [v.outcome for v in check_all(iter(items), workers=4, timeout_s=20)] == expected
    found = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: check(*items[n], timeout_s=20).outcome})) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[n] for n in range(4)] == expected[:4]
