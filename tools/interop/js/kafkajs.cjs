'use strict';
// KafkaJS: admin and producer; consumers need groups and come with GROUPS_TOO.

const assert = require('node:assert');
const { randomBytes } = require('node:crypto');
const { Kafka, CompressionTypes, logLevel } = require('kafkajs');

const BROKER = process.env.BROKER;
const kafka = new Kafka({ clientId: 'gregor-interop', brokers: [BROKER], logLevel: logLevel.NOTHING, retry: { retries: 5 } });
const admin = kafka.admin();
const name = (prefix) => `${prefix}-${randomBytes(4).toString('hex')}`;

let count = 0;

async function test(title, body) {
  const start = process.hrtime.bigint();
  let failure = null;
  try {
    await body();
  } catch (e) {
    failure = e;
  }
  count++;
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  console.log(`${failure ? 'FAIL' : 'PASS'} ${title} ${seconds.toFixed(2)}`);
  if (failure) {
    String(failure.stack || failure).split('\n').slice(0, 8).forEach((line) => console.log(`| ${line}`));
  }
}

async function create(prefix, partitions = 1, configEntries = []) {
  const topic = name(prefix);
  const made = await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }], waitForLeaders: true, timeout: 20000 });
  assert.strictEqual(made, true);
  await untilThere(topic, partitions);
  return topic;
}

// untilThere asks until the topic has its partitions, for at most 20 s.
async function untilThere(topic, partitions) {
  const deadline = Date.now() + 20000;
  for (;;) {
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      if (topics[0].partitions.length === partitions) return topics[0];
    } catch (e) {
      if (e.type !== 'UNKNOWN_TOPIC_OR_PARTITION') throw e;
    }
    assert(Date.now() < deadline, `${topic} does not have ${partitions} partitions`);
  }
}

async function produced(options, compression) {
  const topic = await create('kafkajs');
  const producer = kafka.producer({ ...options });
  await producer.connect();
  try {
    for (let batch = 0; batch < 10; batch++) {
      const messages = [];
      for (let i = 0; i < 100; i++) {
        messages.push({ key: `key ${i}`, value: `value ${batch * 100 + i} `.repeat(10), headers: { h: 'x', n: String(i) } });
      }
      const [result] = await producer.send({ topic, compression, acks: -1, messages });
      assert.strictEqual(result.errorCode, 0);
      assert.strictEqual(result.baseOffset, String(batch * 100));
    }
  } finally {
    await producer.disconnect();
  }
  const offsets = await admin.fetchTopicOffsets(topic);
  assert.deepStrictEqual(offsets, [{ partition: 0, offset: '1000', high: '1000', low: '0' }]);
}

async function fails(type, promise) {
  try {
    await promise;
  } catch (e) {
    const found = [e.type, e.cause && e.cause.type, ...(e.errors || []).map((x) => x.type)];
    assert(found.includes(type), `expected ${type}, got ${found} (${e.message})`);
    return;
  }
  assert.fail(`expected ${type}`);
}

async function main() {
  await admin.connect();

  await test('producer/none', () => produced({}, CompressionTypes.None));
  await test('producer/gzip', () => produced({}, CompressionTypes.GZIP));
  await test('producer/idempotent', () => produced({ idempotent: true, maxInFlightRequests: 1 }, CompressionTypes.None));
  await test('producer/batch-to-many-topics', async () => {
    const topics = [await create('kafkajs-a', 3), await create('kafkajs-b', 2), await create('kafkajs-c')];
    const producer = kafka.producer();
    await producer.connect();
    const results = await producer.sendBatch({
      topicMessages: topics.map((topic) => ({ topic, messages: [{ partition: 0, value: 'a' }, { partition: 0, key: 'k', value: null }] })),
    });
    await producer.disconnect();
    assert.strictEqual(results.length, 3);
    for (const topic of topics) {
      const [first] = (await admin.fetchTopicOffsets(topic)).filter((o) => o.partition === 0);
      assert.strictEqual(first.offset, '2');
    }
  });
  await test('producer/message-too-large', async () => {
    const topic = await create('kafkajs-large', 1, [{ name: 'max.message.bytes', value: '10000' }]);
    const producer = kafka.producer({ retry: { retries: 0 } });
    await producer.connect();
    await fails('MESSAGE_TOO_LARGE', producer.send({ topic, messages: [{ value: 'x'.repeat(50000) }] }));
    await producer.disconnect();
  });
  await test('producer/auto-creation', async () => {
    const topic = name('kafkajs-auto');
    const producer = kafka.producer({ allowAutoTopicCreation: true });
    await producer.connect();
    await producer.send({ topic, messages: [{ value: 'v' }] });
    await producer.disconnect();
    assert.strictEqual((await untilThere(topic, 1)).name, topic);
  });

  await test('admin/cluster', async () => {
    const cluster = await admin.describeCluster();
    assert.strictEqual(cluster.controller, 1);
    assert.deepStrictEqual(cluster.brokers.map((b) => `${b.host}:${b.port}`), [BROKER]);
    assert.strictEqual(cluster.clusterId.length, 22);
  });
  await test('admin/topics', async () => {
    const topic = await create('kafkajs-topics', 3);
    const metadata = await untilThere(topic, 3);
    assert(metadata.partitions.every((p) => p.leader === 1 && p.isr.length === 1 && p.partitionErrorCode === 0));
    assert((await admin.listTopics()).includes(topic));
    assert.strictEqual(await admin.createTopics({ topics: [{ topic }] }), false);
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] });
    await untilThere(topic, 5);
    await admin.deleteTopics({ topics: [topic] });
    const deadline = Date.now() + 20000;
    while ((await admin.listTopics()).includes(topic)) assert(Date.now() < deadline, 'it stays listed');
  });
  await test('admin/refusals', async () => {
    await fails('INVALID_TOPIC_EXCEPTION', admin.createTopics({ topics: [{ topic: 'no/good' }] }));
    await fails('INVALID_REPLICATION_FACTOR', admin.createTopics({ topics: [{ topic: name('kafkajs'), replicationFactor: 3 }] }));
    await fails('INVALID_CONFIG', admin.createTopics({ topics: [{ topic: name('kafkajs'), configEntries: [{ name: 'no.such', value: '1' }] }] }));
  });
  await test('admin/offsets-by-time', async () => {
    const topic = await create('kafkajs-time');
    const start = Date.now() - 3600000;
    const producer = kafka.producer();
    await producer.connect();
    for (let i = 0; i < 10; i++) {
      await producer.send({ topic, messages: [{ value: String(i), timestamp: String(start + i * 1000) }] });
    }
    await producer.disconnect();
    assert.deepStrictEqual(await admin.fetchTopicOffsetsByTimestamp(topic, start + 4500), [{ partition: 0, offset: '5' }]);
    assert.deepStrictEqual(await admin.fetchTopicOffsetsByTimestamp(topic, start - 1), [{ partition: 0, offset: '0' }]);
  });
  await test('admin/configs', async () => {
    const topic = await create('kafkajs-configs', 1, [{ name: 'retention.ms', value: '1111' }]);
    const read = async () => {
      const { resources } = await admin.describeConfigs({ includeSynonyms: true, resources: [{ type: 2, name: topic }] });
      return Object.fromEntries(resources[0].configEntries.map((c) => [c.configName, c.configValue]));
    };
    assert.strictEqual((await read())['retention.ms'], '1111');
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: topic, configEntries: [{ name: 'retention.ms', value: '2222' }] }] });
    const deadline = Date.now() + 20000;
    while ((await read())['retention.ms'] !== '2222') assert(Date.now() < deadline, 'retention.ms does not change');
    assert.strictEqual((await read())['max.message.bytes'], '1048588');
  });
  await test('admin/delete-records', async () => {
    const topic = await create('kafkajs-trim');
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic, messages: Array.from({ length: 10 }, (_, i) => ({ value: String(i) })) });
    await producer.disconnect();
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] });
    assert.strictEqual((await admin.fetchTopicOffsets(topic))[0].low, '4');
  });
  if (process.env.GROUPS_TOO) {
    await test('consumer/group', async () => {
      const topic = await create('kafkajs-group', 2);
      const producer = kafka.producer();
      await producer.connect();
      await producer.send({ topic, compression: CompressionTypes.GZIP, messages: Array.from({ length: 100 }, (_, i) => ({ value: String(i) })) });
      await producer.disconnect();
      const consumer = kafka.consumer({ groupId: name('group') });
      await consumer.connect();
      await consumer.subscribe({ topic, fromBeginning: true });
      const seen = new Set();
      let timer;
      await new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`${seen.size} of 100 records within 40 s`)), 40000);
        consumer.run({ eachMessage: async ({ message }) => { seen.add(message.value.toString()); if (seen.size === 100) resolve(); } });
      });
      clearTimeout(timer);
      await consumer.disconnect();
    });
  }
  await admin.disconnect();
  console.log(`DONE ${count}`);
}

main().then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
