"""What a corpus build did: lengths before and after matching, refusals, and what was rejected and why."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from copsd_train.corpora.lengths import histogram, histogram_distance
from copsd_train.corpora.schema import SftRow
from copsd_train.corpora.selection import declines

MOSTLY = 0.5
"""A stage that rejects more than this share of what it was given is named in the summary's notes."""


@dataclass
class Summary:
    """Counts and lengths of one build.

    Attributes:
        asked: texts that came into each stage (`own answers`, `candidates`, `rewrites`).
        rejected: how many of them were rejected, by stage and reason.
        tokens: lengths of the answers to safety prompts that are left: the base model's own (`base`), and those of each
            further step by its name.
    """

    asked: Counter[str] = field(default_factory=Counter)
    rejected: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    tokens: dict[str, list[int]] = field(default_factory=lambda: {"base": []})

    def notes(self) -> list[str]:
        """A sentence for each stage that rejected most of what it got."""
        return [
            f"{sum(reasons.values())} of {self.asked[stage]} {stage} were rejected, most of all because they "
            f"{reasons.most_common(1)[0][0]}."
            for stage, reasons in self.rejected.items()
            if sum(reasons.values()) > MOSTLY * self.asked[stage]
        ]

    def rejections(self) -> str:
        """All rejections in a few words."""
        counts = [(n, stage, reason) for stage, reasons in self.rejected.items() for reason, n in reasons.most_common()]
        parts = [f"{n} {stage} that {reason}" for n, stage, reason in counts if n]
        return f"rejecting {', '.join(parts)}" if parts else "rejecting nothing"

    def json(self, rows: Sequence[SftRow]) -> bytes:
        """The summary of a corpus as JSON."""
        by_kind: dict[str, list[bool]] = defaultdict(list)
        for row, declined in zip(rows, declines([r.prompt for r in rows], [r.response for r in rows]), strict=True):
            by_kind[row.kind].append(declined)
        return json.dumps(
            {
                "rows": Counter(row.kind for row in rows),
                "categories": Counter(f"{row.kind}/{row.category}" for row in rows),
                "declining": {kind: round(sum(found) / len(found), 4) for kind, found in by_kind.items()},
                "complete": round(sum(row.complete for row in rows) / max(len(rows), 1), 4),
                "safety_tokens": {
                    name: {
                        "median": median(tokens) if tokens else None,
                        "histogram": histogram(tokens),
                        "distance_to_base": round(histogram_distance(tokens, self.tokens["base"]), 4),
                    }
                    for name, tokens in self.tokens.items()
                },
                "asked": self.asked,
                "rejected": self.rejected,
                "notes": self.notes(),
            },
            indent=2,
        ).encode()
