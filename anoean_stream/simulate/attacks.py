"""What goes wrong, by kind.

Every value of an attack's fields also occurs in normal traffic; what gives it away is the
combination. One kind comes in several variants, because tools differ.
"""

from typing import Final

from anoean_stream.simulate.profile import Profile
from anoean_stream.simulate.services import COMMON_PORTS

_HTTP: Final = {80: 0.55, 443: 0.35, 8080: 0.1}

ATTACKS: Final[dict[str, tuple[Profile, ...]]] = {
    "port_scan": (
        # Fast and half open: one SYN a port, no patience.
        Profile(0.7, "outside", "servers", "tcp", "unknown", dict.fromkeys(COMMON_PORTS, 1.0),
                (20, 1.0), (20, 1.0), (0.05, 1.2), (1, 0.3), (1.2, 0.5), retries=0.05,
                ends={"S0": 0.66, "REJ": 0.28, "RSTO": 0.04, "SH": 0.02}),
        # From inside, with full connections: what a worm does after the first machine.
        Profile(0.3, "workstations", "servers", "tcp", "unknown", dict.fromkeys(COMMON_PORTS, 1.0),
                (16, 1.2), (24, 1.4), (0.03, 1.2), (1, 0.3), (1.2, 0.5), retries=0.1,
                ends={"REJ": 0.6, "S0": 0.18, "RSTO": 0.16, "SF": 0.06}),
    ),
    "syn_flood": (
        Profile(1.0, "outside", "web", "tcp", "unknown", _HTTP, (1, 0.1), (1, 0.1), (0.02, 1.0),
                (1, 0.1), (1.0, 0.5), retries=0.03, ends={"S0": 0.9, "S1": 0.08, "REJ": 0.02}),
    ),
    "ssh_brute_force": (
        Profile(0.75, "outside", "servers", "tcp", "ssh", {22: 1}, (1_900, 0.22), (2_300, 0.25),
                (2.9, 0.4), (12, 0.2), (1.5, 0.3), ends={"SF": 0.6, "RSTO": 0.25, "RSTR": 0.15}),
        # A library that tries one password a connection and drops it.
        Profile(0.25, "outside", "servers", "tcp", "ssh", {22: 1}, (1_100, 0.2), (1_600, 0.2),
                (0.7, 0.5), (8, 0.2), (1.3, 0.3), ends={"RSTO": 0.7, "SF": 0.2, "RSTR": 0.1}),
    ),
    "slow_http": (
        Profile(0.6, "outside", "web", "tcp", "http", {80: 0.9, 8080: 0.1}, (520, 0.4), (90, 1.0),
                (190.0, 0.6), (17, 0.4), (0.25, 0.5), ends={"RSTR": 0.5, "S1": 0.3, "RSTO": 0.2}),
        # Slow readers: the request is quick, the answer is taken in sips.
        Profile(0.4, "outside", "web", "tcp", "http", _HTTP, (420, 0.3), (6_000, 0.7),
                (240.0, 0.6), (30, 0.5), (0.35, 0.5), ends={"S1": 0.5, "RSTO": 0.4, "SF": 0.1}),
    ),
    "c2_beacon": (
        # Held open, a heartbeat on the clock.
        Profile(0.55, "workstations", "outside", "tcp", "tls", {443: 0.7, 8443: 0.3}, (2_600, 0.4),
                (1_500, 0.4), (1500.0, 0.6), (34, 0.4), (0.12, 0.5), ends={"SF": 0.5, "S1": 0.5}),
        # One call at a time: nothing to report, nothing to do.
        Profile(0.45, "workstations", "outside", "tcp", "http", {80: 0.4, 8080: 0.6}, (330, 0.2),
                (150, 0.35), (0.35, 0.5), (1, 0.2), (0.7, 0.4)),
    ),
    "dns_tunnel": (
        Profile(0.7, "workstations", "outside", "udp", "dns", {53: 1}, (21_000, 1.0),
                (27_000, 1.0), (45.0, 0.9), (150, 0.9), (0.7, 0.4)),
        # Long names to the site's own resolver, which passes them on.
        Profile(0.3, "workstations", "resolver", "udp", "dns", {53: 1}, (3_600, 0.8), (6_500, 0.8),
                (20.0, 0.9), (24, 0.7), (0.7, 0.4)),
    ),
    "data_exfiltration": (
        Profile(0.6, "workstations", "outside", "tcp", "tls", {443: 0.8, 8443: 0.2}, (4e7, 1.1),
                (16_000, 0.7), (300.0, 0.9), (30, 0.5), (0.7, 0.4)),
        Profile(0.4, "database", "outside", "tcp", "ssh", {22: 0.7, 443: 0.3}, (2.5e7, 1.1),
                (22_000, 0.7), (200.0, 0.9), (30, 0.5), (0.8, 0.4)),
    ),
    "amplification": (
        # A forged question to our servers; the answer, many times as large, hits somebody else.
        Profile(0.6, "outside", "servers", "udp", "ntp", {123: 1}, (60, 0.3), (9_000, 0.9),
                (0.06, 1.0), (2, 0.6), (0.5, 0.5), ends={"SF": 0.95, "S0": 0.05}),
        Profile(0.4, "outside", "resolver", "udp", "dns", {53: 1}, (70, 0.2), (3_300, 0.4),
                (0.03, 1.0), (2, 0.4), (0.5, 0.5), ends={"SF": 0.92, "S0": 0.08}),
    ),
}  # fmt: skip
"""Attacks by kind; shares are within a kind."""
