"""kafka-python: producer, consumer with assign and seek, admin."""

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import (
    InvalidTopicError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from reporter import BROKER, CODECS, GROUPS_TOO, done, equal, name, raises, test, that, until

LIMIT = 20
admin = KafkaAdminClient(bootstrap_servers=BROKER, request_timeout_ms=20000)


def create(prefix, partitions=1, config=None):
    topic = name(prefix)
    admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config or {})])
    wait_for(topic, partitions)
    return topic


def wait_for(topic, partitions):
    until(f"{topic} with {partitions} partitions", lambda: len(describe(topic).get("partitions", ())) == partitions)


def describe(topic):
    try:
        return admin.describe_topics([topic])[0]
    except UnknownTopicOrPartitionError:
        return {}


def consumer(**config):
    return KafkaConsumer(bootstrap_servers=BROKER, group_id=None, enable_auto_commit=False, **config)


def read(topic, n, partition=0, offset=0, **config):
    c = consumer(**{"auto_offset_reset": "none", **config})
    try:
        tp = TopicPartition(topic, partition)
        c.assign([tp])
        c.seek(tp, offset)
        out = []
        deadline = time.monotonic() + LIMIT
        while len(out) < n and time.monotonic() < deadline:
            for records in c.poll(500).values():
                out.extend(records)
        equal("records read", len(out), n)
        return out
    finally:
        c.close()


def round_trip(n, **config):
    topic = create("python")
    p = KafkaProducer(bootstrap_servers=BROKER, **config)
    futures = [p.send(topic, value=b"value %d" % i, key=b"key %d" % i, partition=0) for i in range(n)]
    p.flush(LIMIT)
    for i, f in enumerate(futures):
        equal("acknowledged offset", f.get(LIMIT).offset, i)
    p.close()
    for i, r in enumerate(read(topic, n)):
        equal("record", (r.offset, r.key, r.value), (i, b"key %d" % i, b"value %d" % i))


def headers():
    topic = create("python-headers")
    at = int(time.time() * 1000) - 7777
    p = KafkaProducer(bootstrap_servers=BROKER)
    p.send(topic, value=b"v", headers=[("a", b"1"), ("a", b"2")], timestamp_ms=at, partition=0).get(LIMIT)
    p.send(topic, key=b"tombstone", value=None, partition=0).get(LIMIT)
    p.close()
    first, second = read(topic, 2)
    equal("headers", list(first.headers), [("a", b"1"), ("a", b"2")])
    equal("timestamp", (first.timestamp, first.timestamp_type), (at, 0))
    equal("tombstone", (second.key, second.value), (b"tombstone", None))


def append_time():
    topic = create("python-appendtime", config={"message.timestamp.type": "LogAppendTime"})
    before = int(time.time() * 1000) - 1000
    p = KafkaProducer(bootstrap_servers=BROKER)
    p.send(topic, value=b"v", timestamp_ms=1600000000000, partition=0).get(LIMIT)
    p.close()
    r = read(topic, 1)[0]
    that(f"timestamp {r.timestamp}", r.timestamp >= before)
    equal("type", r.timestamp_type, 1)


def too_large():
    topic = create("python-large", config={"max.message.bytes": "10000"})
    p = KafkaProducer(bootstrap_servers=BROKER)
    raises(MessageSizeTooLargeError, p.send(topic, value=b"x" * 50000, partition=0).get, LIMIT)
    p.close()


def offsets():
    topic = create("python-offsets", 2)
    start = int(time.time() * 1000) - 3600000
    p = KafkaProducer(bootstrap_servers=BROKER)
    for i in range(20):
        p.send(topic, value=b"v", partition=0, timestamp_ms=start + i * 1000).get(LIMIT)
    p.close()
    p0, p1 = TopicPartition(topic, 0), TopicPartition(topic, 1)
    c = consumer()
    equal("end", c.end_offsets([p0, p1]), {p0: 20, p1: 0})
    equal("beginning", c.beginning_offsets([p0, p1]), {p0: 0, p1: 0})
    found = c.offsets_for_times({p0: start + 4500, p1: start})
    equal("for a time", (found[p0].offset, found[p0].timestamp), (5, start + 5000))
    equal("for a time, empty", found[p1], None)
    equal("for the future", c.offsets_for_times({p0: start + 99000})[p0], None)
    equal("partitions", c.partitions_for_topic(topic), {0, 1})
    that("listed", topic in c.topics())
    c.close()
    equal("from the middle", read(topic, 5, offset=15)[0].offset, 15)
    raises(OffsetOutOfRangeError, read, topic, 1, 0, 5000)


def topics():
    topic = create("python-admin", 2)
    raises(TopicAlreadyExistsError, admin.create_topics, [NewTopic(topic, 2, 1)])
    raises(InvalidTopicError, admin.create_topics, [NewTopic("no/good", 1, 1)])
    admin.create_partitions({topic: NewPartitions(4)})
    wait_for(topic, 4)
    that("listed", topic in admin.list_topics())
    admin.delete_topics([topic])
    until("it is gone", lambda: topic not in admin.list_topics())


def cluster():
    described = admin.describe_cluster()
    equal("controller", described["controller_id"], 1)
    equal("nodes", len(described["brokers"]), 1)


def configs():
    topic = create("python-configs", config={"retention.ms": "777"})
    equal("set at creation", config_of(topic)["retention.ms"], "777")
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "888"})])
    until("888", lambda: config_of(topic)["retention.ms"] == "888")
    equal("a default", config_of(topic)["max.message.bytes"], "1048588")


def config_of(topic):
    """Every config's value by name."""
    described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    by_name = {k: v for of_type in described.values() for k, v in of_type.items()}
    return {k: v["value"] for k, v in by_name[topic].items()}


def delete_records():
    topic = create("python-trim")
    p = KafkaProducer(bootstrap_servers=BROKER)
    for _ in range(10):
        p.send(topic, value=b"v", partition=0).get(LIMIT)
    p.close()
    tp = TopicPartition(topic, 0)
    admin.delete_records({tp: 4})
    c = consumer()
    equal("beginning", c.beginning_offsets([tp])[tp], 4)
    c.close()


def auto_creation():
    topic = name("python-auto")
    p = KafkaProducer(bootstrap_servers=BROKER)
    p.send(topic, value=b"v").get(LIMIT)
    p.close()
    equal("value", read(topic, 1)[0].value, b"v")


def in_a_group():
    topic = create("python-group")
    p = KafkaProducer(bootstrap_servers=BROKER)
    for i in range(50):
        p.send(topic, value=b"%d" % i)
    p.close()
    c = KafkaConsumer(topic, bootstrap_servers=BROKER, group_id=name("group"), auto_offset_reset="earliest", enable_auto_commit=False)
    seen = []
    until("50 records", lambda: [seen.extend(r) for r in c.poll(500).values()] is not None and len(seen) == 50, 40)
    c.commit()
    equal("committed", c.committed(TopicPartition(topic, 0)), 50)
    c.close()


for codec in CODECS:
    test(f"kafka-python/codec/{codec}", lambda: round_trip(2000, compression_type=None if codec == "none" else codec, linger_ms=5))
test("kafka-python/producer/idempotent", lambda: round_trip(2000, enable_idempotence=True, batch_size=1000))
test("kafka-python/producer/acks-1", lambda: round_trip(1000, acks=1, enable_idempotence=False, max_in_flight_requests_per_connection=1))
test("kafka-python/producer/headers-nulls-timestamps", headers)
test("kafka-python/producer/log-append-time", append_time)
test("kafka-python/producer/message-too-large", too_large)
test("kafka-python/producer/auto-creation", auto_creation)
test("kafka-python/consumer/offsets", offsets)
test("kafka-python/admin/topics", topics)
test("kafka-python/admin/cluster", cluster)
test("kafka-python/admin/configs", configs)
test("kafka-python/admin/delete-records", delete_records)
if GROUPS_TOO:
    test("kafka-python/consumer/group", in_a_group)
done()
