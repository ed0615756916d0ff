"""Whether two models speak in the same tokens."""

from copsd_bench.engine.spec import EngineSpec
from copsd_bench.models.digest import read_json
from copsd_bench.models.resolve import ResolvedModel


def vocabulary_difference(one: EngineSpec, other: EngineSpec) -> str | None:
    """How the vocabularies of two models differ, as the end of a sentence; None if token ids mean the same in both."""
    a, b = one.resolve(), other.resolve()
    if (a.path, a.tokenizer_digest) == (b.path, b.tokenizer_digest):
        return None
    sizes = _logits(a), _logits(b)
    if sizes[0] != sizes[1]:
        return f"{a.name} has a vocabulary of {sizes[0]} tokens, {b.name} one of {sizes[1]}"
    mine, theirs = _tokens(a), _tokens(b)
    if mine == theirs:
        return None
    token = min(token for token in mine.keys() | theirs.keys() if mine.get(token) != theirs.get(token))
    ids = (f"id {found[token]}" if token in found else "unknown" for found in (mine, theirs))
    return f"the tokenizers of {a.name} and {b.name} differ (token {token!r} is {' and '.join(ids)})"


def _logits(model: ResolvedModel) -> int:
    config = read_json(model.path / "config.json")
    return int((config.get("text_config") or config).get("vocab_size", 0))


def _tokens(model: ResolvedModel) -> dict[str, int]:
    from transformers import AutoTokenizer

    options = {"local_files_only": True, "trust_remote_code": model.trust_remote_code}
    found: dict[str, int] = AutoTokenizer.from_pretrained(model.path, **options).get_vocab()
    return found
