"""The wire: Faust on librdkafka, exact offsets, client configuration, topics, an embedded broker."""
