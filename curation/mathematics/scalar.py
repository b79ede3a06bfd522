"""Numbers and expressions, compared with what people leave out: degrees, percent, the base, rounded digits, other letters."""

from __future__ import annotations

from typing import Literal

from curation.mathematics.lexicon import UNIT_LETTERS
from curation.mathematics.node import Node, substitute, symbols, walk
from curation.mathematics.points import WHOLE_NAMES, equal
from curation.mathematics.round import rounds

Answer = Literal["equal", "different", "unknown", "close"]


def scalar(gold: Node, answer: Node) -> Answer:
    """Numbers and expressions: units of angle and percent may be left out, decimals may be rounded."""
    best: Answer = "different"
    for x in readings(gold, answer):
        for y in readings(answer, gold):
            result = _expression(x, y)
            if result == "equal":
                return "equal"
            best = result if result != "different" else best
    return best


def readings(node: Node, other: Node) -> list[Node]:
    """What a number with ° or % may mean beside one without."""
    sign, inner = ("neg", node.args[0]) if node.op == "neg" else ("", node)
    if inner.op == "scale" and other.op != "scale":
        return list(inner.args)  # 5 dozen is 60, and 5 where the question asks for dozens
    if inner.op not in ("deg", "pct", "based") or inner.op == (other.args[0].op if other.op == "neg" else other.op):
        return [node]
    bare = inner.args[0] if inner.op != "based" else inner
    return [node, Node("neg", (bare,)) if sign else bare]


def _expression(gold: Node, answer: Node) -> Answer:
    if gold.op == answer.op == "neg":
        return _expression(gold.args[0], answer.args[0])
    if "based" in (gold.op, answer.op):
        return _based(gold, answer)
    result = equal(gold, answer)
    if result == "equal":
        return result
    left, right = symbols(gold), symbols(answer)
    if left != right and gold.op == answer.op == "sym":
        return "different"  # a lone letter is the answer itself
    if left != right:
        return _renamed(gold, answer, left, right)
    if left:
        opaque = any(n.op == "apply" or n.name == "log" for tree in (gold, answer) for n in walk(tree))
        periodic = left & WHOLE_NAMES and any(n.name == "pi" for n in walk(gold))
        return "unknown" if opaque or periodic else result
    if any(n.op == "fn" and n.name == "log" for tree in (gold, answer) for n in walk(tree)):
        return "unknown"  # log may be the natural or the decimal one
    return rounds(gold, answer) if result == "different" else result


def _based(gold: Node, answer: Node) -> Answer:
    """221_3 is 221 where the question asked for base 3; its value in base ten may be meant too, so that is left open."""
    pairs = ((gold, answer), (answer, gold))
    for x, y in pairs:
        if x.op == "based" and y.op != "based":
            if equal(x.args[0], y) == "equal":
                return "equal"
            return "unknown" if equal(x, y) == "equal" else "different"
    return "equal" if gold.value == answer.value and gold.name == answer.name else "different"


def _renamed(gold: Node, answer: Node, left: set[str], right: set[str]) -> Answer:
    """Other letters: n + 1 beside k + 1 may be meant; integer parameters and the constant of integration are."""
    if len(left) != len(right) or not left:
        one_unit = any(n.op == "mul" and n.args[1].name in UNIT_LETTERS and n.args[0].op == "num" for n in (gold, answer))
        return "unknown" if one_unit and not (left and right) else "different"  # 5 m beside 5
    only_left, only_right = sorted(left - right), sorted(right - left)
    if [n.lower() for n in only_left] == [n.lower() for n in only_right]:  # C_1 and c_1
        names = {y: Node("sym", name=x) for x, y in zip(only_left, only_right, strict=True)}
        return equal(gold, substitute(answer, names))
    if len(only_left) != len(only_right) or len(only_left) > 2:
        return "unknown"
    for order in (only_right, only_right[::-1]):
        names = {y: Node("sym", name=x) for x, y in zip(only_left, order, strict=True)}
        if equal(gold, substitute(answer, names)) == "equal":
            periodic = any(n.name == "pi" for n in walk(gold))
            meant = periodic or set(only_left + only_right) <= {"C", "c", "K", "k"}
            return "equal" if meant and set(only_left + only_right) <= WHOLE_NAMES | {"C", "c"} else "unknown"
    return "different"
