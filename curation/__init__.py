"""Records, sources, verification, duplicates, decontamination and selection: everything that decides what a row is worth.

Imports none of the other packages, so a trainer or a notebook can use it alone.
"""
