"""Where a request comes from: only trusted proxies are believed, and only what they wrote themselves."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from orchestrator.access.addresses import client_address, hops_of

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # no proxy of ours: it may say what it likes
        ("10.0.0.2", [], "10.0.0.2"),
        ("10.0.0.2", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.2", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.2", ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),  # the first was made up by the client
        ("10.0.0.2", ["198.51.100.1, 10.1.1.1"], "198.51.100.1"),  # two proxies in a row
        ("10.0.0.2", ["198.51.100.1", "10.1.1.1"], "198.51.100.1"),  # each in a line of its own
        ("10.0.0.2", ["10.1.1.1"], "10.1.1.1"),  # somebody within asks through the proxy
        ("10.0.0.2", ["unknown"], "10.0.0.2"),
        ("10.0.0.2", ["198.51.100.1, nonsense"], "10.0.0.2"),
        ("10.0.0.2", [""], "10.0.0.2"),
        ("10.0.0.2", ["999.1.1.1"], "10.0.0.2"),
        ("::ffff:10.0.0.2", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:DB8::7"], "2001:db8::7"),
        ("fd00::1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("testclient", ["198.51.100.1"], "testclient"),
    ],
)
def test_the_nearest_hop_that_is_no_proxy_is_the_client(peer: str, lines: list[str], client: str) -> None:
    assert client_address(peer, hops_of(lines), PROXIES) == client


@pytest.mark.parametrize(
    ("line", "hops"),
    [
        ("for=198.51.100.1", ["198.51.100.1"]),
        ('For="[2001:db8::7]:4711";proto=https', ["[2001:db8::7]:4711"]),
        ("proto=https; for=198.51.100.1, for=_hidden", ["198.51.100.1", "_hidden"]),
        ("by=10.0.0.2", [""]),
    ],
)
def test_the_standard_header_is_read_too(line: str, hops: list[str]) -> None:
    assert hops_of([line], forwarded=True) == hops
