"""Where a key may be used from: a list of networks, held against the address of each request that presents it.

Asked before anything else is done with the key. A good key from elsewhere is what a stolen one looks like: an event.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from remit.core.credentials import Key
from remit.core.errors import InvalidDocument, Unauthenticated
from remit.core.events import EventDraft, Kind
from remit.services.deps import Deps
from remit.services.subjects import owner_of
from remit.tokens import apikeys

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
MOST: Final = 64


async def check(deps: Deps, credential: str, peer: str | None) -> None:
    """Pass unless this is a good key with a list that the address is not on. An unknown address is on no list.

    Raises ``Unauthenticated``.
    """
    read = apikeys.read(credential)
    if read is None:
        return
    async with deps.store.view(deps.org) as view:
        key = await view.nouns.get(Key, read.key_id)
    if key is None or not key.addresses or not apikeys.matches(read, key.digest) or on(key.addresses, peer):
        return
    async with deps.store.unit(deps.org) as unit:
        actor = key.agent or key.person or key.id
        event = await unit.log.append(
            EventDraft(
                kind=Kind.CREDENTIAL_REFUSED,
                actor=actor,
                subject=key.person or await owner_of(unit, actor),
                agent=key.agent,
                codes=("credential.elsewhere",),
                about=key.id,
                private={"/address": peer},
            )
        )
    raise Unauthenticated(
        "this key is not for use from here", hint="Its owner sees from where in the log.", event=event
    )


def on(networks: Sequence[str], peer: str | None) -> bool:
    """Whether an address lies in one of these networks."""
    address = address_of(peer)
    return address is not None and any(address in network for network in map(ip_network, networks))


def read_networks(texts: Iterable[str], pointer: str) -> tuple[str, ...]:
    """Networks in their own spelling, such as ``10.1.0.0/16``. Raises ``InvalidDocument`` for what is none."""
    found = []
    for position, text in enumerate(texts):
        try:
            network = ip_network(text)
        except ValueError as error:
            hint = "Such as 192.0.2.7, 10.1.0.0/16 or 2001:db8::/32, without host bits."
            raise InvalidDocument(f"{text!r} is no network", hint=hint, pointer=f"{pointer}/{position}") from error
        found.append(str(network))
    return tuple(found)


def address_of(text: str | None) -> Address | None:
    """The address that a text is, an IPv4 one that is written as IPv6 as itself; None for what is none."""
    try:
        address = ip_address((text or "").strip().partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def peer_of(nearest: str | None, forwarded: Sequence[str], trusted: Sequence[str]) -> str | None:
    """The address of who asks: the nearest one that is no trusted proxy's. None where that can't be told.

    ``forwarded`` are the values of the ``X-Forwarded-For`` headers in their order. Each proxy adds at the end whom it
    was asked by; so it is read from the end, and never past what a trusted proxy wrote.
    """
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    peer = nearest
    while hops and on(trusted, peer):
        peer = hops.pop()
    return peer if address_of(peer) is not None else None
