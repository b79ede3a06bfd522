"""A position in a list of tokens, and the one order in which the layers of the grammar build on each other.

Cursor -> Atoms (numbers, symbols, functions, brackets) -> Expression (factors, products, sums) -> Statement (relations,
lists, remarks): each layer is a file, and the lower ones know of the upper ones only the four methods declared here.
"""

from __future__ import annotations

import abc

from curation.mathematics.node import Node
from curation.mathematics.tokens import Token, Unreadable

DEPTH_LIMIT = 60  # two for each nested bracket; the deepest published gold needs 18
END = Token("end", "", False)


class Cursor(abc.ABC):
    """Each method of a layer reads one construct and leaves the position behind it; Unreadable says that it is not there."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.i, self.depth = tokens, 0, 0
        self.bars = 0  # open |...|, inside which a bar closes

    def peek(self, ahead: int = 0) -> Token:
        return self.tokens[self.i + ahead] if self.i + ahead < len(self.tokens) else END

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

    def enter(self) -> None:
        """One level deeper; `self.depth -= 1` leaves it."""
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise Unreadable("too deep")

    @abc.abstractmethod
    def expression(self) -> Node:
        """A sum: math_parse."""

    @abc.abstractmethod
    def factor(self) -> Node:
        """A base with its powers: math_parse."""

    @abc.abstractmethod
    def starts_factor(self) -> bool:
        """Does a factor begin here: math_parse."""

    @abc.abstractmethod
    def braces(self) -> Node:
        """What follows an opening brace of a set: forms."""
