"""Two readings of answers, compared: the same number, list, tuple, set, matrix, relation or function?"""

from __future__ import annotations

from typing import Literal

from curation.math_forms import CONVERTIBLE, Reading
from curation.math_node import Node, number, substitute, symbols, walk
from curation.math_points import WHOLE_NAMES, equal, real_value, values
from curation.math_round import rounds
from curation.math_sets import is_set, same, to_set

Answer = Literal["equal", "different", "unknown", "close"]
_UNIT_LETTERS = frozenset("msghLNJVWACFK")
LIST_LIMIT = 60  # members of a list compared without regard to order: 60 * 60 comparisons at most


def compare_readings(gold: Reading, answer: Reading) -> Answer:
    """Does the answer say what the gold says?"""
    result = compare(gold.node, answer.node)
    if result == "different" and (gold.doubtful or answer.doubtful or _other_unit(gold, answer)):
        return "unknown"
    return result


# Factors between usual units of time, length and mass.
_FACTORS = frozenset({60, 3600, 24, 1440, 7, 168, 30, 365, 52, 12, 36, 3, 5280, 1760, 100, 1000, 10, 16, 2000})


def _other_unit(gold: Reading, answer: Reading) -> bool:
    """18.8 hours beside 1128: the same in minutes, so a difference of the numbers alone proves nothing."""
    if not (set(gold.words) ^ set(answer.words)) & CONVERTIBLE:
        return False
    if "list" in (gold.node.op, answer.node.op):
        return True
    x, y = real_value(gold.node), real_value(answer.node)
    return bool(x and y and any(abs(x / y * f - 1) < 1e-9 or abs(y / x * f - 1) < 1e-9 for f in _FACTORS))


def compare(gold: Node, answer: Node) -> Answer:
    """The same for two trees; symmetric but for rounding, where the gold says how many digits count."""
    if gold == answer:
        return "equal"
    if "~" in gold.name + answer.name and "rel" in (gold.op, answer.op):
        gold, answer = _exact_side(gold), _exact_side(answer)
    if is_set(gold) or is_set(answer):
        return _sets(gold, answer)
    (gold_name, gold_value), (answer_name, answer_value) = named(gold), named(answer)
    if gold_name is not None or answer_name is not None:
        return _named(gold, gold_name, gold_value, answer, answer_name, answer_value)
    if gold.op == "rel" or answer.op == "rel":
        return _relations(gold, answer)
    gold_items, answer_items = items(gold), items(answer)
    if gold_items is not None or answer_items is not None:
        return _lists(gold, gold_items, answer, answer_items)
    if "dots" in (gold.op, answer.op):
        return "unknown"
    if "group" in (gold.op, answer.op) or "matrix" in (gold.op, answer.op):
        return _tuples(gold, answer)
    return scalar(gold, answer)


def _exact_side(node: Node) -> Node:
    """a = b of a = b ~ 1.41: what stands before the approximation."""
    if node.op != "rel" or "~" not in node.name:
        return node
    kept = node.name.split().index("~") + 1
    return (
        node.args[0]
        if kept == 1
        else node._replace(args=node.args[:kept], name=" ".join(node.name.split()[: kept - 1]))
    )


def named(node: Node) -> tuple[Node | None, Node]:
    """(x, 5) of x = 5, of 5 = x and of x = 2 + 3 = 5; (None, node) of what is not named."""
    if node.op != "rel" or set(node.name.split()) != {"="}:
        return None, node
    args = node.args
    names = [a for a in args if _is_name(a)]
    rest = [a for a in args if not _is_name(a)]
    if not names:
        return None, node
    if not rest:
        return names[0], names[-1]
    if symbols(names[0]) & symbols(rest[-1]) and names[0].op == "sym":
        return None, node
    return names[0], rest[-1]


def _is_name(node: Node) -> bool:
    if node.op == "group":
        return all(_is_name(a) for a in node.args)
    return node.op in ("text", "apply") or (node.op == "sym" and node.name not in ("e", "i", "pi"))


def _named(
    gold: Node, gold_name: Node | None, left: Node, answer: Node, answer_name: Node | None, right: Node
) -> Answer:
    if gold_name is not None and answer_name is not None:
        if gold_name.op == answer_name.op == "apply" and len(gold_name.args) == len(answer_name.args):
            renamed = {y.name: x for x, y in zip(gold_name.args, answer_name.args, strict=True) if y.op == "sym"}
            right = substitute(right, renamed)
        elif (
            gold_name.op == answer_name.op == "sym" and gold_name != answer_name and not symbols(left) | symbols(right)
        ):
            result = compare(left, right)
            return result
    if (left == gold and left.op == "rel") or (right == answer and right.op == "rel"):
        return _relations(gold, answer)
    result = compare(left, right)
    if result != "equal" and (gold_name is None) != (answer_name is None):
        return _solved(gold, right) if gold_name is not None and result == "unknown" else result
    return result


def _relations(gold: Node, answer: Node) -> Answer:
    """Equations up to a factor; an equation against the expression that solves it; inequalities side by side."""
    if gold.op == "rel" and answer.op == "rel":
        return _two_relations(gold, answer)
    relation, expression = (gold, answer) if gold.op == "rel" else (answer, gold)
    if relation.name.split() == ["="] * (len(relation.args) - 1) and len(relation.args) > 2:
        return compare(*((relation.args[-1], answer) if gold.op == "rel" else (gold, relation.args[-1])))
    if relation.name == "=" and expression.op not in ("group", "set", "list"):
        solved = _solved(relation, expression)
        return solved if solved == "equal" or symbols(expression) else _valued(relation, gold, answer)
    return "unknown"


def _valued(relation: Node, gold: Node, answer: Node) -> Answer:
    """AB = 24 against a number: what stands on the right is the value of what is on the left."""
    left, right = relation.args
    result = compare(*((right, answer) if relation is gold else (gold, right)))
    product = all(n.op in ("sym", "mul") for n in walk(left)) or equal(left, right) == "equal"
    return result if product or result == "different" else "unknown"


def _two_relations(gold: Node, answer: Node) -> Answer:
    if gold.name == answer.name == "=":
        left, right = (Node("add", (r.args[0], Node("neg", (r.args[1],)))) for r in (gold, answer))
        if symbols(left) != symbols(right):
            return "unknown"
        quotient = Node("div", (left, right))
        moved = substitute(quotient, {n: Node("add", (Node("sym", name=n), number(1))) for n in symbols(left)})
        return "equal" if equal(quotient, moved) == "equal" else "unknown"
    if gold.name != answer.name or len(gold.args) != len(answer.args):
        mirrored = _mirrored(answer)
        if mirrored.name != gold.name or len(gold.args) != len(answer.args):
            return "unknown"
        answer = mirrored
    answers = {compare(x, y) for x, y in zip(gold.args, answer.args, strict=True)}
    return "equal" if answers == {"equal"} else "unknown"


def _mirrored(node: Node) -> Node:
    turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
    return node._replace(args=node.args[::-1], name=" ".join(turned.get(o, o) for o in reversed(node.name.split())))


def _solved(equation: Node, expression: Node) -> Answer:
    """xy = 6 against 6/x: true where the equation is linear in one symbol that the expression solves for."""
    if equation.op != "rel" or equation.name != "=":
        return "unknown"
    gap = Node("add", (equation.args[0], Node("neg", (equation.args[1],))))
    for name in sorted(symbols(gap) - symbols(expression)):
        if symbols(gap) - {name} != symbols(expression):
            continue
        at = [substitute(gap, {name: number(v)}) for v in (0, 1, 2)]
        bend = Node("add", (at[0], at[2], Node("neg", (Node("mul", (number(2), at[1])),))))
        moves = equal(at[0], at[1]) == "different"  # an identity such as cos x = 1 / sec x solves for nothing
        linear = moves and equal(bend, number(0)) == "equal"
        if linear and equal(substitute(gap, {name: expression}), number(0)) == "equal":
            return "equal"
    return "unknown"


def _sets(gold: Node, answer: Node) -> Answer:
    gold, answer = _set_side(gold), _set_side(answer)
    left, right = to_set(gold), to_set(answer)
    if left is None or right is None:
        if gold.op == "rel" and answer.op == "rel":
            return _two_relations(gold, answer)
        both_builders = gold.op == answer.op == "builder"
        return compare(gold.args[1], answer.args[1]) if both_builders else "unknown"
    return same(left, right)  # type: ignore[return-value]


def _set_side(node: Node) -> Node:
    """A = {x | ...} names its set; one value against a set is the set of it."""
    name, value = named(node)
    if name is not None and is_set(value):
        return value
    return Node("set", (value,)) if name is not None or node.op in ("num", "neg", "div") else node


def items(node: Node) -> list[Node] | None:
    """Members of a list or set, with every ± written out; None where the node is one thing."""
    if node.op in ("list", "set"):
        return [v for a in node.args for v in expanded(a)]
    written_out = expanded(node)
    return written_out if len(written_out) > 1 else None


def expanded(node: Node) -> list[Node]:
    """What the ± in a node stand for: one sign for an expression, free signs for the members of a tuple."""
    if node.op == "rel" and named(node)[0] is not None:
        return expanded(named(node)[1]) if any(n.op == "pm" for n in walk(node)) else [node]
    if node.op != "group":
        return list(values(node))
    found: list[tuple[Node, ...]] = [()]
    for a in node.args:
        found = [(*f, v) for f in found for v in values(a)]
        if len(found) > LIST_LIMIT:
            return [node]
    return [node._replace(args=f) for f in found]


def _lists(gold: Node, left: list[Node] | None, answer: Node, right: list[Node] | None) -> Answer:
    """Order does not matter, except against a tuple or where components are named."""
    if "group" in (gold.op, answer.op) and None in (left, right):
        flat_gold, flat_answer = left or list(gold.args), right or list(answer.args)
        return _ordered(flat_gold, flat_answer, otherwise="unknown")
    left, right = left or [gold], right or [answer]
    if max(len(left), len(right)) > LIST_LIMIT:
        return "unknown"
    names = [named(n)[0] for n in right]
    gold_names = [named(n)[0] for n in left]
    if None in names or None in gold_names:
        if any(names) != all(names):  # a label that several members share
            right = [named(n)[1] for n in right]
            names = []
        if any(gold_names) != all(gold_names):
            left = [named(n)[1] for n in left]
            gold_names = []
    if _distinct(names) and not any(gold_names):
        worded = all(n is not None and n.op == "text" for n in names)
        return _ordered(left, [named(n)[1] for n in right], otherwise="equal" if worded else "unknown")
    if _distinct(gold_names) and not any(names):
        return _ordered([named(n)[1] for n in left], right, otherwise="unknown")
    if _distinct(gold_names) and set(gold_names) == set(names):
        order = {n: named(r)[1] for n, r in zip(names, right, strict=True)}
        return _ordered([named(n)[1] for n in left], [order[n] for n in gold_names], otherwise="different")
    return _unordered(left, right, deduplicate="set" in (gold.op, answer.op))


def _distinct(names: list[Node | None]) -> bool:
    return len(names) > 1 and None not in names and len(set(names)) == len(names)


def _ordered(left: list[Node], right: list[Node], *, otherwise: Answer) -> Answer:
    if len(left) != len(right):
        return "different"
    answers = [compare(x, y) for x, y in zip(left, right, strict=True)]
    if set(answers) <= {"equal"}:
        return "equal"
    return otherwise if _unordered(left, right, deduplicate=False) == "equal" else _together(answers)


def _unordered(left: list[Node], right: list[Node], *, deduplicate: bool) -> Answer:
    if deduplicate:
        left, right = _unique(left), _unique(right)
    rest, doubts = list(right), len(left) != len(right)
    if doubts:
        return "different"
    unsure = False
    for x in left:
        answers = [compare(x, y) for y in rest]
        if "equal" in answers:
            rest.pop(answers.index("equal"))
        elif set(answers) == {"different"}:
            return "different"
        else:
            unsure = True
    return "unknown" if unsure else "equal"


def _unique(nodes: list[Node]) -> list[Node]:
    kept: list[Node] = []
    for n in nodes:
        if all(compare(n, k) != "equal" for k in kept):
            kept.append(n)
    return kept


def _together(answers: list[Answer]) -> Answer:
    for answer in ("different", "unknown", "close"):
        if answer in answers:
            return answer
    return "equal"


def _tuples(gold: Node, answer: Node) -> Answer:
    """Points, intervals, vectors and matrices, part by part."""
    left, right = _rows(gold), _rows(answer)
    if left is None or right is None:
        return "different"
    if [len(r) for r in left] != [len(r) for r in right]:
        if min(len(left), len(left[0])) == min(len(right), len(right[0])) == 1:  # a column against a row
            left, right = [[x for r in left for x in r]], [[x for r in right for x in r]]
        if [len(r) for r in left] != [len(r) for r in right]:
            return "different"
    answers = [compare(x, y) for r, s in zip(left, right, strict=True) for x, y in zip(r, s, strict=True)]
    result = _together(answers)
    if result == "equal" and gold.op == answer.op == "group" and gold.name != answer.name:
        return "different" if len(gold.args) == 2 else "equal"  # an interval with another end
    return result


def _rows(node: Node) -> list[list[Node]] | None:
    if node.op == "matrix":
        return [list(r.args) for r in node.args]
    return [list(node.args)] if node.op == "group" else None


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
            if compare(x.args[0], y) == "equal":
                return "equal"
            return "unknown" if equal(x, y) == "equal" else "different"
    return "equal" if gold.value == answer.value and gold.name == answer.name else "different"


def _renamed(gold: Node, answer: Node, left: set[str], right: set[str]) -> Answer:
    """Other letters: n + 1 beside k + 1 may be meant; integer parameters and the constant of integration are."""
    if len(left) != len(right) or not left:
        one_unit = any(
            n.op == "mul" and n.args[1].name in _UNIT_LETTERS and n.args[0].op == "num" for n in (gold, answer)
        )
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
            return "equal" if set(only_left + only_right) <= WHOLE_NAMES | {"C", "c"} else "unknown"
    return "different"
