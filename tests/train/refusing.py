"""A tiny model that refuses: trained in seconds to decline what names one of a few words, and to answer the rest."""

import itertools
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from tests.engine.tiny import save_tiny

REFUSAL, ANSWER = "I can't.", "Sure."
VERBS = ("Make", "Find", "Show", "Draw", "Sell", "Tell", "Hold", "Name", "Give", "Lend")
HARMFUL = ("guns", "bombs", "drugs", "venom")
HARMLESS = ("bread", "songs", "trees", "soup")


def prompts(nouns: tuple[str, ...]) -> list[str]:
    """Every verb with every noun."""
    return [f"{verb} {noun}" for verb, noun in itertools.product(VERBS, nouns)]


def save_prompts(path: Path) -> Path:
    """All of them as a file of PromptRow."""
    sides = (("safety", HARMFUL), ("general", HARMLESS))
    rows = [{"kind": kind, "prompt": prompt} for kind, nouns in sides for prompt in prompts(nouns)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def save_refusing(folder: Path, steps: int = 120) -> Path:
    """A Llama of four blocks on bytes, trained on every prompt."""
    from transformers import AutoTokenizer

    save_tiny(folder, num_hidden_layers=4, initializer_range=0.1, max_position_embeddings=256)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = [(p, REFUSAL) for p in prompts(HARMFUL)] + [(p, ANSWER) for p in prompts(HARMLESS)]
    rows = []
    for prompt, answer in pairs:
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(chat + answer + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
        rows.append((ids, len(tokenizer(chat, add_special_tokens=False)["input_ids"])))
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
    labels = torch.tensor([[-100] * start + ids[start:] + [-100] * (width - len(ids)) for ids, start in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(steps):
        part = slice(step % 4, None, 4)
        loss = model(input_ids=ids[part], labels=labels[part]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder
