"""The Hugging Face hub, or its absence within seconds: snapshots for models and data, with one-sentence errors."""

import errno
from collections.abc import Sequence
from pathlib import Path

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.net import answers

ETAG_SECONDS = 5.0


def is_offline() -> bool:
    """Whether the user asked for no hub (`HF_HUB_OFFLINE`)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def is_reachable() -> bool:
    """Whether the hub (`HF_ENDPOINT`) may be used and answers within seconds.

    The hub's own client retries for minutes where nothing answers, so it is only used after this probe.
    """
    from huggingface_hub import constants

    return not is_offline() and answers(constants.ENDPOINT)


def has_token() -> bool:
    """Whether an access token is configured."""
    from huggingface_hub import get_token

    return get_token() is not None


def snapshot(
    repo: str,
    *,
    kind: str = "model",
    revision: str | None = None,
    allow: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    mirror_hint: str = "",
) -> Path:
    """The local folder of a repository at a revision: from the hub if it answers, else from its cache.

    Args:
        repo: `owner/name`.
        kind: `model` or `dataset`.
        revision: commit, tag or branch; None is the default branch.
        allow, ignore: file patterns.
        mirror_hint: what to do where no hub can be reached, as the end of a sentence.

    Raises:
        CopsdError: gated, missing, or unreachable and not cached (exit code MODEL or DATA).
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    code = ExitCode.MODEL if kind == "model" else ExitCode.DATA
    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    what = f"{kind} {repo}" + (f" at {revision}" if revision else "")
    online = is_reachable()
    try:
        folder = snapshot_download(
            repo,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(allow) if allow else None,
            ignore_patterns=list(ignore) if ignore else None,
            local_files_only=not online,
            etag_timeout=ETAG_SECONDS,
        )
    except HFValidationError as error:
        raise CopsdError(f"{repo!r} is no hub id (owner/name): {error}", ExitCode.USAGE) from error
    except GatedRepoError as error:
        raise CopsdError(
            f"The {what} is gated: accept its terms at {page}, then set HF_TOKEN to a token of that account.", code
        ) from error
    except RevisionNotFoundError as error:
        raise CopsdError(f"The {kind} {repo} has no revision {revision!r}; see {page}/commits.", code) from error
    except RepositoryNotFoundError as error:
        raise CopsdError(f"The hub has no {what}, or it is private: check {page} and HF_TOKEN.", code) from error
    except LocalEntryNotFoundError as error:
        cause = error.__cause__
        if is_offline():
            why = "HF_HUB_OFFLINE is set"
        elif isinstance(cause, HfHubHTTPError):
            why = f"{constants.ENDPOINT} answers HTTP {cause.response.status_code}"
        else:
            why = f"{constants.ENDPOINT} does not answer"
        sentence = f"The {what} is not in the hub cache, and {why}"
        raise CopsdError(f"{sentence}; {mirror_hint}" if mirror_hint else f"{sentence}.", code) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no status"
        advice = f"accept its terms at {page} and set HF_TOKEN" if status in (401, 403) else "try again later"
        raise CopsdError(f"The hub refused the {what} (HTTP {status}); {advice}.", code) from error
    except Exception as error:  # the client's transport errors differ between its major versions
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise  # a full or unwritable disk, which the command line words
        raise CopsdError(
            f"The download of the {what} broke off ({type(error).__name__}: {error}); the same command continues it.",
            code,
        ) from error
    return Path(folder)


def cached_snapshot(repo: str, revision: str, kind: str = "dataset") -> Path | None:
    """The folder of a snapshot that lies in the hub cache already, at an exact commit; never asks the hub."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"{kind}s--{repo.replace('/', '--')}" / "snapshots" / revision
    return folder if folder.is_dir() and any(folder.iterdir()) else None
