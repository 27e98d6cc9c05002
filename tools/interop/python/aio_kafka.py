"""aiokafka: producer, consumer with assign and seek, admin."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from reporter import BROKER, CODECS, GROUPS_TOO, done, equal, name, that, test

LIMIT = 30


def run(name_, function, *args):
    async def bounded():
        await asyncio.wait_for(function(*args), 2 * LIMIT)

    test(f"aiokafka/{name_}", lambda: asyncio.run(bounded()))


async def create(prefix, partitions=1, config=None):
    topic = name(prefix)
    admin = AIOKafkaAdminClient(bootstrap_servers=BROKER)
    await admin.start()
    try:
        made = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config or {})])
        equal("error code", made.topic_errors[0][1], 0)
        deadline = time.monotonic() + LIMIT
        while True:
            described = (await admin.describe_topics([topic]))[0]
            if len(described["partitions"]) == partitions:
                return topic
            that(f"{partitions} partitions in time", time.monotonic() < deadline)
    finally:
        await admin.close()


async def read(topic, n, offset=0):
    c = AIOKafkaConsumer(bootstrap_servers=BROKER, group_id=None, enable_auto_commit=False, auto_offset_reset="none")
    await c.start()
    try:
        tp = TopicPartition(topic, 0)
        c.assign([tp])
        c.seek(tp, offset)
        out = []
        while len(out) < n:
            for records in (await c.getmany(timeout_ms=500)).values():
                out.extend(records)
        equal("records read", len(out), n)
        return out
    finally:
        await c.stop()


async def round_trip(n, **config):
    topic = await create("aio")
    p = AIOKafkaProducer(bootstrap_servers=BROKER, **config)
    await p.start()
    try:
        futures = [await p.send(topic, b"value %d" % i, b"key %d" % i, partition=0, headers=[("h", b"x")]) for i in range(n)]
        for i, f in enumerate(futures):
            equal("acknowledged offset", (await f).offset, i)
    finally:
        await p.stop()
    for i, r in enumerate(await read(topic, n)):
        equal("record", (r.offset, r.key, r.value, r.headers), (i, b"key %d" % i, b"value %d" % i, (("h", b"x"),)))


async def offsets():
    topic = await create("aio-offsets", 2)
    start = int(time.time() * 1000) - 3600000
    p = AIOKafkaProducer(bootstrap_servers=BROKER)
    await p.start()
    for i in range(20):
        await p.send_and_wait(topic, b"v", partition=0, timestamp_ms=start + i * 1000)
    await p.stop()
    p0, p1 = TopicPartition(topic, 0), TopicPartition(topic, 1)
    c = AIOKafkaConsumer(bootstrap_servers=BROKER, group_id=None)
    await c.start()
    try:
        equal("end", await c.end_offsets([p0, p1]), {p0: 20, p1: 0})
        equal("beginning", await c.beginning_offsets([p0, p1]), {p0: 0, p1: 0})
        found = await c.offsets_for_times({p0: start + 4500, p1: start})
        equal("for a time", (found[p0].offset, found[p0].timestamp), (5, start + 5000))
        equal("for a time, empty", found[p1], None)
        c.assign([p0])
        await c.seek_to_end(p0)
        equal("position", await c.position(p0), 20)
    finally:
        await c.stop()
    equal("from the middle", (await read(topic, 5, 15))[0].timestamp, start + 15000)


async def too_large():
    topic = await create("aio-large", config={"max.message.bytes": "10000"})
    p = AIOKafkaProducer(bootstrap_servers=BROKER)
    await p.start()
    try:
        await p.send_and_wait(topic, b"x" * 50000, partition=0)
    except MessageSizeTooLargeError:
        return
    finally:
        await p.stop()
    raise AssertionError("50000 bytes were taken where 10000 are allowed")


async def administration():
    topic = await create("aio-admin", config={"retention.ms": "777"})
    admin = AIOKafkaAdminClient(bootstrap_servers=BROKER)
    await admin.start()
    try:
        that("listed", topic in await admin.list_topics())
        equal("controller", (await admin.describe_cluster())["controller_id"], 1)
        described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        entries = {e[0]: e[1] for e in described[0].resources[0][4]}
        equal("retention.ms", entries["retention.ms"], "777")
        gone = await admin.delete_topics([topic])
        equal("error code", gone.topic_error_codes[0][1], 0)
    finally:
        await admin.close()


async def in_a_group():
    topic = await create("aio-group")
    p = AIOKafkaProducer(bootstrap_servers=BROKER)
    await p.start()
    for i in range(20):
        await p.send_and_wait(topic, b"%d" % i)
    await p.stop()
    c = AIOKafkaConsumer(topic, bootstrap_servers=BROKER, group_id=name("group"), auto_offset_reset="earliest")
    await c.start()
    try:
        seen = []
        while len(seen) < 20:
            seen.append(await c.getone())
        await c.commit()
        equal("committed", await c.committed(TopicPartition(topic, 0)), 20)
    finally:
        await c.stop()


for codec in CODECS:
    run(f"codec/{codec}", lambda: round_trip(2000, compression_type=None if codec == "none" else codec, linger_ms=5))
run("producer/idempotent", lambda: round_trip(2000, enable_idempotence=True, max_batch_size=1000))
run("producer/message-too-large", too_large)
run("consumer/offsets", offsets)
run("admin", administration)
if GROUPS_TOO:
    run("consumer/group", in_a_group)
done()
