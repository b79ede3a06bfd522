"""How one response was judged, step by step, in lines for a person: `factory verify FILE --explain ROW`."""

from __future__ import annotations

from collections.abc import Iterator

from curation.extract import extract_gold
from curation.mathematics import exact
from curation.mathematics.answer import ANSWER_LIMIT
from curation.mathematics.node import Node
from curation.mathematics.text import normalise
from curation.records import Verdict
from curation.thinking import split_thinking

SHOWN = 300  # characters of a text or a tree
MEANS = {
    "equal": "the answer says what the gold says",
    "different": "the answer says something else",
    "no_gold": "there is no gold answer to hold it against",
    "no_answer": "the response states no answer",
    "unclosed_thought": "the thinking never ends, so there is no answer after it",
    "unparseable_gold": "the gold could not be read, so nothing can be held against it",
    "unparseable_answer": "an answer was found, but not read",
    "too_long": "a text is longer than any answer, and was not read",
    "ambiguous": "it can be read in more than one way, and the readings do not agree",
    "rounded": "the numbers agree only when rounded",
    "too_large": "the numbers are too large to be worked out",
    "unproven": "math-verify does not find them equal, which proves no difference",
    "disagreement": "math-verify calls them equal, and their digits differ",
    "timeout": "it did not end in its time and was killed",
    "out_of_memory": "the comparison was stopped at its memory limit",
    "verifier_error": "the comparison itself failed, which says nothing of the answer",
    "worker_lost": "the process that compared them died",
    "wrong_value": "the expression has another value than the target",
    "wrong_numbers": "the expression does not use the given numbers once each",
    "division_by_zero": "the expression divides by zero",
    "tests_passed": "the program passes every test",
    "tests_failed": "the program fails a test",
    "runtime_error": "the program ends with an error",
    "syntax_error": "the program is no Python",
    "memory_limit": "the program was stopped at its memory limit",
    "output_limit": "the program writes too much",
    "untestable": "a test hands over what cannot leave its process",
    "missing_package": "the tests need a package that is not installed",
    "sandbox_failed": "the sandbox did not start",
    "wrong_roles": "somebody is given the wrong role",
    "missing_names": "somebody is given no role",
    "unknown_name": "a role is given to somebody who is not in the puzzle",
    "contradictory": "somebody is given two roles",
}
RULES = {
    "answer_tag": "inside <answer>",
    "answer_tag_unclosed": "after an <answer> that never closes",
    "json": "the value of the last answer key",
    "boxed": "the last \\boxed{}",
    "final_answer": 'after "final answer"',
    "answer_label": 'after "Answer:"',
    "hashes": "after ####",
    "answer_is": 'after "the answer is"',
    "whole": "the whole answer part, which is short",
    "last_math": "the last formula: nothing marks the answer",
    "last_number": "the last number: nothing marks the answer",
    "last_line": "the last line that has the form of an answer",
}


def explanation(gold: str | None, response: str, domain: str, verdict: Verdict) -> list[str]:
    """The gold, what was found in the response and how, the forms that were compared, what decided, and why."""
    thought = split_thinking(response)
    thinking = f"{len(thought.reasoning):,} characters, form {thought.form}" if thought.reasoning is not None else "none"
    lines = [
        f"  gold        {_short(gold)}",
        f"  thinking    {thinking}{'' if thought.closed else ', never closed'}",
        f"  answer ends {_short(thought.answer[-SHOWN:])}",
        f"  extracted   {_short(verdict.extracted)}",
        f"  by rule     {verdict.rule or 'none'}{_said(RULES, verdict.rule)}",
    ]
    lines += _compared(gold, verdict) if domain == "math" else [f"  decided by  {verdict.verifier}, domain {domain}"]
    return [*lines, f"  verdict     {verdict.outcome}: {verdict.why}{_said(MEANS, verdict.why)} ({verdict.seconds * 1000:.1f} ms)"]


def _compared(gold: str | None, verdict: Verdict) -> Iterator[str]:
    """The normal forms and the tier, for mathematics."""
    bare = extract_gold(gold) if gold else None
    if bare is None or verdict.extracted is None or max(len(bare), len(verdict.extracted)) >= ANSWER_LIMIT:
        return
    for name, text in (("gold", bare), ("answer", verdict.extracted)):
        reading = exact.reading(text.strip())
        yield f"  {name + ' as':<11} {_short(normalise(text))}"
        remarks = f", remarks {' '.join(reading.words)}" if reading and reading.words else ""
        yield f"  {name + ' tree':<11} {_short(_tree(reading.node)) + remarks if reading else 'not read by our grammar'}"
    decided = exact.compare(bare, verdict.extracted)
    if decided is None:
        yield "  decided by  the slow tier: math-verify in a worker process, since our grammar is not certain"
    elif decided == (verdict.outcome, verdict.why):
        yield "  decided by  the exact tier: our grammar, certain by itself"
    else:
        yield f"  decided by  the exact tier says {decided.why}, but the gold stands near an answer found by position alone"


def _tree(node: Node) -> str:
    """The tree as text, such as div(num 1, num 2)."""
    if node.op == "num":
        return str(node.value)
    inner = ", ".join(_tree(a) for a in node.args)
    name = node.name if node.op == "sym" else f"{node.op} {node.name}".strip()
    return f"{name}({inner})" if node.args else name


def _said(words: dict[str, str], key: str | None) -> str:
    return f", {words[key]}" if key in words else ""


def _short(text: str | None) -> str:
    if text is None:
        return "nothing"
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= SHOWN else f"{flat[: SHOWN // 2]} ... {flat[-SHOWN // 2 :]}"
