"""Answers as people write them: lists, relations, sets, labels and units around expressions."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from curation.mathematics.lexicon import CUT, DOUBT, FILLERS, NUMBERS, SCALES
from curation.mathematics.node import Node, depth
from curation.mathematics.parse import Expression
from curation.mathematics.text import normalise, words
from curation.mathematics.tokens import Token, Unreadable, tokens

_RELATIONS = {
    "=": "=",
    "==": "=",
    "<": "<",
    ">": ">",
    "<=": "<=",
    ">=": ">=",
    r"\le": "<=",
    r"\ge": ">=",
    r"\ne": "!=",
    "!=": "!=",
}
_RELATIONS |= {r"\in": "in", r"\approx": "~", r"\equiv": "==", r"\sim": "~", r"\simeq": "~"}
TREE_LIMIT = 80  # levels; evaluation takes two frames of the stack for each
REMARK_LIMIT = 6  # words behind one value: "40 square feet of carpet" has four


class Reading(NamedTuple):
    node: Node
    words: tuple[str, ...]  # units and remarks, lower case
    dropped: tuple[str, ...]  # numbers of the conditions left aside: x > 0 and x > 1 are not the same
    doubtful: bool  # a condition or a negation was left aside: a difference proves nothing


def read(text: str, *, thousands: bool = True) -> Reading:
    """The tree of a whole answer; raises Unreadable."""
    if words(text) in ("all real numbers", "all reals", "all real x", "real numbers"):
        return Reading(Node("sym", name="R"), (), (), False)
    found = tokens(normalise(text, thousands=thousands))
    numbers = [t.text for t in found if t.kind == "num"]
    found, doubtful = _without_condition(found)
    for kept in (t.text for t in found if t.kind == "num"):
        numbers.remove(kept)
    if not found:
        raise Unreadable("nothing")
    parser = Statement(found)
    node = parser.statement()
    if parser.peek().kind != "end":
        raise Unreadable(parser.peek().text)
    if depth(node) > TREE_LIMIT:
        raise Unreadable("too deep")
    remarks = tuple(parser.remarks)
    return Reading(node, remarks, tuple(numbers), doubtful or any(w in DOUBT or w.isdigit() for w in remarks))


def _without_condition(found: list[Token]) -> tuple[list[Token], bool]:
    depth = 0
    if found and found[0].text == r"\forall":  # for all x > 0, ...: what holds is what follows
        comma = next((i for i, t in enumerate(found) if t.text in (",", ":", ";")), len(found) - 1)
        return found[comma + 1 :], True
    for i, token in enumerate(found):
        if token.text in ("(", "[", "{", r"\{"):
            depth += 1
        elif token.text in (")", "]", "}", r"\}"):
            depth -= 1
        elif i and depth <= 0 and ((token.kind == "word" and token.text.lower() in CUT) or token.text == r"\forall"):
            end = i - 1 if found[i - 1].text in (",", ";", "(") else i
            rest, doubtful = _next_clause(found[i + 1 :])
            return found[:end] + rest, doubtful or token.text.lower() not in ("for", r"\forall")
    return found, False


def _next_clause(rest: list[Token]) -> tuple[list[Token], bool]:
    """What a condition is followed by: `for all x, and f(x) = 2` goes on at `and`."""
    for i, token in enumerate(rest):
        if token.text.lower() in ("and", "or") and any(t.text == "=" for t in rest[i + 1 : i + 8]):
            found, doubtful = _without_condition(rest[i + 1 :])
            return [token, *found], doubtful
    return [], False


class Statement(Expression):
    """Reads clauses and what joins them; words that are no part of the value are kept as remarks."""

    def __init__(self, found: list[Token]) -> None:
        super().__init__(found)
        self.remarks: list[str] = []

    def statement(self) -> Node:
        """Clauses joined by commas, `and`, `or`."""
        clauses, joins = [self.clause()], set()
        while join := self.joint():
            joins.add(join)
            if self.peek().kind == "end":
                break
            clauses.append(self.clause())
        if len(clauses) == 1:
            return clauses[0]
        return Node("list", tuple(clauses), name="or" if "or" in joins else "and" if "and" in joins else ",")

    def joint(self) -> str:
        join = ""
        while True:
            token = self.peek()
            if token.kind == "op" and token.text in (",", ";"):
                join = join or ","
            elif token.kind == "word" and token.text.lower() in ("and", "or"):
                join = token.text.lower()
            else:
                return join
            self.i += 1

    def clause(self) -> Node:
        label = self.label()
        self.lead()
        node = self.relation()
        node = self.scaled(node)
        known = len(self.remarks)
        self.unit()
        if len(self.remarks) - known > REMARK_LIMIT:
            raise Unreadable("prose")
        return Node("rel", (Node("text", name=label), node), name="=") if label else node

    def label(self) -> str:
        """`Paolo: 18` and `Maximum = 2`: words up to a colon or an equals sign."""
        end, words = self.i, 0
        while end < len(self.tokens) and self.tokens[end].kind in ("word", "num", "sym", "fn") and end - self.i < 6:
            if self.tokens[end].text.lower() in ("and", "or"):
                return ""
            words += self.tokens[end].kind == "word" or self.tokens[end].text in ("min", "max")
            end += 1
        if not words or end >= len(self.tokens) or self.tokens[end].text not in (":", "="):
            return ""
        label = " ".join(t.text.lower() for t in self.tokens[self.i : end])
        self.i = end + 1
        return label

    def lead(self) -> None:
        """Skip the words that may stand before a value; any other word makes it prose."""
        while self.peek().kind == "word" and self.peek().text.lower() not in NUMBERS:
            word = self.next().text.lower()
            if word not in FILLERS:
                raise Unreadable(word)
        if self.peek().text == "a" and self.peek(1).kind == "word":
            raise Unreadable("prose")

    def unit(self) -> None:
        """Skip what stands behind a value: words, powers and fractions of units (cm^2, km/h), a remark in brackets."""
        while True:
            token = self.peek()
            if token.kind == "word" and token.text.lower() not in ("and", "or"):
                self.remarks.append(token.text.lower())
                self.i += 1
                self.unit_power()
            elif token.text == "/" and self.peek(1).kind in ("word", "sym"):
                self.remarks.append("/" + self.peek(1).text.lower())
                self.i += 2
                self.unit_power()
            elif token.kind == "cmd" and token.text in (r"\cdot", r"\times") and self.remarks and self.peek(1).kind == "word":
                self.i += 1
            elif token.text == "(" and self.peek(1).kind == "word":
                self.bracketed_remark()
            elif token.kind in ("sym", "num") and self.remarks and self.tokens[self.i - 1].kind == "word":
                self.remarks.append(token.text.lower())
                self.i += 1
                self.unit_power()
            else:
                return

    def unit_power(self) -> None:
        if not self.at("^"):
            return
        self.next()
        grouped = self.take("{")
        self.take("-")
        self.remarks.append("^" + self.next().text)
        if grouped:
            self.expect("}")

    def bracketed_remark(self) -> None:
        self.next()
        while not self.take(")"):
            token = self.next()
            if token.kind == "end":
                raise Unreadable("bracket")
            self.remarks.append(token.text.lower())

    def scaled(self, node: Node) -> Node:
        while self.peek().kind == "word" and self.peek().text.lower() in SCALES:
            factor = Node("num", value=Fraction(SCALES[self.next().text.lower()]))
            node = Node("scale", (Node("mul", (node, factor)), node))
        return node

    def relation(self) -> Node:
        self.take("=", r"\approx", r"\sim", r"\therefore")
        unnamed = self.at("<", ">", "<=", ">=", r"\le", r"\ge")  # "> 5": of whatever was asked for
        args, ops = [Node("sym", name="?") if unnamed else self.sets()], []
        while self.peek().text in _RELATIONS and self.peek().kind in ("op", "cmd"):
            ops.append(_RELATIONS[self.next().text])
            args.append(self.sets())
        return Node("rel", tuple(args), name=" ".join(ops)) if ops else args[0]

    def sets(self) -> Node:
        node = self.ratio()
        while self.at(r"\cup", r"\cap", r"\setminus", "\\"):
            name = self.next().text
            node = Node("union" if name == r"\cup" else "intersection" if name == r"\cap" else "minus", (node, self.ratio()))
        return node

    def ratio(self) -> Node:
        parts = [self.amount()]
        while self.at(":") and self.peek(1).kind != "end":
            self.next()
            parts.append(self.expression())
        return parts[0] if len(parts) == 1 else Node("ratio", tuple(parts))

    def amount(self) -> Node:
        token = self.peek()
        if self.take(r"\ldots"):
            return Node("dots")
        if token.kind == "word" and token.text.lower() in NUMBERS:
            self.next()
            return Node("num", value=Fraction(NUMBERS[token.text.lower()]))
        return self.expression()

    def braces(self) -> Node:
        """Members of a set, or members with a condition behind a bar."""
        if self.take(r"\}"):
            return Node("set")
        bars, self.bars = self.bars, 1
        first = self.statement()
        if self.take("|", ":"):
            node = Node("builder", (first, self.statement()))
        else:
            node = Node("set", first.args if first.op == "list" else (first,))
        self.bars = bars
        self.expect(r"\}")
        return node
