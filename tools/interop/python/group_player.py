"""One member of a group: LIBRARY [key=value...] GROUP TOPIC NAME. Prints "got PARTITION FIRST LAST" for the records it was
given, commits after each poll, leaves the group when standard input ends."""

import asyncio
import os
import sys
import threading

BROKER = os.environ["BROKER"]
library, *extra, group, topic, name = sys.argv[1:]
settings = dict(e.split("=", 1) for e in extra)
stop = threading.Event()


def watch():
    sys.stdin.read()
    stop.set()


def got(partition, offsets):
    print("got", partition, offsets[0], offsets[-1], flush=True)


def librdkafka():
    from confluent_kafka import Consumer, KafkaException

    config = {
        "bootstrap.servers": BROKER, "group.id": group, "client.id": name, "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "fetch.wait.max.ms": 250, "reconnect.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 10000,
    }
    if settings.get("group.protocol", "classic") == "classic":
        config |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    c = Consumer(config | settings)
    c.subscribe([topic])
    while not stop.is_set():
        by_partition = {}
        for m in c.consume(500, 0.3):
            if m.error() is None:
                by_partition.setdefault(m.partition(), []).append(m.offset())
        for partition, offsets in by_partition.items():
            got(partition, offsets)
        if by_partition:
            try:
                c.commit(asynchronous=False)
            except KafkaException as e:
                print("note", e, flush=True)  # what is not committed is delivered again
    c.close()


def kafka_python():
    from kafka import KafkaConsumer
    from kafka.errors import KafkaError

    c = None
    while c is None:
        try:
            c = KafkaConsumer(
                topic, bootstrap_servers=BROKER, group_id=group, client_id=name, auto_offset_reset="earliest", enable_auto_commit=False,
                session_timeout_ms=6000, heartbeat_interval_ms=500, fetch_max_wait_ms=250, reconnect_backoff_max_ms=200,
                metadata_max_age_ms=10000, request_timeout_ms=10000, max_poll_interval_ms=60000)
        except KafkaError as e:
            print("note", repr(e), flush=True)  # the broker is away
    while not stop.is_set():
        try:
            polled = c.poll(300)
            for tp, records in polled.items():
                got(tp.partition, [r.offset for r in records])
            if polled:
                c.commit(timeout_ms=5000)
        except KafkaError as e:
            print("note", repr(e), flush=True)
    c.close()


async def aio():
    from aiokafka import AIOKafkaConsumer
    from aiokafka.errors import IllegalStateError, KafkaError

    while True:
        c = AIOKafkaConsumer(
            topic, bootstrap_servers=BROKER, group_id=group, client_id=name, auto_offset_reset="earliest", enable_auto_commit=False,
            session_timeout_ms=6000, heartbeat_interval_ms=500, fetch_max_wait_ms=250, metadata_max_age_ms=10000, retry_backoff_ms=100,
            max_poll_interval_ms=60000, rebalance_timeout_ms=10000)
        try:
            await c.start()
            break
        except KafkaError as e:
            print("note", repr(e), flush=True)  # the broker is away
            await c.stop()
            await asyncio.sleep(0.1)
    while not stop.is_set():
        try:
            polled = await c.getmany(timeout_ms=300)
            for tp, records in polled.items():
                got(tp.partition, [r.offset for r in records])
            if polled:
                await c.commit({tp: records[-1].offset + 1 for tp, records in polled.items()})
        except (KafkaError, IllegalStateError) as e:
            print("note", repr(e), flush=True)
    await c.stop()


threading.Thread(target=watch, daemon=True).start()
if library == "aiokafka":
    asyncio.run(aio())
else:
    {"librdkafka": librdkafka, "kafka-python": kafka_python}[library]()
