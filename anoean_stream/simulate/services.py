"""What the site does on a normal day.

Among the ordinary services are the odd ones that every network has and that resemble an attack:
checks that connect to many ports and hang up, scripts that open ssh for seconds, connections held
open for an hour by a phone, nightly uploads of gigabytes, resolvers that carry large answers.
Without them any threshold on one field would do.
"""

from typing import Final

from anoean_stream.simulate.profile import Profile

COMMON_PORTS: Final = (
    21, 22, 23, 25, 53, 80, 110, 111, 135, 139, 143, 161, 389, 443, 445, 465, 587, 631, 636, 873,
    993, 995, 1433, 1521, 1723, 2049, 3128, 3306, 3389, 5060, 5432, 5672, 5900, 5985, 6379, 8000,
    8080, 8443, 8883, 9000, 9090, 9200, 11211, 27017,
)  # fmt: skip
"""Ports on which something often listens: what an inventory checks, and what a scan tries first."""

SERVICES: Final[dict[str, tuple[Profile, ...]]] = {
    "web": (
        Profile(0.27, "workstations", "outside", "tcp", "tls", {443: 0.96, 8443: 0.04}, (1900, 1.0),
                (18_000, 1.9), (6.0, 1.7), (6, 0.9), (2.4, 0.4), by_day=True),
        Profile(0.04, "workstations", "outside", "tcp", "http", {80: 0.9, 8080: 0.1}, (700, 0.8),
                (9_000, 1.8), (2.0, 1.6), (3, 0.8), (2.2, 0.4), by_day=True),
        # Uploads: documents, photographs, the odd video.
        Profile(0.008, "workstations", "outside", "tcp", "tls", {443: 1}, (1.2e6, 1.9),
                (9_000, 1.0), (9.0, 1.3), (12, 0.7), (2.4, 0.4), by_day=True),
        Profile(0.05, "workstations", "outside", "udp", "quic", {443: 1}, (3_500, 1.2),
                (60_000, 2.0), (12.0, 1.6), (8, 0.8), (2.4, 0.4), by_day=True),
    ),
    "portal": (
        Profile(0.11, "outside", "web", "tcp", "tls", {443: 1}, (1_400, 0.9), (14_000, 1.5),
                (3.0, 1.7), (5, 0.8), (2.1, 0.4), by_day=True),
        Profile(0.03, "outside", "web", "tcp", "http", {80: 0.8, 8080: 0.2}, (520, 0.8),
                (6_000, 1.5), (0.8, 1.7), (2, 0.7), (1.9, 0.5), by_day=True),
        # Long polls and web sockets.
        Profile(0.006, "outside", "web", "tcp", "http", {80: 1}, (900, 0.9), (2_500, 1.2),
                (110.0, 1.1), (7, 0.8), (1.6, 0.5), by_day=True),
    ),
    "dns": (
        Profile(0.20, "workstations", "resolver", "udp", "dns", {53: 1}, (44, 0.25), (110, 0.6),
                (0.01, 1.3), (1, 0.25), (0.9, 0.5), by_day=True),
        Profile(0.05, "resolver", "outside", "udp", "dns", {53: 1}, (62, 0.35), (240, 0.8),
                (0.04, 1.3), (1, 0.5), (1.0, 0.5)),
        # Forwarders that keep one port for many questions: one flow of dozens of packets.
        Profile(0.006, "resolver", "outside", "udp", "dns", {53: 1}, (1_700, 1.0), (5_200, 1.1),
                (22.0, 1.0), (22, 0.9), (1.9, 0.4)),
        Profile(0.004, "servers", "resolver", "tcp", "dns", {53: 1}, (140, 0.6), (2_600, 1.2),
                (0.1, 1.2), (2, 0.5)),
    ),
    "mail": (
        Profile(0.02, "outside", "mail", "tcp", "smtp", {25: 0.9, 465: 0.1}, (14_000, 1.6),
                (700, 0.4), (2.5, 1.1), (9, 0.4)),
        Profile(0.025, "workstations", "mail", "tcp", "imap", {993: 0.8, 143: 0.2}, (1_600, 0.9),
                (7_000, 1.7), (25.0, 1.8), (9, 0.8), by_day=True),
        Profile(0.01, "workstations", "mail", "tcp", "smtp", {587: 1}, (20_000, 1.9), (900, 0.4),
                (2.0, 1.0), (10, 0.4), by_day=True),
    ),
    "ssh": (
        Profile(0.012, "workstations", "servers", "tcp", "ssh", {22: 1}, (9_000, 1.5),
                (14_000, 1.6), (180.0, 1.8), (60, 1.1), (3.2, 0.4), by_day=True),
        # Deployments, inventories, git: a script logs in, does one thing and leaves.
        Profile(0.016, "monitor", "servers", "tcp", "ssh", {22: 1}, (3_400, 0.6), (4_600, 0.8),
                (1.6, 0.9), (17, 0.35), (2.0, 0.4)),
        # People at home, with keys and now and then a wrong password.
        Profile(0.008, "outside", "servers", "tcp", "ssh", {22: 1}, (4_500, 1.2), (6_000, 1.3),
                (24.0, 1.9), (26, 0.9), (2.8, 0.4), by_day=True),
    ),
    "database": (
        Profile(0.05, "web", "database", "tcp", "postgresql", {5432: 1}, (1_300, 1.2),
                (5_200, 1.7), (0.4, 1.9), (6, 1.0), (1.9, 0.4)),
        Profile(0.02, "servers", "database", "tcp", "mysql", {3306: 1}, (900, 1.1), (3_800, 1.8),
                (0.3, 1.9), (5, 1.0), (1.9, 0.4)),
        # Reports and dumps.
        Profile(0.003, "servers", "database", "tcp", "postgresql", {5432: 1}, (2_400, 0.8),
                (6e6, 1.6), (28.0, 1.1), (9, 0.7), (2.4, 0.4)),
    ),
    "time": (
        Profile(0.025, "things", "servers", "udp", "ntp", {123: 1}, (48, 0.01), (48, 0.01),
                (0.004, 0.9), (1, 0.2), (0.8, 0.5)),
        Profile(0.005, "outside", "servers", "udp", "ntp", {123: 1}, (48, 0.15), (52, 0.7),
                (0.02, 1.2), (1, 0.4), (0.9, 0.5)),
    ),
    "backup": (
        Profile(0.004, "servers", "servers", "tcp", "rsync", {873: 1}, (8e6, 1.8), (42_000, 1.2),
                (50.0, 1.2), (30, 0.8), (2.2, 0.4)),
        # Copies that leave the house at night, to a few known places.
        Profile(0.003, "servers", "outside", "tcp", "tls", {443: 1}, (1.2e7, 1.4), (26_000, 0.9),
                (60.0, 1.0), (22, 0.6), (1.8, 0.3)),
    ),
    "video": (
        Profile(0.02, "workstations", "outside", "udp", "rtp", {3478: 0.7, 8801: 0.3}, (2.5e6, 1.8),
                (6e6, 1.8), (420.0, 1.4), (900, 1.3), (0.9, 0.4), by_day=True),
        Profile(0.012, "things", "servers", "tcp", "rtsp", {554: 1}, (3_000, 0.7), (3e6, 1.3),
                (120.0, 0.8), (12, 0.5), (0.9, 0.4)),
    ),
    "files": (
        Profile(0.02, "workstations", "servers", "tcp", "smb", {445: 1}, (14_000, 2.0),
                (40_000, 2.2), (35.0, 1.9), (24, 1.1), (3.0, 0.4), by_day=True),
    ),
    "push": (
        # Phones and browsers hold a connection open and tick along; some like clockwork.
        Profile(0.012, "workstations", "outside", "tcp", "tls", {443: 0.5, 5223: 0.5}, (2_100, 0.9),
                (3_600, 1.0), (900.0, 1.0), (18, 0.8), (1.0, 0.5)),
        Profile(0.014, "things", "outside", "tcp", "mqtt", {8883: 0.9, 443: 0.1}, (1_300, 0.8),
                (900, 0.7), (600.0, 1.0), (16, 0.7), (0.55, 0.5)),
        # Telemetry: one small report, once in a while.
        Profile(0.02, "things", "outside", "tcp", "tls", {443: 0.9, 8443: 0.1}, (620, 0.5),
                (1_900, 0.7), (0.5, 1.0), (3, 0.4), (1.6, 0.4)),
    ),
    "monitor": (
        Profile(0.012, "monitor", "servers", "udp", "snmp", {161: 1}, (90, 0.4), (260, 0.9),
                (0.01, 1.0), (2, 0.6)),
        # Health checks and the inventory: connect, perhaps read a banner, hang up.
        Profile(0.007, "monitor", "servers", "tcp", "unknown", dict.fromkeys(COMMON_PORTS, 1.0),
                (30, 1.6), (60, 1.6), (0.05, 1.3), (1, 0.5), (1.3, 0.5),
                ends={"SF": 0.7, "RSTO": 0.22, "REJ": 0.05, "S0": 0.02, "SH": 0.01}),
        # Leftovers at the border: mistyped addresses, old clients, research scanners.
        Profile(0.0004, "outside", "servers", "tcp", "unknown", dict.fromkeys(COMMON_PORTS, 1.0),
                (40, 1.0), (40, 1.0), (0.3, 1.5), (1, 0.3), (1.4, 0.5),
                ends={"S0": 0.72, "REJ": 0.18, "RSTO": 0.06, "SF": 0.03, "SH": 0.01}, retries=0.85),
    ),
}  # fmt: skip
"""Normal traffic; shares need not sum to 1."""
