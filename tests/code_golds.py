"""Golds with unit tests of each published kind, and a program put to one of them."""

import json

from curation.code_gold import gold_from_apps, gold_from_humaneval, gold_from_leetcode, gold_from_mbpp
from curation.code_tests import check

DOUBLE = json.dumps({"kind": "calls", "fn_name": "f", "inputs": [[1], [5]], "outputs": [2, 10]})
HUMANEVAL = gold_from_humaneval(
    {
        "prompt": 'def poly(xs, x):\n    return sum(c * x**i for i, c in enumerate(xs))\n\n\ndef zero(xs):\n    """A root."""\n',
        "entry_point": "zero",
        "test": "def check(candidate):\n    for xs in ([-4, 2], [3, 1]):\n        assert abs(poly(xs, candidate(xs))) < 1e-4\n",
    }
)
MBPP = gold_from_mbpp({"test_setup_code": "", "test_list": ["assert f(1) == 2", "assert f(5) == 10"]})
LEETCODE = gold_from_leetcode(
    {
        "prompt": "class Node:\n    def __init__(self, val, next=None):\n        self.val, self.next = val, next\n\n"
        "def chain(xs):\n    node = None\n    for x in reversed(xs):\n        node = Node(x, node)\n    return node\n\n"
        "def same(p, q):\n    while p and q and p.val == q.val:\n        p, q = p.next, q.next\n    return p is q\n",
        "entry_point": "Solution().reverse",
        "test": "def check(candidate):\n    assert same(candidate(head=chain([1, 2, 3])), chain([3, 2, 1]))\n"
        "    assert same(candidate(head=chain(range(5000))), chain(range(4999, -1, -1)))\n",
    }
)
STDIN = gold_from_apps(json.dumps({"inputs": ["1 2\n", ["3 4", ""]], "outputs": ["3\n", ["7"]]}))


def fenced(code):
    return f"<think>Let me see: ```python\nwrong\n```</think>Here it is:\n\n```python\n{code}\n```\nThat is all."


def why(gold, code, **options):
    return check(gold, fenced(code), **options).why
