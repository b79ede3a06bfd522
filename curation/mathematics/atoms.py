"""The smallest parts of a formula: numbers, symbols, functions, roots, brackets, matrices."""

from __future__ import annotations

from fractions import Fraction

from curation.mathematics.cursor import END, Cursor
from curation.mathematics.node import Node, number
from curation.mathematics.tokens import Token, Unreadable

_CLOSING = {"(": (")", "]"), "[": ("]", ")")}
_CONSTANTS = {r"\pi": "pi"}
_FLOORS = {r"\lfloor": ("floor", r"\rfloor"), r"\lceil": ("ceil", r"\rceil")}
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
_ALIAS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log"}


class Atoms(Cursor):
    """Reads one atom; needs the layers above for what stands inside brackets."""

    def base(self) -> Node:
        self.enter()
        node = self._base()
        self.depth -= 1
        return node

    def _base(self) -> Node:
        token = self.next()
        if token.kind == "num":
            return self.based(decimal_number(token.text), token.text)
        if token.kind == "sym":
            return self.symbol(token)
        if token.kind == "fn":
            return self.function(token.text)
        if token.kind == "cmd":
            return self.command(token.text)
        if token.kind == "op":
            return self.bracket(token.text)
        raise Unreadable(token.text or "end of the formula")

    def based(self, plain: Node, digits: str) -> Node:
        """A number, or digits with the base they are written in: 221_3."""
        if not self.at("_"):
            return plain
        self.next()
        base = self.group_or_token()
        if base.op not in ("num", "sym") or not 0 <= base.value <= 36 or not digits.isdigit():
            raise Unreadable("base")
        value = Fraction(0)
        for digit in digits:
            value = value * base.value + int(digit)
        return Node("based", (plain,), name=base.name or str(base.value), value=value)

    def symbol(self, token: Token) -> Node:
        name = token.text
        if self.at("_"):
            self.next()
            name += "_" + self.subscript()
        if self.at("(") and not self.peek().spaced and self.is_function(name):
            self.next()
            return self.applied(name)
        return Node("sym", name=name)

    def is_function(self, name: str) -> bool:
        """f, g and h always; another letter where it stands as a name does: P(x) = ..., (P(x), Q(x)), T(10) = 2."""
        if name[0] in "fghFGH":
            return True
        if name == "C" and self.peek(1).kind == self.peek(3).kind == "num" and self.peek(2).text == ",":
            return True
        single = self.peek(1).kind in ("sym", "num") and self.peek(2).text == ")"
        if not single:
            return False
        initial = self.peek(1).text in ("0", "t")  # I(0), y(t): nobody multiplies by a bracketed 0
        return initial or self.peek(3).text in (("=", ",", ")") if name[0].isupper() else ("=",))

    def applied(self, name: str) -> Node:
        args = [self.expression()]
        while self.take(","):
            args.append(self.expression())
        self.expect(")")
        if name == "C" and len(args) == 2:
            return Node("fn", tuple(args), name="binom")
        return Node("apply", tuple(args), name=name)

    def script(self) -> Node:
        """The exponent: a group, a signed number or one factor."""
        if self.take("{"):
            inner = self.expression()
            self.expect("}")
            return inner
        negative = self.take("-")
        self.take("+")
        base = self.base()
        return Node("neg", (base,)) if negative else base

    def subscript(self) -> str:
        if not self.take("{"):
            return self.next().text
        parts, depth = [], 1
        while depth and self.peek() is not END:
            token = self.next()
            depth += (token.text == "{") - (token.text == "}")
            parts.append(token.text)
        return "".join(parts[:-1])

    def letters(self) -> str:
        """The points that an angle or a triangle is named by."""
        name = ""
        while self.peek().kind in ("sym", "word"):
            name += self.next().text
            if self.take("_"):
                name += "_" + self.subscript()
        return name

    def command(self, text: str) -> Node:
        if text in _CONSTANTS:
            return Node("sym", name=_CONSTANTS[text])
        if text == r"\infty":
            return Node("inf")
        if text == r"\frac":
            return Node("div", (self.group_or_token(), self.group_or_token()), name="frac")
        if text == r"\binom":
            return Node("fn", (self.group_or_token(), self.group_or_token()), name="binom")
        if text in (r"\sqrt", r"\surd"):
            return self.root(text)
        if text in _FLOORS:
            name, closing = _FLOORS[text]
            inner = self.expression()
            self.expect(closing)
            return Node("fn", (inner,), name=name)
        if text == r"\emptyset":
            return Node("set")
        if text == r"\begin":
            return self.matrix()
        if text in (r"\angle", r"\triangle"):
            return Node("sym", name=text[1:] + " " + self.letters())
        if text == r"\langle":
            return self.items("(", (r"\rangle",), ")")
        raise Unreadable(text)

    def function(self, name: str) -> Node:
        name, index = _ALIAS.get(name, name), None
        base: Node | None = None
        if name == "log" and self.peek().text in ("2", "10") and self.peek(1).text == "(" and not self.peek().spaced:
            base = decimal_number(self.next().text)  # log2(x)
        while self.at("^", "_"):
            if self.next().text == "^":
                index = self.script()
            else:
                base = self.group_or_token()
        if index is not None and name in _INVERSE and index == Node("neg", (number(1),)):
            name, index = _INVERSE[name], None
        args = self.arguments(name)
        result = Node("fn", (*args, base) if base is not None else args, name=name + ("_base" if base is not None else ""))
        return Node("pow", (result, index)) if index is not None else result

    def arguments(self, name: str) -> tuple[Node, ...]:
        """In brackets, or the product that follows up to the next function: \\sin 2x \\cos x."""
        if self.take("("):
            args = [self.expression()]
            while self.take(","):
                args.append(self.expression())
            self.expect(")")
            return tuple(args)
        if self.at("{"):
            return (self.group_or_token(),)
        negative = self.take("-")
        result = self.factor()
        while name != "sqrt" and self.starts_factor() and self.peek().kind != "fn" and self.peek().text not in ("(", "|"):
            result = Node("mul", (result, self.factor()))
        while self.at("/") and self.peek(1).kind == "num":
            self.next()
            result = Node("div", (result, self.factor()))
        return (Node("neg", (result,)) if negative else result,)

    def root(self, text: str) -> Node:
        degree = None
        if text == r"\sqrt" and self.take("["):
            degree = self.expression()
            self.expect("]")
        inner = self.group_or_token() if text == r"\sqrt" or self.at("{") else self.base()
        return Node("fn", (inner,) if degree is None else (inner, degree), name="sqrt" if degree is None else "root")

    def group_or_token(self) -> Node:
        """An argument of a command: {...}, or one token, of which a number gives one digit (\\frac12)."""
        if self.take("{"):
            inner = self.expression()
            self.expect("}")
            return inner
        token = self.peek()
        if token.kind == "num" and len(token.text) > 1 and self.i and self.tokens[self.i - 1].kind == "cmd":
            digit = token.text[0]
            self.tokens[self.i] = Token("num", token.text[1:], False)
            if not digit.isdigit() or not token.text[1:].isdigit():
                raise Unreadable(token.text)
            return number(int(digit))
        if token.kind == "num" and len(token.text) > 1 and self.i > 1 and self.tokens[self.i - 1] == token:
            raise Unreadable(token.text)
        return self.base()

    def bracket(self, opening: str) -> Node:
        if opening in _CLOSING:
            return self.items(opening, _CLOSING[opening], None)
        if opening == "{":
            return self.items("{", ("}",), "}")
        if opening == r"\{":
            return self.braces()
        if opening in ("|", r"\|"):
            self.bars += 1
            inner = self.expression()
            self.bars -= 1
            self.expect(opening)
            return Node("abs", (inner,))
        raise Unreadable(opening)

    def items(self, opening: str, closings: tuple[str, ...], closing: str | None) -> Node:
        """Brackets: one expression in round or curly ones is only grouped; several make a tuple, interval or set."""
        bars, self.bars = self.bars, 0
        args = [self.expression()]
        while self.take(",", ";"):
            args.append(self.expression())
        self.bars = bars
        end = self.next().text
        if end not in closings:
            raise Unreadable(f"bracket {opening} closed by {end}")
        if len(args) == 1:
            return args[0]
        if opening == "{":
            return Node("set", tuple(args))
        return Node("group", tuple(args), name=opening + (closing or end))

    def matrix(self) -> Node:
        kind = self.environment()
        if "matrix" not in kind and kind != "array":
            raise Unreadable(kind)
        if kind == "array" and self.take("{"):
            self.i += 1
            while not self.take("}"):
                self.next()
                if self.peek() is END:
                    raise Unreadable("array")
        rows, row = [], [self.expression()]
        while not self.take(r"\end"):
            if self.take("&"):
                row.append(self.expression())
            elif self.take("\\\\"):
                if self.at(r"\end"):
                    continue
                rows.append(Node("row", tuple(row)))
                row = [self.expression()]
            else:
                raise Unreadable("matrix")
        self.environment()
        return Node("matrix", (*rows, Node("row", tuple(row))), name="det" if kind == "vmatrix" else "")

    def environment(self) -> str:
        self.expect("{")
        name = ""
        while not self.take("}"):
            name += self.next().text
            if self.peek() is END:
                raise Unreadable("environment")
        return name


def decimal_number(text: str) -> Node:
    """The node of digits with or without a point or an exponent."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, decimals = mantissa.partition(".")
    value = Fraction(int(whole + decimals or "0"), 10 ** len(decimals))
    if exponent:
        value *= Fraction(10) ** int(exponent)
    return Node("num", value=value, decimals=len(decimals) - int(exponent or 0) if decimals or exponent else -1)
