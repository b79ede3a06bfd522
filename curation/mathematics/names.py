"""What an equation names: x = 5 is 5, f(x) = 2x is 2x, A = B = 3 is 3."""

from __future__ import annotations

from curation.mathematics.node import Node, number, substitute, symbols
from curation.mathematics.points import equal
from curation.mathematics.scalar import Answer


def settled(node: Node) -> Node:
    """0.56 = 56% says 0.56; a false equation of numbers stays one."""
    if node.op != "rel" or set(node.name.split()) != {"="} or symbols(node):
        return node
    true = all(a.op != "text" and equal(node.args[0], a) == "equal" for a in node.args)
    return node.args[-1] if true else node


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


def exact_side(node: Node) -> Node:
    """a = b of a = b ~ 1.41: what stands before the approximation."""
    if node.op != "rel" or "~" not in node.name:
        return node
    kept = node.name.split().index("~") + 1
    return node.args[0] if kept == 1 else node._replace(args=node.args[:kept], name=" ".join(node.name.split()[: kept - 1]))


def mirrored(node: Node) -> Node:
    turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
    return node._replace(args=node.args[::-1], name=" ".join(turned.get(o, o) for o in reversed(node.name.split())))


def solves(equation: Node, expression: Node) -> Answer:
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
