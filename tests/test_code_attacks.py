"""Programs that attack their judge: none passes, none outlives its time, and each costs only itself."""

import concurrent.futures
import json
import time

import pytest
from code_golds import DOUBLE, HUMANEVAL, LEETCODE, MBPP, STDIN, fenced, why

from curation import sandbox
from curation.code_tests import check, check_all

LEVELS = sandbox.available()


ATTACKS = {
    "exits at once": "import os; os._exit(0)",
    "exits in the call": "def f(*a): import os; os._exit(0)",
    "raises SystemExit": "import sys; sys.exit(0)",
    "raises SystemExit in the call": "def f(*a): raise SystemExit(0)",
    "raises KeyboardInterrupt": "def f(*a): raise KeyboardInterrupt",
    "raises what the test catches": "def f(*a): raise AssertionError",
    "prints the verdict": """
print('["tests_passed"]\\nsealed\\ntests_passed', flush=True)
def f(*a): print('["tests_passed"]')""",
    "equal to everything": """
class Any:
    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = __contains__ = lambda *a: True
    __ne__ = lambda *a: False
    __hash__ = lambda s: 0
    __class__ = int
def f(*a): return Any()""",
    "a whole number equal to everything": """
class Any(int):
    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = lambda *a: True
    __hash__ = lambda s: 0
def f(*a): return Any(7)""",
    "a list equal to everything": """
class L(list):
    __eq__ = lambda *a: True
def f(*a): return L()""",
    "patches builtins": """
import builtins
builtins.AssertionError = type('A', (), {})
builtins.all = builtins.any = lambda *a: True
builtins.abs = builtins.len = builtins.isinstance = lambda *a: 0
def f(*a): return 0""",
    "patches the worker": """
import sys, json
json.dumps = lambda *a: '["value", [2, []], null]'
def f(*a): return 0""",
    "writes to every descriptor": """
import os
for n in range(64):
    try: os.write(n, b'["tests_passed"]\\n')
    except OSError: pass
def f(*a): return 0""",
    "answers in advance": """
import os
for n in range(3, 64):
    try: os.write(n, b'["ready"]\\n' + b'["value", [0, []], null]\\n' * 9)
    except OSError: pass
def f(*a): return 0""",
    "writes what is no reply": """
import os
def f(*a):
    for n in range(3, 64):
        try: os.write(n, b'\\xff' * 1000 + b'\\n')
        except OSError: pass""",
    "reads the tests from its frames": """
import sys
def f(*a):
    frame = sys._getframe()
    while frame:
        for v in frame.f_locals.values():
            if isinstance(v, dict) and 'outputs' in v: return v['outputs'][0]
        frame = frame.f_back""",
    "reads the tests from memory": """
import gc
def f(*a): return [o for o in gc.get_objects() if isinstance(o, dict) and 'asserts' in o]""",
    "kills its parent": """
import os
os.kill(os.getppid(), 9)
def f(*a): pass""",
    "stops its parent": """
import os
try: os.kill(os.getppid(), 19)
except OSError: pass
def f(*a): pass""",
    "an attribute named like a class": """
class Node: pass
def f(*a):
    n = Node(); n.__dict__['__class__'] = 5; return n""",
    "endless iterator": """
import itertools
def f(*a): return itertools.count()""",
    "deep list": """
def f(*a):
    x = []
    for _ in range(100000): x = [x]
    return x""",
    "deep tuple": """
def f(*a):
    x = ()
    for _ in range(100000): x = (x,)
    return x""",
    "a list that holds itself": """
def f(*a):
    x = []; x.append(x); return x""",
    "closes everything": "import os; os.closerange(0, 64)\ndef f(*a): return 0",
    "leaves a thread": """
import threading, time
threading.Thread(target=time.sleep, args=(99,)).start()
def f(*a): return 0""",
    "shadows what the tests use": """
def sum(*a): return 0
def abs(*a): return 0
def poly(*a): return 0
def same(*a): return True
def check(*a): pass
def f(*a): return 3.3""",
}


GOLDS = {"calls": DOUBLE, "check": HUMANEVAL, "asserts": MBPP, "objects": LEETCODE, "stdin": STDIN}
NAMED = "\nzero = reverse = globals().get('f')\nclass Solution:\n    def reverse(self, *a, **k): return f(*a)\n"


@pytest.mark.parametrize(("kind", "level"), [(k, LEVELS[0]) for k in GOLDS] + [("calls", level) for level in LEVELS[1:]])
def test_no_attack_passes(kind, level):
    def attacked(code):
        return check(GOLDS[kind], fenced(code + NAMED), timeout_s=1, isolation=level)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        verdicts = dict(zip(ATTACKS, pool.map(attacked, ATTACKS.values()), strict=True))
    assert {name: v.why for name, v in verdicts.items() if v.outcome != "incorrect"} == {}


def test_arguments_changed_in_place_are_seen():
    gold = json.dumps(
        {"test": "def check(candidate):\n    xs = [3, 1, 2]\n    candidate(xs)\n    assert xs == [1, 2, 3]", "entry_point": "f"}
    )
    assert why(gold, "def f(xs): xs.sort()") == "tests_passed"
    assert why(gold, "def f(xs): return sorted(xs)") == "tests_failed"


def test_a_value_that_the_test_computes_with_cannot_be_emptied():
    test = "def check(candidate):\n    xs = [3, 1, 2]\n    assert candidate(xs) == sorted(xs)"
    gold = json.dumps({"test": test, "entry_point": "f"})
    assert why(gold, "def f(xs): xs.clear(); return []") == "tests_failed"
    assert why(gold, "def f(xs): return sorted(xs)") == "tests_passed"


def test_who_stops_reading_waits_for_no_more_than_what_runs():
    verdicts = check_all(((DOUBLE, fenced("import time; time.sleep(1)\ndef f(x): return 2 * x")) for _ in range(99)), workers=2)
    assert next(verdicts).outcome == "correct"
    started = time.monotonic()
    verdicts.close()
    assert time.monotonic() - started < 12


def test_a_hostile_row_costs_only_itself():
    good, bad = fenced("def f(x): return 2 * x"), fenced("import time\ndef f(x): time.sleep(99)")
    whys = [v.why for v in check_all([(DOUBLE, r) for r in (good, bad, good, bad, good)], workers=2, timeout_s=2)]
    assert whys == ["tests_passed", "timeout", "tests_passed", "timeout", "tests_passed"]


def test_a_broken_sandbox_is_undetermined(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for gold in (DOUBLE, STDIN):
        verdict = check(gold, fenced("def f(x): return 2 * x"), isolation="bubblewrap")
        assert (verdict.outcome, verdict.why) == ("undetermined", "sandbox_failed")
