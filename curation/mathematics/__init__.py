"""Equality of mathematical answers: an exact tier of our own, and math-verify behind it in processes that are killed.

exact       decides where it is certain, on trees that forms, parse, atoms, ... read by our own grammar
server      keeps the slow tier's worker processes; worker is what runs in them
"""
