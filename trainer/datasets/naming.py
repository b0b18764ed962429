"""What the name of a column says about it, in the spellings of the common exporters.

Names are compared in lower case with one blank between words: ``IPV4_SRC_ADDR``, ``id.orig_h`` and
``Src IP`` become ``ipv4 src addr``, ``id orig h`` and ``src ip``.
"""

import re
from typing import Final

_SEPARATORS: Final = re.compile(r"[^0-9a-z]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")

_ADDRESS: Final = re.compile(
    r"(^| )((src|dst|dest|source|destination|orig|resp|client|server|local|remote|host|peer|next hop"
    r"|nexthop)( ))?(ip|ipv4|ipv6|mac|eth)( (src|dst))?( (addr|address|h))?$"
    r"|(^| )(addr|address|saddr|daddr|srcip|dstip|src mac|dst mac|id orig h|id resp h"
    r"|orig l2 addr|resp l2 addr|hostname|host name)$"
)
_TIME: Final = re.compile(
    r"(^| )(ts|timestamp|time stamp|date|datetime|epoch|(first|last) seen( (ms|us|ns))?"
    r"|(flow )?(start|end) (time|ts|milliseconds|ns|ms)|flow (start|end)|timestamp (start|end)"
    r"|(start|end|event|received|capture) ?time( (ms|us|ns|s))?|time (flow )?(start|end)( ns)?"
    r"|time received( ns)?)$|^(time|first|last)$"
)
_IDENTIFIER: Final = re.compile(
    r"(^| )(id|ids|uid|uuid|guid|index|idx|row|rownum|serial|sequence num|seq num|sequence number"
    r"|query id|flowid|flowuid|hash)$|^(|unnamed( \d+)?|unnamed: \d+|level 0|no|nr)$|^community id"
)
_ANSWER: Final = re.compile(
    r"^(label|labels|target|ground truth|difficulty|anomaly|malicious|attack|dataset|outlier|y)$"
    r"|^is (attack|anomaly|anomalous|malicious|malware|outlier|normal|benign)$"
    r"|^attack( (cat|category|type|name|label|class|family|kind|subcategory))$"
    r"|(^| )(label|labels)$|^(detailed|binary|multi ?class|sub) ?(label|class)|^(sub ?category)$"
)
_SOURCE_PORT: Final = re.compile(
    r"(^| )(src|source|orig|client|l4 src) ?(port|p)$|^(sport|srcport|id orig p|port src)$"
    r"|source transport port$"
)
_CODE: Final = re.compile(
    r"(^| )(port|dport|dstport|proto|protocol|l7 proto|l7proto|tcp flags|flags|icmp type"
    r"|icmp ipv4 type|icmp code|query type|qtype|rcode|ret code|id resp p|port dst|ip version|tos"
    r"|dscp|vlan|type)$"
)


def spoken(name: str) -> str:
    """Return a column's name as lower-case words."""
    return _SEPARATORS.sub(" ", _CAMEL.sub(" ", name).lower()).strip()


def reason_to_leave_out(name: str) -> str | None:
    """Return why a column of this name is no feature, None when the name says nothing against it.

    Examples
    --------
    >>> reason_to_leave_out("IPV4_SRC_ADDR")
    'an address: a model would learn who, not what'
    >>> reason_to_leave_out("Flow Duration") is None
    True
    """
    words = spoken(name)
    if tells_answer(name):
        return "by its name it tells the answer, or where the row was collected"
    if _ADDRESS.search(words):
        return "an address: a model would learn who, not what"
    if _TIME.search(words):
        return "a time stamp: a model would learn when, not what"
    if _SOURCE_PORT.search(words):
        return "a source port: drawn by the client's operating system"
    if _IDENTIFIER.search(words):
        return "an identifier: it names a record and measures nothing"
    return None


def tells_answer(name: str) -> bool:
    """Return whether a column of this name is a label, or says where the row was collected.

    Examples
    --------
    >>> tells_answer("attack_cat"), tells_answer("duration")
    (True, False)
    """
    return _ANSWER.search(spoken(name)) is not None


def is_code(name: str) -> bool:
    """Return whether whole numbers in a column of this name are codes, not amounts (``PROTOCOL``).

    Examples
    --------
    >>> is_code("Destination Port"), is_code("Total Fwd Packets")
    (True, False)
    """
    return _CODE.search(spoken(name)) is not None
