"""The Faust transport of scheme ``rdkafka://``, named in the entry points of ``faust.transports``.

``faust.App(..., broker="rdkafka://")`` takes it; the address and everything else comes from
``app.wire`` (`anoean_stream.kafka.wire.Wire`), so the URL may be empty.
"""

from typing import ClassVar

import confluent_kafka
from faust.transport import base
from faust.types.transports import ConsumerT, ProducerT

from anoean_stream.kafka.consumer import Consumer
from anoean_stream.kafka.producer import Producer


class Transport(base.Transport):
    """Faust on librdkafka: a message is a chunk of records of one partition."""

    Consumer: ClassVar[type[ConsumerT]] = Consumer
    Producer: ClassVar[type[ProducerT]] = Producer
    default_port = 9092
    driver_version = (
        f"confluent-kafka={confluent_kafka.__version__} "
        f"librdkafka={confluent_kafka.libversion()[0]}"
    )
