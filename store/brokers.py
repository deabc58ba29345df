"""What keeps us from the broker, and what to do about it: one table for all who talk to it."""

import ssl
from pathlib import Path

from store.addresses import MqttAddress

ACCESS = "give the service's user `readwrite patrol/v1/#`, as gridbeat broker init does"
START = "start it: mosquitto -c DIR/mosquitto.conf (gridbeat broker init makes DIR); see mqtt_url"
LOGIN = (
    "correct user and password in mqtt_url: the broker has its own in its password file; "
    "`gridbeat broker init` makes the service's user (`gridbeat`) where there is none"
)
AUTHORITY = (
    "set mqtt_ca_file to the certificate of the authority that signed the broker's (after "
    "`gridbeat tls init`: broker/tls/ca.crt)"
)
NAMED = "write mqtt_url with a name that its certificate has, or: gridbeat tls renew --name NAME"
ENDED = "its certificate has ended: gridbeat tls renew, and see that the clock is right"
NO_TLS = "see that this port speaks TLS (8883, as a rule); mqtt:// is the one without"

REMEDIES = (
    ("not authori", LOGIN),
    ("bad user", LOGIN),
    ("does not come back", ACCESS),
    ("hostname mismatch", NAMED),
    ("ip address mismatch", NAMED),
    ("certificate has expired", ENDED),
    ("certificate verify failed", AUTHORITY),
    ("wrong_version_number", NO_TLS),
    ("wrong version number", NO_TLS),
)
"""Words of an error, as paho and OpenSSL have them, and the remedy; the first that fits."""


class TrustRefused(Exception):  # noqa: N818  (the operator's message, not a fault of the code)
    """`mqtt_ca_file` cannot be used. The message says which file, why, and what to do."""


def remedy(why: str) -> str:
    """What to do about a broker that cannot be talked to for this reason."""
    said = why.casefold()
    return next((words for sign, words in REMEDIES if sign in said), START)


def trust(address: MqttAddress, ca_file: Path | None) -> ssl.SSLContext | None:
    """What TLS trusts; None where the address has no TLS. Raises `TrustRefused`."""
    if not address.tls:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        why = "holds no certificate (PEM: -----BEGIN CERTIFICATE-----)"
    except OSError as cause:
        why = f"cannot be read ({cause.strerror})"
    raise TrustRefused(f"mqtt_ca_file {ca_file} {why}: {AUTHORITY}")
