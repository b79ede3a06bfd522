"""From random weights to a student that solves 4-number countdown: oracle traces, its own verified traces, GRPO; in ten minutes.

    PYTHONPATH=. python tests/benchmarks/countdown_student.py --make-puzzles 300000 --puzzles P.npy  # beforehand, on any machine
    PYTHONPATH=. python tests/benchmarks/countdown_student.py --puzzles P.npy --out tests/benchmarks/results/countdown_student.json
    PYTHONPATH=. python tests/benchmarks/countdown_student.py --tiny --device cpu --out /tmp/student.json  # a smoke test, 3 minutes
    PYTHONPATH=. python tests/benchmarks/countdown_student.py --plot tests/benchmarks/results/countdown_student.json  # its picture

Needs torch, transformers, safetensors, and on a GPU vLLM; no network. Puzzles as in Stream of Search (arXiv 2404.03683). Prints
pass@1 on 1,000 held-out puzzles, half of them with targets that no training puzzle has, after every stage, and writes everything to
the result after every stage. The loops are plain: TRL's trainers took 230,000 tokens/s for a student of this size, and rows of at
most 500 tokens want no packing, only batches of equal lengths. Rows, verdicts and scores are the factory's.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from countdown_learning import Learner
from countdown_picture import draw_picture
from countdown_plan import FULL, TINY, Plan
from countdown_sampling import TransformersSampler, VllmSampler
from countdown_traces import (
    ANY_STEP,
    Puzzle,
    Row,
    Tellers,
    answer_text,
    check_rendering,
    draw,
    encode_row,
    load_puzzles,
    prompt_text,
    save_puzzles,
)

from curation.puzzles.countdown import terse_prompt
from curation.verify import verify_all
from training.making import make_student
from training.parity import Case, check
from training.rendering import Row as Rendered
from training.scores import Sampled, compare, scores

SAMPLES = 8  # of a prompt in GRPO
DRAWN = 4  # of a puzzle in rejection sampling
HEAT = 0.8  # temperature there: traces a little surer than the student teach it to be surer
KEPT = 2  # shortest verified traces of a puzzle
KEPT_BACK = 60_000  # puzzles of a file that no trace is told of


class Run:
    """What all stages share: the student, who samples it, and the result file."""

    def __init__(self, plan: Plan, out: Path, device: str, limit_s: float) -> None:
        self.plan, self.out, self.device, self.limit_s, self.began = plan, out, device, limit_s, time.monotonic()
        self.folder = Path(tempfile.mkdtemp(prefix="countdown-student-"))
        self.rng = random.Random(0)
        self.result: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "date": time.strftime("%Y-%m-%d")}
        self.result |= {"plan": _plan_facts(plan), "stages": []}
        self.correct: dict[str, list[list[bool]]] = {}
        self.previous = ""
        self.kept_back: list[Puzzle] = []  # of those drawn beforehand, for rejection sampling

    def fresh(self, count: int) -> list[Puzzle]:
        """Training puzzles that no trace was told of."""
        taken, self.kept_back = self.kept_back[:count], self.kept_back[count:]
        return taken or [draw(self.rng, self.plan.kind, "train") for _ in range(count)]

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def left(self) -> float:
        return self.limit_s - self.elapsed()

    def write(self) -> None:
        self.result["seconds"] = round(self.elapsed(), 1)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(self.result, indent=1) + "\n")

    def say(self, text: str) -> None:
        print(f"{self.elapsed():6.1f} s  {text}", flush=True)


def _plan_facts(plan: Plan) -> dict[str, Any]:
    return {**plan._asdict(), "kind": plan.kind._asdict(), "shape": plan.shape.model_dump()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="three small numbers, a small student")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--limit-s", type=float, default=510.0, help="GRPO ends early so that all is over by then")
    parser.add_argument("--scale", type=float, default=1.0, help="of every time of training and sampling")
    parser.add_argument("--eager", action="store_true", help="vLLM without compilation and CUDA graphs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--puzzles", type=Path, metavar="NPY", help="training puzzles drawn beforehand; without, they are drawn")
    parser.add_argument("--make-puzzles", type=int, metavar="N", help="only draw N of them into --puzzles")
    parser.add_argument("--plot", type=Path, help="only redraw the picture of this result")
    options = parser.parse_args()
    if options.plot:
        draw_picture(options.plot)
        return
    plan = TINY if options.tiny else FULL
    if options.make_puzzles:
        save_puzzles(options.puzzles, options.make_puzzles, plan.kind, options.seed)
        return
    times = {name: getattr(plan, name) * options.scale for name in ("sft_s", "sampling_s", "grpo_s")}
    run = Run(
        plan._replace(**times, shape=plan.shape.model_copy(update={"seed": options.seed})),
        options.out,
        options.device,
        options.limit_s,
    )
    run.rng = random.Random(options.seed)
    make_student(run.folder / "start", run.plan.shape, ["Make of", "have", "need", "try", "so"])
    check_rendering(run.folder / "start", plan.kind)
    engine = None
    if options.device == "cuda":
        start = run.folder / "start"
        engine = VllmSampler(start, _end_id(start), plan.shape.positions, engines=plan.engines, eager=options.eager)
    given = load_puzzles(options.puzzles, options.seed) if options.puzzles else []
    run.kept_back, given = given[:KEPT_BACK], given[KEPT_BACK:]
    tellers = Tellers(plan.tellers, run.folder / "start", plan.kind, options.seed, given)
    try:
        stages(run, engine, tellers)
    finally:
        tellers.stop()
        if engine is not None:
            engine.close()
    draw_picture(run.out)


def stages(run: Run, engine: VllmSampler | None, tellers: Tellers) -> None:
    plan = run.plan
    learner = _learner(run)
    run.result["hardware"], run.result["versions"] = _hardware(run.device), _versions()
    run.result["parameters"] = learner.parameters
    tests = [draw(run.rng, plan.kind, part, ANY_STEP) for part in ("new-puzzles", "new-targets") for _ in range(plan.tested // 2)]
    run.say(f"{learner.parameters / 1e6:.1f}M parameters; {len(tests):,} held-out puzzles drawn")
    told = learner.imitate_told(tellers, plan.sft_s, plan.sft_rate, run.say)
    tellers.stop()
    sampler = ready(run, engine, learner)
    run.result["sampler"] = {"name": sampler.name, "ready_s": sampler.ready_s}
    start = (
        TransformersSampler(
            Learner(run.folder / "start", run.device, plan.pass_tokens, plan.step_tokens, run.rng).model, learner.end_id, 500
        )
        if sampler.name != "vllm"
        else sampler
    )
    test(run, learner, start, tests, "random weights", {}, weights=run.folder / "start", count=1)
    test(run, learner, sampler, tests, "oracle traces", told)

    kept, facts = rejection(run, learner, sampler)
    # As many of the oracle's beside them: alone they teach short searches, since what is solved is what is easy.
    mixed = [*kept, *run.rng.sample(learner.told, min(len(learner.told), max(len(kept), 10_000)))]
    facts |= learner.imitate(mixed, plan.again_epochs, plan.again_rate)
    test(run, learner, sampler, tests, "own verified traces", facts)

    reserve = 2.0 * run.result["stages"][-1]["test_s"] + 5.0
    facts = learner.reinforce(
        run.fresh,
        lambda puzzles, seed: completions(run, learner, sampler, puzzles, SAMPLES, 1.0, seed),
        verdicts,
        seconds=min(plan.grpo_s, run.left() - reserve),
        prompts=plan.grpo_prompts,
        rate=plan.grpo_rate,
        say=run.say,
    )
    test(run, learner, sampler, tests, "GRPO", facts)
    run.result["parity"] = parity(run, learner)
    run.write()


def _learner(run: Run) -> Learner:
    return Learner(run.folder / "start", run.device, run.plan.pass_tokens, run.plan.step_tokens, run.rng)


def ready(run: Run, engine: VllmSampler | None, learner: Learner) -> Any:
    """The engine, waited for; where it did not start, that is told and transformers samples."""
    if engine is not None:
        why = engine.wait()
        if not why:
            run.say(f"vLLM was ready after {engine.ready_s:.0f} s")
            return engine
        run.result["vllm_failed"] = why
        run.say(f"vLLM did not start, transformers samples instead: {why}")
    return TransformersSampler(learner.model, learner.end_id, 500 if run.device == "cpu" else 2000)


def completions(
    run: Run, learner: Learner, sampler: Any, puzzles: Sequence[Puzzle], count: int, temperature: float, seed: int
) -> list[list[Row]]:
    """`count` answers to each puzzle as rows."""
    prompts = [learner.encoder.encode(prompt_text(p)).ids for p in puzzles]
    weights = learner.save(run.folder / "weights")
    answers = sampler.sample(weights, prompts, count, temperature, run.plan.max_tokens, seed)
    return [[learner.row(prompt, ids) for ids in own] for prompt, own in zip(prompts, answers, strict=True)]


def verdicts(learner: Learner, puzzles: Sequence[Puzzle], rows: Sequence[Sequence[Row]]) -> list[list[Any]]:
    """The verifier's judgement of every answer."""
    items = [(p.gold(), learner.text(row), "countdown") for p, own in zip(puzzles, rows, strict=True) for row in own]
    judged = iter(verify_all(items))
    return [[next(judged) for _ in own] for own in rows]


def rejection(run: Run, learner: Learner, sampler: Any) -> tuple[list[Row], dict[str, Any]]:
    """Verified traces of fresh training puzzles, the shortest of each."""
    kept: list[Row] = []
    asked = right = 0
    until = time.monotonic() + run.plan.sampling_s
    while time.monotonic() < until:
        puzzles = run.fresh(run.plan.chunk)
        rows = completions(run, learner, sampler, puzzles, DRAWN, HEAT, run.rng.randrange(1 << 30))
        for own, judged in zip(rows, verdicts(learner, puzzles, rows), strict=True):
            good = sorted((r for r, v in zip(own, judged, strict=True) if v.outcome == "correct"), key=lambda r: len(r.ids))
            asked, right = asked + len(own), right + len(good)
            kept += list({r.ids.tobytes(): r for r in good}.values())[:KEPT]
        run.say(f"rejection sampling: {asked:,} samples, {right / asked:.1%} verified, {len(kept):,} kept")
    return kept, {"sampled": asked, "verified": right, "kept": len(kept)}


def test(
    run: Run,
    learner: Learner,
    sampler: Any,
    tests: Sequence[Puzzle],
    stage: str,
    facts: dict[str, Any],
    weights: Path | None = None,
    count: int = 0,
) -> None:
    """pass@1 on the held-out puzzles, sampled at temperature 1 as it is trained, and greedy; added to the result."""
    began = time.monotonic()
    found: dict[str, Any] = {"stage": stage, **facts}
    for name, temperature, samples in (("sampled", 1.0, count or run.plan.test_samples), ("greedy", 0.0, 1)):
        rows = (
            completions(run, learner, sampler, tests, samples, temperature, 7)
            if weights is None
            else untrained(run, learner, sampler, tests, weights, temperature)
        )
        judged = verdicts(learner, tests, rows)
        table = [
            [_sampled(n, r, v, learner.end_id) for r, v in zip(own, vs, strict=True)]
            for n, (own, vs) in enumerate(zip(rows, judged, strict=True))
        ]
        right = [[s.correct for s in question] for question in table]
        half = len(table) // 2
        found[name] = scores(table) | {"new_puzzles": _mean(right[:half]), "new_targets": _mean(right[half:])}
        if run.previous:
            found[name]["against_before"] = compare(right, run.correct[f"{run.previous} {name}"])._asdict()
        run.correct[f"{stage} {name}"] = right
    run.previous = stage
    found |= {"test_s": round(time.monotonic() - began, 1), "at_s": round(run.elapsed(), 1)}
    run.result["stages"].append(found)
    run.write()
    run.say(_line(found))


def untrained(
    run: Run, learner: Learner, sampler: Any, tests: Sequence[Puzzle], weights: Path, temperature: float
) -> list[list[Row]]:
    prompts = [learner.encoder.encode(prompt_text(p)).ids for p in tests]
    answers = sampler.sample(weights, prompts, 1, temperature, 64, 7)  # it does not know how to stop
    return [[learner.row(prompt, ids) for ids in own] for prompt, own in zip(prompts, answers, strict=True)]


def _sampled(number: int, row: Row, verdict: Any, end_id: int) -> Sampled:
    cut = int(row.ids[-1]) != end_id
    unanswered = verdict.why in ("no_answer", "unclosed_thought") or verdict.extracted is None
    return Sampled(
        str(number),
        verdict.outcome == "correct",
        verdict.outcome == "undetermined",
        cut,
        unanswered,
        len(row.ids) - row.start,
        None,
    )


def _mean(right: Sequence[Sequence[bool]]) -> float:
    return sum(map(sum, right)) / sum(map(len, right))


def _line(found: dict[str, Any]) -> str:
    parts = [f"after {found['stage']}:"]
    for name in ("sampled", "greedy"):
        score = found[name]["pass@1"]
        low, high = score["questions_interval"]
        parts.append(f"pass@1 {name} {score['value']:.1%} ({low:.1%} to {high:.1%})")
        if gap := found[name].get("against_before"):
            parts.append(f"{gap['difference']:+.1%}, p = {gap['p_value']:.1g};")
    return " ".join([*parts, f"new targets {found['sampled']['new_targets']:.1%}"])


def parity(run: Run, learner: Learner) -> str:
    """The gate on the student as it is saved: rows of the run against a server's view of the folder."""
    folder = learner.save_whole(run.folder / "student", run.folder / "start")
    puzzles = [draw(run.rng, run.plan.kind, "train") for _ in range(50)]
    cases = []
    for puzzle in puzzles:
        row = encode_row(learner.encoder, prompt_text(puzzle), answer_text(puzzle, run.plan.kind))
        asked = {"role": "user", "content": terse_prompt(list(puzzle.numbers), puzzle.target)}
        learned = [n >= row.start for n in range(len(row.ids))]
        cases.append(
            Case([asked, {"role": "assistant", "content": answer_text(puzzle, run.plan.kind)}], Rendered(row.ids.tolist(), learned))
        )
    found = check(cases, folder)
    return "passed" if not found else "; ".join(f"{f.kind}: {f.cause}" for f in found)


def _end_id(folder: Path) -> int:
    return int(json.loads((folder / "generation_config.json").read_text())["eos_token_id"])


def _hardware(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(0) if device == "cuda" else f"{platform.processor() or platform.machine()}, CPU"


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "vllm", "liger-kernel", "numpy")
    installed = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()}
    return {"python": platform.python_version(), **{name: installed[name] for name in names if name in installed}}


if __name__ == "__main__":
    main()
