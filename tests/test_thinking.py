import pytest

from curation.thinking import join_thinking, split_thinking

CASES = [
    # text, thinking, answer, form, closed
    ("<think>\na\n</think>\n\nb", "a", "b", "think", True),
    ("a\n</think>\nb", "a", "b", "think", True),  # R1 and QwQ: the template opened the tag
    ("<think>\n\n</think>\n\nb", "", "b", "think", True),  # R1 when it does not think
    ("<think>a </think> quoted, more</think>b", "a </think> quoted, more", "b", "think", True),
    ("<think>a", "a", "", "think", False),
    ("think\na\nanswer\nb", "a", "b", "s1", True),
    ("<|im_start|>think\na\n<|im_start|>answer\nb", "a", "b", "s1", True),
    ("think\nthe answer is", "the answer is", "", "s1", False),
    (
        "<|begin_of_thought|>\n\na\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\nb\n\n<|end_of_solution|>",
        "a",
        "b",
        "begin_of_thought",
        True,
    ),
    ("<|begin_of_thought|>\n\na", "a", "", "begin_of_thought", False),
    ("<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>b", "a", "b", "begin_of_thought", True),
    ("## Thinking\n\na\n\n## Final Response\n\nb", "a", "b", "headings", True),
    ("plain", None, "plain", "none", True),
    ("I think\nso", None, "I think\nso", "none", True),
    ("", None, "", "none", True),
]


@pytest.mark.parametrize(("text", "reasoning", "answer", "form", "closed"), CASES)
def test_split(text, reasoning, answer, form, closed):
    assert split_thinking(text) == (reasoning, answer, form, closed)


def test_join_is_what_split_takes_apart():
    assert split_thinking(join_thinking("a\n\nb", "c"))[:2] == ("a\n\nb", "c")
    assert join_thinking(None, "c") == "c"


def test_a_megabyte_of_tags_is_linear():
    assert split_thinking("</think>" * 200_000).answer == ""
    assert split_thinking("think\n" + "\nanswer\n" * 100_000).closed
