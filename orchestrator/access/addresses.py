"""Where a request comes from: the peer of its connection, or whom a trusted proxy says it passes on."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

# One hop of either header: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`.
_HOP = re.compile(
    r"\[(?P<six>[0-9a-f:.]+)\](?::[0-9]+)?|(?P<four>[0-9.]+)(?::[0-9]+)?|(?P<plain>[0-9a-f:.]+)"
)
_FOR = re.compile(r"(?:^|;)\s*for\s*=\s*\"?([^\";]*)\"?", re.IGNORECASE)


def client_address(peer: str, hops: Sequence[str], proxies: Sequence[Network]) -> str:
    """The address that a request comes from.

    `hops` are those that proxies wrote down, each the one that it was asked by, the nearest proxy's last.
    Read from there, the first that is no trusted proxy is the client; what stands before it may be made
    up, and nothing at all is believed of a peer that is no proxy itself.
    """
    found = _address(peer)
    for hop in reversed(hops):
        if found is None or not any(found in network for network in proxies):
            break
        told = _address(hop)
        if told is None:
            break
        found = told
    return peer if found is None else str(found)


def hops_of(lines: Iterable[str], *, forwarded: bool = False) -> list[str]:
    """The hops in the lines of `X-Forwarded-For`, or with `forwarded` in those of `Forwarded` (RFC 7239)."""
    elements = [element.strip() for line in lines for element in line.split(",")]
    return [_of_forwarded(element) if forwarded else element for element in elements]


def _of_forwarded(element: str) -> str:
    match = _FOR.search(element)
    return match[1] if match else ""


def _address(text: str) -> Address | None:
    """An address without its port, an IPv4 address in IPv6's clothes as itself; None where it is none."""
    match = _HOP.fullmatch(text.strip().lower())
    if match is None:
        return None
    try:
        found = ipaddress.ip_address(match["six"] or match["four"] or match["plain"])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
