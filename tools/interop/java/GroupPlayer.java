import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RetriableCommitFailedException;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Members of groups, each a thread, told on standard input to join, leave or crash ("join KIND NAME GROUP TOPIC
 * key=value...", "leave KIND NAME", "crash KIND NAME"). Says "done KIND/NAME" with an error if there is one, and
 * "KIND: got PARTITION FIRST LAST" for the records they were given.
 */
public final class GroupPlayer {
    private static final Map<String, Member> MEMBERS = new ConcurrentHashMap<>();

    private GroupPlayer() { }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            String key = words[1] + "/" + words[2];
            new Thread(() -> carryOut(words, key)).start();
        }
        System.exit(0);
    }

    private static void carryOut(String[] words, String key) {
        try {
            if (words[0].equals("join")) {
                Member m = new Member(words);
                MEMBERS.put(key, m);
                m.start();
            } else {
                MEMBERS.remove(key).end(words[0].equals("leave"));
            }
            say("done " + key);
        } catch (Exception e) {
            say("done " + key + ": " + e);
        }
    }

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    /** One consumer and its thread. */
    private static final class Member extends Thread {
        private final String kind;
        private final KafkaConsumer<byte[], byte[]> consumer;
        private volatile boolean stop;
        private volatile boolean leave;

        Member(String[] words) {
            kind = words[1];
            Properties p = new Properties();
            p.put("bootstrap.servers", System.getenv("BROKER"));
            p.put("client.id", words[2]);
            p.put("group.id", words[3]);
            p.put("auto.offset.reset", "earliest");
            p.put("enable.auto.commit", "false");
            p.put("fetch.max.wait.ms", "250");
            p.put("reconnect.backoff.max.ms", "200");
            p.put("request.timeout.ms", "10000");
            p.put("metadata.max.age.ms", "10000");
            boolean regex = false;
            for (int i = 5; i < words.length; i++) {
                String[] setting = words[i].split("=", 2);
                if (setting[0].equals("regex")) {
                    regex = true;
                    continue;
                }
                p.put(setting[0], setting[1].replace("NAME", words[2]));
            }
            if (!"consumer".equals(p.get("group.protocol"))) {
                p.put("session.timeout.ms", "6000");
                p.put("heartbeat.interval.ms", "500");
            }
            consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            if (regex) {
                consumer.subscribe(new SubscriptionPattern(words[4].replaceAll("-", "[-]")));
            } else {
                consumer.subscribe(List.of(words[4]));
            }
        }

        void end(boolean inGoodOrder) throws InterruptedException {
            leave = inGoodOrder;
            stop = true;
            consumer.wakeup();
            join(20_000);
            if (isAlive()) {
                throw new IllegalStateException("does not end");
            }
        }

        @Override
        public void run() {
            try {
                while (!stop) {
                    turn();
                }
            } catch (WakeupException e) {
                if (!stop) {
                    say("note " + kind + ": " + e);
                }
            } catch (RuntimeException e) {
                say("note " + kind + " has ended: " + e);
            }
            CloseOptions.GroupMembershipOperation how = leave
                ? CloseOptions.GroupMembershipOperation.DEFAULT : CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP;
            try {
                consumer.close(CloseOptions.groupMembershipOperation(how).withTimeout(Duration.ofSeconds(leave ? 10 : 0)));
            } catch (RuntimeException e) {
                say("note " + kind + " closing: " + e);
            }
        }

        private void turn() {
            ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(300));
            for (TopicPartition tp : records.partitions()) {
                List<ConsumerRecord<byte[], byte[]>> of = records.records(tp);
                long first = of.get(0).offset();
                long last = of.get(of.size() - 1).offset();
                say(kind + ": got " + tp.partition() + " " + first + " " + last);
            }
            if (!records.isEmpty()) {
                try {
                    consumer.commitSync(Duration.ofSeconds(5));
                } catch (CommitFailedException | RebalanceInProgressException | RetriableCommitFailedException e) {
                    say("note " + kind + ": " + e);
                } catch (RetriableException e) {
                    say("note " + kind + ": " + e); // what is not committed is delivered again
                }
            }
        }
    }
}
