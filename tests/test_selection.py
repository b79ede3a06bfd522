"""Selections: what is taken, why the rest is not, and that the order of the rows does not matter."""

import random
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation.errors import UserError
from curation.features import trace_features
from curation.selection import Selection
from curation.selection.diversity import diverse
from curation.selection.limo import limo
from curation.selection.mixture import mixture, shares
from curation.selection.pass_rate import PRESETS, Band, by_pass_rate
from curation.selection.per_problem import per_problem
from curation.selection.s1k import s1k
from curation.vectors import unit


def _pool(rows: int = 400, seed: int = 1) -> pl.DataFrame:
    draw = random.Random(seed)
    return pl.DataFrame(
        {
            "id": [f"e{n:04}" for n in range(rows)],
            "problem": [f"Find the number {n}." for n in range(rows)],
            "source": [draw.choice(["aime", "gpqa", "math", "web"]) for _ in range(rows)],
            "domain": [draw.choice(["11", "51", "05", "60", None]) for _ in range(rows)],
            "length": [draw.randrange(100, 20_000) for _ in range(rows)],
            "correct": [draw.random() < 0.6 for _ in range(rows)],
            "easy": [draw.random() < 0.3 for _ in range(rows)],
        }
    )


S1K: dict[str, Any] = {
    "size": 80,
    "seed": 3,
    "keep_sources": ["gpqa"],
    "keep_longer": {"math": 15_000},
    "benchmark_sources": ["aime", "gpqa"],
}


def _adds_up(done: Selection, rows: int) -> None:
    assert len(done.reasons) == rows
    assert set(done.taken) == {row for row, reason in enumerate(done.reasons) if reason is None}
    into = rows
    for stage in done.stages:
        assert len(stage.reasons) == into
        into = stage.reasons.count(None)
    assert into == len(set(done.taken))


@pytest.mark.parametrize("mode", ["paper", "notebook"])
def test_s1k_takes_so_many_and_gives_every_other_row_its_reason(mode: Any) -> None:
    pool = _pool()
    done = s1k(pool, mode=mode, **S1K)
    _adds_up(done, pool.height)
    assert len(done.taken) == 80
    assert set(done.reasons) == {None, "missing_feature", "solved_by_a_small_model", "not_drawn"}
    assert [stage.name for stage in done.stages] == ["features", "quality", "difficulty", "draw"]
    taken = pool[done.taken]
    assert set(done.state["preselected"]) <= set(taken["id"])
    assert len(done.state["preselected"]) + len(done.state["drawn"]) == 80
    hard = pool.filter(pl.col("domain").is_not_null() & ~pl.col("easy") & pl.col("correct"))
    kept = hard.filter((pl.col("source") == "gpqa") | ((pl.col("source") == "math") & (pl.col("length") > 15_000)))
    assert done.state["preselected"] == kept["id"].to_list()


def test_s1k_is_the_same_whatever_the_order_of_the_rows() -> None:
    pool = _pool()
    one = s1k(pool, mode="notebook", **S1K)
    mixed = pool.sample(fraction=1, shuffle=True, seed=9)
    two = s1k(mixed, mode="notebook", **S1K)
    assert one.state == two.state
    assert sorted(pool[one.taken]["id"]) == sorted(mixed[two.taken]["id"])
    assert s1k(pool, mode="notebook", **{**S1K, "seed": 4}).state["drawn"] != one.state["drawn"]


def test_s1k_draws_long_traces_and_the_notebook_turns_to_the_benchmarks_domains() -> None:
    rows = 3_000
    pool = pl.DataFrame(
        {
            "id": [f"{n:05}" for n in range(rows)],
            "problem": ["Find it."] * rows,
            "source": ["aime" if n % 3 == 0 and n % 10 == 0 else "web" for n in range(rows)],
            "domain": [str(n % 10) for n in range(rows)],  # AIME is in domain 0 alone
            "length": list(range(rows)),
            "correct": [False] * rows,
            "easy": [False] * rows,
        }
    )
    counts = {}
    for mode in ("paper", "notebook"):
        done = s1k(pool, size=200, mode=mode, seed=0, benchmark_sources=["aime"])  # type: ignore[arg-type]
        taken = pool[done.taken]
        assert taken["length"].median() > 2_700  # 2^-rank stays with the longest
        counts[mode] = Counter(taken["domain"])
    assert max(counts["paper"].values()) < 40
    assert 60 <= counts["notebook"]["0"] <= 90  # a tenth of 140, then all of 60


def test_s1k_ends_where_the_domains_run_dry_and_drops_badly_formatted_questions() -> None:
    pool = _pool(30).with_columns(problem=pl.Series(["p2. Show **3 things** [asy]"] * 5 + ["Find it."] * 25))
    done = s1k(pool, mode="paper", **S1K)
    _adds_up(done, 30)
    assert "bad_format" in done.reasons
    assert "not_drawn" not in done.reasons


def test_s1k_gives_none_back_of_what_it_takes_before_the_draw() -> None:
    pool = _pool().with_columns(correct=True, easy=False, domain=pl.lit("11"))
    done = s1k(pool, **{**S1K, "size": 20}, mode="notebook")
    assert len(done.taken) == len(done.state["preselected"]) > 20 and done.state["drawn"] == []


def test_s1k_names_sources_that_no_row_has_and_does_not_call_the_papers_draw_the_notebooks() -> None:
    pool = _pool()
    for setting, value in (("keep_sources", ["typo"]), ("keep_longer", {"typo": 1}), ("benchmark_sources", ["aime", "typo"])):
        with pytest.raises(UserError, match=f"{setting} names 'typo', which no row comes from; there are aime, gpqa, math, web"):
            s1k(pool, **{**S1K, setting: value}, mode="paper")
    solved = pool.with_columns(easy=pl.col("source") == "aime")
    with pytest.raises(UserError, match="aime has none: wanted benchmark_sources with hard rows"):
        s1k(solved, **{**S1K, "benchmark_sources": ["aime"]}, mode="notebook")


def test_s1k_takes_a_source_with_all_that_is_under_its_name() -> None:
    pool = _pool()
    deeper = pool.with_columns(source=pl.when(pl.col("source") == "math").then(pl.lit("math/Algebra")).otherwise("source"))
    assert s1k(deeper, mode="notebook", **S1K).state == s1k(pool, mode="notebook", **S1K).state
    with pytest.raises(UserError, match="'mat', which no row"):
        s1k(deeper, mode="notebook", **{**S1K, "keep_longer": {"mat": 15_000}})


def _traces(**columns: list[Any]) -> pl.DataFrame:
    rows = len(columns["problem_id"])
    base: dict[str, list[Any]] = {"id": [f"t{n}" for n in range(rows)]}
    for name in ("words", "verifying", "tentative", "connective", "characters"):
        base[name] = [1.0] * rows
    return pl.DataFrame({**base, **columns})


def test_limo_takes_the_best_trace_of_the_best_problems() -> None:
    table = _traces(problem_id=["p", "p", "q", "q", "r"], words=[9.0, 5.0, 8.0, 1.0, 2.0])
    done = limo(table, size=2)
    _adds_up(done, 5)
    assert done.taken == [0, 2]
    assert done.reasons == [None, "not_best_of_problem", None, "not_best_of_problem", "score_too_low"]
    assert done.state["scale"]["words"][0] == 5.0


def test_limo_weighs_z_scores() -> None:
    # Lengths spread over thousands, shares over hundredths: without one scale the length alone would decide.
    table = _traces(problem_id=["p", "q"], words=[1000.0, 1100.0], tentative=[0.02, 0.01], connective=[0.02, 0.01])
    assert limo(table, size=1).taken == [0]
    assert limo(table, size=1, weights={"words": 1.0}).taken == [1]


def test_features_count_whole_words_whatever_their_case() -> None:
    found = trace_features(pl.Series(["Wait, check: perhaps 2. Therefore recheckx so", "", "déjà so"]))
    assert found.rows(named=True)[0] == {
        "characters": 45,
        "words": 7.0,
        "verifying": pytest.approx(1 / 7),
        "tentative": pytest.approx(2 / 7),
        "connective": pytest.approx(2 / 7),
    }
    assert found.row(1) == (0, 0.0, 0.0, 0.0, 0.0)
    assert found.row(2) == (7, 2.0, 0.0, 0.0, 0.5)


@pytest.mark.parametrize(
    ("preset", "kept"),
    [
        ("open-r1", [0.5]),
        ("intellect", [0.2, 0.5, 0.8]),
        ("oreal", [0.0] * 6 + [0.0625] * 6 + [0.2] * 4 + [0.5] * 4),
        ("limo", [0.0625]),
    ],
)
def test_pass_rate_presets(preset: str, kept: list[float]) -> None:
    table = pl.DataFrame({"pass_rate": [0.0, 0.0625, 0.2, 0.5, 0.8, 1.0, None]})
    done = by_pass_rate(table, PRESETS[preset])
    assert table[done.taken]["pass_rate"].to_list() == kept
    assert done.reasons[-2:] == ["too_easy", "no_pass_rate"]


def test_a_pass_rate_between_two_bands_says_so() -> None:
    done = by_pass_rate(pl.DataFrame({"pass_rate": [0.05, 0.3, 0.9]}), (Band(0.1, 0.2), Band(0.4, 0.5)))
    assert done.reasons == ["too_hard", "between_bands", "too_easy"]


@pytest.mark.parametrize(
    ("by", "taken"), [("first", [0, 1, 3]), ("shortest", [1, 2, 3]), ("longest", [0, 2, 3]), ("score", [1, 2, 3])]
)
def test_k_traces_of_each_problem(by: Any, taken: list[int]) -> None:
    table = _traces(problem_id=["p", "p", "p", "q"], characters=[9, 1, 5, 7], verifying=[0.0, 2.0, 3.0, 0.0])
    done = per_problem(table, k=2, by=by)
    assert done.taken == taken
    assert done.reasons.count("not_chosen") == 1


def test_random_traces_depend_on_the_problem_and_the_seed_alone() -> None:
    one = _traces(problem_id=["p"] * 10 + ["q"] * 10)
    two = one.filter(pl.col("problem_id") == "p").reverse()
    first, second = per_problem(one, k=3, by="random", seed=5), per_problem(two, k=3, by="random", seed=5)
    assert {i for i in one[first.taken]["id"] if int(i[1:]) < 10} == set(two[second.taken]["id"])


def _grouped(**groups: int) -> pl.DataFrame:
    names = [name for name, count in groups.items() for _ in range(count)]
    return pl.DataFrame({"id": [f"{n}" for n in range(len(names))], "source": names})


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ({"weights": {"a": 3, "b": 1}}, {"a": 60, "b": 20}),  # the scarcest group, a, sets the measure
        ({"weights": {"a": 3, "b": 1}, "size": 40}, {"a": 30, "b": 10}),
        ({"weights": {"a": 3, "b": 1}, "size": 100}, {"a": 60, "b": 40}),  # a cannot give 75: b gives the rest
        ({"quotas": {"a": 7, "c": 900}}, {"a": 7, "c": 10}),
        ({"size": 32}, {"a": 11, "b": 11, "c": 10}),
    ],
)
def test_mixtures(how: dict[str, Any], wanted: dict[str, int]) -> None:
    table = _grouped(a=60, b=80, c=10)
    done = mixture(table, by="source", **how)
    _adds_up(done, 150)
    assert dict(Counter(table[done.taken]["source"])) == wanted
    assert set(done.reasons) <= {None, "over_quota", "group_not_wanted"}


def test_shares_always_add_up() -> None:
    draw = random.Random(0)
    for _ in range(300):
        sizes = {str(n): draw.randrange(0, 50) for n in range(draw.randrange(1, 6))}
        weights = {name: draw.choice([0, 1, 2.5, 7]) for name in sizes}
        size = draw.randrange(1, 120)
        given = shares(sizes, size, weights)
        assert all(given[n] <= sizes[n] for n in sizes)
        assert sum(given.values()) == min(size, sum(sizes[n] for n in sizes if weights[n]))


def test_a_mixture_over_buckets_of_a_number_and_over_a_name_nobody_has() -> None:
    table = pl.DataFrame({"id": list("abcdef"), "source": [None, 0.1, 0.2, 0.5, 0.8, 0.9]})
    done = mixture(table, by="source", edges=[0.2, 0.8], size=3)
    assert done.state["offered"] == {"<0.2": 1, "0.2-0.8": 2, ">=0.8": 2}
    assert done.reasons[0] == "no_group"
    with pytest.raises(UserError, match="'z', which no row has"):
        mixture(table, by="source", quotas={"z": 1})
    assert mixture(table.clear(), by="source", quotas={"z": 1}).state["wanted"] == {}  # no example survived: no name is at fault


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"edges": [1, 2]}, "edges cut a number, and source holds others, such as 'a'"),
        ({"edges": [800, 200]}, "edges are 800, 200: wanted each above"),
        ({"edges": [2, 2]}, "edges are 2, 2: wanted each above"),
        ({"weights": {"a": -1, "b": 2}}, "weights are a: -1, b: 2: wanted numbers from 0 up"),
        ({"weights": {"a": 0}}, "weights are a: 0: wanted"),
        ({"weights": {"a": float("nan")}}, "weights are a: nan: wanted"),
    ],
)
def test_a_mixture_refuses_what_shares_nothing_out(how: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        mixture(_grouped(a=3, b=3), by="source", **how)


def test_more_rows_leave_most_of_a_mixture_as_it_was() -> None:
    small, large = _grouped(a=100), _grouped(a=110)
    one = set(small[mixture(small, by="source", size=50).taken]["id"])
    two = set(large[mixture(large, by="source", size=50).taken]["id"])
    assert len(one & two) >= 40


@pytest.mark.parametrize("method", ["k_centre", "facility_location"])
def test_diverse_rows_come_from_every_cluster(method: Any) -> None:
    draw = np.random.default_rng(0)
    centres = np.eye(5, 8)
    vectors = unit(np.repeat(centres, 20, axis=0) + 0.05 * draw.standard_normal((100, 8)))
    table = pl.DataFrame({"id": [f"{n:03}" for n in range(100)]})
    done = diverse(table, vectors, size=5, method=method, seed=1)
    _adds_up(done, 100)
    assert sorted(row // 20 for row in done.taken) == [0, 1, 2, 3, 4]
    order = draw.permutation(100)
    again = diverse(table[order.tolist()], vectors[order], size=5, method=method, seed=1)
    assert again.state == done.state
    assert len(diverse(table, vectors, size=500, method=method).taken) == 100


def test_facility_location_is_greedy() -> None:
    draw = np.random.default_rng(2)
    vectors = unit(np.abs(draw.standard_normal((40, 4))))
    table = pl.DataFrame({"id": [f"{n:02}" for n in range(40)]})
    drawn = [int(i) for i in diverse(table, vectors, size=6, method="facility_location").state["drawn"]]
    best = np.zeros(40, np.float32)
    for row in drawn:
        gains = np.maximum(vectors @ vectors.T - best, 0).sum(axis=1)
        assert gains[row] == pytest.approx(gains.max(), rel=1e-5)
        best = np.maximum(best, vectors @ vectors[row])


@pytest.mark.parametrize("rule", [lambda t: s1k(t, size=3, mode="paper", seed=0), lambda t: limo(t, size=3)])
def test_nothing_in_nothing_out(rule: Any) -> None:
    empty = _pool(1).hstack(_traces(problem_id=["p"]).drop("id")).clear()
    assert rule(empty).taken == []


def test_a_rate_may_have_to_lie_surely_in_its_band() -> None:
    table = pl.DataFrame({"pass_rate": [0.5, 0.5, 0.1, None], "low": [0.3, 0.1, 0.0, 0.0], "high": [0.7, 0.9, 0.15, 1.0]})
    done = by_pass_rate(table, PRESETS["intellect"], surely=True)
    assert done.reasons == [None, "not_surely", "too_hard", "no_pass_rate"] and done.taken == [0]


def test_groups_that_are_all_right_or_all_wrong_leave() -> None:
    done = by_pass_rate(pl.DataFrame({"pass_rate": [0.0, 0.1, 1.0]}), PRESETS["deepscaler"])
    assert done.reasons == ["too_hard", None, "too_easy"]
