"""Factors, products and sums.

The grammar is that of answers, not of all LaTeX: what it does not know raises Unreadable and goes to math-verify.
"""

from __future__ import annotations

from fractions import Fraction

from curation.mathematics.atoms import Atoms, decimal_number
from curation.mathematics.node import Node, number
from curation.mathematics.tokens import Unreadable

_STARTS = frozenset({"(", "{", r"\{", "|", r"\|"})
_START_COMMANDS = frozenset(
    {
        r"\frac",
        r"\sqrt",
        r"\surd",
        r"\pi",
        r"\infty",
        r"\binom",
        r"\lfloor",
        r"\lceil",
        r"\langle",
        r"\begin",
        r"\emptyset",
        r"\triangle",
    }
)


class Expression(Atoms):
    """Reads sums, products and powers of atoms."""

    def expression(self) -> Node:
        """Sum: terms joined by +, - and ±."""
        self.enter()
        terms = [self.signed()]
        while self.at("+", "-", r"\pm", r"\mp"):
            terms.append(self.signed())
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def signed(self) -> Node:
        sign = 1
        while self.at("+", "-"):
            sign = -sign if self.next().text == "-" else sign
        if self.at(r"\pm", r"\mp"):
            sign = sign if self.next().text == r"\pm" else -sign
            term = Node("pm", (self.term(),))
        else:
            term = self.term()
        return term if sign == 1 else Node("neg", (term,))

    def term(self) -> Node:
        """Product: factors joined by signs of multiplication and division, or by nothing."""
        result, product = self.factor(), False
        while True:
            if self.take("*", r"\times", r"\cdot", r"\ast"):
                factor = self.signed_factor()
                result = Node("mul", (*result.args, factor) if product else (result, factor))
                product = True
            elif self.take("/", r"\div"):
                result, product = Node("div", (result, self.signed_factor())), False
            elif self.starts_factor():
                joined = self.juxtaposed(result)
                flat = product and joined.op == "mul" and joined.args[0] is result
                result = Node("mul", (*result.args, joined.args[1])) if flat else joined
                product = joined.op == "mul"
            else:
                return result

    def signed_factor(self) -> Node:
        if self.take("-"):
            return Node("neg", (self.factor(),))
        self.take("+")
        return self.factor()

    def juxtaposed(self, left: Node) -> Node:
        closed = self.tokens[self.i - 1].text in (")", "}", "!") and self.peek().spaced
        if self.peek().kind == "num" and not closed and left.op != "fact" and not (left.op == "mul" and left.args[1].op == "fact"):
            raise Unreadable("a number behind a factor")
        whole = left.op == "num" and left.decimals < 0
        right = self.factor()
        if whole and right.op == "div" and right.name == "frac" and all(a.op == "num" for a in right.args):
            return Node("add", (left, right))  # 3\frac{1}{2} is a mixed number
        return Node("mul", (left, right))

    def starts_factor(self) -> bool:
        token = self.peek()
        if token.kind in ("num", "sym", "fn"):
            return True
        if token.text == "|":
            return self.bars == 0 and self.peek(1).kind != "end"
        return token.text in (_STARTS if token.kind == "op" else _START_COMMANDS)

    def factor(self) -> Node:
        """A base with its powers and what stands behind it: ! ° %."""
        base = self.base()
        while True:
            if self.take("^"):
                if self.take("'"):
                    continue
                base = Node("pow", (base, self.script()))
            elif self.take("!"):
                base = Node("fact", (base,))
            elif self.take(r"\degree"):
                if self.peek().text in ("C", "F", "K"):
                    self.next()  # a temperature: the letter is a unit
                else:
                    base = self.degrees(base)
            elif self.take("%"):
                base = Node("pct", (base,))
            elif self.at("'") and base.op == "num":
                self.next()  # feet, inches, minutes or seconds of arc: a unit
            elif self.at("'") and base.op == "sym":
                self.next()
                base = base._replace(name=base.name + "'")
            else:
                return base

    def degrees(self, whole: Node) -> Node:
        """60°, or 60° 42' 30''."""
        if self.peek().kind == "num" and self.peek(1).text == "'":
            minutes = decimal_number(self.next().text).value
            self.take("'")
            seconds = Fraction(0)
            if self.peek().kind == "num" and self.peek(1).text == "'":
                seconds = decimal_number(self.next().text).value
                while self.take("'"):
                    pass
            whole = Node("add", (whole, number(minutes / 60 + seconds / 3600)))
        return Node("deg", (whole,))
