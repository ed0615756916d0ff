"""The verdict on collapse: a panel in, one word out, with its reasons in words and numbers.

Each rule of the gate that names a *damage* (shortening, sharpening, over-refusal, looping, copying, unhelpfulness) is
evidence of it. A damage is established by one red finding, that is beyond a margin and beyond noise:

| state | when |
|---|---|
| collapsed | two damages are established, or one of them beyond its harder margin (`collapse_margin`) |
| contracting | exactly one damage is established, within its harder margin |
| undecided | none is, but a rule that looks for one cannot tell, or none of them had anything to look at |
| healthy | none is, and every rule that looked could tell |

Several measurements of one damage (median and mean length; entropy, diversity and divergence) move together, so they
count once: two damages are two different losses. Loss of ability, compliance with harmful requests and a raised
temperature are regressions of the gate, not collapse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from copsd_bench.records.findings import Finding, Pair, findings
from copsd_bench.records.format import interval, suffix
from copsd_bench.records.rules import DAMAGES, Damage, Rules, load_rules
from copsd_bench.records.schema import SampleRow, Strict

State = Literal["healthy", "contracting", "collapsed", "undecided"]


class Verdict(Strict):
    """A model's state against its base.

    Attributes:
        damages: those established, in the order of `DAMAGES`.
        reasons: one sentence a damage (or a doubt), with its number, interval and margin.
    """

    state: State
    damages: list[Damage]
    reasons: list[str]


@dataclass(frozen=True)
class Answers:
    """Answers in memory, as one side of a pair."""

    samples: Sequence[SampleRow]


def verdict(found: Sequence[Finding]) -> Verdict:
    """The state that findings of the gate add up to, by the table above."""
    evidence = [finding for finding in found if finding.damage is not None]
    red = {damage: [f for f in evidence if f.damage == damage and f.status == "red"] for damage in DAMAGES}
    damages = [damage for damage, its in red.items() if its]
    if damages:
        severe = any(finding.severe for its in red.values() for finding in its)
        state: State = "collapsed" if len(damages) > 1 or severe else "contracting"
        return Verdict(state=state, damages=damages, reasons=[_sentence(red[damage]) for damage in damages])
    if not evidence:
        return Verdict(state="undecided", damages=[], reasons=["nothing that shows a collapse was measured"])
    doubts = [finding for finding in evidence if finding.status == "undecided"]
    if doubts:
        return Verdict(state="undecided", damages=[], reasons=_doubts(doubts))
    looked = {finding.damage for finding in evidence}
    reasons = [f"within the margins: {', '.join(damage for damage in DAMAGES if damage in looked)}"]
    if len(looked) < len(DAMAGES):
        reasons.append(f"not measured: {', '.join(damage for damage in DAMAGES if damage not in looked)}")
    return Verdict(state="healthy", damages=[], reasons=reasons)


def judge_collapse(base: Sequence[SampleRow], current: Sequence[SampleRow], rules: Rules | None = None) -> Verdict:
    """The verdict on answers in memory, as a training monitor has them; needs no file.

    Args:
        base: rows of the model before, one a prompt and rollout; the ids pair them with `current`.
        current: rows of the model now.
        rules: the packaged ones if None.
    """
    return verdict(findings(rules or load_rules(), [Pair("answers", Answers(base), Answers(current))]))


def verdict_lines(found: Verdict) -> list[str]:
    """`Collapse: contracting`, followed by its reasons, one a line; a healthy verdict is one line."""
    if found.state == "healthy":
        return [f"Collapse: healthy ({'; '.join(found.reasons)})"]
    return [f"Collapse: {found.state}", *(f"- {reason}" for reason in found.reasons)]


def _sentence(its: Sequence[Finding]) -> str:
    """The worst finding of a damage in words and numbers, with everywhere its rule is red."""
    worst = max(its, key=lambda finding: finding.severe)
    change = worst.change
    places = ", ".join(dict.fromkeys(f.where for f in its if f.rule == worst.rule))
    numbers = f"{interval(change.change, signed=change.kind == 'difference')}{suffix(change.change.unit)}"
    beyond = f", collapse beyond {worst.bound(worst.collapse_margin)}" if worst.collapse_margin is not None else ""
    return f"{worst.damage}: {worst.reason} ({places}): {worst.rule} {numbers}, tolerated {worst.tolerated}{beyond}"


def _doubts(its: Sequence[Finding]) -> list[str]:
    """What cannot be told and why, one sentence a kind of doubt."""
    by_reason: dict[str, list[Finding]] = {}
    for finding in its:
        by_reason.setdefault(finding.reason, []).append(finding)
    return [
        f"{reason}: {', '.join(dict.fromkeys(f.rule for f in doubted))} "
        f"({', '.join(dict.fromkeys(f.where for f in doubted))})"
        for reason, doubted in by_reason.items()
    ]
