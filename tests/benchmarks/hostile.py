"""Ten thousand generated answers and programs that a model might write to stop a verifier; none may.

    python tests/benchmarks/hostile.py [--rows 10000] [--programs 200] [--workers 2] [--seed 0]

Prints the outcomes by reason, the slowest row, and whether every innocent row mixed in between was still judged right, whether
a worker or a process was left behind and whether a file outside the scratch directory was touched. Exit status 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from curation import code_tests
from curation.mathematics import server
from curation.verify import verify_all

INNOCENT = [("1/2", "So \\boxed{0.5}.", "correct"), ("7", "The answer is 8.", "incorrect")]
INNOCENT_EVERY = 10
ALPHABETS = ["٠١٢٣٤٥", "一二三四五", "०१२३४५", "αβγδεζ", "абвгде", "🙂🙃", "½⅓¼", "₀₁₂₃", "\u202e\u200b\u2028\ufeff"]


def _nested(r: random.Random) -> str:
    opening, closing = r.choice(
        [("(", ")"), ("{", "}"), ("\\frac{", "}{2}"), ("\\sqrt{", "}"), ("|", "|"), ("f(", ")"), ("[", "]")]
    )
    depth = r.choice([50, 500, 5_000, 50_000])
    return opening * depth + "1" + closing * (depth if r.random() < 0.7 else r.randrange(depth))


def _power(r: random.Random) -> str:
    base = r.choice(["2", "9", "10", "x", "\\pi", "e", "-1", "0", "i"])
    return r.choice(["^{", "**(", "^("]).join([base] * r.randint(2, 9)) + str(r.randrange(10**9)) + r.choice(["}", ")", ""]) * 8


def _factorial(r: random.Random) -> str:
    n = str(r.randrange(10 ** r.randint(1, 12)))
    return r.choice([n + "!" * r.randint(1, 9), f"\\frac{{1}}{{{n}!}}", f"\\binom{{{n}}}{{{n[:-1] or 1}}}", f"({n}!)!"])


def _megabyte(r: random.Random) -> str:
    return r.choice(["9", "1+", "x ", "\\boxed{", "(", "1,", "a", "\\n", "$", "####", "</think>", "answer is "]) * r.choice(
        [10_000, 200_000]
    )


def _unbalanced(r: random.Random) -> str:
    return "".join(r.choices("{}()[]\\^_$&|<>!%1x,;", k=r.choice([20, 200, 2_000])))


def _control(r: random.Random) -> str:
    return "".join(chr(r.randrange(32)) if r.random() < 0.5 else r.choice("12x+=") for _ in range(r.choice([10, 1_000])))


def _alphabet(r: random.Random) -> str:
    return "".join(r.choices(r.choice(ALPHABETS) + "12+", k=r.choice([5, 50, 3_000])))


def _code(r: random.Random) -> str:
    return r.choice(
        ["__import__('os').system('touch {0}')", "open('{0}','w')", "exec('x='*9)", "().__class__.__bases__", "lambda: 0"]
    )


def _latex(r: random.Random) -> str:
    words = [
        "\\frac",
        "\\sqrt",
        "\\int",
        "\\sum",
        "\\lim",
        "\\begin{pmatrix}",
        "\\end{cases}",
        "\\text",
        "{",
        "}",
        "^",
        "_",
        "1",
        "x",
        "\\\\",
    ]
    return " ".join(r.choices(words, k=r.choice([5, 50, 500])))


def _set(r: random.Random) -> str:
    return (
        r.choice(["(", "\\{", "["])
        + ",".join(r.choice(["\\pm 1", "10^{999}", "x", "(1,2)"]) for _ in range(r.choice([50, 900])))
        + ")"
    )


MAKERS: list[Callable[[random.Random], str]] = [
    _nested, _power, _factorial, _megabyte, _unbalanced, _control, _alphabet, _code, _latex, _set,
]  # fmt: skip
GOLDS = ["5", "x^2+1", "\\frac{1}{2}", "(1,2)", "[0,1)", "\\sqrt{2}", "e^{16}-1", "2004!", "\\text{Evelyn}", "10\\text{ cm}", "C"]

PROGRAMS = {
    "forks": "import os\nwhile True: os.fork()",
    "threads": "import threading\nwhile True: threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()",
    "allocates": "a = []\nwhile True: a.append(bytearray(10**8))",
    "writes": "f = open('big', 'wb')\nwhile True: f.write(b'x' * 10**7)",
    "prints": "while True: print('x' * 10**6)",
    "sleeps": "import time\ntime.sleep(10**6)",
    "spins": "while True: pass",
    "connects": "import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=3)\nf = lambda x: x + 1",
    "deletes": "import shutil, os\nfor p in ('{victim}', os.path.expanduser('~')): shutil.rmtree(p, ignore_errors=True)",
    "daemon": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(10**6)\n    os._exit(0)",
    "kills": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "exits": "import os\nos._exit(0)",
    "lies": "class A(int):\n    def __eq__(self, other): return True\nf = lambda x: A()",
    "recurses": "import sys\nsys.setrecursionlimit(10**9)\nf = lambda x: f(x)\nf(1)",
    "crashes": "import ctypes\nctypes.string_at(0)",
}
TESTS = json.dumps({"asserts": ["assert f(1) == 2", "assert f(5) == 6"]})
RIGHT = "```python\ndef f(x):\n    return x + 1\n```"


def answers(rows: int, seed: int, marker: Path) -> Iterator[tuple[str, str, str | None]]:
    """(gold, response, expected outcome or None) for each row; every tenth is innocent."""
    r = random.Random(seed)
    for number in range(rows):
        if number % INNOCENT_EVERY == 0:
            yield INNOCENT[number // INNOCENT_EVERY % 2]
            continue
        text = r.choice(MAKERS)(r).replace("{0}", str(marker))
        gold, response = r.choice(GOLDS), r.choice(["\\boxed{%s}", "%s", "The answer is %s", "<think>%s</think>%s", "\\boxed{%s"])
        yield (gold, response.replace("%s", text), None) if r.random() < 0.9 else (text[:5_000], f"\\boxed{{{gold}}}", None)


def descendants() -> set[str]:
    listed = subprocess.run(["ps", "-eo", "pid,ppid,stat,comm"], capture_output=True, text=True, check=True).stdout.split("\n")[1:]
    rows = [line.split(maxsplit=3) for line in listed if line]
    parents = {pid: parent for pid, parent, state, name in rows if not state.startswith("Z") and name != "ps"}
    mine, grown = {str(os.getpid())}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in mine} - mine
        mine, grown = mine | more, bool(more)
    return mine - {str(os.getpid())}


def judge_answers(rows: int, workers: int, seed: int, marker: Path) -> bool:
    items = list(answers(rows, seed, marker))
    started = time.monotonic()
    verdicts = list(verify_all(((gold, response, "math") for gold, response, _ in items), workers=workers))
    seconds = time.monotonic() - started
    wrong = sum(e is not None and v.outcome != e for (_, _, e), v in zip(items, verdicts, strict=True))
    hostile = [(g[:40], r[:40], v.outcome) for (g, r, e), v in zip(items, verdicts, strict=True) if e is None]
    accepted = [(gold, response) for gold, response, outcome in hostile if outcome == "correct"]
    print(f"answers    {rows:,} in {seconds:.1f} s with {workers} workers, slowest {max(v.seconds for v in verdicts):.2f} s")
    print(f"           {dict(Counter((v.outcome, v.why) for v in verdicts).most_common(12))}")
    print(f"           innocent rows judged wrong: {wrong}; marker file made: {marker.exists()}")
    print(f"           hostile rows accepted: {accepted or 0}")
    return not wrong and not marker.exists()


def judge_programs(count: int, workers: int, seed: int, victim: Path) -> bool:
    r = random.Random(seed)
    names = [r.choice(list(PROGRAMS)) for _ in range(count)]
    items = []
    for name in names:
        text = PROGRAMS[name].replace("{victim}", str(victim)).replace("{port}", "9")
        items += [(TESTS, f"```python\n{text}\n```"), (TESTS, RIGHT)]
    started = time.monotonic()
    verdicts = list(code_tests.check_all(items, timeout_s=1.0, workers=workers))
    seconds = time.monotonic() - started
    hostile, innocent = verdicts[::2], verdicts[1::2]
    # A program that connects in vain dies before it defines f; all others never define an honest one.
    passed = [name for name, v in zip(names, hostile, strict=True) if v.outcome == "correct"]
    wrong = sum(v.outcome != "correct" for v in innocent)
    print(f"programs   {count:,} and as many innocent ones in {seconds:.1f} s, judged by {verdicts[0].verifier}")
    for name in PROGRAMS:
        print(f"           {name:<10} {dict(Counter(v.why for n, v in zip(names, hostile, strict=True) if n == name))}")
    print(
        f"           innocent programs judged wrong: {wrong}; hostile programs passed: {passed}; victim intact: {victim.exists()}"
    )
    return not wrong and not passed and victim.exists()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        victim = Path(folder) / "victim"
        victim.mkdir()
        (victim / "file").write_text("precious")
        fine = judge_answers(options.rows, options.workers, options.seed, Path(folder) / "marker")
        fine &= judge_programs(options.programs, options.workers, options.seed, victim)
        server.close()
        time.sleep(1)
        left = descendants()
        print(f"processes left behind: {len(left)}")
    return 0 if fine and not left else 1


if __name__ == "__main__":
    raise SystemExit(main())
