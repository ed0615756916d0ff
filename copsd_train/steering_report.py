"""What the steering stage found: steering.json as a schema, and report.md, the same for people."""

from pathlib import Path

from pydantic import Field

from copsd_bench.records.schema import Estimate
from copsd_train.corpora.contrast import Side
from copsd_train.recipe_parts import Section
from copsd_train.steering_recipe import Scores, Steering


class Count(Section):
    """Prompts of one side: given, too close to a benchmark, drawn, and kept by the filter."""

    given: int
    overlapping: int
    train: int
    validation: int
    train_kept: int
    validation_kept: int


class Token(Section):
    """A safety token, and how many positions voted for it."""

    id: int
    text: str
    votes: int


class Findings(Section):
    """What the stage found.

    Attributes:
        layer, position: where the direction was read; it is added at that layer's input.
        depth: decoder blocks of the model.
        config: of the stage.
        refusal_tokens: first tokens that count as a refusal, decoded.
        counts: prompts of each side.
        scores: of every candidate.
        tokens: the safety tokens, the most voted for first.
        voters: positions that voted.
        validation: the validation prompts of each side.
        refused: share of answers that decline, by who answers (base, teacher, student) and side.
        covered: share of the first tokens of answers to harmless prompts that are safety tokens, by who answers.
        moved: share on the safety tokens of all probability that training moved, at the student's answers to harmful
            prompts; None before training.
        vocabulary: entries.
    """

    layer: int
    position: int
    depth: int
    config: Steering
    refusal_tokens: list[str]
    counts: dict[Side, Count]
    scores: list[Scores]
    tokens: list[Token]
    voters: int
    validation: dict[Side, list[str]]
    refused: dict[str, dict[Side, Estimate]] = Field(default={})
    covered: dict[str, float] = Field(default={})
    moved: float | None = None
    vocabulary: int

    @property
    def token_ids(self) -> list[int]:
        """Ids of the safety tokens."""
        return [token.id for token in self.tokens]


def read_findings(folder: Path) -> Findings:
    """steering.json in RUN/steering/."""
    return Findings.model_validate_json((folder / "steering.json").read_text(encoding="utf-8"))


def report(found: Findings) -> str:
    """The findings as Markdown."""
    parts = [_direction(found), _tokens(found), _checks(found), _prompts(found), _scores(found)]
    return "# Steering\n\n" + "\n\n".join(parts) + "\n"


def _direction(found: Findings) -> str:
    best = next(s for s in found.scores if (s.position, s.layer) == (found.position, found.layer))
    return (
        f"Direction: harmful minus harmless, at the input of block {found.layer} (of 0 to {found.depth - 1}) and at "
        f"position {found.position} from the prompt's end; added there times {found.config.scale:g} at every token. Of "
        f"{len(found.scores)} candidates {sum(not s.faults(found.config) for s in found.scores)} pass the thresholds; "
        f"it has the lowest bypass score, {best.bypass:.2f} (induce {best.induce:.2f}, KL {best.kl:.3f})."
    )


def _tokens(found: Findings) -> str:
    words = ", ".join(f"`{token.text!r}` {token.votes}" for token in found.tokens)
    return f"## Safety tokens\n\n{len(found.tokens)} tokens, with their votes of {found.voters} positions: {words}"


def _checks(found: Findings) -> str:
    rows = [
        [who, *(_rate(found.refused[who][side]) for side in ("harmful", "harmless")), f"{100 * found.covered[who]:.0f}"]
        for who in found.refused
    ]
    head = ["who answers", "harmful refused %", "harmless refused %", "first tokens in the set %"]
    teacher = found.refused["teacher"]["harmless"]
    lines = [
        _table(head, rows),
        f"(a) The teacher should refuse at least 95 % of harmless prompts: it refuses {_rate(teacher)}.",
        f"(b) The set should be what refusals begin with: it holds {100 * found.covered['teacher']:.0f} % of the first "
        f"{found.config.horizon} tokens of the teacher's answers to harmless prompts, and "
        f"{100 * found.covered['base']:.0f} % of the base model's.",
        "(c) The student should refuse harmless prompts about as often as the base model: see the rows above"
        + ("." if found.moved is not None else "; it is not trained yet."),
        "(d) The contrast is the same recipe with `--set distill.signal='{kind: full, beta: 1}'`, the divergence over "
        "the whole vocabulary: more refusals of harmless prompts are expected there.",
    ]
    if found.moved is not None:
        share = len(found.tokens) / found.vocabulary
        lines.append(
            f"Of the probability that training moved, {100 * found.moved:.1f} % lies on the set, which is "
            f"{100 * share:.2f} % of the vocabulary (at the student's answers to harmful validation prompts)."
        )
    return "## Checks\n\nGreedy answers to the validation prompts, with 95 % intervals.\n\n" + "\n\n".join(lines)


def _prompts(found: Findings) -> str:
    head = ["side", "given", "overlap a benchmark", "train", "kept by the filter", "validation", "kept by the filter"]
    rows = [
        [side, *map(str, (c.given, c.overlapping, c.train, c.train_kept, c.validation, c.validation_kept))]
        for side, c in found.counts.items()
    ]
    words = ", ".join(f"`{text!r}`" for text in found.refusal_tokens)
    return f"## Prompts\n\nThe filter goes by the first token of the answer: {words}.\n\n" + _table(head, rows)


def _scores(found: Findings) -> str:
    head = ["block", "position", "bypass", "induce", "KL", "fails"]
    rows = [
        [str(s.layer), str(s.position), f"{s.bypass:.2f}", f"{s.induce:.2f}", f"{s.kl:.3f}",
         " and ".join(s.faults(found.config))]
        for s in sorted(found.scores, key=lambda s: (s.layer, s.position))
    ]  # fmt: skip
    return (
        "## Scores of all candidates\n\nbypass: refusal log-odds of harmful prompts with the direction ablated; "
        f"induce: of harmless prompts with it added (at least {found.config.min_induce:g}); KL: of the first token on "
        f"harmless prompts, base to ablated, in nats (at most {found.config.max_kl:g}).\n\n" + _table(head, rows)
    )


def _rate(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{100 * estimate.value:.0f} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}] of {estimate.n}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
