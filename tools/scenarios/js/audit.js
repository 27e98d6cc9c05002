'use strict'
// What the broker says it is, compared with what it does; see ../audit.go.
const { newEvent, decode } = require('./envelope')
const { within } = require('./stage')
const { CompressionTypes } = require('kafkajs')

const topic = 'scenario.audit'

module.exports = async function audit (s) {
  await s.topic(topic, 3)
  const admin = await s.admin()
  const cluster = await admin.describeCluster()
  s.check(Boolean(cluster.clusterId), `the cluster has an id: ${cluster.clusterId}`)
  for (const b of cluster.brokers) s.say('cluster', `broker ${b.nodeId} at ${b.host}:${b.port}`)
  s.check(cluster.brokers.some(b => b.nodeId === cluster.controller), `the controller, ${cluster.controller}, is one of its ${cluster.brokers.length} brokers`)

  const { topics } = await admin.fetchTopicMetadata()
  let partitions = 0
  let leaderless = 0
  for (const t of topics) {
    s.say('topics', `${t.name.padEnd(28)} ${t.partitions.length} partitions`)
    for (const p of t.partitions) {
      partitions++
      if (p.leader < 0 || !p.isr.includes(p.leader)) leaderless++
    }
  }
  s.check(leaderless === 0, `each of ${partitions} partitions of ${topics.length} topics has a leader in its in-sync set`)
  const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: topic }] })
  const names = resources[0].configEntries.map(c => c.configName)
  s.check(['cleanup.policy', 'retention.ms', 'segment.bytes'].every(n => names.includes(n)), `a topic says how it is configured (${names.length} settings)`)

  // KafkaJS has these two codecs without help.
  const producer = await s.producer()
  const sent = new Map()
  let same = 0
  const back = s.follow('auditor', [topic], message => {
    const key = String(message.key)
    if (!sent.has(key)) return false
    if (sent.get(key) === String(message.value) && String(message.headers.codec) === decode(message).payload.codec && Number(message.timestamp) > 0) same++
    sent.delete(key)
    return sent.size === 0
  }, { [topic]: await s.ends(topic) })
  for (const [name, compression] of [['none', CompressionTypes.None], ['gzip', CompressionTypes.GZIP]]) {
    const message = newEvent(`${s.run}-${name}`, 'Probe', `${s.run}-${name}`, 'auditor-js', { codec: name, text: `${name} `.repeat(200) })
    sent.set(message.key, message.value)
    await producer.send({ topic, compression, messages: [{ ...message, headers: { codec: name } }] })
  }
  await within(60, back, () => `records not read back: ${[...sent.keys()]}`)
  s.check(same === 2, `a record comes back as it was through ${same} of 2 codecs, with key, headers and timestamp`)

  const hasty = s.hasty.admin()
  await hasty.connect()
  s.open.push(hasty)
  const absent = `scenario.absent-${s.run}`
  const mistake = async (type, what, call) => {
    let got = 'no error'
    try {
      await call()
    } catch (err) {
      const inner = (err.errors && err.errors[0]) || err
      got = [inner, inner.cause, inner.originalError].map(e => e && e.type).find(Boolean) || inner.message
    }
    s.check(got === type, `${what} is ${type}${got === type ? '' : `, not ${got}`}`)
  }
  s.check(await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] }) === false, 'a topic that is there already is not made again')
  await mistake('INVALID_TOPIC_EXCEPTION', 'a name that cannot be', () => admin.createTopics({ topics: [{ topic: `no topic: ${absent}` }] }))
  await mistake('INVALID_REPLICATION_FACTOR', 'more replicas than brokers', () => admin.createTopics({ topics: [{ topic: absent, numPartitions: 1, replicationFactor: 99 }] }))
  await mistake('UNKNOWN_TOPIC_OR_PARTITION', 'deleting what is not there', () => hasty.deleteTopics({ topics: [absent] }))
}
