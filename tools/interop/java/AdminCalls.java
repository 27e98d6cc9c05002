import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.FeatureMetadata;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.common.errors.SecurityDisabledException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.acl.AclBindingFilter;

/** Kafka's Admin client: everything that needs no coordinator. */
final class AdminCalls implements AutoCloseable {
    private final Reporter report;
    private final Admin admin;

    AdminCalls(Reporter report) {
        this.report = report;
        Properties p = new Properties();
        p.put("bootstrap.servers", Clients.BROKER);
        p.put("default.api.timeout.ms", "30000");
        p.put("request.timeout.ms", "15000");
        admin = Admin.create(p);
    }

    @Override
    public void close() {
        admin.close();
    }

    static <V> V get(KafkaFuture<V> f) throws Exception {
        return f.get(40, TimeUnit.SECONDS);
    }

    String create(String prefix, int partitions, Map<String, String> configs) throws Exception {
        String topic = Reporter.name(prefix);
        get(admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all());
        untilThere(topic, partitions);
        return topic;
    }

    /** Kafka's controller answers a creation before the broker beside it has heard of it. */
    private void untilThere(String topic, int partitions) throws Exception {
        Reporter.eventually(topic + " has " + partitions + " partitions", () -> {
            try {
                return describe(topic).partitions().size() == partitions;
            } catch (ExecutionException e) {
                if (e.getCause() instanceof UnknownTopicOrPartitionException) {
                    return false;
                }
                throw e;
            }
        });
    }

    private TopicDescription describe(String topic) throws Exception {
        return get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
    }

    private static void refused(KafkaFuture<?> f, Class<? extends Exception> want) throws Exception {
        Throwable got = Clients.failure(f);
        Reporter.that("expected " + want.getSimpleName() + ", got " + got, want.isInstance(got));
    }

    private Config configs(ConfigResource resource) throws Exception {
        DescribeConfigsOptions all = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return get(admin.describeConfigs(List.of(resource), all).all()).get(resource);
    }

    void run() {
        report.test("admin/create-topics", this::createTopics);
        report.test("admin/create-refusals", this::createRefusals);
        report.test("admin/validate-only", this::validateOnly);
        report.test("admin/describe-topics", this::describeTopics);
        report.test("admin/describe-cluster", this::describeCluster);
        report.test("admin/describe-configs", this::describeConfigs);
        report.test("admin/alter-configs", this::alterConfigs);
        report.test("admin/delete-records", this::deleteRecords);
        report.test("admin/log-dirs", this::logDirs);
        report.test("admin/list-offsets", this::listOffsets);
        report.test("admin/create-partitions", this::createPartitions);
        report.test("admin/delete-topics", this::deleteTopics);
        report.test("admin/features", this::features);
        report.test("admin/many-topics", this::manyTopics);
        if (System.getenv("GROUPS_TOO") != null) {
            report.test("admin/no-authorizer", () -> refused(admin.describeAcls(AclBindingFilter.ANY).values(), SecurityDisabledException.class));
        }
    }

    private void createTopics() throws Exception {
        String topic = Reporter.name("java-create");
        NewTopic wanted = new NewTopic(topic, 3, (short) 1).configs(Map.of("retention.ms", "1234", "cleanup.policy", "compact"));
        CreateTopicsResult result = admin.createTopics(List.of(wanted));
        Reporter.equal("partitions", get(result.numPartitions(topic)), 3);
        untilThere(topic, 3);
        Reporter.equal("factor", get(result.replicationFactor(topic)), 1);
        Reporter.equal("a config", get(result.config(topic)).get("retention.ms").value(), "1234");
        Reporter.that("an id", !get(result.topicId(topic)).equals(Uuid.ZERO_UUID));
        Reporter.equal("the described id", describe(topic).topicId(), get(result.topicId(topic)));
        refused(admin.createTopics(List.of(wanted)).all(), TopicExistsException.class);
        get(admin.createTopics(List.of(new NewTopic(Reporter.name("java-defaults"), Optional.empty(), Optional.empty()))).all());
        get(admin.createTopics(List.of(new NewTopic(Reporter.name("java-assigned"), Map.of(0, List.of(1), 1, List.of(1))))).all());
    }

    private void createRefusals() throws Exception {
        refused(admin.createTopics(List.of(new NewTopic(Reporter.name("java"), 1, (short) 3))).all(), InvalidReplicationFactorException.class);
        refused(admin.createTopics(List.of(new NewTopic(Reporter.name("java"), 0, (short) 1))).all(), InvalidPartitionsException.class);
        refused(admin.createTopics(List.of(new NewTopic("not/good", 1, (short) 1))).all(), InvalidTopicException.class);
        refused(admin.createTopics(List.of(new NewTopic(Reporter.name("java"), 1, (short) 1).configs(Map.of("no.such", "1")))).all(), InvalidConfigurationException.class);
        refused(admin.createTopics(List.of(new NewTopic(Reporter.name("java"), 1, (short) 1).configs(Map.of("segment.bytes", "many")))).all(), InvalidConfigurationException.class);
    }

    private void validateOnly() throws Exception {
        String topic = Reporter.name("java-validate");
        get(admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all());
        refused(admin.describeTopics(List.of(topic)).allTopicNames(), UnknownTopicOrPartitionException.class);
    }

    private void describeTopics() throws Exception {
        String topic = create("java-describe", 4, Map.of());
        TopicDescription byName = describe(topic);
        Reporter.equal("partitions", byName.partitions().size(), 4);
        Reporter.equal("internal", byName.isInternal(), false);
        byName.partitions().forEach(p -> {
            Reporter.equal("leader", p.leader().id(), 1);
            Reporter.equal("replicas", p.replicas().size(), 1);
            Reporter.equal("in sync", p.isr().size(), 1);
        });
        Map<Uuid, TopicDescription> byId = get(admin.describeTopics(TopicCollection.ofTopicIds(List.of(byName.topicId()))).allTopicIds());
        Reporter.equal("by id", byId.get(byName.topicId()).name(), topic);
        Reporter.that("listed", get(admin.listTopics().names()).contains(topic));
        refused(admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds(), UnknownTopicIdException.class);
    }

    private void describeCluster() throws Exception {
        DescribeClusterResult r = admin.describeCluster();
        Reporter.equal("cluster id's length", get(r.clusterId()).length(), 22);
        Reporter.equal("controller", get(r.controller()).id(), 1);
        Reporter.equal("nodes", get(r.nodes()).stream().map(n -> n.host() + ":" + n.port()).collect(Collectors.toList()), List.of(Clients.BROKER));
    }

    private void describeConfigs() throws Exception {
        String topic = create("java-configs", 1, Map.of("retention.ms", "999"));
        Config c = configs(new ConfigResource(ConfigResource.Type.TOPIC, topic));
        ConfigEntry retention = c.get("retention.ms");
        Reporter.equal("value", retention.value(), "999");
        Reporter.equal("source", retention.source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        Reporter.equal("type", retention.type(), ConfigEntry.ConfigType.LONG);
        Reporter.that("documentation", retention.documentation() != null && retention.documentation().length() > 40);
        ConfigEntry segment = c.get("segment.bytes");
        Reporter.that("synonyms " + segment.synonyms(), segment.synonyms().stream().anyMatch(s -> s.name().equals("log.segment.bytes")));
        Reporter.equal("default source", c.get("segment.bytes").source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG);
        Reporter.equal("default value", c.get("segment.bytes").value(), "1073741824");
        Reporter.that("number of configs: " + c.entries().size(), c.entries().size() >= 30);
        Config broker = configs(new ConfigResource(ConfigResource.Type.BROKER, "1"));
        Reporter.that("advertised.listeners", broker.get("advertised.listeners").value().contains(Clients.BROKER));
        Reporter.equal("read only", broker.get("node.id").isReadOnly(), true);
        Reporter.equal("read only", broker.get("log.retention.ms").isReadOnly(), false);
        refused(admin.describeConfigs(List.of(new ConfigResource(ConfigResource.Type.TOPIC, Reporter.name("java-nowhere")))).all(), UnknownTopicOrPartitionException.class);
    }

    private void alterConfigs() throws Exception {
        String topic = create("java-alter", 1, Map.of());
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        get(admin.incrementalAlterConfigs(Map.of(resource, ops("retention.ms", "5555", AlterConfigOp.OpType.SET))).all());
        get(admin.incrementalAlterConfigs(Map.of(resource, ops("cleanup.policy", "compact", AlterConfigOp.OpType.APPEND))).all());
        untilConfig(resource, "retention.ms", "5555");
        untilConfig(resource, "cleanup.policy", "delete,compact");
        get(admin.incrementalAlterConfigs(Map.of(resource, ops("cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT))).all());
        get(admin.incrementalAlterConfigs(Map.of(resource, ops("retention.ms", "", AlterConfigOp.OpType.DELETE))).all());
        untilConfig(resource, "cleanup.policy", "compact");
        untilConfig(resource, "retention.ms", "604800000");
        refused(admin.incrementalAlterConfigs(Map.of(resource, ops("retention.ms", "-7", AlterConfigOp.OpType.SET))).all(), InvalidConfigurationException.class);
        refused(admin.incrementalAlterConfigs(Map.of(resource, ops("no.such", "1", AlterConfigOp.OpType.SET))).all(), InvalidConfigurationException.class);
    }

    private void untilConfig(ConfigResource resource, String name, String want) throws Exception {
        Reporter.eventually(name + "=" + want, () -> configs(resource).get(name).value().equals(want));
    }

    private static Collection<AlterConfigOp> ops(String name, String value, AlterConfigOp.OpType op) {
        return List.of(new AlterConfigOp(new ConfigEntry(name, value), op));
    }

    private void deleteRecords() throws Exception {
        String topic = create("java-trim", 1, Map.of());
        TopicPartition tp = new TopicPartition(topic, 0);
        Clients.send(topic, 0, 100, Map.of());
        Reporter.equal("low watermark", get(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(40))).lowWatermarks().get(tp)).lowWatermark(), 40L);
        refused(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(4000))).all(), OffsetOutOfRangeException.class);
        Reporter.equal("all", get(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(tp)).lowWatermark(), 100L);
        String compacted = create("java-trim-compacted", 1, Map.of("cleanup.policy", "compact"));
        refused(admin.deleteRecords(Map.of(new TopicPartition(compacted, 0), RecordsToDelete.beforeOffset(0))).all(), PolicyViolationException.class);
    }

    private void logDirs() throws Exception {
        String topic = create("java-dirs", 2, Map.of());
        Clients.send(topic, 1, 10, Map.of());
        Map<String, LogDirDescription> dirs = get(admin.describeLogDirs(List.of(1)).allDescriptions()).get(1);
        Reporter.equal("directories", dirs.size(), 1);
        LogDirDescription dir = dirs.values().iterator().next();
        Reporter.that("no error", dir.error() == null);
        Reporter.that("sizes of the volume", dir.totalBytes().orElse(0) > 0 && dir.usableBytes().orElse(0) > 0);
        Reporter.that("size of a replica", dir.replicaInfos().get(new TopicPartition(topic, 1)).size() > 0);
        Reporter.that("not a future replica", !dir.replicaInfos().get(new TopicPartition(topic, 0)).isFuture());
        TopicPartitionReplica replica = new TopicPartitionReplica(topic, 0, 1);
        Reporter.that("current directory", get(admin.describeReplicaLogDirs(List.of(replica)).all()).get(replica).getCurrentReplicaLogDir() != null);
    }

    private void listOffsets() throws Exception {
        String topic = create("java-list", 1, Map.of());
        TopicPartition tp = new TopicPartition(topic, 0);
        Clients.send(topic, 0, 30, Map.of());
        Reporter.equal("latest", offset(tp, OffsetSpec.latest()).offset(), 30L);
        Reporter.equal("earliest", offset(tp, OffsetSpec.earliest()).offset(), 0L);
        ListOffsetsResultInfo max = offset(tp, OffsetSpec.maxTimestamp());
        Reporter.that("max timestamp", max.offset() >= 0 && max.offset() < 30 && max.timestamp() > 0);
        Reporter.equal("for a time", offset(tp, OffsetSpec.forTimestamp(1)).offset(), 0L);
        Reporter.equal("earliest local", offset(tp, OffsetSpec.earliestLocal()).offset(), 0L);
        Reporter.equal("latest tiered", offset(tp, OffsetSpec.latestTiered()).offset(), -1L);
        Reporter.that("a leader epoch", offset(tp, OffsetSpec.latest()).leaderEpoch().isPresent());
        refused(admin.listOffsets(Map.of(new TopicPartition(Reporter.name("java-nowhere"), 0), OffsetSpec.latest())).all(), Exception.class);
    }

    private ListOffsetsResultInfo offset(TopicPartition tp, OffsetSpec spec) throws Exception {
        return get(admin.listOffsets(Map.of(tp, spec)).partitionResult(tp));
    }

    private void createPartitions() throws Exception {
        String topic = create("java-grow", 1, Map.of());
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all());
        untilThere(topic, 3);
        refused(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all(), InvalidPartitionsException.class);
        refused(admin.createPartitions(Map.of(Reporter.name("java-nowhere"), NewPartitions.increaseTo(2))).all(), UnknownTopicOrPartitionException.class);
        Clients.send(topic, 2, 5, Map.of());
    }

    private void deleteTopics() throws Exception {
        String byName = create("java-gone", 1, Map.of());
        String byId = create("java-gone", 2, Map.of());
        Uuid id = describe(byId).topicId();
        get(admin.deleteTopics(List.of(byName)).all());
        get(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all());
        Reporter.eventually("neither is listed", () -> get(admin.listTopics().names()).stream().noneMatch(t -> t.equals(byName) || t.equals(byId)));
        refused(admin.deleteTopics(List.of(byName)).all(), UnknownTopicOrPartitionException.class);
        refused(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all(), UnknownTopicIdException.class);
    }

    private void features() throws Exception {
        FeatureMetadata f = get(admin.describeFeatures().featureMetadata());
        Reporter.that("metadata.version " + f.finalizedFeatures(), f.finalizedFeatures().get("metadata.version").maxVersionLevel() >= 7);
        Reporter.that("supported " + f.supportedFeatures(), f.supportedFeatures().get("metadata.version").maxVersion() >= 30);
        Reporter.that("an epoch", f.finalizedFeaturesEpoch().isPresent());
    }

    private void manyTopics() throws Exception {
        List<NewTopic> topics = new java.util.ArrayList<>();
        for (int i = 0; i < 100; i++) {
            topics.add(new NewTopic(Reporter.name("java-hundred"), 3, (short) 1));
        }
        get(admin.createTopics(topics).all());
        for (NewTopic t : topics) {
            untilThere(t.name(), 3);
        }
        List<String> names = topics.stream().map(NewTopic::name).collect(Collectors.toList());
        Reporter.equal("described", get(admin.describeTopics(names).allTopicNames()).size(), 100);
        get(admin.deleteTopics(names).all());
    }
}
