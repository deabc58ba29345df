"""A private certificate authority for the broker, and the broker's certificate by it.

Keys are on the curve P-256: the smallest that every TLS 1.2 stack on a handheld knows. The
authority's key lies in a folder of its own; it is needed to renew only, and may lie elsewhere until
then. Devices carry the authority's certificate, which outlasts them; the broker's is renewed each
year without their noticing.
"""

import datetime as dt
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from desk.credentials import locked, make_private, write_file
from desk.errors import DeskError, UsageError
from devices.ids import Instant

CA_DAYS = 3_650
SERVER_DAYS = 397
"""What browsers and phones accept at most of a certificate."""
EARLY = dt.timedelta(days=1)
"""A device's clock may be behind ours when it first looks at the certificate."""
RENEW_DAYS = 30
"""From then on the doctor asks for a new one."""
URGENT_DAYS = 7
"""From then on it finds something wrong: whatever watches it tells."""

LOCAL = ("localhost", "127.0.0.1", "::1")
CA_KEY, CA_CERT, KEY, CERT = "ca.key", "ca.crt", "server.key", "server.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a certificate says: for whom, by whom, until when (ms)."""

    path: Path
    names: tuple[str, ...]
    serial: str
    not_after: Instant

    def days_left(self, now: Instant) -> int:
        """Whole days until it ends; below zero once it has."""
        return (self.not_after - now) // 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The authority's folder, and the one the broker reads (`broker_dir`/tls)."""

    authority: Path
    server: Path


def init(
    place: Place, names: Sequence[str], *, now: Instant, days: int = SERVER_DAYS
) -> Certificate:
    """Make the authority and the broker's first certificate; returns the latter.

    `names` are what devices dial: host names and addresses. This machine's own are added. Raises
    `DeskError` where there is an authority already.
    """
    if (place.authority / CA_KEY).exists() or (place.server / CERT).exists():
        raise DeskError(
            f"there is an authority in {place.authority}, or a certificate in {place.server}",
            "for a new certificate: gridbeat tls renew; for a new authority, which every device "
            "must be given: move both folders away first",
        )
    sought = _names((*names, socket.gethostname(), *LOCAL))
    for folder in (place.authority, place.server.parent, place.server):
        make_private(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    with locked(place.authority):
        write_file(place.authority / CA_KEY, _pem_key(key))
        write_file(place.authority / CA_CERT, _pem(_authority(key, now)))
    return renew(place, sought, now=now, days=days)


def renew(
    place: Place, names: Sequence[str] = (), *, now: Instant, days: int = SERVER_DAYS
) -> Certificate:
    """Make the broker's certificate anew, for `names` or those it has; its key stays.

    One file changes, so that a broker that starts meanwhile finds a pair that fits; what else was
    lost of the broker's folder is made again. Raises `DeskError` where the authority's key is not
    there, or belongs to another certificate.
    """
    key = _load_key(place.authority / CA_KEY)
    authority = _load(place.authority / CA_CERT)
    if key.public_key() != authority.public_key():
        raise DeskError(
            f"{place.authority / CA_KEY} is not the key of {place.authority / CA_CERT}",
            "put the authority's own key there; devices trust no other",
        )
    names = _names(names or inspect(place.server / CERT).names)
    with locked(place.authority):
        _restore(place, authority)
        own = _load_key(place.server / KEY)
        made = _server(authority, key, own.public_key(), names, now, days)
        write_file(place.server / CERT, _pem(made))
    return inspect(place.server / CERT)


def _restore(place: Place, authority: x509.Certificate) -> None:
    """The broker's copy of the authority's certificate, and a key, where it has none."""
    make_private(place.server.parent)
    make_private(place.server)
    if not (place.server / CA_CERT).exists():
        write_file(place.server / CA_CERT, _pem(authority))
    if not (place.server / KEY).exists():
        write_file(place.server / KEY, _pem_key(ec.generate_private_key(ec.SECP256R1())))


def inspect(path: Path) -> Certificate:
    """What the certificate in a file says. Raises `DeskError` where there is none."""
    found = _load(path)
    try:
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = tuple(str(name.value) for name in extension.value)
    except x509.ExtensionNotFound:
        names = ()
    return Certificate(
        path=path,
        names=names,
        serial=f"{found.serial_number:x}",
        not_after=int(found.not_valid_after_utc.timestamp() * 1000),
    )


def served(host: str, port: int, ca_file: Path | None) -> Instant:
    """When the certificate ends that a broker shows (ms).

    Raises OSError where it cannot be reached, and `ssl.SSLError`, which is one, where it shows none
    that can be trusted.
    """
    context = ssl.create_default_context(cafile=ca_file)
    with (
        socket.create_connection((host, port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as way,
    ):
        shown = way.getpeercert() or {}
    return round(ssl.cert_time_to_seconds(str(shown["notAfter"])) * 1000)


def _names(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if not name or len(name) > 253 or not all(part for part in name.split(".")) or " " in name:
            raise UsageError(f"{name!r} is no host name and no address", "--name broker.example.cn")
    return tuple(dict.fromkeys(names))


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode())


def _moment(now: Instant) -> dt.datetime:
    return dt.datetime.fromtimestamp(now // 1000, dt.UTC)


def _authority(key: ec.EllipticCurvePrivateKey, now: Instant) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Gridbeat private authority")])
    public = key.public_key()
    usage = x509.KeyUsage(**_USES | {"key_cert_sign": True, "crl_sign": True})
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now) - EARLY)
        .not_valid_after(_moment(now) + dt.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


_USES = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


def _server(
    authority: x509.Certificate,
    signer: ec.EllipticCurvePrivateKey,
    public: ec.EllipticCurvePublicKey,
    names: Sequence[str],
    now: Instant,
    days: int,
) -> x509.Certificate:
    ends = min(_moment(now) + dt.timedelta(days=days), authority.not_valid_after_utc)
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    usage = x509.KeyUsage(**_USES | {"digital_signature": True})
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
        .issuer_name(authority.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now) - EARLY)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName(map(_general, names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(by, critical=False)
        .sign(signer, hashes.SHA256())
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem_key(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        raise DeskError(f"there is no {path}", "first: gridbeat tls init --name NAME") from None
    except ValueError:
        raise DeskError(f"{path} holds no certificate", "put the right file there") from None


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise DeskError(
            f"there is no {path}", "put the key back there, or first: gridbeat tls init --name NAME"
        ) from None
    except (ValueError, TypeError):
        raise DeskError(f"{path} holds no private key", "put the right file there") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DeskError(f"{path} is no key that tls init made", "put the right file there")
    return key
