"""The two scoring profiles, and how a score says which one it follows."""

from copsd_bench.errors import unknown_name

COPSD, OFFICIAL = "copsd", "official"
PROFILES = (COPSD, OFFICIAL)
"""`copsd`: as the COPSD paper's evaluation code scores (lmms-eval for general ability); `official`: as the benchmark's
authors do."""

SAFETY_PIXELS = {COPSD: (3136, 200_704)}
"""Pixels an image is scaled to on the safety sets, by profile, as the paper's generation script says; the model's own
limits elsewhere. Processors that scale every image to one size take none."""
ABILITY_PIXELS = {COPSD: (200_704, 1_605_632)}
"""The same for general ability, as lmms-eval's Qwen wrappers say."""


def checked(profile: str) -> str:
    """The profile's name.

    Raises:
        CopsdError: there is no such profile.
    """
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    return profile


def of(score: str, profile: str) -> str:
    """A score's name in a profile: `safe.copsd`."""
    return f"{score}.{profile}"
