'use strict';
// One member of a group with KafkaJS: GROUP TOPIC NAME. Prints "got PARTITION FIRST LAST" for the records it was given and
// leaves the group when standard input ends.

const { Kafka, logLevel } = require('kafkajs');

const [group, topic, name] = process.argv.slice(2);
const kafka = new Kafka({
  clientId: name, brokers: [process.env.BROKER], logLevel: logLevel.ERROR, logCreator: () => ({ log }) => console.error(JSON.stringify(log)),
  connectionTimeout: 5000, requestTimeout: 10000, retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 1000 },
});
const consumer = kafka.consumer({
  groupId: group, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 10000, maxWaitTimeInMs: 250, metadataMaxAge: 10000,
});

async function main() {
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommit: true, autoCommitThreshold: 1,
    eachBatch: async ({ batch, resolveOffset, heartbeat, commitOffsetsIfNecessary }) => {
      console.log(`got ${batch.partition} ${batch.firstOffset()} ${batch.lastOffset()}`);
      resolveOffset(batch.lastOffset());
      await commitOffsetsIfNecessary();
      await heartbeat();
    },
  });
  process.stdin.resume();
  process.stdin.on('end', async () => {
    await consumer.disconnect();
    process.exit(0);
  });
}

main().catch((e) => { console.error(e); process.exit(1); });
