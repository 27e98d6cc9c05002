import java.io.IOException;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Takes part in the transaction checker until its standard input ends: as a writer ("write NAME TOPIC PARTITIONS") that
 * reports begin, acked, trying, committed and aborted, or as a consume-transform-produce loop ("loop ID GROUP PROTOCOL IN
 * OUT"). Uses nothing that kafka-clients 3.9 does not have: with it the same class speaks the older transaction protocol.
 */
public final class TxnPlayer {
    private static final String BROKER = System.getenv("BROKER");
    private static final AtomicBoolean STOP = new AtomicBoolean();
    private static final Random RANDOM = new Random();
    /** For one call of a client, however often the broker dies meanwhile. */
    private static final String PATIENCE = "120000";

    private TxnPlayer() { }

    public static void main(String[] args) throws Exception {
        Thread watcher = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    continue;
                }
            } catch (IOException e) {
                System.err.println(e);
            }
            STOP.set(true);
        });
        watcher.setDaemon(true);
        watcher.start();
        if (args[0].equals("write")) {
            write(args[1], args[2], Integer.parseInt(args[3]));
        } else {
            loop(args[1], args[2], args[3], args[4], args[5]);
        }
        System.exit(0);
    }

    private static KafkaProducer<String, String> producer(String id) {
        Properties p = new Properties();
        p.put("bootstrap.servers", BROKER);
        p.put("transactional.id", id);
        p.put("transaction.timeout.ms", "8000");
        p.put("delivery.timeout.ms", PATIENCE);
        p.put("request.timeout.ms", "5000");
        p.put("max.block.ms", PATIENCE);
        p.put("linger.ms", "1");
        p.put("reconnect.backoff.ms", "20");
        p.put("reconnect.backoff.max.ms", "100");
        p.put("retry.backoff.ms", "20");
        p.put("retry.backoff.max.ms", "100");
        return new KafkaProducer<>(p, new StringSerializer(), new StringSerializer());
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static String value(String name, long n, int i, int count) {
        return name + " " + n + " " + i + " " + count + " " + "x".repeat((int) ((n * 7 + i * 13L) % 300));
    }

    private static void write(String name, String topic, int partitions) throws InterruptedException {
        KafkaProducer<String, String> producer = null;
        for (long n = 0; !STOP.get(); n++) {
            if (producer == null) {
                producer = producer(name);
                try {
                    producer.initTransactions();
                } catch (TimeoutException e) {
                    throw e; // two minutes
                } catch (KafkaException e) {
                    say("note init: " + e);
                    producer.close(Duration.ZERO);
                    producer = null;
                    n--;
                    Thread.sleep(20);
                    continue;
                }
            }
            if (!transaction(producer, name, topic, partitions, n)) {
                producer.close(Duration.ZERO);
                producer = null;
            }
            Thread.sleep(15);
        }
    }

    /** Writes transaction n; false when the producer cannot be used for the next one. */
    private static boolean transaction(KafkaProducer<String, String> producer, String name, String topic, int partitions, long n) {
        int count = 1 + RANDOM.nextInt(12);
        say("begin " + n + " " + count);
        boolean tried = false;
        try {
            producer.beginTransaction();
            for (int i = 0; i < count; i++) {
                final int number = i;
                producer.send(new ProducerRecord<>(topic, RANDOM.nextInt(partitions), null, value(name, n, i, count)), (at, e) -> {
                    if (e == null) {
                        say("acked " + n + " " + number + " " + at.topic() + " " + at.partition() + " " + at.offset());
                    }
                });
            }
            int end = RANDOM.nextInt(16);
            if (end == 0) {
                if (n % 2 == 0) {
                    producer.flush();
                }
                return false; // left open
            }
            if (end > 2) {
                tried = true;
                say("trying " + n);
                producer.commitTransaction();
                say("committed " + n);
            } else {
                producer.abortTransaction();
                say("aborted " + n);
            }
            return true;
        } catch (TimeoutException e) {
            throw e;
        } catch (KafkaException e) {
            say("note transaction " + n + (tried ? " in its commit: " : ": ") + e);
            if (tried) {
                return abortAfter(producer, n);
            }
            return false;
        }
    }

    /** A commit that failed in a way that leaves the producer usable may be followed by an abort, which then holds. */
    private static boolean abortAfter(KafkaProducer<String, String> producer, long n) {
        try {
            producer.abortTransaction();
            say("aborted " + n);
            return true;
        } catch (TimeoutException e) {
            throw e;
        } catch (KafkaException e) {
            say("note the abort of " + n + ": " + e);
            return false;
        }
    }

    private static void loop(String id, String group, String protocol, String in, String out) throws Exception {
        while (!STOP.get()) {
            Properties p = new Properties();
            p.put("bootstrap.servers", BROKER);
            p.put("group.id", group);
            p.put("group.protocol", protocol);
            p.put("isolation.level", "read_committed");
            p.put("auto.offset.reset", "earliest");
            p.put("enable.auto.commit", "false");
            p.put("max.poll.records", "200");
            p.put("default.api.timeout.ms", PATIENCE);
            p.put("request.timeout.ms", "5000");
            p.put("reconnect.backoff.ms", "20");
            p.put("reconnect.backoff.max.ms", "100");
            p.put("retry.backoff.ms", "20");
            p.put("retry.backoff.max.ms", "100");
            if (protocol.equals("classic")) {
                p.put("session.timeout.ms", "6000");
                p.put("heartbeat.interval.ms", "500");
            }
            KafkaConsumer<String, String> consumer = new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer());
            KafkaProducer<String, String> producer = producer(id);
            try {
                producer.initTransactions();
                consumer.subscribe(List.of(in));
                life(consumer, producer, out);
            } catch (TimeoutException e) {
                throw e;
            } catch (KafkaException e) {
                say("note another life after " + e);
            } finally {
                producer.close(Duration.ZERO);
                consumer.close();
            }
        }
    }

    private static void life(KafkaConsumer<String, String> consumer, KafkaProducer<String, String> producer, String out) {
        while (!STOP.get()) {
            ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(300));
            if (records.isEmpty()) {
                continue;
            }
            producer.beginTransaction();
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (ConsumerRecord<String, String> r : records) {
                producer.send(new ProducerRecord<>(out, r.partition(), null, r.partition() + " " + r.offset() + " " + r.value()));
                offsets.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
            }
            if (RANDOM.nextInt(60) == 0) {
                return; // in the middle
            }
            producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
            producer.commitTransaction();
        }
    }
}
