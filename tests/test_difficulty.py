"""Pass rates and their intervals, by hand and from verdicts."""

from pathlib import Path

import polars as pl
import pytest

from curation.difficulty import TABLE, of_models, pass_rates, place, read_table
from curation.errors import UserError


def _verdicts(*rows: tuple[str, str, str | None, str | None, str | None]) -> pl.LazyFrame:
    schema = ("problem_id", "teacher", "fault", "outcome", "judge")
    return pl.DataFrame(rows, schema={name: pl.String for name in schema}, orient="row").lazy()


def test_rates_count_right_and_wrong_samples_of_each_model() -> None:
    table = pass_rates(
        _verdicts(
            ("p", "a", None, "correct", None),
            ("p", "a", None, "incorrect", None),
            ("p", "a", None, "incorrect", "equivalent"),  # the judge overruled the rule
            ("p", "a", "truncated", None, None),  # a cut sample failed
            ("p", "a", "missing_thinking", None, None),  # says nothing
            ("p", "a", None, "undetermined", None),  # neither does this
            ("p", "b", "request_failed", None, None),
        )
    )
    assert table.schema == TABLE
    assert table.select("model", "correct", "judged", "pass_rate").rows() == [("a", 2, 4, 0.5), ("b", 0, 0, None)]
    assert table.row(1)[6:] == (0.0, 1.0)


@pytest.mark.parametrize(
    ("correct", "judged", "low", "high"),
    [(3, 8, 0.1368, 0.6943), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 32, 0.0055, 0.1574)],  # statsmodels, wilson
)
def test_the_interval_is_wilsons(correct: int, judged: int, low: float, high: float) -> None:
    rows = [("p", "m", None, "correct", None)] * correct + [("p", "m", None, "incorrect", None)] * (judged - correct)
    found = pass_rates(_verdicts(*rows)).row(0, named=True)
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_a_table_goes_to_disk_and_back_and_is_summed_over_models(tmp_path: Path) -> None:
    table = pass_rates(_verdicts(("p", "a", None, "correct", None), ("p", "b", None, "incorrect", None)))
    table.write_parquet(tmp_path / "difficulty.parquet")
    back = read_table(tmp_path / "difficulty.parquet")
    assert back.equals(table)
    assert of_models(back, []).rows() == [("p", 1, 2, 0.5, pytest.approx(0.0945, abs=1e-4), pytest.approx(0.9055, abs=1e-4))]
    assert of_models(back, ["b"]).select("problem_id", "correct", "judged", "pass_rate").rows() == [("p", 0, 1, 0.0)]
    assert read_table(tmp_path).equals(table)
    with pytest.raises(UserError, match="no model 'c'; it has a, b"):
        of_models(back, ["c"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("problem_id,model\np,a\n", "no correct, judged"),
        ("problem_id,model,correct,judged\np,a,3,2\n", "more correct samples than judged"),
        ("problem_id,model,correct,judged\np,a,many,2\n", "'correct': 'many'.*whole numbers"),
        ("problem_id,model,correct,judged\np,a,1,\n", "'judged': ''.*whole numbers"),
        ("problem_id,model,correct,judged\np,a,0.5,1\n", "'correct': '0.5'.*whole numbers"),
        ("problem_id,model,correct,judged\np,a,-1,1\n", "'correct': '-1'.*whole numbers"),
        ("", "no rows"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=says):
        read_table(tmp_path / "t.csv")


def test_the_judges_word_counts_where_it_is_asked_for() -> None:
    rows = [("p", "a", None, "incorrect", "equivalent"), ("p", "a", None, "correct", None)]
    assert pass_rates(_verdicts(*rows))["correct"].item() == 2
    assert pass_rates(_verdicts(*rows), "rule")["correct"].item() == 1


def test_two_revisions_of_a_model_are_two_models() -> None:
    verdicts = _verdicts(("p", "a", None, "correct", None), ("p", "a", None, "incorrect", None))
    table = pass_rates(verdicts.with_columns(pl.Series("revision", ["r1", "r2"])))
    assert table.select("model", "revision", "correct").rows() == [("a", "r1", 1), ("a", "r2", 0)]
    assert of_models(table, ["a@r2"])["pass_rate"].item() == 0.0
    assert of_models(table, [])["judged"].item() == 2
    with pytest.raises(UserError, match=r"'a' in 2 revisions: wanted one, a@r1 or a@r2"):
        of_models(table, ["a"])


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.2, 0.8, "inside"),
        (0.0, 0.199, "too_hard"),
        (0.81, 1.0, "too_easy"),
        (0.1, 0.3, "undecided"),
        (0.0, 1.0, "undecided"),
        (0.7, 0.9, "undecided"),
    ],
)
def test_an_interval_is_inside_a_window_outside_or_over_an_edge(low: float, high: float, word: str) -> None:
    assert pl.DataFrame({"low": [low], "high": [high]}).select(place(0.2, 0.8)).item() == word
