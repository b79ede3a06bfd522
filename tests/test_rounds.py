"""Builds with a teacher behind a real endpoint: rounds, budgets, cut answers, crashes, and what a person watches."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fault_server import FaultServer, serve_faults
from solving import funnel, hard, recipe, sent, start

from curation.errors import UserError
from factory import journal, judging
from factory.build import build
from factory.describe import run_summary
from factory.meter import Meter
from factory.prices import Price
from factory.progress import say
from factory.rounds import Budget
from factory.watching import Watching


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as running:
        yield running


def test_hard_problems_get_more_samples_until_enough_are_right_or_the_cap(tmp_path: Path, server: FaultServer) -> None:
    prompts = hard("rounds", *[1] * 10, *[3] * 10, *[10**9] * 2)
    run = build(
        recipe(tmp_path, server.url, prompts, "sample.per_problem=2", "sample.until_correct=1", "sample.at_most=7"),
        runs=tmp_path / "runs",
    )
    lines = funnel(run)
    assert lines["round 1"]["in"] == 22 and lines["round 1"]["kept"] >= 10
    assert [lines[f"round {n + 1}"]["in"] for n in (1, 2, 3)] == [lines[f"round {n}"]["dropped"]["asked_again"] for n in (1, 2, 3)]
    assert lines["round 4"]["dropped"]["given_up"] >= 2
    told = json.loads((run / "manifest.json").read_text())["rounds"]
    assert sum(r["solved"] for r in told) + lines["round 4"]["dropped"]["given_up"] == 22
    assert sum(r["traces"] for r in told) == sent(server, "rounds") and told[3]["completion_tokens"] == told[3]["traces"] * 100
    traces = pl.read_parquet(run / "traces" / "*.parquet")
    counts = dict(traces.group_by("problem_id").len().iter_rows())
    assert set(counts.values()) <= {2, 4, 6, 7} and 7 in counts.values() and 2 in counts.values()
    assert lines["verify"]["in"] == traces.height
    again = build(
        recipe(tmp_path, server.url, prompts, "sample.per_problem=2", "sample.until_correct=1", "sample.at_most=7"),
        runs=tmp_path / "runs",
    )
    assert again == run and sent(server, "rounds") == traces.height


def test_problems_are_sampled_until_their_pass_rate_is_settled_or_the_cap(tmp_path: Path, server: FaultServer) -> None:
    prompts = hard("settle", *[1] * 4, *[2] * 6, *[10**9] * 4)
    settings = ("sample.per_problem=4", "sample.settle={low: 0.2, high: 0.8}", "sample.at_most=20")
    run = build(recipe(tmp_path, server.url, prompts, *settings), runs=tmp_path / "runs")
    lines, told = funnel(run), json.loads((run / "manifest.json").read_text())["rounds"]
    assert len(told) == 5 and lines["round 1"]["in"] == 14
    assert sum(r["too_easy"] for r in told) >= 4 <= sum(r["too_hard"] for r in told)
    rates = {row["problem_id"]: row for row in pl.read_parquet(run / "difficulty.parquet").to_dicts()}
    counts = pl.read_parquet(run / "traces" / "*.parquet").group_by("problem_id").len()
    open_ = [p for p, r in rates.items() if r["low"] < 0.2 <= r["high"] or r["low"] <= 0.8 < r["high"]]
    assert {n for p, n in counts.iter_rows() if p in open_} <= {20}
    assert {n for p, n in counts.iter_rows() if rates[p]["judged"] == rates[p]["correct"]} == {16}  # 16 of 16: from 0.81
    assert lines["round 5"]["dropped"] == ({"undecided": len(open_)} if open_ else {})
    assert sum(r["undecided_traces"] for r in told) == 20 * len(open_)
    assert "pass rates settled: " in run_summary(run) and f"{len(open_)} undecided" in run_summary(run)
    assert build(recipe(tmp_path, server.url, prompts, *settings), runs=tmp_path / "runs") == run
    assert sent(server, "settle") == counts["len"].sum()


def test_only_one_reason_for_another_round(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="until_correct and settle both say"):
        recipe(tmp_path, "http://x", hard("both", 1), "sample.until_correct=1", "sample.settle={low: 0.1}")


def test_a_larger_first_round_buys_only_what_is_missing(tmp_path: Path, server: FaultServer) -> None:
    prompts = hard("growing", *[1] * 6)
    build(recipe(tmp_path, server.url, prompts), runs=tmp_path / "runs")
    build(recipe(tmp_path, server.url, prompts, "sample.per_problem=3"), runs=tmp_path / "runs")
    assert sent(server, "growing") == 18


def test_changing_the_choice_or_the_list_buys_nothing(tmp_path: Path, server: FaultServer) -> None:
    prompts = hard("changing", *[1] * 6)
    build(recipe(tmp_path, server.url, prompts), runs=tmp_path / "runs")
    build(recipe(tmp_path, server.url, list(reversed(prompts[:4])), "choose.rule=shortest"), runs=tmp_path / "runs")
    assert sent(server, "changing") == 6


def test_another_system_prompt_endpoint_or_value_is_bought(tmp_path: Path, server: FaultServer) -> None:
    prompts = hard("keys", 1)
    build(recipe(tmp_path, server.url, prompts), runs=tmp_path / "runs")
    for assignment in ("system=Be brief.", "sample.temperature=0.7", "sample.max_tokens=999", "prompt='{problem} again'"):
        build(recipe(tmp_path, server.url, prompts, assignment), runs=tmp_path / "runs")
    assert sent(server, "keys") == 5
    with serve_faults() as other:
        build(recipe(tmp_path, other.url, prompts), runs=tmp_path / "runs")
        assert len(other.seen) == 1


def test_a_budget_stops_cleanly_keeps_all_and_the_next_call_goes_on(tmp_path: Path, server: FaultServer) -> None:
    wanted = recipe(tmp_path, server.url, hard("budget", *[1] * 40), "sample.max_tokens=150")
    before = 0
    for call in range(1, 3):
        with pytest.raises(UserError, match=r"the budget is reached after .* goes on from there with a new budget"):
            build(wanted, runs=tmp_path / "runs", budget=Budget(tokens=1700))
        bought = sent(server, "budget")
        (told,) = (json.loads(p.read_text()) for p in (tmp_path / "runs").glob("*/progress.json"))
        assert told["over"] and told["completion_tokens"] == 100 * (bought - before)
        before = bought
        assert 12 * call <= bought <= 14 * call  # 120 tokens each; the last are held back while they might cost more
        assert len(journal.read_journal(tmp_path / "runs" / ".samples")) == bought
    build(wanted, runs=tmp_path / "runs", budget=Budget(tokens=10**6))
    assert sent(server, "budget") == 40


def test_a_budget_holds_where_the_server_counts_no_tokens(tmp_path: Path, server: FaultServer) -> None:
    prompts = [f"uncounted-long {n} of silent number {n}" for n in range(40)]
    priced = ("sample.max_tokens=4000", "sample.price.input_usd=1", "sample.price.output_usd=1")
    wanted = recipe(tmp_path, server.url, prompts, *priced)
    with pytest.raises(UserError, match="the budget is reached after"):
        build(wanted, runs=tmp_path / "runs", budget=Budget(tokens=50_000))
    assert 11 <= sent(server, "silent") <= 13  # of 3,782 tokens, guessed by the length
    manifest = json.loads((build(wanted, runs=tmp_path / "runs") / "manifest.json").read_text())
    assert manifest["cost"]["usd"] is None and manifest["tokens"]["completion"] is None
    assert manifest["spent"]["teacher"]["completion_tokens"] == 40 * 3762


def test_a_budget_in_dollars_needs_a_price_and_the_manifest_has_the_cost(tmp_path: Path, server: FaultServer) -> None:
    prompts = hard("dollars", *[1] * 10)
    priced = ("sample.price.input_usd=1", "sample.price.output_usd=10", "sample.max_tokens=150")
    wanted = recipe(tmp_path, server.url, prompts, *priced)
    with pytest.raises(UserError, match=r"the budget is reached after .* \$0\.00"):
        build(wanted, runs=tmp_path / "runs", budget=Budget(usd=0.005))
    assert 1 <= sent(server, "dollars") <= 5  # 0.00102 each
    run = build(wanted, runs=tmp_path / "runs")
    cost = json.loads((run / "manifest.json").read_text())["cost"]
    assert cost["usd"] == pytest.approx(10 * (20 * 1 + 100 * 10) / 1e6)
    assert cost["price"]["source"] == "the recipe"
    unknown = wanted.model_copy(
        update={"teacher": "openai:m@https://unknown.example", "sample": wanted.sample.model_copy(update={"price": None})}
    )
    with pytest.raises(UserError, match=r"--budget-usd: no price is known for 'm'"):
        build(unknown, runs=tmp_path / "runs", budget=Budget(usd=1))


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_cut_answers_go_on_from_where_they_stopped_and_are_never_paid_from_zero(
    tmp_path: Path, server: FaultServer, api: str
) -> None:
    prompts = [f"counts {n} of {api} words" for n in (5, 19, 35, 80)]
    aside = recipe(tmp_path, server.url, prompts, "sample.max_tokens=10", f"sample.api={api}")
    if api == "completions":
        aside = aside.model_copy(update={"prompt": "{problem}\nassistant\n"})
    cut = build(aside, runs=tmp_path / "runs")
    assert dict(pl.read_parquet(cut / "traces" / "*.parquet").group_by("finish").len().iter_rows()) == {"stop": 1, "length": 3}
    assert sent(server, api) == 4
    continued = aside.model_copy(update={"sample": aside.sample.model_copy(update={"on_cut": "continue", "total_tokens": 40})})
    run = build(continued, runs=tmp_path / "runs")
    traces = {t["completion_tokens"]: t for t in pl.read_parquet(run / "traces" / "*.parquet").to_dicts()}
    assert {n: t["finish"] for n, t in traces.items()} == {5: "stop", 19: "stop", 35: "stop", 40: "length"}
    assert sent(server, api) == 4 + 1 + 3 + 3
    for n, trace in traces.items():
        words = f"{trace['reasoning']} {trace['answer_text']}".split()
        assert words == [str(w + 1) for w in range(n)]
    assert json.loads(traces[40]["sampling"])["total_tokens"] == 40
    assert traces[40]["prompt_tokens"] == 4 * 7  # each part reads the prompt again, and that is on the bill
    build(continued, runs=tmp_path / "runs")
    assert sent(server, api) == 11


def test_a_broken_stream_goes_on_from_what_it_brought_where_answers_are_continued(tmp_path: Path, server: FaultServer) -> None:
    """Six attempts at an answer of an hour behind a gateway that ends every stream at its tenth minute would buy nothing."""
    prompts = ["counts-cut/counts-cut/counts 500 of broken words"]
    settings = ("sample.max_tokens=600", "sample.on_cut=continue", "sample.total_tokens=2000")
    run = build(recipe(tmp_path, server.url, prompts, *settings), runs=tmp_path / "runs")
    (trace,) = pl.read_parquet(run / "traces" / "*.parquet").to_dicts()
    assert f"{trace['reasoning']} {trace['answer_text']}".split() == [str(n + 1) for n in range(500)]
    assert trace["finish"] == "stop" and sent(server, "broken") == 3
    prefixes = [seen.body["messages"][-1]["content"] for seen in server.seen if "of broken " in seen.prompt][1:]
    assert [len(p) for p in prefixes] == sorted(len(p) for p in prefixes) and all(p.startswith("<think>\n1 2 3") for p in prefixes)
    told = json.loads((run / "progress.json").read_text())
    assert told["lost_tokens"] == 0 and told["retries"] == 0

    aside = [p.replace("broken", "aside") for p in prompts]
    run = build(recipe(tmp_path, server.url, aside, "sample.max_tokens=600"), runs=tmp_path / "runs")
    told = json.loads((run / "progress.json").read_text())
    assert told["retries"] == 2 and told["lost_tokens"] >= 2 * 148  # as the recipe says nothing of going on, from zero


def test_progress_is_a_file_for_other_programs(tmp_path: Path, server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    run = build(recipe(tmp_path, server.url, hard("watched", *[1] * 12)), runs=tmp_path / "runs")
    told = json.loads((run / "progress.json").read_text())
    assert (told["done"], told["total"], told["completion_tokens"], told["usd"]) == (12, 12, 1200, 0.0)
    assert {"tokens_per_s", "in_flight", "limit", "retries", "truncation_rate", "correct_rate", "seconds_left"} <= told.keys()
    assert "\x1b" not in capsys.readouterr().err  # no terminal: no bars
    assert json.loads((run / "manifest.json").read_text())["spent"]["teacher"] == {
        "answers": 12, "prompt_tokens": 240, "completion_tokens": 1200, "lost_tokens": 0, "usd": 0.0,
    }  # fmt: skip


def test_a_correct_rate_is_shown_before_the_first_shard_is_through(tmp_path: Path, server: FaultServer) -> None:
    prompts = [*hard("looked", *[1] * 30, *[10**9] * 10), "hang 7 1 of looked at last"]
    process = start(tmp_path, server.url, prompts)
    found: dict[str, Any] = {}
    deadline = time.monotonic() + 60
    while (found.get("done"), found.get("correct_rate")) != (80, 0.75):
        assert process.poll() is None and time.monotonic() < deadline, found
        for path in (tmp_path / "runs").glob("*/progress.json"):
            found = json.loads(path.read_text())
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert not found["over"]


def test_what_is_left_goes_down_through_all_rounds(tmp_path: Path, server: FaultServer) -> None:
    run = build(
        recipe(tmp_path, server.url, hard("left", *[2] * 12), "sample.until_correct=1", "sample.at_most=3"), runs=tmp_path / "runs"
    )
    told = json.loads((run / "progress.json").read_text())
    assert told["done"] == told["total"] > 12 and told["seconds_left"] == 0
    rows = pl.read_parquet(run / "verdicts" / "*.parquet")
    assert told["over"] and told["correct_rate"] == round(
        rows.filter(pl.col("outcome") == "correct").height / rows.height, 4
    )  # of all, the last ones too


def test_a_line_says_what_matters_first(tmp_path: Path) -> None:
    meter = Meter(Price(1.0, 10.0, "", ""), answers=50, cut=5, judged=40, correct=30, completion_tokens=5000, in_flight=3)
    line = Watching(tmp_path, meter, 100).line(50)
    assert line.startswith("sample: 50 of 100, 0m") and " left, 75.0% correct, 10.0% cut, $0.05, " in line[:80]


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_all_of_it_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    meter = Meter(Price(1.0, 10.0, "", ""), answers=12_000, cut=120, failed=3, judged=40, correct=30, prompt_tokens=900_000_000)
    meter.in_flight, meter.limit, meter.retries, meter.refused = 512, 512.0, 1234, 56
    with open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Watching(tmp_path, meter, 1_200_000) as watching:
            watching.show(12_000, 1_200_000)
            say("vllm serve has ended")
            watching.show(12_000, 1_200_000)
    drawn = b""
    with contextlib.suppress(OSError):  # the terminal is gone, and all of it read
        while data := os.read(ours, 65536):
            drawn += data
    os.close(ours)
    first, said, second, last = drawn.decode().replace("\033[A", "").split("\r\033[J")[1:]
    rows = first.split("\r\n")
    assert len(second.split("\r\n")) == len(rows) == (2 if columns == 80 else 1) and all(len(row) < columns for row in rows)
    assert drawn.count(b"\033[A") == (2 if columns == 80 else 0)  # back to where the next is drawn
    for part in (
        "12,000 of 1,200,000",
        "75.0% correct",
        "$900.00",
        "tokens/s",
        "512 in flight (limit 512)",
        "1,234 retries",
        "3 failed",
    ):
        assert part in first.replace("\r\n", " ")
    assert said == "vllm serve has ended\r\n" and last == ""


def test_the_manifest_says_who_answered(tmp_path: Path, server: FaultServer) -> None:
    with serve_faults() as other:
        prompts = [f"500/wrong-model {n} of split" for n in range(6)]  # what fails at one is answered, or fails too, at the other
        wanted = recipe(tmp_path, f"{server.url},{other.url}", prompts, "sample.in_flight=1", "traces.require_thinking=false")
        manifest = json.loads((build(wanted, runs=tmp_path / "runs") / "manifest.json").read_text())
        told = {row["endpoint"]: row["traces"] for row in manifest["answered"]}
        assert told.keys() <= {f"{server.url}/v1", f"{other.url}/v1"} and sum(told.values()) == 6
        assert {(row["teacher"], row["revision"]) for row in manifest["answered"]} == {("m", "a-cheaper-one")}
        (progress,) = (json.loads(p.read_text()) for p in (tmp_path / "runs").glob("*/progress.json"))
        assert progress["failed_over"] >= 6


@pytest.mark.slow
def test_while_one_shard_is_judged_the_next_is_sampled(
    tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verification overlaps sampling: the GPU does not wait for sympy."""
    judge, ahead = judging.judge_shard, list[int]()

    def patient(*arguments: Any) -> Any:
        deadline = time.monotonic() + 10
        while sent(server, "overlap") < 520 and time.monotonic() < deadline:
            time.sleep(0.01)
        ahead.append(sent(server, "overlap"))
        return judge(*arguments)

    monkeypatch.setattr(judging, "judge_shard", patient)
    build(recipe(tmp_path, server.url, hard("overlap", *[1] * 520)), runs=tmp_path / "runs")
    assert ahead == [520, 520]


def test_failed_requests_are_asked_again_by_the_next_build(tmp_path: Path, server: FaultServer) -> None:
    prompts = [*hard("failing", 1, 1), "400/solve 12 1 of failing now"]
    wanted = recipe(tmp_path, server.url, prompts)
    run = build(wanted, runs=tmp_path / "runs")
    assert funnel(run)["sound"]["dropped"] == {"request_failed": 1}
    assert build(wanted, runs=tmp_path / "runs") == run
    assert funnel(run)["sound"]["dropped"] == {} and sent(server, "failing") == 4  # and the others are not
