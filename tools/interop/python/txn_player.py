"""Takes part in the transaction checker through librdkafka until standard input ends: a writer ("write NAME TOPIC
PARTITIONS") that reports begin, acked, trying, committed and aborted, or a consume-transform-produce loop ("loop ID GROUP
PROTOCOL IN OUT")."""

import os
import random
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

BROKER = os.environ["BROKER"]
PATIENCE = 120  # seconds for one call, however often the broker dies meanwhile
stop = threading.Event()


def watch():
    sys.stdin.read()
    stop.set()


def say(*words):
    print(*words, flush=True)


def producer(transactional_id):
    return Producer({
        # With its default, to bootstrap again, librdkafka forgets the coordinator of a transaction under way for ever.
        "metadata.recovery.strategy": "none",
        "bootstrap.servers": BROKER, "transactional.id": transactional_id, "transaction.timeout.ms": 8000,
        "message.timeout.ms": 8000, "linger.ms": 1, "socket.timeout.ms": 5000,
        "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "retry.backoff.ms": 20, "retry.backoff.max.ms": 100,
    })


def patient(function, *args):
    """Calls again while the error says that the same call may be made again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return function(*args)
        except KafkaException as e:
            if not e.args[0].retriable() or time.monotonic() > deadline:
                raise


def value(name, n, i, count):
    return f"{name} {n} {i} {count} " + "x" * ((n * 7 + i * 13) % 300)


def die(*args):
    """Dies as a killed process does and begins anew: destroying a librdkafka handle that cannot connect may never end."""
    os.execv(sys.executable, [sys.executable, *sys.argv[:1], *args])


def write(name, topic, partitions, n):
    p = producer(name)
    patient(p.init_transactions, 5)
    while not stop.is_set():
        if not transaction(p, name, topic, partitions, n):
            die("write", name, topic, str(partitions), str(n + 1))
        n += 1
        time.sleep(0.015)


def transaction(p, name, topic, partitions, n):
    """Writes transaction n; False when the producer cannot be used for the next one."""
    count = random.randint(1, 12)
    say("begin", n, count)
    tried = False

    def delivered(i):
        def told(err, m):
            if err is None:
                say("acked", n, i, m.topic(), m.partition(), m.offset())
        return told

    try:
        p.begin_transaction()
        for i in range(count):
            p.produce(topic, value(name, n, i, count), partition=random.randrange(partitions), on_delivery=delivered(i))
        end = random.randrange(32)
        if end == 0:
            if n % 2 == 0:
                p.flush(5)
            return False  # left open
        if end > 4:
            tried = True
            say("trying", n)
            patient(p.commit_transaction, 5)
            say("committed", n)
        else:
            patient(p.abort_transaction, 5)
            say("aborted", n)
        return True
    except KafkaException as e:
        error = e.args[0]
        say("note transaction", n, "in its commit:" if tried else ":", error)
        if not error.txn_requires_abort():
            return False
        try:
            patient(p.abort_transaction, 5)
            say("aborted", n)
            return True
        except KafkaException as again:
            say("note the abort of", n, ":", again)
            return False


def loop(transactional_id, group, protocol, source, out):
    p = producer(transactional_id)
    settings = {
        "bootstrap.servers": BROKER, "group.id": group, "group.protocol": protocol, "isolation.level": "read_committed",
        "auto.offset.reset": "earliest", "enable.auto.commit": False, "socket.timeout.ms": 5000, "fetch.wait.max.ms": 200,
        "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "metadata.recovery.strategy": "none",
    }
    if protocol == "classic":
        settings |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    c = Consumer(settings)
    patient(p.init_transactions, 5)
    c.subscribe([source])
    try:
        while not stop.is_set():
            messages = [m for m in c.consume(200, 0.3) if m.error() is None]
            if not messages:
                continue
            p.begin_transaction()
            ends = {}
            for m in messages:
                p.produce(out, f"{m.partition()} {m.offset()} ".encode() + m.value(), partition=m.partition())
                ends[m.topic(), m.partition()] = m.offset() + 1
            if random.randrange(60) == 0:
                break  # in the middle
            offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in ends.items()]
            patient(p.send_offsets_to_transaction, offsets, c.consumer_group_metadata(), 5)
            patient(p.commit_transaction, 5)
    except KafkaException as e:
        say("note another life after", e)
    if not stop.is_set():
        die(*sys.argv[1:])


threading.Thread(target=watch, daemon=True).start()
if sys.argv[1] == "write":
    write(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]) if len(sys.argv) > 5 else 0)
else:
    loop(*sys.argv[2:])
os._exit(0)  # without waiting for what a client still has to say
