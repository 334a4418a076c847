"""Addresses: which of them are on the public internet, and so may be where a stranger's URL leads us.

A list of our own: ipaddress.is_global calls 64:ff9b::/96, 2002::/16, 3fff::/20, 192.88.99.1 and 224.0.0.1 global.
Ranges: the IANA special-purpose registries for IPv4 and IPv6, RFC 6890, 9637 and 9602.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

_SPECIAL_IPV4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host, this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by a carrier's customers; a cloud keeps its metadata there
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # a public-looking address that is the host of every Azure machine
            "169.254.0.0/16",  # link-local; cloud metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments; another cloud's metadata
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112, where lost reverse lookups end
            "192.52.193.0/24",  # multicast tunnels
            "192.88.99.0/24",  # 6to4 relays, withdrawn
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""All IPv6 that was ever handed out to be routed. Outside it: loopback, IPv4-mapped and -compatible, NAT64, discard,
private, link-local, site-local, segment routing (5f00::/16), multicast, and what has no meaning yet."""

_SPECIAL_IPV6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks, AMT
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address stands inside, which may be anybody's own
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether packets to it leave for the public internet.

    IPv6 that carries an IPv4 address inside (mapped, NAT64, 6to4, Teredo) is never public, whichever address it is.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    if address.scope_id is not None or address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _SPECIAL_IPV6)
