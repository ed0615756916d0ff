"""A sheet of examples for people: what a corpus stage made, and how each came about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from copsd_bench.cachedir import write_atomic
from copsd_train.corpora.schema import PairRow, SftRow

PER_KIND = 5
"""Examples shown of each kind of prompt."""


@dataclass(frozen=True)
class Step:
    """A text on the way to an answer: a draft, a critique, a rewritten prompt."""

    heading: str
    text: str


def sheet_beside(corpus: Path) -> Path:
    """Where a builder puts the sheet of its corpus."""
    return corpus.with_name("samples.md")


def write_sheet(
    path: Path,
    rows: Sequence[SftRow] | Sequence[PairRow],
    steps: Mapping[str, Sequence[Step]] | None = None,
    per_kind: int = PER_KIND,
) -> None:
    """Write the first examples of each kind as markdown, in one step.

    Args:
        path: the sheet.
        rows: the corpus.
        steps: texts on the way to a row's answer, by the row's id.
        per_kind: examples of each kind.
    """
    parts = [f"# Examples\n\n{len(rows)} rows."]
    for kind in ("safety", "over_refusal", "general"):
        members: list[SftRow | PairRow] = [row for row in rows if row.kind == kind]
        if members:
            parts.append(f"## {kind}: {min(per_kind, len(members))} of {len(members)} rows")
            parts += [_example(row, (steps or {}).get(row.id, ())) for row in members[:per_kind]]
    write_atomic(path, ("\n\n".join(parts) + "\n").encode())


def _example(row: SftRow | PairRow, steps: Sequence[Step]) -> str:
    texts = [Step("Prompt", row.prompt), *steps]
    if isinstance(row, SftRow):
        texts.append(Step("Answer" if row.complete else "Answer (cut at the token limit)", row.response))
    else:
        texts += [Step(f"Chosen (probability {row.label:.2f})", row.chosen), Step("Rejected", row.rejected)]
    shown = [f"**{step.heading}**\n\n{_quoted(step.text)}" for step in texts]
    origin = ", ".join(f"{name}: {value}" for name, value in row.provenance.items())
    return "\n\n".join([f"### {row.id} ({row.category})", *shown, f"Provenance: {origin or 'none'}"])


def _quoted(text: str) -> str:
    """As a quotation, so that headings and lists inside stay inside."""
    return "\n".join(f"> {line}" for line in text.splitlines())
