"""What an analyst looks for first, found under the names that each exporter gives it.

Names were read from the exporters' own sources: Zeek conn.log, Suricata EVE, goflow2, pmacct,
nfdump, ipfixcol2, CICFlowMeter (Java and Python), NFStream and the NetFlow v2 data sets.
"""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from anoean_stream.records.bounds import is_plain_int, short_text

_NAMES_OF_FIELD: Final[dict[str, tuple[str, ...]]] = {
    "src_ip": (
        "src_ip", "id.orig_h", "src_addr", "ip_src", "IPV4_SRC_ADDR", "iana:sourceIPv4Address",
        "iana:sourceIPv6Address", "src4_addr", "src6_addr", "Src IP", "Source IP", "srcip", "saddr",
    ),
    "src_port": (
        "src_port", "id.orig_p", "port_src", "L4_SRC_PORT", "iana:sourceTransportPort",
        "Src Port", "Source Port", "srcport", "sport",
    ),
    "dst_ip": (
        "dst_ip", "dest_ip", "id.resp_h", "dst_addr", "ip_dst", "IPV4_DST_ADDR",
        "iana:destinationIPv4Address", "iana:destinationIPv6Address", "dst4_addr", "dst6_addr",
        "Dst IP", "Destination IP", "dstip", "daddr",
    ),
    "dst_port": (
        "dst_port", "dest_port", "id.resp_p", "port_dst", "L4_DST_PORT",
        "iana:destinationTransportPort", "Dst Port", "Destination Port", "dstport", "dport",
    ),
    "proto": (
        "proto", "protocol", "ip_proto", "PROTOCOL", "iana:protocolIdentifier", "Protocol",
        "protocol_type",
    ),
    "app_proto": ("app_proto", "service", "application_name", "L7_PROTO", "app"),
    "bytes_fwd": (
        "bytes_fwd", "orig_ip_bytes", "bytes", "in_bytes", "IN_BYTES", "src2dst_bytes",
        "iana:octetDeltaCount", "Total Length of Fwd Packet", "Total Length of Fwd Packets",
        "totlen_fwd_pkts", "src_bytes",
    ),
    "bytes_bwd": (
        "bytes_bwd", "resp_ip_bytes", "out_bytes", "OUT_BYTES", "dst2src_bytes",
        "Total Length of Bwd Packet", "Total Length of Bwd Packets", "totlen_bwd_pkts", "dst_bytes",
    ),
    "pkts_fwd": (
        "pkts_fwd", "orig_pkts", "packets", "in_packets", "IN_PKTS", "src2dst_packets",
        "iana:packetDeltaCount", "Total Fwd Packet", "Total Fwd Packets", "tot_fwd_pkts",
    ),
    "pkts_bwd": (
        "pkts_bwd", "resp_pkts", "out_packets", "OUT_PKTS", "dst2src_packets",
        "Total Bwd packets", "Total Backward Packets", "tot_bwd_pkts",
    ),
    "tcp_flags": ("tcp_flags", "TCP_FLAGS", "iana:tcpControlBits", "conn_state", "flag"),
    "flow_start": (
        "flow_start", "ts", "timestamp_start", "time_flow_start_ns", "first", "Timestamp",
        "iana:flowStartMilliseconds", "bidirectional_first_seen_ms",
    ),
    "flow_end": (
        "flow_end", "timestamp_end", "time_flow_end_ns", "last", "iana:flowEndMilliseconds",
        "bidirectional_last_seen_ms",
    ),
    "duration": (
        "duration", "duration_s", "Flow Duration", "flow_duration", "bidirectional_duration_ms",
        "FLOW_DURATION_MILLISECONDS",
    ),
    "flow_uid": ("flow_uid", "uid", "flow_id", "Flow ID", "flowID"),
    "community_id": ("community_id",),
    "sensor": ("sensor", "sampler_address", "peer_ip_src", "in_iface", "export_sysid"),
    "sampling_rate": ("sampling_rate", "sampled"),
}  # fmt: skip

_FIELD_OF_NAME: Final[dict[str, str]] = {
    name: field for field, names in _NAMES_OF_FIELD.items() for name in names
}

FlowValue = str | int | float | bool

_RAW_MAX_BYTES: Final = 4096
"""Longest value that `flow_fields_of_large` decodes, bytes: an address or a time has tens."""


def flow_fields(record: Mapping[str, object]) -> dict[str, FlowValue]:
    """Return the addresses, ports, counters and times of a record under one set of names.

    Values are as the exporter wrote them, units included; fields that the record does not have
    are absent, and so are numbers that are not finite or have more than 64 bits. A text is cut
    after 256 characters. Where two names of one field are present, the first in the record wins.

    Parameters
    ----------
    record : mapping
        A decoded record.

    Examples
    --------
    >>> flow_fields({"id.orig_h": "10.0.0.5", "id.resp_p": 443, "service": None})
    {'src_ip': '10.0.0.5', 'dst_port': 443}
    """
    found: dict[str, FlowValue] = {}
    for name, value in record.items():
        field = _FIELD_OF_NAME.get(name)
        if field is None or field in found or not isinstance(value, FlowValue):
            continue
        if isinstance(value, str):
            found[field] = short_text(value)
        elif isinstance(value, float):
            if math.isfinite(value):  # JSON has no NaN
                found[field] = value
        elif isinstance(value, bool) or is_plain_int(value):
            found[field] = value
    return found


def flow_fields_of_large(value: bytes) -> dict[str, FlowValue]:
    """Return `flow_fields` of JSON without decoding anything else of it; none if it is no object.

    A megabyte of empty lists takes 0.15 s to decode and 5 ms to skip.
    """
    try:
        raw = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    record: dict[str, object] = {}
    for name, cell in raw.items():
        if name in _FIELD_OF_NAME and len(bytes(cell)) <= _RAW_MAX_BYTES:
            try:
                record[name] = msgspec.json.decode(cell)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # skipping does not look into a value; what is broken is as if absent
    return flow_fields(record)
