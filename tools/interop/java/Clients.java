import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The reference clients against one broker: producer, consumer without a group, and (in AdminCalls) Admin. */
public final class Clients {
    static final String BROKER = System.getenv("BROKER");
    private static final Reporter REPORT = new Reporter();

    private Clients() { }

    public static void main(String[] args) {
        try (AdminCalls admin = new AdminCalls(REPORT)) {
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                REPORT.test("codec/" + codec, () -> roundTrip(admin, 5000, Map.of("compression.type", codec, "linger.ms", "5")));
            }
            REPORT.test("producer/idempotent-small-batches", () -> roundTrip(admin, 5000, Map.of("batch.size", "200", "linger.ms", "0")));
            REPORT.test("producer/not-idempotent", () -> roundTrip(admin, 2000, Map.of("enable.idempotence", "false", "acks", "1", "max.in.flight.requests.per.connection", "1")));
            REPORT.test("producer/headers-nulls", () -> headersAndNulls(admin));
            REPORT.test("producer/1MiB", () -> large(admin));
            REPORT.test("producer/record-too-large", () -> tooLarge(admin));
            REPORT.test("producer/refusals", Clients::refusals);
            REPORT.test("producer/partitions-for", () -> partitionsFor(admin));
            REPORT.test("producer/log-append-time", () -> logAppendTime(admin));
            REPORT.test("consumer/seek", () -> seek(admin));
            REPORT.test("consumer/offsets", () -> offsets(admin));
            REPORT.test("consumer/out-of-range", () -> outOfRange(admin));
            REPORT.test("consumer/many-partitions", () -> manyPartitions(admin));
            admin.run();
            if (System.getenv("GROUPS_TOO") != null) {
                REPORT.test("consumer/group", () -> group(admin, "classic"));
                REPORT.test("consumer/group-kip-848", () -> group(admin, "consumer"));
                REPORT.test("producer/transactions", () -> transactions(admin));
            }
        }
        REPORT.done();
    }

    static KafkaProducer<byte[], byte[]> producer(Map<String, String> extra) {
        Properties p = new Properties();
        p.put("bootstrap.servers", BROKER);
        p.put("delivery.timeout.ms", "30000");
        p.put("request.timeout.ms", "15000");
        p.put("max.block.ms", "20000");
        p.putAll(extra);
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Map<String, String> extra) {
        Properties p = new Properties();
        p.put("bootstrap.servers", BROKER);
        p.put("default.api.timeout.ms", "20000");
        p.put("auto.offset.reset", "none");
        p.put("enable.auto.commit", "false");
        p.putAll(extra);
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static byte[] bytes(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] b) {
        return b == null ? null : new String(b, StandardCharsets.UTF_8);
    }

    static List<ConsumerRecord<byte[], byte[]>> read(KafkaConsumer<byte[], byte[]> consumer, int n) {
        List<ConsumerRecord<byte[], byte[]>> out = new ArrayList<>();
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (out.size() < n && System.nanoTime() < deadline) {
            consumer.poll(Duration.ofMillis(500)).forEach(out::add);
        }
        Reporter.equal("records read", out.size(), n);
        return out;
    }

    static void send(String topic, int partition, int n, Map<String, String> extra) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(extra)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < n; i++) {
                sent.add(producer.send(new ProducerRecord<>(topic, partition, bytes("key " + i), bytes("value " + i))));
            }
            producer.flush();
            for (int i = 0; i < n; i++) {
                Reporter.equal("acknowledged offset", sent.get(i).get(30, TimeUnit.SECONDS).offset(), (long) i);
            }
        }
    }

    private static void roundTrip(AdminCalls admin, int n, Map<String, String> extra) throws Exception {
        String topic = admin.create("java", 1, Map.of());
        send(topic, 0, n, extra);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(tp));
            consumer.seekToBeginning(List.of(tp));
            int i = 0;
            for (ConsumerRecord<byte[], byte[]> r : read(consumer, n)) {
                Reporter.equal("offset", r.offset(), (long) i);
                Reporter.equal("key", text(r.key()), "key " + i);
                Reporter.equal("value", text(r.value()), "value " + i);
                i++;
            }
        }
    }

    private static void headersAndNulls(AdminCalls admin) throws Exception {
        String topic = admin.create("java-headers", 1, Map.of());
        long at = System.currentTimeMillis() - 4321;
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            ProducerRecord<byte[], byte[]> r = new ProducerRecord<>(topic, 0, at, (byte[]) null, (byte[]) null);
            r.headers().add("one", bytes("1")).add("null", null).add("one", bytes("again"));
            producer.send(r).get(20, TimeUnit.SECONDS);
            producer.send(new ProducerRecord<>(topic, 0, at, new byte[0], new byte[0])).get(20, TimeUnit.SECONDS);
        }
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 0);
            List<ConsumerRecord<byte[], byte[]>> got = read(consumer, 2);
            Reporter.that("null stays null", got.get(0).key() == null && got.get(0).value() == null);
            Reporter.that("empty stays empty", got.get(1).key().length == 0 && got.get(1).value().length == 0);
            Reporter.equal("headers", got.get(0).headers().toArray().length, 3);
            Reporter.equal("a header", text(got.get(0).headers().lastHeader("one").value()), "again");
            Reporter.that("a header's null", got.get(0).headers().lastHeader("null").value() == null);
            Reporter.equal("timestamp", got.get(0).timestamp(), at);
            Reporter.equal("type of timestamp", got.get(0).timestampType(), TimestampType.CREATE_TIME);
        }
    }

    private static void large(AdminCalls admin) throws Exception {
        String topic = admin.create("java-large", 1, Map.of("max.message.bytes", "3000000"));
        byte[] value = new byte[1 << 20];
        for (int i = 0; i < value.length; i++) {
            value[i] = (byte) (i * 31 >> 3);
        }
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("max.request.size", "4000000"))) {
            producer.send(new ProducerRecord<>(topic, 0, null, value)).get(20, TimeUnit.SECONDS);
        }
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("max.partition.fetch.bytes", "1000"))) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 0);
            Reporter.that("the same bytes", java.util.Arrays.equals(read(consumer, 1).get(0).value(), value));
        }
    }

    private static void tooLarge(AdminCalls admin) throws Exception {
        String topic = admin.create("java-toolarge", 1, Map.of("max.message.bytes", "10000"));
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            Reporter.that("refused", failure(producer.send(new ProducerRecord<>(topic, 0, null, new byte[50000]))) instanceof RecordTooLargeException);
            producer.send(new ProducerRecord<>(topic, 0, null, new byte[5000])).get(20, TimeUnit.SECONDS);
        }
    }

    static Throwable failure(Future<?> f) throws Exception {
        try {
            f.get(30, TimeUnit.SECONDS);
            return null;
        } catch (ExecutionException e) {
            return e.getCause();
        }
    }

    private static void refusals() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("max.block.ms", "3000"))) {
            Reporter.that("an invalid name", failure(producer.send(new ProducerRecord<>("with space", bytes("v")))) instanceof InvalidTopicException);
            String topic = Reporter.name("java-auto");
            producer.send(new ProducerRecord<>(topic, bytes("made on the way"))).get(20, TimeUnit.SECONDS);
            Reporter.that("a partition that is not there", failure(producer.send(new ProducerRecord<>(topic, 9, null, bytes("v")))) instanceof TimeoutException);
        }
    }

    private static void partitionsFor(AdminCalls admin) throws Exception {
        String topic = admin.create("java-partitions", 3, Map.of());
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            List<PartitionInfo> partitions = producer.partitionsFor(topic);
            Reporter.equal("partitions", partitions.size(), 3);
            for (PartitionInfo p : partitions) {
                Reporter.equal("leader", p.leader().id(), 1);
                Reporter.equal("in sync", p.inSyncReplicas().length, 1);
            }
        }
    }

    private static void logAppendTime(AdminCalls admin) throws Exception {
        String topic = admin.create("java-appendtime", 1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        RecordMetadata told;
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("compression.type", "lz4"))) {
            told = producer.send(new ProducerRecord<>(topic, 0, 1600000000000L, null, bytes("v"))).get(20, TimeUnit.SECONDS);
        }
        Reporter.that("the producer is told the broker's time", told.timestamp() >= before - 1000);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 0);
            ConsumerRecord<byte[], byte[]> r = read(consumer, 1).get(0);
            Reporter.equal("type of timestamp", r.timestampType(), TimestampType.LOG_APPEND_TIME);
            Reporter.equal("timestamp", r.timestamp(), told.timestamp());
        }
    }

    private static void seek(AdminCalls admin) throws Exception {
        String topic = admin.create("java-seek", 1, Map.of());
        send(topic, 0, 1000, Map.of("batch.size", "1000"));
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("max.poll.records", "7"))) {
            consumer.assign(List.of(tp));
            for (long at : new long[] {0, 1, 500, 993, 3}) {
                consumer.seek(tp, at);
                ConsumerRecord<byte[], byte[]> r = read(consumer, 7).get(0);
                Reporter.equal("offset", r.offset(), at);
                Reporter.equal("value", text(r.value()), "value " + at);
                Reporter.equal("position", consumer.position(tp), at + 7);
            }
            consumer.seekToEnd(List.of(tp));
            Reporter.equal("position at the end", consumer.position(tp), 1000L);
            Reporter.equal("lag", consumer.currentLag(tp).orElse(-1), 0L);
        }
    }

    private static void offsets(AdminCalls admin) throws Exception {
        String topic = admin.create("java-offsets", 2, Map.of());
        long start = System.currentTimeMillis() - 3_600_000;
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            for (int i = 0; i < 20; i++) {
                producer.send(new ProducerRecord<>(topic, 0, start + i * 1000L, null, bytes("v"))).get(20, TimeUnit.SECONDS);
            }
        }
        TopicPartition p0 = new TopicPartition(topic, 0);
        TopicPartition p1 = new TopicPartition(topic, 1);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            Reporter.equal("end offsets", consumer.endOffsets(List.of(p0, p1)), Map.of(p0, 20L, p1, 0L));
            Reporter.equal("beginning offsets", consumer.beginningOffsets(List.of(p0, p1)), Map.of(p0, 0L, p1, 0L));
            Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(Map.of(p0, start + 4500, p1, start));
            Reporter.equal("offset for a time", found.get(p0).offset(), 5L);
            Reporter.equal("timestamp for a time", found.get(p0).timestamp(), start + 5000);
            Reporter.that("no offset in an empty partition", found.get(p1) == null);
            Reporter.that("no offset for the future", consumer.offsetsForTimes(Map.of(p0, start + 99_000)).get(p0) == null);
            Reporter.equal("partitions", consumer.partitionsFor(topic).size(), 2);
            Reporter.that("listed", consumer.listTopics().containsKey(topic));
        }
    }

    private static void outOfRange(AdminCalls admin) throws Exception {
        String topic = admin.create("java-range", 1, Map.of());
        send(topic, 0, 5, Map.of());
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 500);
            try {
                long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
                while (System.nanoTime() < deadline) {
                    consumer.poll(Duration.ofMillis(500));
                }
                throw new AssertionError("offset 500 of 5 is not refused");
            } catch (OffsetOutOfRangeException expected) {
                Reporter.equal("offset", expected.offsetOutOfRangePartitions().get(tp), 500L);
            }
        }
    }

    private static void manyPartitions(AdminCalls admin) throws Exception {
        String topic = admin.create("java-many", 50, Map.of());
        List<TopicPartition> all = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            for (int p = 0; p < 50; p++) {
                all.add(new TopicPartition(topic, p));
                for (int i = 0; i < 10; i++) {
                    producer.send(new ProducerRecord<>(topic, p, null, bytes(p + "/" + i)));
                }
            }
            producer.flush();
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(all);
            consumer.seekToBeginning(all);
            for (ConsumerRecord<byte[], byte[]> r : read(consumer, 500)) {
                Reporter.equal("value", text(r.value()), r.partition() + "/" + r.offset());
            }
        }
    }

    private static void group(AdminCalls admin, String protocol) throws Exception {
        String topic = admin.create("java-group", 2, Map.of());
        send(topic, 0, 100, Map.of());
        Map<String, String> config = Map.of("group.id", Reporter.name("group"), "group.protocol", protocol, "auto.offset.reset", "earliest");
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(config)) {
            consumer.subscribe(List.of(topic));
            read(consumer, 100);
            consumer.commitSync();
            TopicPartition tp = new TopicPartition(topic, 0);
            Reporter.equal("committed", consumer.committed(java.util.Set.of(tp)).get(tp).offset(), 100L);
        }
    }

    private static void transactions(AdminCalls admin) throws Exception {
        String topic = admin.create("java-tx", 1, Map.of());
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("transactional.id", Reporter.name("tx")))) {
            producer.initTransactions();
            for (int round = 0; round < 4; round++) {
                producer.beginTransaction();
                for (int i = 0; i < 10; i++) {
                    producer.send(new ProducerRecord<>(topic, 0, null, bytes(round + "/" + i)));
                }
                if (round % 2 == 0) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
        }
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("isolation.level", "read_committed"))) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 0);
            for (ConsumerRecord<byte[], byte[]> r : read(consumer, 20)) {
                Reporter.that("only what was committed", !text(r.value()).startsWith("1/") && !text(r.value()).startsWith("3/"));
            }
        }
    }
}
