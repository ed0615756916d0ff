"""What token ids mean: whether the distributions of two models are over the same tokens."""

from collections.abc import Mapping
from dataclasses import dataclass

from copsd_bench.engine.spec import EngineSpec


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a model.

    Attributes:
        size: logits at a position, tokens that pad the vocabulary included.
        tokens: ids by token.
        ends: ids that end an answer.
    """

    size: int
    tokens: Mapping[str, int]
    ends: frozenset[int]

    def difference(self, other: "Vocabulary") -> str:
        """In what two vocabularies differ, as a clause; empty if token ids mean the same in both."""
        if self.size != other.size:
            return f"their vocabularies have {self.size} and {other.size} tokens"
        if self.tokens != other.tokens:
            ids, others = self.tokens.get, other.tokens.get
            first = min(token for token in {*self.tokens, *other.tokens} if ids(token) != others(token))
            return f"the token {first!r} has the id {ids(first)} in one and {others(first)} in the other"
        if self.ends != other.ends:
            return f"their answers end with the ids {sorted(self.ends)} and {sorted(other.ends)}"
        return ""


def vocabulary_of(spec: EngineSpec) -> Vocabulary:
    """The vocabulary of a model on disk; its weights are not read."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    from copsd_bench.engine.transformers_engine import eos_ids

    resolved = spec.resolve()
    options = {"local_files_only": True, "trust_remote_code": spec.trust_remote_code}
    tokenizer = AutoTokenizer.from_pretrained(resolved.path, **options)
    config = AutoConfig.from_pretrained(resolved.path, **options).get_text_config()
    generation = (resolved.path / "generation_config.json").is_file()
    configs = [GenerationConfig.from_pretrained(resolved.path)] if generation else []
    return Vocabulary(int(config.vocab_size), tokenizer.get_vocab(), eos_ids(tokenizer, *configs, config))
