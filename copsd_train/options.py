"""How likely a model finds each of two options, A and B: from the log-probabilities it gives them."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from copsd_train.corpora.answers import Answer, EngineAnswerer, InspectAnswerer, Question, chat_messages

LETTERS = ("A", "B")
LEAD = "The better one is reply"
"""How a local model's answer is begun for it, so that the next word is an option."""
ASK = "Answer with one letter, A or B, and nothing else."
SHOWN = 5
"""Likeliest first tokens asked of a model elsewhere."""
CHUNK = 32
"""Conversations scored together: always the same ones, so that a build that was interrupted gives the same numbers."""

Logprobs = tuple[float, float]


def option_logprobs(
    who: EngineAnswerer | InspectAnswerer, questions: Sequence[Question], reasoning: Sequence[str]
) -> list[Logprobs | None]:
    """Log-probabilities in nats of A and of B as the answer to each question; None where a model names neither.

    Args:
        who: the model; answers had before are taken from its ledger.
        questions: each asks for A or B.
        reasoning: what the model has already said to each; empty for nothing.

    Raises:
        CopsdError: the model gives no log-probabilities.
    """
    given = zip(questions, reasoning, strict=True)
    keys = [
        hashlib.sha256(json.dumps(["options", who.name, q.messages(), said]).encode()).hexdigest()[:32]
        for q, said in given
    ]
    score = _elsewhere if isinstance(who, InspectAnswerer) and who.worker is None else _local
    for at in range(0, len(keys), CHUNK):
        part = slice(at, at + CHUNK)
        if any(key not in who.ledger for key in keys[part]):
            for key, found in zip(keys[part], score(who, questions[part], reasoning[part]), strict=True):
                who.ledger.add(key, Answer(json.dumps(found), True))
    values = [json.loads(who.ledger[key].text) for key in keys]
    return [None if value is None else (value[0], value[1]) for value in values]


def _local(who: Any, questions: Sequence[Question], reasoning: Sequence[str]) -> list[Logprobs | None]:
    """Both options are scored as the next word of an answer that is begun for the model."""
    worker = who.worker if isinstance(who, InspectAnswerer) else None
    engine = worker.engine if worker else who.engine
    leads = [f"{said}\n\n{LEAD}" if said else LEAD for said in reasoning]
    prompts = [
        engine.encode([*question.messages(), {"role": "assistant", "content": lead}])
        for question, lead in zip(questions, leads, strict=True)
    ]
    options = [tuple(engine.tokenizer(f" {x}", add_special_tokens=False)["input_ids"]) for x in LETTERS]
    rows, completions = [p for p in prompts for _ in options], options * len(prompts)
    if worker:
        scores = worker.submit_scores([prompt.ids for prompt in rows], completions).result()
    else:
        scores = engine.score(who.view, rows, completions)
    sums = [sum(score.logprobs) for score in scores]
    return list(zip(sums[::2], sums[1::2], strict=True))


def _elsewhere(who: Any, questions: Sequence[Question], reasoning: Sequence[str]) -> list[Logprobs | None]:
    """The likeliest first tokens of an answer of one letter."""
    from inspect_ai.model import GenerateConfig

    from copsd_bench.errors import CopsdError, ExitCode

    config = GenerateConfig(max_tokens=1, temperature=0, logprobs=True, top_logprobs=SHOWN)

    async def ask(question: Question, said: str) -> Logprobs | None:
        turns = question.messages()
        if said:
            turns += [{"role": "assistant", "content": said}, {"role": "user", "content": ASK}]
        else:
            turns[-1]["content"] += f"\n\n{ASK}"
        output = await who.model.generate(chat_messages(turns), config=config)
        listed = output.choices[0].logprobs if output.choices else None
        if listed is None or not listed.content or not listed.content[0].top_logprobs:
            raise CopsdError(
                f"Model {who.name} gives no log-probabilities, from which feedback is read; use a model that does, or "
                "a local one.",
                ExitCode.MODEL,
            )
        found = {token.token.strip(" (").upper(): token.logprob for token in reversed(listed.content[0].top_logprobs)}
        if not set(LETTERS) & set(found):
            return None
        # An option that is not listed is at most as likely as the last one that is.
        least = min(token.logprob for token in listed.content[0].top_logprobs)
        return found.get("A", least), found.get("B", least)

    asked = zip(questions, reasoning, strict=True)
    return list(who.together([ask(question, said) for question, said in asked]))
