import polars as pl
import pytest

from curation.records import Problem, Trace, content_id, from_frame, problem, schema, to_frame, trace


def test_the_same_content_has_the_same_id_wherever_it_came_from():
    one = problem(prompt="2+2?", answer="4", domain="math", source="a", source_id="1")
    other = problem(prompt="2+2?", answer="4", domain="math", source="b", source_id="99")
    assert one.id == other.id
    assert one.id != problem(prompt="2+2?", answer="5", domain="math").id


def test_a_trace_id_does_not_depend_on_how_long_it_took():
    fields = {"problem_id": "p", "index": 0, "teacher": "t", "answer_text": "4"}
    assert trace(**fields, seconds=1.0).id == trace(**fields, seconds=2.0).id
    assert trace(**fields).id != trace(**{**fields, "index": 1}).id


def test_ids_take_half_of_a_surrogate_pair():
    assert len(content_id("\ud83d")) == 16


def test_nan_has_no_identity():
    with pytest.raises(ValueError):
        content_id(float("nan"))


def test_records_come_back_from_a_table_as_they_went_in():
    rows = [
        trace(problem_id="p", index=i, teacher="t", reasoning=r, seconds=s) for i, (r, s) in enumerate([(None, 0.5), ("hm", None)])
    ]
    frame = to_frame(rows, Trace)
    assert frame.schema == schema(Trace)
    assert from_frame(frame.with_columns(pl.lit(1).alias("extra")), Trace) == rows
    assert to_frame([], Problem).schema == schema(Problem)
