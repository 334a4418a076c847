"""Which addresses are public: every special range at both its edges, and Python's own opinion as a lower bound."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.address import is_public

SPECIAL = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
    "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    "::/128", "::1/128", "::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64",
    "2001::/23", "2001::/32", "2001:10::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    "4000::/3", "5f00::/16", "6000::/3", "8000::/3", "fc00::/7", "fd00:ec2::254/128", "fe80::/10", "fec0::/10",
    "ff00::/8", "ff02::1/128",
]  # fmt: skip

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255",
    "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255",
    "198.51.101.0", "200.160.2.3", "203.0.112.255", "203.0.114.0", "223.255.255.255",
    "2000::", "2001:200::", "2001:4860:4860::8888", "2001:db7:ffff::1", "2001:db9::", "2003::1", "2606:4700:4700::1111",
    "2620:4f:7fff::1", "2620:4f:8001::", "2804:14c::1", "3ffe:ffff::1", "3fff:1000::",
]  # fmt: skip

WRONG_IN_PYTHON = ["64:ff9b::808:808", "2002:7f00:1::", "3fff::1", "5f00::1", "fec0::1", "192.88.99.1", "224.0.0.1"]


@pytest.mark.parametrize("network", SPECIAL)
def test_a_special_range_is_not_public_from_its_first_address_to_its_last(network: str) -> None:
    addresses = ip_network(network)
    middle = addresses.network_address + addresses.num_addresses // 2
    for address in (addresses.network_address, middle, addresses.broadcast_address):
        assert not is_public(address), address


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public_up_to_the_edge_of_the_special_ranges(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", WRONG_IN_PYTHON)
def test_what_python_may_call_global_is_decided_by_our_list(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("inside", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "8.8.8.8"])
def test_ipv6_with_an_ipv4_address_inside_is_never_public(inside: str) -> None:
    embedded = int(IPv4Address(inside))
    carriers = [
        IPv6Address((0xFFFF << 32) | embedded),
        IPv6Address(embedded),
        IPv6Address((0x64FF9B << 96) | embedded),
        IPv6Address((0x64FF9B0001 << 80) | embedded),
        IPv6Address((0x2002 << 112) | (embedded << 80)),
        IPv6Address((0x20010000 << 96) | (embedded ^ 0xFFFFFFFF)),
    ]
    assert [address for address in carriers if is_public(address)] == []


def test_an_address_of_one_of_our_own_interfaces_is_not_public() -> None:
    assert not is_public(IPv6Address("2606:4700:4700::1111%eth0"))


@given(st.ip_addresses())
def test_nothing_is_public_that_python_itself_calls_special(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_link_local:
        assert not is_public(address)
