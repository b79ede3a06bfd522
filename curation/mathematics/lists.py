"""Members of lists, sets, tuples and matrices, matched by a comparison that the caller gives."""

from __future__ import annotations

from collections.abc import Callable

from curation.mathematics.names import named
from curation.mathematics.node import Node, walk
from curation.mathematics.points import values
from curation.mathematics.scalar import Answer

Compare = Callable[[Node, Node], Answer]
LIST_LIMIT = 60  # members of a list compared without regard to order: 60 * 60 comparisons at most


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


def distinct(names: list[Node | None]) -> bool:
    return len(names) > 1 and None not in names and len(set(names)) == len(names)


def ordered(left: list[Node], right: list[Node], compare: Compare, *, otherwise: Answer) -> Answer:
    if len(left) != len(right):
        return "different"
    answers = [compare(x, y) for x, y in zip(left, right, strict=True)]
    if set(answers) <= {"equal"}:
        return "equal"
    return otherwise if unordered(left, right, compare, deduplicate=False) == "equal" else together(answers)


def unordered(left: list[Node], right: list[Node], compare: Compare, *, deduplicate: bool) -> Answer:
    if deduplicate:
        left, right = _unique(left, compare), _unique(right, compare)
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


def _unique(nodes: list[Node], compare: Compare) -> list[Node]:
    kept: list[Node] = []
    for n in nodes:
        if all(compare(n, k) != "equal" for k in kept):
            kept.append(n)
    return kept


def together(answers: list[Answer]) -> Answer:
    for answer in ("different", "unknown", "close"):
        if answer in answers:
            return answer
    return "equal"


def rows(node: Node) -> list[list[Node]] | None:
    if node.op == "matrix":
        return [list(r.args) for r in node.args]
    if node.op == "group" and all(a.op == "group" for a in node.args):
        return [list(a.args) for a in node.args]
    return [list(node.args)] if node.op == "group" else None
