"""Models that lie in the Hugging Face cache already."""

from pathlib import Path


def cached_models() -> list[tuple[str, int]]:
    """Hub models in the cache that have safetensors: (id, bytes of their newest snapshot), by id."""
    from huggingface_hub import constants

    found = []
    for repo in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        snapshots = [folder for folder in (repo / "snapshots").glob("*") if any(folder.glob("*.safetensors"))]
        if snapshots:
            newest = max(snapshots, key=lambda folder: folder.stat().st_mtime)
            size = sum(file.stat().st_size for file in newest.iterdir() if file.is_file())
            owner, name = repo.name.removeprefix("models--").split("--", 1)
            found.append((f"{owner}/{name}", size))
    return found
