"""Appends with kafka-python to a cluster, reads back, and compares: any difference is an exception."""

import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

TOPIC = "python"
COUNT = 300
FIRST_MS = 1_700_000_000_000

servers = sys.argv[1].split(",")

admin = KafkaAdminClient(bootstrap_servers=servers)
admin.create_topics([NewTopic(name=TOPIC, num_partitions=2, replication_factor=3)])
assert TOPIC in admin.list_topics(), admin.list_topics()
admin.close()

# Each codec that needs no library beside Python's own, one batch after the other.
offsets = []
for codec, numbers in [(None, range(0, 100)), ("gzip", range(100, COUNT))]:
    producer = KafkaProducer(bootstrap_servers=servers, acks="all", compression_type=codec, linger_ms=20)
    sent = [
        producer.send(
            TOPIC,
            key=None if number % 3 == 0 else b"key %d" % number,
            value=b"value %d" % number,
            headers=[("number", b"%d" % number), ("number", b"")],
            partition=1,
            timestamp_ms=FIRST_MS + number,
        )
        for number in numbers
    ]
    producer.flush()
    offsets += [future.get(timeout=30).offset for future in sent]
    producer.close()
assert offsets == list(range(COUNT)), offsets

partition = TopicPartition(TOPIC, 1)
consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None, consumer_timeout_ms=30_000)
consumer.assign([partition])
assert consumer.beginning_offsets([partition]) == {partition: 0}
assert consumer.end_offsets([partition]) == {partition: COUNT}
found = consumer.offsets_for_times({partition: FIRST_MS + 123})[partition]
assert (found.offset, found.timestamp) == (123, FIRST_MS + 123), found
consumer.seek_to_beginning(partition)
for number in range(COUNT):
    record = next(consumer)
    assert record.offset == number, record
    assert record.key == (None if number % 3 == 0 else b"key %d" % number), record
    assert record.value == b"value %d" % number, record
    assert list(record.headers) == [("number", b"%d" % number), ("number", b"")], record
    assert record.timestamp == FIRST_MS + number, record
consumer.close()
print("all is as it was written")
