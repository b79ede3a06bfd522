"""The one exception that means: the person at the keyboard can mend this.

Everything else that is raised is our bug. The command line ends with status 2 for the first and 1 for the second.
"""


class UserError(Exception):
    """One sentence: what is wrong, what was got, what was wanted, what to do."""
