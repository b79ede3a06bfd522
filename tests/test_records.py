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


@pytest.mark.parametrize("text", ['"\\/\b\f\n\r\t', "\x00\x1f\x7f\x80\u2028", "é 日本 \U0001f600", "half \ud83d"])
def test_a_trace_is_named_by_its_canonical_json_though_that_is_written_by_another_library(text):
    made = trace(problem_id="p", index=3, teacher="t", answer_text=text, completion_tokens=2**31, seconds=0.1)
    values = {name: getattr(made, name) for name in Trace.__dataclass_fields__}
    assert made.id == content_id([values[name] for name in sorted(values) if name not in ("id", "seconds")])


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
