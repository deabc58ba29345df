"""What the service itself says of how it is, where it can be asked."""

import urllib.error
import urllib.request

from store.settings import Settings


def ready(settings: Settings) -> str | None:
    """What `/readyz` says: nothing when ready, why not otherwise; None when nobody answers."""
    if settings.http_address is None:
        return None
    try:
        with urllib.request.urlopen(f"http://{settings.http_address}/readyz", timeout=2):
            return ""
    except urllib.error.HTTPError as error:
        return error.read(2_000).decode(errors="replace").strip() or f"status {error.code}"
    except OSError:
        return None
