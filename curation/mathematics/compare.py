"""Two readings of answers, compared: the same number, list, tuple, set, matrix, relation or function?"""

from __future__ import annotations

from curation.mathematics.forms import Reading
from curation.mathematics.lexicon import FACTORS, UNIT_NAMES
from curation.mathematics.lists import LIST_LIMIT, distinct, items, ordered, rows, together, unordered
from curation.mathematics.names import exact_side, mirrored, named, settled, solves
from curation.mathematics.node import Node, number, substitute, symbols, walk
from curation.mathematics.points import equal, real_value, unshared_root
from curation.mathematics.scalar import Answer, scalar
from curation.mathematics.sets import is_set, same, to_set


def compare_readings(gold: Reading, answer: Reading) -> Answer:
    """Does the answer say what the gold says?"""
    result = compare(gold.node, answer.node)
    left, right = units(gold.words), units(answer.words)
    if result == "equal":
        other_unit = left and right and left != right  # 12 cm^2 beside 12 cm^3
        other_condition = gold.dropped and answer.dropped and gold.dropped != answer.dropped
        return "unknown" if other_unit or other_condition else "equal"
    if result == "different" and (gold.doubtful or answer.doubtful or (left != right and _convertible(gold, answer))):
        return "unknown"
    return result


def units(words: tuple[str, ...]) -> frozenset[str]:
    """The usual units among the words, each by one name, with their powers."""
    known = [UNIT_NAMES[w] for w in words if w in UNIT_NAMES]
    return frozenset(known + [w for w in words if w in ("^2", "^3")] if known else [])


def _convertible(gold: Reading, answer: Reading) -> bool:
    """18.8 hours beside 1128: the same in minutes, so a difference of the numbers alone proves nothing."""
    if "list" in (gold.node.op, answer.node.op):
        return True
    x, y = real_value(gold.node), real_value(answer.node)
    return bool(x and y and any(abs(x / y * f - 1) < 1e-9 or abs(y / x * f - 1) < 1e-9 for f in FACTORS))


def compare(gold: Node, answer: Node) -> Answer:
    """The same for two trees; symmetric but for rounding, where the gold says how many digits count."""
    if gold == answer:
        return "equal"
    if "~" in gold.name + answer.name and "rel" in (gold.op, answer.op):
        gold, answer = exact_side(gold), exact_side(answer)
    gold, answer = settled(gold), settled(answer)
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
    if "ratio" in (gold.op, answer.op) and max(len(gold.args), len(answer.args)) > 2:
        return _proportions(gold, answer)
    if "group" in (gold.op, answer.op) or "matrix" in (gold.op, answer.op):
        return _tuples(gold, answer)
    return scalar(gold, answer)


def _named(gold: Node, gold_name: Node | None, left: Node, answer: Node, answer_name: Node | None, right: Node) -> Answer:
    if gold_name is not None and answer_name is not None:
        if gold_name.op == answer_name.op == "apply" and len(gold_name.args) == len(answer_name.args):
            renamed = {y.name: x for x, y in zip(gold_name.args, answer_name.args, strict=True) if y.op == "sym"}
            right = substitute(right, renamed)
        elif gold_name.op == answer_name.op == "sym" and gold_name != answer_name and not symbols(left) | symbols(right):
            result = compare(left, right)
            return result
    if (left == gold and left.op == "rel") or (right == answer and right.op == "rel"):
        return _relations(gold, answer)
    result = compare(left, right)
    if result != "equal" and (gold_name is None) != (answer_name is None):
        return solves(gold, right) if gold_name is not None and result == "unknown" else result
    return result


def _relations(gold: Node, answer: Node) -> Answer:
    """Equations up to a factor; an equation against the expression that solves it; inequalities side by side."""
    if gold.op == "rel" and answer.op == "rel":
        return _two_relations(gold, answer)
    relation, expression = (gold, answer) if gold.op == "rel" else (answer, gold)
    if relation.name.split() == ["="] * (len(relation.args) - 1) and len(relation.args) > 2:
        return compare(*((relation.args[-1], answer) if gold.op == "rel" else (gold, relation.args[-1])))
    if relation.name == "=" and expression.op not in ("group", "set", "list"):
        solved = solves(relation, expression)
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
        return _equations(*(Node("add", (r.args[0], Node("neg", (r.args[1],)))) for r in (gold, answer)))
    if gold.name != answer.name:
        answer = mirrored(answer)
    if gold.name != answer.name or len(gold.args) != len(answer.args):
        return "unknown"
    answers = {compare(x, y) for x, y in zip(gold.args, answer.args, strict=True)}
    return "equal" if answers == {"equal"} else "unknown"


def _equations(left: Node, right: Node) -> Answer:
    """Two equations left = 0 and right = 0: the same where the quotient is constant, different where a root is not shared."""
    if symbols(left) != symbols(right) or not symbols(left):
        return "unknown"
    quotient = Node("div", (left, right))
    moved = substitute(quotient, {n: Node("add", (Node("sym", name=n), number(1))) for n in symbols(left)})
    if equal(quotient, moved) == "equal":
        return "equal"
    return "different" if unshared_root(left, right) else "unknown"


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
    if node.op == "list" and not any(a.op == "rel" for a in node.args):
        return Node("set", node.args)
    return Node("set", (value,)) if name is not None or node.op in ("num", "neg", "div") else node


def _lists(gold: Node, left: list[Node] | None, answer: Node, right: list[Node] | None) -> Answer:
    """Order does not matter, except against a tuple or where components are named."""
    if {gold.op, answer.op} == {"group", "set"}:
        return "unknown"  # (1, 2) beside {1, 2}
    if "group" in (gold.op, answer.op) and None in (left, right):
        flat_gold = list(gold.args) if left is None else left
        flat_answer = list(answer.args) if right is None else right
        return ordered(flat_gold, flat_answer, compare, otherwise="unknown")
    left = [gold] if left is None else left
    right = [answer] if right is None else right
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
    if distinct(names) and not any(gold_names):
        worded = all(n is not None and n.op == "text" for n in names)
        return ordered(left, [named(n)[1] for n in right], compare, otherwise="equal" if worded else "unknown")
    if distinct(gold_names) and not any(names):
        return ordered([named(n)[1] for n in left], right, compare, otherwise="unknown")
    if distinct(gold_names) and distinct(names) and set(gold_names) & set(names) and set(gold_names) != set(names):
        return "unknown"  # T(10) = 2, T(11) = 4 beside T(10) = 2, T(17) = 4
    if distinct(gold_names) and set(gold_names) == set(names):
        order = {n: named(r)[1] for n, r in zip(names, right, strict=True)}
        return ordered([named(n)[1] for n in left], [order[n] for n in gold_names], compare, otherwise="different")
    return unordered(left, right, compare, deduplicate="set" in (gold.op, answer.op))


def _proportions(gold: Node, answer: Node) -> Answer:
    """a : b : c, up to a common factor."""
    if gold.op != answer.op or len(gold.args) != len(answer.args):
        return "unknown" if gold.op != answer.op else "different"
    shares = ([Node("div", (a, r.args[0])) for a in r.args[1:]] for r in (gold, answer))
    return together([compare(x, y) for x, y in zip(*shares, strict=True)])


def _tuples(gold: Node, answer: Node) -> Answer:
    """Points, intervals, vectors and matrices, part by part."""
    left, right = rows(gold), rows(answer)
    if left is None or right is None:
        unit_vectors = any(n.name == "j" for tree in (gold, answer) for n in walk(tree))
        return "unknown" if unit_vectors else "different"
    if [len(r) for r in left] != [len(r) for r in right]:
        if min(len(left), len(left[0])) == min(len(right), len(right[0])) == 1:  # a column against a row
            left, right = [[x for r in left for x in r]], [[x for r in right for x in r]]
        if [len(r) for r in left] != [len(r) for r in right]:
            return "different"
    answers = [compare(x, y) for r, s in zip(left, right, strict=True) for x, y in zip(r, s, strict=True)]
    result = together(answers)
    if result == "equal" and gold.op == answer.op == "group" and gold.name != answer.name:
        return "different" if len(gold.args) == 2 else "equal"  # an interval with another end
    return result
