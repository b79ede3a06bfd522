"""What cards say of licences: certain facts, or unknown."""

import pytest

from cards.licenses import Tag, clashes, tag, teacher_terms


@pytest.mark.parametrize(
    ("model", "training", "part"),
    [
        ("deepseek-ai/DeepSeek-R1", "allowed", "distillation"),
        ("deepseek-ai/DeepSeek-R1-0528", "allowed", "distillation"),
        ("deepseek-reasoner", "allowed", "distillation"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "allowed", "distillation"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "conditions", '"Llama" at the beginning'),
        ("Qwen/QwQ-32B", "allowed", "nothing of outputs"),
        ("Qwen/Qwen3-8B", "allowed", "nothing of outputs"),
        ("Qwen/Qwen2.5-Math-7B-Instruct", "allowed", "nothing of outputs"),
        ("Qwen/Qwen2.5-72B-Instruct", "conditions", "Built with Qwen"),
        ("openai/gpt-oss-120b", "allowed", "nothing of outputs"),
        ("gpt-4o-mini", "forbidden", "compete with OpenAI"),
        ("o3-mini", "forbidden", "compete with OpenAI"),
        ("gemini-2.0-flash-thinking", "forbidden", "compete"),
        ("google/gemma-3-27b-it", "conditions", "same terms"),
        ("claude-3-7-sonnet", "forbidden", "competing"),
        ("meta-llama/Llama-3.3-70B-Instruct", "conditions", "Built with Llama"),
        ("meta-llama/Llama-4-Maverick", "conditions", "Built with Llama"),
        ("meta-llama/Meta-Llama-3-8B", "forbidden", "other than Llama"),
        ("meta-llama/Llama-2-7b", "forbidden", "other than Llama"),
        ("oracle", "allowed", "no model took part"),
    ],
)
def test_a_family_that_is_known(model: str, training: str, part: str) -> None:
    terms = teacher_terms(model)
    assert (terms.training, part in terms.terms) == (training, True)
    assert terms.source or model == "oracle"


@pytest.mark.parametrize(
    "model", ["", "replay", "Qwen/Qwen2.5-3B", "mistral-large", "yo3lo", "google/gemma-4-9b", "meta-llama/Llama-5-8B"]
)
def test_what_is_not_known_says_unknown(model: str) -> None:
    assert teacher_terms(model).training == teacher_terms(model).license == "unknown"


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["mit"], Tag("mit", None)),
        (["MIT", "mit"], Tag("mit", None)),
        (["mit", "apache-2.0"], Tag("apache-2.0", None)),
        (["cc0-1.0", "cc-by-4.0", "mit"], Tag("cc-by-4.0", None)),
        (["apache-2.0", "cc-by-sa-4.0"], Tag("cc-by-sa-4.0", None)),
        (["cc-by-sa-3.0", "cc-by-sa-4.0"], Tag("cc-by-sa-4.0", None)),
        (["cc-by-4.0", "cc-by-nc-sa-4.0"], Tag("cc-by-nc-sa-4.0", None)),
        (["gpl-3.0"], Tag("gpl-3.0", None)),
        (["mit", "unknown"], Tag("unknown", None)),
        ([], Tag("unknown", None)),
        (["cc-by-sa-4.0", "cc-by-nc-4.0"], Tag("other", "cc-by-nc-4.0-and-cc-by-sa-4.0")),
        (["cc-by-sa-4.0", "cc-by-nc-sa-4.0"], Tag("other", "cc-by-nc-sa-4.0-and-cc-by-sa-4.0")),
        (["mit", "gpl-3.0"], Tag("other", "gpl-3.0-and-mit")),
        (["House Licence (v2)"], Tag("other", "house-licence-v2")),
    ],
)
def test_the_tag_of_a_mixture(sources: list[str], expected: Tag) -> None:
    assert tag(sources) == expected
    assert tag(sources[::-1]) == expected


def test_what_does_not_go_together_is_said() -> None:
    assert clashes(["mit", "apache-2.0", "cc-by-4.0"], ["deepseek-ai/DeepSeek-R1"]) == ()
    (nc,) = clashes(["cc-by-sa-4.0", "cc-by-nc-4.0"])
    assert nc == "cc-by-sa-4.0 asks the whole to be shared under itself, which cc-by-nc-4.0 does not allow"
    (nd,) = clashes(["cc-by-nd-4.0"])
    assert "does not allow changed copies" in nd
    (model,) = clashes(["mit"], ["gpt-4o", "gpt-4o"])
    assert model.startswith("gpt-4o: outputs may not be used")
