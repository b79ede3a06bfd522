"""Rewards as TRL calls them: by keyword, with texts or messages, a float or None for each completion; and in a real trainer."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from curation.errors import UserError
from curation.verify import verify
from training import rewards


def _said(*texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


@pytest.mark.parametrize("as_messages", [False, True])
@pytest.mark.parametrize("column", ["answer", "solution"])
def test_accuracy_is_one_zero_or_none(as_messages, column):
    texts = ["So \\boxed{0.5}", "\\boxed{2}", "<think>1/2 and", "\\boxed{\\int_0^1 y dy + z}", "\\boxed{1}"]
    golds = {column: ["1/2", "1/2", "1/2", "1/2", None]}
    found = rewards.accuracy_reward(_said(*texts) if as_messages else texts, prompts=["?"] * 5, trainer_state=None, **golds)
    assert found == [1.0, 0.0, 0.0, None, None]


def test_accuracy_agrees_with_the_verifier_on_every_domain():
    rows = [
        ("math", "1/2", "\\boxed{0.5}"),
        ("text", "New York", "<answer>new york</answer>"),
        ("countdown", "2*3*4", "\\boxed{(4*3)*2}"),
        ("countdown", "2*3*4", "\\boxed{4*3*3}"),
        ("math", "((", "\\boxed{1}"),
    ]
    domains, golds, texts = zip(*rows, strict=True)
    found = rewards.accuracy_reward(list(texts), answer=list(golds), domain=list(domains))
    points = {"correct": 1.0, "incorrect": 0.0, "undetermined": None}
    assert found == [points[verify(g, t, domain=d).outcome] for d, g, t in rows]
    assert found == [1.0, 1.0, 1.0, 0.0, None]


def test_a_thought_opened_by_the_prompt_and_never_closed_has_no_answer():
    cut = "so \\boxed{5} it may be, but wait"
    assert rewards.accuracy_reward([cut, cut], prompts=["Q<think>\n", "Q"], answer=["5", "5"]) == [0.0, 1.0]
    whole = "\nhm\n</think>\n<answer>\n5\n</answer>"
    assert rewards.format_reward([whole, whole], prompts=["Q<think>\n", "Q"]) == [1.0, 0.0]


def test_without_a_gold_column_it_says_which_columns_there_are():
    with pytest.raises(UserError, match="no column of gold answers among prompts, label"):
        rewards.accuracy_reward(["1"], prompts=["?"], label=["1"])


def test_what_was_found_goes_to_the_table_of_completions():
    logged = {}
    rewards.accuracy_reward(["\\boxed{2}"], answer=["1"], log_extra=logged.__setitem__)
    assert logged == {"extracted": ["2"], "verdict": ["incorrect: different"]}


@pytest.mark.parametrize(
    ("text", "format_point", "tag_points"),
    [
        ("<think>\na\n</think>\n<answer>\n5\n</answer>", 1.0, 1.0),
        ("<think>\na\n</think>\n<answer>\n5\n</answer>\n", 1.0, 1.0),
        ("<think>\na\n</think>\n\n<answer>\n5\n</answer>", 0.0, 1.0),
        ("<think>a</think><answer>5</answer>", 0.0, 0.0),
        ("x<think>\na\n</think>\n<answer>\n5\n</answer>", 0.0, 1.0),
        ("<think>\na\n</think>\n<answer>\n5", 0.0, 0.75),
        ("<think>\na\n</think>\n<answer>\n5\n</answer> and more", 0.0, 1.0),
        ("<think>\n" * 2 + "a\n</think>\n<answer>\n5\n</answer>", 1.0, 0.75),
        ("", 0.0, 0.0),
    ],
)
def test_format_and_tags(text, format_point, tag_points):
    assert rewards.format_reward(_said(text)) == [format_point]
    assert rewards.tag_count_reward(_said(text)) == [tag_points]


@pytest.mark.parametrize("gold", [{"answer": ["2*3*4"] * 4}, {"nums": [[2, 3, 4]] * 4, "target": [24] * 4}])
def test_countdown_gives_a_tenth_for_trying(gold):
    texts = ["<answer>4*3*2</answer>", "<answer>4*3+2</answer>", "<answer>24</answer>", "I give up, sorry"]
    assert rewards.countdown_reward(_said(*texts), **gold) == [1.0, 0.1, 0.1, 0.0]


def test_countdown_without_a_gold_that_can_be_read_teaches_nothing():
    assert rewards.countdown_reward(["<answer>1+1</answer>"], answer=["((("]) == [None]


def test_code_passes_all_tests_or_earns_nothing():
    gold = '{"kind": "calls", "fn_name": "f", "inputs": [[2], [5]], "outputs": [4, 10]}'
    programs = ["def f(x):\n    return 2 * x", "def f(x):\n    return 4", "raise SystemExit(0)"]
    texts = [f"So:\n```python\n{program}\n```" for program in programs]
    assert rewards.code_reward(_said(*texts, "no program"), answer=[gold] * 4) == [1.0, 0.0, 0.0, 0.0]
    assert rewards.code_reward(_said(texts[0]), answer=["[]"]) == [None]


def test_an_empty_completion_and_one_with_tool_calls():
    turns = [{"role": "assistant", "content": None}, {"role": "tool", "content": "7"}, {"role": "assistant", "content": "5"}]
    assert rewards.accuracy_reward([[], turns, [turns[0]]], answer=["5", "5", "5"]) == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("name", ["accuracy_reward", "countdown_reward", "code_reward", "format_reward", "tag_count_reward"])
def test_rewards_keep_their_names_and_travel_to_other_processes(name):
    reward = getattr(rewards, name)
    assert reward.__name__ == name
    assert pickle.loads(pickle.dumps(reward)) is reward


def test_rewards_need_no_torch():
    code = "import sys, training.rewards; print({'torch', 'trl', 'transformers', 'sympy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )
    assert done.stdout.strip() == "set()"


TRAIN = """
import json, sys, warnings
sys.path[:0] = [{tests!r}, {root!r}]
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from tiny_model import make_tiny_model
from pathlib import Path
from training.rewards import accuracy_reward, countdown_reward, format_reward, tag_count_reward

model = make_tiny_model(Path({folder!r}) / "model")
ask = lambda q: [{{"role": "user", "content": q}}] if {conversational} else q
rows = [{{"prompt": ask(f"Make {{n}} of 1 and {{n - 1}}."), "answer": f"1+{{n - 1}}", "domain": d}}
        for n in range(3, 7) for d in ("math", "countdown")]
config = GRPOConfig(output_dir={folder!r}, max_steps=2, per_device_train_batch_size=4, num_generations=4, max_completion_length=16,
                    use_cpu=True, report_to=[], logging_steps=1, save_strategy="no", bf16=False, log_completions=False)
def doubtful_reward(completions, **columns):  # None for one of two: TRL must go on
    return [None if n % 2 else 0.5 for n, _ in enumerate(completions)]
trainer = GRPOTrainer(model=str(model), args=config, train_dataset=Dataset.from_list(rows),
                      reward_funcs=[accuracy_reward, countdown_reward, format_reward, tag_count_reward, doubtful_reward])
trainer.train()
print("LOGGED " + json.dumps([h for h in trainer.state.log_history if "rewards/accuracy_reward/mean" in h]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("conversational", [True, False])
def test_trl_trains_with_these_rewards(tmp_path, conversational):
    import json

    tests = Path(__file__).parent
    script = tmp_path / "train.py"
    script.write_text(TRAIN.format(tests=str(tests), root=str(tests.parent), folder=str(tmp_path), conversational=conversational))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    logged = json.loads(done.stdout.rpartition("LOGGED ")[2])
    assert len(logged) == 2
    for step in logged:
        assert step["rewards/doubtful_reward/mean"] == 0.5
        assert {f"rewards/{r}/mean" for r in ("countdown_reward", "format_reward", "tag_count_reward")} <= step.keys()
