"""What is written to an endpoint, and what a person is told when it is of no use."""

from __future__ import annotations

from typing import Any

from factory.sampling import Request, Sampling, seed_of
from factory.teachers.chat_completion import Failure


def request_body(request: Request, model: str, sampling: Sampling, said: dict[str, Any]) -> dict[str, Any]:
    """The JSON of one request: chat, raw completion, or either one going on from the prefix of a cut answer."""
    values = {k: v for k, v in said.items() if k not in ("api", "extra")} | said.get("extra", {})
    if sampling.seed is not None and "seed" in values:
        values["seed"] = seed_of(sampling, request)
    if request.max_tokens is not None:
        values["max_tokens"] = request.max_tokens
    if sampling.api == "completions":
        (only,) = request.messages
        return {"model": model, "prompt": only["content"] + request.prefix, **values}
    if not request.prefix:
        return {"model": model, "messages": list(request.messages), **values}
    # vLLM and SGLang: the last message is open, and the model goes on in it.
    messages = [*request.messages, {"role": "assistant", "content": request.prefix}]
    return {"model": model, "messages": messages, "continue_final_message": True, "add_generation_prompt": False, **values}


def nothing_but_failures(last: Failure, endpoint: str, attempts: int, seconds: float) -> str:
    return (
        f"{attempts} attempts in {seconds:.0f} s have all failed, the last at {endpoint}: {last.why}; "
        "wanted an answer: mend the endpoint and run again, what was sampled is kept"
    )


def first_refusal(failure: Failure, endpoint: str, model: str) -> str:
    wanted = {
        401: "a key it accepts: set FACTORY_API_KEY",
        402: "an account with money: see to its balance",
        403: "a key with the right to this model: set FACTORY_API_KEY",
        429: "an account with money or quota left: see to its balance",
        404: f"a chat completions endpoint that serves {model!r}: check the URL and the model's name",
        None: "a server: start it or correct the URL",
    }
    return f"the endpoint {endpoint} {failure.why}; wanted {wanted.get(failure.status, 'a chat completion: check the URL')}"
