import json

import pytest
import yaml

from curation.errors import UserError
from factory.recipe import Changes, load_recipe


def _set(*assignments):
    return Changes(assignments=assignments)


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("chose.rule=first", "unknown key 'chose' (did you mean 'choose'?)"),
        ("choose.rul=first", "unknown key 'choose.rul' (did you mean 'rule'?)"),
        ("source.cuont=3", "unknown key 'source.cuont' (did you mean 'count'?)"),
        ("clean.benchmarks=[{name: a, pth: x}]", "unknown key 'clean.benchmarks.0.pth' (did you mean 'path'?)"),
        ("sample.temperature=-1", "sample.temperature: input should be greater than or equal to 0, got -1"),
        ("choose.rule=long", "choose.rule: input should be 'first', 'shortest', 'longest' or 'random', got \"long\""),
        ("prompt=Think {aloud}.", "prompt: string should match pattern '\\{problem\\}', got \"Think {aloud}.\""),
        ("clean.pass_rate={high: 0.2, low: 0.8}", "clean.pass_rate: value error, low 0.8 is above high 0.2: nothing lies between"),
        ("sample.settle={low: 0.9}", "sample.settle: value error, low 0.9 is above high 0.8"),
        ("labels=[{name: a, rubric: msc, windows: {b: {low: 2, high: 1}}}]", "windows.b: value error, low 2 is above high 1"),
        ("select=[{rule: pass_rate, low: 1, high: 0}]", "value error, low 1 is above high 0"),
        ("select=[{rule: pass_rate, preset: limo, low: 0.1}]", "preset limo has bands of its own: wanted preset, or low and high"),
        ("clean.fuzzy_ratio=0.95", "clean.fuzzy_ratio: input should be greater than 1, got 0.95"),
        ("limit=many", "limit: input should be a valid integer"),
        ("name.first=x", "name is a value, not a group of keys"),
        ("limit", "wanted KEY=VALUE"),
        ("clean.benchmarks=[aime2]", "no benchmark 'aime2' (did you mean 'aime25'?)"),
        ("clean.benchmarks=[math-perturb-hard]", "cannot be read from the Hub"),
        ("select=[{rule: s1k, domain: d, models: [a], sizee: 3}]", "unknown key 'select.0.s1k.sizee' (did you mean 'size'?)"),
        ("source.kind=hubb", "source: input tag 'hubb'"),
        ("choose={", "--set choose={: the value is no YAML (while parsing"),
        ("select=[{rule: limo, weights: {words: .nan}}]", "select.0.limo.weights.words: input should be a finite number"),
        ("select=[{rule: mixture, by: source, weights: {a: .inf}}]", "weights.a: input should be a finite number"),
        ("select=[{rule: mixture, by: words, edges: [.nan]}]", "edges.0: input should be a finite number"),
    ],
)
def test_a_wrong_value_is_named(assignment, says):
    with pytest.raises(UserError) as error:
        load_recipe("countdown", _set(assignment))
    assert says in str(error.value)


def test_an_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'countdown'"):
        load_recipe("countdwon")


def test_a_recipe_for_another_version_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: 7\nname: mine\n")
    with pytest.raises(UserError, match=r"mine\.yaml says recipe: 7, this factory reads version 1"):
        load_recipe(str(path))


@pytest.mark.parametrize("text", ["a: [", "- a", "just words"])
def test_what_is_no_recipe_is_refused(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"mine\.yaml"):
        load_recipe(str(path))


def test_values_are_set_and_the_run_is_named_by_all_of_them():
    plain, changed = load_recipe("countdown"), load_recipe("countdown", _set("choose.per_problem=2", "source.count=5"))
    assert (changed.choose.per_problem, changed.source.count) == (2, 5)
    assert plain.run_name() != changed.run_name()
    assert plain.run_name() == load_recipe("countdown").run_name()


def test_problems_replace_the_source_and_keep_its_domain(tmp_path):
    recipe = load_recipe("countdown", Changes(problems=("a.jsonl", "b.jsonl")))
    assert (recipe.source.kind, recipe.source.paths, recipe.source.domain) == ("file", ["a.jsonl", "b.jsonl"], "countdown")


def test_a_folder_of_benchmarks_means_its_files(tmp_path):
    for name in ("b.jsonl", "a.jsonl.gz"):
        (tmp_path / name).touch()
    recipe = load_recipe("openr1-math", Changes(benchmarks=(str(tmp_path),)))
    assert [(b.name, b.repo) for b in recipe.clean.benchmarks] == [("a", None), ("b", None)]


def test_a_group_that_is_empty_or_none_is_replaced_or_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    (tmp_path / "held.jsonl").write_text("{}")
    mine = Changes(problems=("mine.jsonl",), benchmarks=(str(tmp_path),))
    path.write_text("recipe: 1\nname: mine\ndescription: d\nsource:\nclean:\nteacher: oracle\n")
    assert [b.name for b in load_recipe(str(path), mine).clean.benchmarks] == ["held", "mine"]
    path.write_text("recipe: 1\nname: mine\ndescription: d\nclean: 3\nteacher: oracle\n")
    with pytest.raises(UserError, match="clean holds '3', wanted a mapping of keys"):
        load_recipe(str(path), mine)


def test_the_resolved_copy_is_a_recipe_again(tmp_path):
    recipe = load_recipe("openr1-math", Changes(limit=5))
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(json.loads(recipe.model_dump_json())))
    assert load_recipe(str(path)) == recipe


def test_the_recipes_table_of_pass_rates_goes_to_each_rule_that_names_none():
    rules = "select=[{rule: pass_rate, high: 0.5}, {rule: mixture, by: pass_rate, table: other}, {rule: limo}]"
    changes = Changes(assignments=("difficulty.table=runs/a", "clean.pass_rate={low: 0.1}", rules))
    recipe = load_recipe("openr1-math", changes)
    assert recipe.clean.pass_rate.table == "runs/a"
    assert [getattr(rule, "table", None) for rule in recipe.select] == ["runs/a", "other", None]


def test_a_benchmark_may_be_files_of_a_repository():
    (bench,) = load_recipe("openr1-math", Changes(assignments=("clean.benchmarks=[livecodebench]",))).clean.benchmarks
    assert bench.repo and "test4.jsonl" in bench.files and bench.column == "question_content"
