"""The oracle's thinking on a knights-and-knaves puzzle: assume, follow what must be, meet a contradiction, turn back.

What a statement forces is decided one speaker at a time, as a person would; where no single statement forces anything,
one more assumption is made. Every statement is checked at the end.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from curation.puzzles.knights import assignment
from curation.puzzles.statements import Roles, Statement, mentioned, opposite, plain, solutions, words
from factory.oracle.knights_steps import Facts, decided, next_step
from factory.oracle.telling import Telling, Told, Unsolved, listed, within_bounds

_OPENINGS = (
    "I have to find out who of {names} is {truthful} and who is {lying}.",
    "There are {count} of them, {names}, and each is either {truthful} or {lying}.",
    "Let me sort out {names}: everyone is {truthful} or {lying}.",
)
_RULES = (
    "What {truthful} says is true and what {lying} says is false, so a wrong guess should run into a contradiction.",
    "I will assume something, follow it, and turn back when it breaks.",
    "The way to do this is to suppose a role for someone and see whether the statements can hold together.",
)
_SUPPOSE = (
    "Suppose {claim}.",
    "Let me assume that {claim}.",
    "What if {claim}?",
    "Say {claim}, just to see where it leads.",
    "Try it with the assumption that {claim}.",
)
_SUPPOSE_MORE = (
    "That does not settle the rest, so I also suppose that {claim}.",
    "Nothing more follows by itself. Let me assume in addition that {claim}.",
    "I am stuck with that much, so I try one more assumption: {claim}.",
)
_SAYS = (
    '{name} says "{quote}".',
    'Now {name}: "{quote}".',
    'Look at what {name} says: "{quote}".',
    '{name} claims "{quote}".',
)
_CONTRADICTIONS = ("That is a contradiction.", "This cannot be.", "So this does not work.", "Contradiction.")
_TURNS = (
    "So it was wrong that {claim}: {opposite}.",
    "Therefore I take it back that {claim}. Instead, {opposite}.",
    "Hence it cannot be that {claim}, and {opposite}.",
)
_DONE = (
    "Now everybody has a role: {roles}.",
    "That gives everyone a role: {roles}.",
    "So the whole picture is this: {roles}.",
)
_CHECKS = (
    "Let me check every statement.",
    "I check this against all the statements.",
    "To be sure, go through them all again.",
)
_CHECK = (
    '{name} is {role}, and "{quote}" is {value}.',
    '{name}, {role}, says "{quote}", which is {value}.',
    '"{quote}" is {value}, as it must be, since {name} is {role}.',
)
_FITS = ("Everything fits.", "All of them agree with the roles.", "No statement is left that breaks.")
_ANSWERS = (
    "The only assignment that fits all the statements:",
    "This is how the statements fit together:",
    "Each statement agrees with its speaker's role:",
)


_COUNTS = ("", "", "two", "three", "four", "five", "six", "seven", "eight")


class Puzzle(NamedTuple):
    """The people, what each says, and the island's words for the truthful and the lying."""

    names: list[str]
    statements: list[Statement]
    roles: Roles


def tell(puzzle: Puzzle, rng: random.Random) -> Told:
    """The search for the one solution and its clean answer, of 200 to 1,500 words where possible; raises Unsolved."""
    found = solutions(puzzle.statements)
    if len(found) != 1:
        raise Unsolved(f"the statements have {len(found)} solutions and not exactly one")
    return within_bounds(lambda: _tell(puzzle, found[0], rng))


def _tell(puzzle: Puzzle, solution: list[bool], rng: random.Random) -> Told:
    search = _Search(puzzle, solution, rng)
    search.open()
    facts = search.explore({}, [])
    assert facts == dict(enumerate(solution)), "sound steps end in the only solution"
    search.close(solution)
    told = search.telling
    lines = [
        f'- {search.claim(person, truthful)}: "{search.quote(person)}" is {_value(truthful)}.'
        for person, truthful in enumerate(solution)
    ]
    answer = assignment(puzzle.names, solution, puzzle.roles)
    return Told(told.text(), "\n".join([told.phrase(_ANSWERS), "", *lines, "", f"<answer>{answer}</answer>"]))


def _value(truthful: bool) -> str:
    return "true" if truthful else "false"


class _Search:
    def __init__(self, puzzle: Puzzle, solution: list[bool], rng: random.Random) -> None:
        self.names, self.statements, self.roles = puzzle
        self.people = len(self.names)
        self.solution = solution
        self.rng = rng
        self.telling = Telling(rng)
        self.looks_first = rng.random() < 0.2  # for what follows without a guess; a search should mostly show a search
        self.order = rng.sample(range(self.people), self.people)  # in which the statements are looked at

    def open(self) -> None:
        told, truthful, lying = self.telling, self.roles.with_article(True), self.roles.with_article(False)
        fields = {"truthful": truthful, "lying": lying, "names": listed(self.names), "count": _COUNTS[self.people]}
        told.paragraph(told.phrase(_OPENINGS, **fields), told.phrase(_RULES, **fields))
        if self.people <= 4:
            told.paragraph(*(f'{self.names[p]}: "{self.quote(p)}".' for p in range(self.people)))
        if self.looks_first:
            told.paragraph("First I look for what follows without any guess.")

    def close(self, solution: list[bool]) -> None:
        told = self.telling
        told.paragraph(told.phrase(_DONE, roles=assignment(self.names, solution, self.roles)))
        told.paragraph(told.phrase(_CHECKS))
        for person, truthful in enumerate(solution):
            fields = {"name": self.names[person], "role": self.role(truthful), "quote": self.quote(person)}
            told.say(told.phrase(_CHECK, value=_value(truthful), **fields))
        told.say(told.phrase(_FITS))

    def explore(self, facts: Facts, assumed: list[int]) -> Facts | None:
        """All roles that follow from `facts`; None where they contradict each other. `assumed` counts the open
        guesses.
        """
        while True:
            facts = dict(facts)
            if (facts or self.looks_first) and not self.follow(facts):
                return None
            if len(facts) == self.people:
                return facts
            if self.looks_first and not facts:
                self.telling.say("Nothing does.")
            person, guess = self.guess(facts, assumed)
            claim, other = self.claim(person, guess), self.claim(person, not guess)
            bank = _SUPPOSE_MORE if assumed else _SUPPOSE
            self.telling.paragraph(self.telling.phrase(bank, claim=claim))
            if found := self.explore({**facts, person: guess}, [*assumed, person]):
                return found
            self.telling.paragraph(self.telling.phrase(_TURNS, claim=claim, opposite=other))
            facts[person] = not guess

    def guess(self, facts: Facts, assumed: list[int]) -> tuple[int, bool]:
        """Somebody unknown, with the wrong role first more often than not, as one who does not know would have it."""
        unknown = [p for p in self.order if p not in facts]
        known_or_asked = [p for p in unknown if len(mentioned(self.statements[p]) - set(facts)) <= 1]
        person = (known_or_asked or unknown)[0]
        wrong = self.rng.random() < (0.35 if assumed else 0.85)
        return person, self.solution[person] != wrong

    def follow(self, facts: Facts) -> bool:
        """Add to `facts` all that single statements force, telling each step; False on a contradiction."""
        while step := next_step(self.statements, facts, self.order):
            if not step.forced:
                self.tell_contradiction(step.speaker, facts)
                return False
            self.tell_step(step.speaker, step.forced, facts)
            facts.update(step.forced)
        return True

    def tell_step(self, speaker: int, forced: Facts, facts: Facts) -> None:
        if speaker in facts:
            self.tell_from_role(speaker, forced, facts)
        elif speaker in forced:
            self.tell_own_role(speaker, forced[speaker], facts)
        else:
            self.tell_either_way(speaker, forced, facts)

    def tell_from_role(self, speaker: int, forced: Facts, facts: Facts) -> None:
        name, role, quote = self.names[speaker], self.role(facts[speaker]), self.quote(speaker)
        statement = self.statements[speaker]
        meaning = plain(statement) if facts[speaker] else opposite(statement)
        conclusion = self.claims(forced)
        if facts[speaker]:
            said = self.pick(
                f'{name} is {role}, so "{quote}" is true.',
                f'As {role}, {name} tells the truth with "{quote}".',
                f'What {name} says must be true: "{quote}".',
            )
        else:
            said = self.pick(
                f'{name} is {role}, so "{quote}" is false',
                f'As {role}, {name} lies with "{quote}"',
                f'What {name} says must be false: "{quote}"',
            )
            unfolds = meaning[0] in ("and", "or")
            said += f", which means that {words(meaning, self.names, self.roles)}." if unfolds else "."
        self.telling.say(said)
        if meaning[0] == "and" and conclusion == words(meaning, self.names, self.roles) and not facts[speaker]:
            return
        self.conclude(conclusion, self.givens(statement, facts, without=speaker) if meaning[0] != "and" else "")

    def tell_own_role(self, speaker: int, truthful: bool, facts: Facts) -> None:
        self.telling.say(self.says(speaker))
        name, givens = self.names[speaker], self.givens(self.statements[speaker], facts)
        if decided(self.statements[speaker], facts, self.people):
            said = f"given that {givens}, that is {_value(truthful)}" if givens else f"that is {_value(truthful)} in any case"
            self.telling.say(f"{said[0].upper()}{said[1:]}, so {self.claim(speaker, truthful)}.")
            return
        wrong = self.role(not truthful)
        start = f"Given that {givens}, if" if givens else "If"
        self.telling.say(f"{start} {name} were {wrong}, this would be {_value(truthful)}, and {wrong} cannot say that.")
        self.conclude(self.claim(speaker, truthful), "")

    def tell_either_way(self, speaker: int, forced: Facts, facts: Facts) -> None:
        self.telling.say(self.says(speaker))
        ((person, truthful),) = forced.items()
        givens = self.givens(self.statements[speaker], facts)
        start = f"Given that {givens}, suppose" if givens else "Suppose"
        self.telling.say(
            f"{start} {self.claim(person, not truthful)}: then {self.names[speaker]} would say something false as "
            f"{self.role(True)} and something true as {self.role(False)}, and neither is possible."
        )
        self.conclude(self.claim(person, truthful), "")

    def tell_contradiction(self, speaker: int, facts: Facts) -> None:
        name, quote = self.names[speaker], self.quote(speaker)
        givens = self.givens(self.statements[speaker], facts)
        if speaker in facts:
            role, value = self.role(facts[speaker]), _value(not facts[speaker])
            self.telling.say(f'But "{quote}", which {name} says, is {value}, given that {givens}; {role} cannot say it.')
        else:
            given = f"given that {givens}, " if givens else ""
            self.telling.say(
                f'But {name} says "{quote}": {given}that would be false from {self.role(True)} and true from {self.role(False)}.'
            )
        self.telling.say(self.telling.phrase(_CONTRADICTIONS))

    def conclude(self, conclusion: str, givens: str) -> None:
        if givens:
            self.telling.say(
                self.pick(
                    f"Given that {givens}, it follows that {conclusion}.",
                    f"Since {givens}, {conclusion}.",
                    f"I already have that {givens}, so {conclusion}.",
                )
            )
        else:
            self.telling.say(self.pick(f"So {conclusion}.", f"Therefore {conclusion}.", f"Hence {conclusion}."))

    def pick(self, *sentences: str) -> str:
        return self.rng.choice(sentences)

    def says(self, speaker: int) -> str:
        return self.telling.phrase(_SAYS, name=self.names[speaker], quote=self.quote(speaker))

    def quote(self, speaker: int) -> str:
        text = words(self.statements[speaker], self.names, self.roles, speaker)
        return text[0].upper() + text[1:]

    def role(self, truthful: bool) -> str:
        return self.roles.with_article(truthful)

    def claim(self, person: int, truthful: bool) -> str:
        return f"{self.names[person]} is {self.role(truthful)}"

    def claims(self, facts: Facts) -> str:
        return listed([self.claim(person, truthful) for person, truthful in sorted(facts.items())])

    def givens(self, statement: Statement, facts: Facts, without: int | None = None) -> str:
        """What is known of the people a statement is about, or nothing."""
        relevant = {p: facts[p] for p in mentioned(statement) if p in facts and p != without}
        return self.claims(relevant) if relevant else ""
