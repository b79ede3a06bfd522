"""Formulas by recursive descent: from tokens to the tree of one expression.

The grammar is that of answers, not of all LaTeX: what it does not know raises Unreadable and goes to math-verify.
"""

from __future__ import annotations

from fractions import Fraction

from curation.math_node import Node, number
from curation.math_tokens import FUNCTIONS, Token, Unreadable

DEPTH_LIMIT = 60  # two for each nested bracket; the deepest published gold needs 18
_END = Token("end", "", False)
_CLOSING = {"(": (")", "]"), "[": ("]", ")")}
_CONSTANTS = {r"\pi": "pi"}
_FLOORS = {r"\lfloor": ("floor", r"\rfloor"), r"\lceil": ("ceil", r"\rceil")}
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
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
_ALIAS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log"}


class Parser:
    """A position in a list of tokens; each method reads one construct and leaves the position behind it."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.i, self.depth = tokens, 0, 0
        self.bars = 0  # open |...|, inside which a bar closes

    def peek(self, ahead: int = 0) -> Token:
        return self.tokens[self.i + ahead] if self.i + ahead < len(self.tokens) else _END

    def next(self) -> Token:
        token = self.peek()
        self.i += 1
        return token

    def at(self, *texts: str) -> bool:
        token = self.peek()
        return token.kind in ("op", "cmd") and token.text in texts

    def take(self, *texts: str) -> bool:
        if self.at(*texts):
            self.i += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise Unreadable(f"wanted {text}, got {self.peek().text}")

    def expression(self) -> Node:
        """Sum: terms joined by +, - and ±."""
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise Unreadable("too deep")
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
        if (
            self.peek().kind == "num"
            and not closed
            and left.op != "fact"
            and not (left.op == "mul" and left.args[1].op == "fact")
        ):
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
            minutes = _num(self.next().text).value
            self.take("'")
            seconds = Fraction(0)
            if self.peek().kind == "num" and self.peek(1).text == "'":
                seconds = _num(self.next().text).value
                while self.take("'"):
                    pass
            whole = Node("add", (whole, number(minutes / 60 + seconds / 3600)))
        return Node("deg", (whole,))

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

    def base(self) -> Node:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise Unreadable("too deep")
        node = self._base()
        self.depth -= 1
        return node

    def _base(self) -> Node:
        token = self.next()
        if token.kind == "num":
            return self.based(_num(token.text), token.text)
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
        single = self.peek(1).kind in ("sym", "num") and self.peek(2).text == ")"
        return single and self.peek(3).text in (("=", ",", ")") if name[0].isupper() else ("=",))

    def applied(self, name: str) -> Node:
        args = [self.expression()]
        while self.take(","):
            args.append(self.expression())
        self.expect(")")
        return Node("apply", tuple(args), name=name)

    def subscript(self) -> str:
        if not self.take("{"):
            return self.next().text
        parts, depth = [], 1
        while depth and self.peek() is not _END:
            token = self.next()
            depth += (token.text == "{") - (token.text == "}")
            parts.append(token.text)
        return "".join(parts[:-1])

    def function(self, name: str) -> Node:
        name, index = _ALIAS.get(name, name), None
        base: Node | None = None
        if name == "log" and self.peek().text in ("2", "10") and self.peek(1).text == "(" and not self.peek().spaced:
            base = _num(self.next().text)  # log2(x)
        while self.at("^", "_"):
            if self.next().text == "^":
                index = self.script()
            else:
                base = self.group_or_token()
        if index is not None and name in _INVERSE and index == Node("neg", (number(1),)):
            name, index = _INVERSE[name], None
        args = self.arguments(name)
        result = Node(
            "fn", (*args, base) if base is not None else args, name=name + ("_base" if base is not None else "")
        )
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
        while (
            name != "sqrt" and self.starts_factor() and self.peek().kind != "fn" and self.peek().text not in ("(", "|")
        ):
            result = Node("mul", (result, self.factor()))
        while self.at("/") and self.peek(1).kind == "num":
            self.next()
            result = Node("div", (result, self.factor()))
        return (Node("neg", (result,)) if negative else result,)

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

    def letters(self) -> str:
        """The points that an angle or a triangle is named by."""
        name = ""
        while self.peek().kind in ("sym", "word"):
            name += self.next().text
            if self.take("_"):
                name += "_" + self.subscript()
        return name

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

    def braces(self) -> Node:
        """\\{1, 2\\}; a condition behind a bar is left to the statement grammar."""
        from curation.math_forms import set_content

        return set_content(self)

    def matrix(self) -> Node:
        kind = self.environment()
        if "matrix" not in kind and kind != "array":
            raise Unreadable(kind)
        if kind == "array" and self.take("{"):
            self.i += 1
            while not self.take("}"):
                self.next()
                if self.peek() is _END:
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
            if self.peek() is _END:
                raise Unreadable("environment")
        return name


def _num(text: str) -> Node:
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, decimals = mantissa.partition(".")
    value = Fraction(int(whole + decimals or "0"), 10 ** len(decimals))
    if exponent:
        value *= Fraction(10) ** int(exponent)
    return Node("num", value=value, decimals=len(decimals) - int(exponent or 0) if decimals or exponent else -1)


assert FUNCTIONS
