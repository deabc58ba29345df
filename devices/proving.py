"""What a read proves, by the keys its tag was enrolled with. Pure."""

from collections.abc import Sequence

from devices.ids import Instant
from devices.proofs import Enrolment, Proof, Proved
from devices.sun import Mirrored, SunKeys, Tap, confirm, parse, whose
from devices.tagkeys import Keyring, sun_keys


def prove(
    keyring: Keyring, enrolments: Sequence[Enrolment], tag: str, sun: str, at: Instant
) -> Proved:
    """What `sun`, told of `tag` (a UID) at `at`, proves; `asked` is left to the caller.

    All enrolments of the tag are tried, the newest first: what was tapped before it was written
    anew may be handed in afterwards. The reason for a failure is that of the newest.
    """
    mirrored = parse(sun)
    if mirrored is None:
        return Proved(Proof.UNREADABLE, asked=None)
    reasons = []
    for enrolment in enrolments:
        master = keyring.keys.get(enrolment.key_version)
        if master is None:
            reasons.append(Proof.NO_KEY)
            continue
        found = _verified(mirrored, sun_keys(master, tag, enrolment.generation), tag)
        if isinstance(found, Tap):
            retired = enrolment.retired_at is not None and at >= enrolment.retired_at
            proof = Proof.RETIRED if retired else Proof.PROVEN
            return Proved(proof, asked=None, enrolment_id=enrolment.id, ctr=found.ctr)
        reasons.append(found)
    return Proved(reasons[0] if reasons else Proof.NOT_ENROLLED, asked=None)


def _verified(mirrored: Mirrored, keys: SunKeys, tag: str) -> Tap | Proof:
    who = whose(mirrored, keys.meta)
    if who is None:
        return Proof.OTHER_KEY
    return confirm(mirrored, who, keys) if who.uid == tag else Proof.OTHER_TAG
