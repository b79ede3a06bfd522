"""The card: every figure from the files, every model's text as text, every hand-written word kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest
from huggingface_hub import DatasetCard
from make_run import HOSTILE, make_run

from cards.dataset_card import HAND_CLOSE, HAND_OPEN, hand_written, keep_hand_written, render, split_card, write_card
from cards.markdown import block, code, text
from curation.errors import UserError
from factory.choosing import EXAMPLES


def metadata(card: str) -> dict[str, Any]:
    """The metadata as huggingface_hub reads it, and writes it again."""
    found, _ = split_card(str(DatasetCard(card)))
    assert found == split_card(card)[0]
    return found


def change(path: Path, **keys: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | keys), "utf-8")


def rewrite(run: Path, **columns: pl.Expr) -> None:
    for shard in (run / "dataset").glob("*.parquet"):
        pl.read_parquet(shard).with_columns(**columns).write_parquet(shard)


def test_the_metadata_is_what_the_hub_reads(tmp_path: Path) -> None:
    data = metadata(render(make_run(tmp_path / "run")))
    assert (data["license"], data["language"], data["task_categories"]) == ("mit", ["en"], ["text-generation"])
    assert data["size_categories"] == ["n<1K"]
    assert data["tags"] == ["reasoning", "chain-of-thought", "synthetic", "cot-factory", "math"]
    assert data["configs"] == [
        {"config_name": "default", "default": True, "data_files": [{"split": "train", "path": "dataset/*.parquet"}]},
        *(
            {"config_name": name, "data_files": [{"split": "train", "path": path}]}
            for name, path in (
                ("rejected_problems", "rejected/problems.parquet"),
                ("rejected_traces", "rejected/traces.parquet"),
            )
        ),
    ]


def test_only_what_is_there_is_offered(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "rejected" / "traces.parquet").unlink()
    card = render(run)
    assert "rejected_problems" in card and "rejected_traces" not in card
    change(run / "recipe.json", language=None)
    assert "language" not in metadata(render(run))


def test_an_empty_table_is_not_offered_because_it_cannot_be_loaded(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    table = run / "rejected" / "problems.parquet"
    pl.read_parquet(table).clear().write_parquet(table)
    card = render(run)
    assert "rejected_problems" not in card and "rejected_traces" in card
    assert "with their reasons: 1 traces." in card


def test_a_set_without_examples_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for shard in (run / "dataset").iterdir():
        pl.read_parquet(shard).clear().write_parquet(shard)
    card = render(run)
    assert "**No example was kept**" in card and metadata(card)["size_categories"] == ["n<1K"]


def test_the_figures_are_those_of_the_files(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", problems=7)
    change(run / "manifest.json", dataset={"rows": 999, "files": [], "configs": []})
    card = render(run)
    assert "**7** examples for **7** problems: math (7)" in card
    assert "**14** generations are all included, 7 of them verified correct" in card
    assert "| clean | problems | 12 | 7 | 5 | `contaminated` 2, `exact_duplicate` 2, `near_duplicate` 1 |" in card
    assert "| `incorrect` | 7 | 50.0% |" in card and "in `messages`: 7 correct" in card
    assert "Removed: 2 problems as `exact_duplicate` (step clean); 1 problems as `near_duplicate` (step clean)." in card
    assert "| every sampled trace, tokens as the teacher counted them | 2 | 200 | 300 | 300 |" in card
    assert "| prompt tokens, whole run | 1,234 |" in card
    assert "| `temperature` | `0.6` |" in card and "| `seed` | `null` |" in card
    assert "| `deepseek-ai/DeepSeek-R1` | 14 | 1 | 7 | 6 | 0 |" in card
    assert "3 problems, 1 traces" in card and "999" not in card
    assert "factory build sums --teacher openai:deepseek-ai/DeepSeek-R1@http://localhost:8000" in card


def test_a_problem_with_several_examples_is_counted_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", problems=4)
    rewrite(run, problem_id=pl.lit("same"))
    card = render(run)
    assert "**4** examples for **1** problems" in card and "**2** generations" in card


def test_a_chosen_generation_that_is_wrong_shows(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", problems=4)
    rewrite(run, trace_id=pl.col("trace_ids").list.last())
    assert "Of the generations in `messages`: 4 incorrect." in render(run)


def test_generations_that_were_not_judged_and_every_column_have_words(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    rewrite(run, verdicts=pl.lit(["correct", None], pl.List(pl.String)), **{n: pl.lit("x") for n in ("outcome", "judge")})
    card = render(run)
    assert "| not judged | 12 | 50.0% |" in card and "|  | 12 |" not in card
    assert not [name for name in EXAMPLES if f"`{name}` |" in card and re.search(rf"`{name}` \| `[^`]*` \|  \|", card)]


def test_lengths_are_in_characters_and_of_every_generation(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", problems=5)
    rewrite(run, generations=pl.lit(["é" * 10, "x" * 1234], dtype=pl.List(pl.String)))
    assert "| every generation, characters | 10 | 622 | 1,234 | 1,234 |" in render(run)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", problems=40)
    assert len({render(run) for _ in range(5)}) == 1


def test_a_models_text_stays_text(tmp_path: Path) -> None:
    card = render(make_run(tmp_path / "run"))
    card = card.replace("![Rows kept at each step](funnel.svg)", "")
    outside = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", card)  # code blocks show what is in them
    assert "<script" not in outside and "\n# Not a heading" not in outside and not re.search(r"(?<!\\)\]\(", outside)
    assert "\u202e" not in card
    row = next(line for line in outside.splitlines() if "math_500 0" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 8  # seven cells, whatever pipes are in them


def test_text_is_escaped_and_cut() -> None:
    assert text("a|b `c` <d> & $e$ *f* [g]\n#h") == r"a\|b \`c\` &lt;d&gt; &amp; \$e\$ \*f\* \[g\] \#h"
    assert text("see www.evil.example or https://evil.example, me@evil.example") == (
        r"see www\.evil.example or https\://evil.example, me\@evil.example"
    )
    assert text("x" * 500, 10) == "x" * 10 + " …"
    assert text(" \n" * 10_000 + "y") == " …"
    assert text("a\u200bb\ud800c\u202ed\x00e") == "abcde"
    assert text(HOSTILE * 100_000).count("\n") == 0


def test_code_cannot_be_left() -> None:
    assert code("a`b|c\nd") == r"`a'b\|c d`"
    assert code(r"\|x\|") == r"`\ \|x\ \|`"
    assert code("a\u202eb" + "c" * 300, 5) == "`abccc…`"
    assert code("") == ""
    assert block("````\nx") == "`````\n````\nx\n`````"


@pytest.mark.parametrize(
    ("benchmarks", "keep", "sentence"),
    [
        ([], True, "**None.** The problems were not compared with any benchmark."),
        ([{"name": "aime", "questions": 30, "revision": None}], False, "No problem matched a benchmark question."),
        (
            [{"name": "aime", "questions": 30, "revision": "abc"}],
            True,
            "**2** problems matched, in 2 pairs; none of them is in",
        ),
    ],
)
def test_decontamination_says_what_was_done(tmp_path: Path, benchmarks: list[object], keep: bool, sentence: str) -> None:
    run = make_run(tmp_path / "run", benchmarks=benchmarks)
    if not keep:
        (run / "contamination.parquet").unlink()
    assert sentence in render(run)


def test_a_match_that_is_in_the_set_all_the_same_shows(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    matches = pl.read_parquet(run / "contamination.parquet")
    matches.with_columns(problem_id=pl.lit("p0003")).write_parquet(run / "contamination.parquet")
    assert "**1** problems matched, in 2 pairs; 1 of them is in this set." in render(run)


def test_the_closest_ten_pairs_are_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    match = pl.read_parquet(run / "contamination.parquet").head(1)
    many = pl.concat([match.with_columns(problem_id=pl.lit(f"c{i}"), score=pl.lit(i / 100)) for i in range(30)])
    many.write_parquet(run / "contamination.parquet")
    card = render(run)
    assert "the closest ten:" in card and card.count("`math_500 0`") == 10
    assert "| 0.29 |" in card and "| 0.19 |" not in card


def source(name: str, license: str) -> dict[str, object]:
    return {"name": name, "license": license, "revision": None, "rows": 1, "path_or_repo": f"/home/me/{name}.jsonl"}


def test_licences_of_every_source_and_clashes_are_stated(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", sources=[source("a", "cc-by-sa-4.0"), source("b", "cc-by-nc-4.0")])
    rewrite(run, teacher=pl.lit("gpt-4o"))
    card = render(run)
    data = metadata(card)
    assert (data["license"], data["license_name"]) == ("other", "cc-by-nc-4.0-and-cc-by-sa-4.0")
    assert "These do not go together" in card and "which cc-by-nc-4.0 does not allow" in card
    assert "**forbidden** | outputs may not be used to develop models that compete with OpenAI" in card
    assert "/home/me" not in card and "`a.jsonl`" in card


def test_an_unknown_licence_says_unknown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", sources=[source("a", "mit"), source("b", "unknown")])
    card = render(run)
    assert metadata(card)["license"] == "unknown"
    assert "The licence of at least one source is **unknown**" in card


def test_what_a_person_wrote_is_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    path = write_card(run)
    assert path == run / "README.md" and hand_written(path.read_text("utf-8")) == ""
    written = path.read_text("utf-8").replace(HAND_CLOSE, f"Ask Ada.\n\n## Limits\n{HAND_CLOSE}")
    path.write_text(written.replace("---\n", "---\npretty_name: Sums\n", 1), "utf-8")
    change(run / "recipe.json", description="Another description.")
    card = write_card(run).read_text("utf-8")
    assert "Another description." in card and "pretty_name: Sums" in card
    assert hand_written(card) == "Ask Ada.\n\n## Limits"
    assert write_card(run).read_text("utf-8") == card
    assert [p.name for p in run.iterdir() if p.name.startswith(".")] == [".lock"]


def test_windows_line_ends_and_broken_markers_lose_nothing(tmp_path: Path) -> None:
    card = render(make_run(tmp_path / "run"))
    assert hand_written(card.replace(HAND_CLOSE, f"Kept.\n{HAND_CLOSE}").replace("\n", "\r\n")) == "Kept."
    assert hand_written(keep_hand_written(card, f"# Old\n{HAND_OPEN}\nThe end is gone.")) == "# Old\n\nThe end is gone."
    assert hand_written(keep_hand_written(card, "No metadata, no markers.")) == "No metadata, no markers."


@pytest.mark.parametrize("name", ["recipe.json", "manifest.json", "funnel.json"])
def test_an_unfinished_run_has_no_card(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run")
    (run / name).write_text('{"torn": ', "utf-8")
    with pytest.raises(UserError, match=f"{name} is not JSON"):
        render(run)
    (run / name).unlink()
    with pytest.raises(UserError, match=f"not a finished run: it has no {name}"):
        render(run)


def test_a_run_without_examples_has_no_card(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for shard in (run / "dataset").iterdir():
        shard.unlink()
    with pytest.raises(UserError, match=r"holds no dataset/\*\.parquet"):
        render(run)


def test_the_funnel_is_a_picture_beside_the_card(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", problems=7)
    change_funnel = json.loads((run / "funnel.json").read_text("utf-8"))
    change_funnel[0]["step"] = HOSTILE
    (run / "funnel.json").write_text(json.dumps(change_funnel), "utf-8")
    assert "![Rows kept at each step](funnel.svg)" in write_card(run).read_text("utf-8")
    svg = (run / "funnel.svg").read_text("utf-8")
    texts = ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert "clean problems" in texts and "7 of 12" in texts
    assert "<script" not in svg and "href" not in svg and "\u202e" not in svg


def test_difficulty_is_told_for_each_model(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert "## Difficulty" not in render(run)
    rates = [0.0, 0.1, 0.25, 0.5, 0.6, 0.99, 1.0, 1.0]
    pl.DataFrame({"model": ["m"] * 8, "pass_rate": rates}).write_parquet(run / "difficulty.parquet")
    assert "| `m` | 8 | 1 | 1 | 1 | 2 | 1 | 2 |" in render(run)
