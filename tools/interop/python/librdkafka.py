"""librdkafka through confluent-kafka: producer, consumer without a group's coordination, admin."""

import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    ConsumerGroupTopicPartitions,  # noqa: F401 - its presence says the library is complete
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from reporter import BROKER, CODECS, GROUPS_TOO, done, equal, name, raises, test, that, until

LIMIT = 20
admin = AdminClient({"bootstrap.servers": BROKER})


def create(prefix, partitions=1, config=None):
    topic = name(prefix)
    admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(LIMIT)
    wait_for(topic, partitions)
    return topic


def wait_for(topic, partitions):
    until(f"{topic} with {partitions} partitions", lambda: len(metadata(topic).partitions) == partitions)


def metadata(topic):
    return admin.list_topics(topic, timeout=LIMIT).topics[topic]


def producer(**config):
    settings = {"bootstrap.servers": BROKER, "message.timeout.ms": 20000}
    settings.update({k.replace("_", "."): v for k, v in config.items()})
    return Producer(settings)


def consumer(**config):
    settings = {"bootstrap.servers": BROKER, "group.id": name("unused"), "enable.auto.commit": False, "auto.offset.reset": "error"}
    settings.update({k.replace("_", "."): v for k, v in config.items()})
    return Consumer(settings)


def send(p, topic, n, partition=0, **kwargs):
    """Sends n numbered records and returns the acknowledged offsets."""
    acknowledged = []

    def delivered(err, message):
        if err:
            raise KafkaException(err)
        acknowledged.append(message.offset())

    for i in range(n):
        p.produce(topic, f"value {i}", f"key {i}", partition, on_delivery=delivered, **kwargs)
        p.poll(0)
    equal("records left in the queue", p.flush(LIMIT), 0)
    return acknowledged


def read(topic, n, offset=OFFSET_BEGINNING, partition=0, **config):
    c = consumer(**config)
    try:
        c.assign([TopicPartition(topic, partition, offset)])
        out = []
        deadline = time.monotonic() + LIMIT
        while len(out) < n and time.monotonic() < deadline:
            for m in c.consume(n - len(out), 1.0):
                if m.error():
                    raise KafkaException(m.error())
                out.append(m)
        equal("records read", len(out), n)
        return out
    finally:
        c.close()


def check(messages):
    for i, m in enumerate(messages):
        equal("offset", m.offset(), i)
        equal("key", m.key(), b"key %d" % i)
        equal("value", m.value(), b"value %d" % i)


def round_trip(n, **config):
    topic = create("librdkafka")
    equal("acknowledged offsets", send(producer(**config), topic, n), list(range(n)))
    check(read(topic, n))


def headers():
    topic = create("librdkafka-headers")
    at = int(time.time() * 1000) - 5555
    p = producer()
    p.produce(topic, None, None, 0, timestamp=at, headers=[("a", b"1"), ("b", None), ("a", b"2")])
    p.produce(topic, b"", b"", 0, timestamp=at)
    p.flush(LIMIT)
    first, second = read(topic, 2)
    equal("headers", first.headers(), [("a", b"1"), ("b", None), ("a", b"2")])
    equal("null", (first.key(), first.value()), (None, None))
    equal("empty", (second.key(), second.value()), (b"", b""))
    equal("timestamp", first.timestamp(), (1, at))


def unknown():
    p = producer(allow_auto_create_topics=False, topic_metadata_propagation_max_ms=1000)
    errors = []
    p.produce(name("librdkafka-nowhere"), "v", on_delivery=lambda err, _: errors.append(err.code()))
    topic = create("librdkafka-unknown")
    metadata(topic)
    try:
        p.produce(topic, "v", partition=6, on_delivery=lambda err, _: errors.append(err.code()))
    except KafkaException as e:
        errors.append(e.args[0].code())
    p.flush(40)
    equal("errors", len(errors), 2)
    for code in errors:
        that(f"error {code}", code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION))
    e = raises(KafkaException, read, topic, 1, 999)
    that(f"offset 999 of 0: {e}", e.args[0].code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET))


def too_large():
    topic = create("librdkafka-large", config={"max.message.bytes": "10000"})
    p = producer()
    errors = []
    p.produce(topic, b"x" * 50000, partition=0, on_delivery=lambda err, _: errors.append(err))
    p.flush(LIMIT)
    equal("error", errors[0].code(), KafkaError.MSG_SIZE_TOO_LARGE)
    big = create("librdkafka-1MiB", config={"max.message.bytes": "2097152"})
    value = bytes(range(256)) * 4096
    p = producer(message_max_bytes=2000000)
    p.produce(big, value, partition=0)
    equal("left", p.flush(LIMIT), 0)
    that("the same MiB", read(big, 1, message_max_bytes=2000000)[0].value() == value)


def offsets_by_time():
    topic = create("librdkafka-time", 2)
    start = int(time.time() * 1000) - 3600000
    p = producer()
    for i in range(20):
        p.produce(topic, f"{i}", partition=0, timestamp=start + i * 1000)
    p.flush(LIMIT)
    c = consumer()
    for at, want in ((start, 0), (start + 1, 1), (start + 19000, 19), (start + 99000, -1)):
        equal(f"start {at - start:+} ms", c.offsets_for_times([TopicPartition(topic, 0, at)], LIMIT)[0].offset, want)
    equal("watermarks", c.get_watermark_offsets(TopicPartition(topic, 0), LIMIT), (0, 20))
    equal("empty", c.get_watermark_offsets(TopicPartition(topic, 1), LIMIT), (0, 0))
    c.close()
    specs = {"latest": (OffsetSpec.latest(), 20), "earliest": (OffsetSpec.earliest(), 0), "max timestamp": (OffsetSpec.max_timestamp(), 19),
             "a time": (OffsetSpec.for_timestamp(start + 4500), 5)}
    for what, (spec, want) in specs.items():
        tp = TopicPartition(topic, 0)
        got = admin.list_offsets({tp: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=LIMIT)[tp].result(LIMIT)
        equal(what, got.offset, want)


def topics():
    topic = name("librdkafka-admin")
    admin.create_topics([NewTopic(topic, 2, 1)], validate_only=True)[topic].result(LIMIT)
    that("validated only", topic not in admin.list_topics(timeout=LIMIT).topics)
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(LIMIT)
    wait_for(topic, 2)
    e = raises(KafkaException, admin.create_topics([NewTopic(topic, 2, 1)])[topic].result, LIMIT)
    equal("created twice", e.args[0].code(), KafkaError.TOPIC_ALREADY_EXISTS)
    for bad, code in ((NewTopic("no/good", 1, 1), KafkaError.TOPIC_EXCEPTION), (NewTopic(name("x"), 1, 5), KafkaError.INVALID_REPLICATION_FACTOR),
                      (NewTopic(name("x"), 1, 1, config={"no.such": "1"}), KafkaError.INVALID_CONFIG)):
        e = raises(KafkaException, admin.create_topics([bad])[bad.topic].result, LIMIT)
        equal(bad.topic, e.args[0].code(), code)
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(LIMIT)
    wait_for(topic, 5)
    described = admin.describe_topics(TopicCollection([topic]), request_timeout=LIMIT)[topic].result(LIMIT)
    equal("partitions", len(described.partitions), 5)
    equal("leader", described.partitions[4].leader.id, 1)
    admin.delete_topics([topic])[topic].result(LIMIT)
    until("it is gone", lambda: topic not in admin.list_topics(timeout=LIMIT).topics)


def cluster():
    described = admin.describe_cluster(request_timeout=LIMIT).result(LIMIT)
    equal("controller", described.controller.id, 1)
    equal("nodes", [f"{n.host}:{n.port}" for n in described.nodes], [BROKER])
    equal("cluster id", len(described.cluster_id), 22)


def configs():
    topic = create("librdkafka-configs", config={"retention.ms": "777"})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    got = admin.describe_configs([resource])[resource].result(LIMIT)
    equal("retention.ms", got["retention.ms"].value, "777")
    equal("default", got["max.message.bytes"].value, "1048588")
    that("is default", got["max.message.bytes"].is_default)
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[
        ConfigEntry("retention.ms", "888", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND)])
    admin.incremental_alter_configs([change])[change].result(LIMIT)
    got = until("altered", lambda: [c for c in [admin.describe_configs([resource])[resource].result(LIMIT)] if c["retention.ms"].value == "888"])[0]
    equal("cleanup.policy", got["cleanup.policy"].value, "delete,compact")
    broker = ConfigResource(ResourceType.BROKER, "1")
    equal("node.id", admin.describe_configs([broker])[broker].result(LIMIT)["node.id"].value, "1")


def delete_records():
    topic = create("librdkafka-trim")
    send(producer(), topic, 50)
    tp = TopicPartition(topic, 0, 20)
    equal("low watermark", admin.delete_records([tp])[tp].result(LIMIT).low_watermark, 20)
    equal("first record", read(topic, 1)[0].offset(), 20)


def in_a_group():
    topic = create("librdkafka-group", 2)
    send(producer(), topic, 100)
    c = consumer(auto_offset_reset="earliest")
    c.subscribe([topic])
    seen = []
    until("100 records", lambda: seen.extend(c.consume(100, 0.5)) or len(seen) == 100, 40)
    c.commit(asynchronous=False)
    equal("committed", c.committed([TopicPartition(topic, 0)], LIMIT)[0].offset, 100)
    c.close()


for codec in CODECS:
    test(f"codec/{codec}", lambda: round_trip(3000, compression_type=codec, linger_ms=5))
test("producer/idempotent", lambda: round_trip(5000, enable_idempotence=True, batch_num_messages=20, linger_ms=0))
test("producer/acks-1", lambda: round_trip(1000, acks=1, max_in_flight_requests_per_connection=1))
test("producer/headers-nulls-timestamps", headers)
test("producer/message-too-large", too_large)
test("unknown-topic-partition-offset", unknown)
test("offsets-by-time", offsets_by_time)
test("admin/topics", topics)
test("admin/cluster", cluster)
test("admin/configs", configs)
test("admin/delete-records", delete_records)
if GROUPS_TOO:
    test("consumer/group", in_a_group)
done()
