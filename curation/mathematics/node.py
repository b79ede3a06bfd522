"""The tree of a formula."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple


class Node(NamedTuple):
    op: str  # num sym add mul div pow neg fn apply fact abs pm deg pct inf | group set builder matrix ratio rel list union text
    args: tuple[Node, ...] = ()
    name: str = ""  # symbol, function, brackets of a group, operators of a relation, words of a text
    value: Fraction = Fraction(0)  # of a num
    decimals: int = -1  # digits after the point as written; -1 for an integer


def number(value: int | Fraction, decimals: int = -1) -> Node:
    return Node("num", value=Fraction(value), decimals=decimals)


def walk(node: Node) -> Iterator[Node]:
    """Every node of a tree, the root first."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(current.args)


def depth(node: Node) -> int:
    """Levels of the tree, counted without recursion."""
    deepest, level = 0, [node]
    while level:
        deepest, level = deepest + 1, [a for n in level for a in n.args]
    return deepest


def symbols(node: Node) -> set[str]:
    """Names of the free symbols."""
    return {n.name for n in walk(node) if n.op == "sym" and n.name not in CONSTANTS}


def substitute(node: Node, names: dict[str, Node]) -> Node:
    """The tree with symbols replaced."""
    if node.op == "sym":
        return names.get(node.name, node)
    if not node.args:
        return node
    return node._replace(args=tuple(substitute(a, names) for a in node.args))


CONSTANTS = frozenset({"pi", "e", "i"})
