'use strict'
// What a scenario plays on: clients of the broker, lines for the reader, and the checks that decide how it went.
const { randomUUID } = require('node:crypto')
const { Kafka, logLevel, Partitioners } = require('kafkajs')

const colours = process.stdout.isTTY && !process.env.NO_COLOR
const paint = (code, s) => colours ? `\x1b[${code}m${s}\x1b[0m` : s
const bold = s => paint(1, s)
const dim = s => paint(2, s)
const red = s => paint(31, s)
const green = s => paint(32, s)
const cyan = s => paint(36, s)

class Stage {
  constructor (name, brokers) {
    this.name = name
    this.run = randomUUID().slice(0, 8) // part of every correlation id and group of this performance
    this.began = Date.now()
    this.checks = 0
    this.failures = 0
    this.open = []
    this.starts = {} // where each service began
    const options = { clientId: `scenario-js-${name}`, brokers, logLevel: logLevel.NOTHING }
    this.kafka = new Kafka({ ...options, retry: { initialRetryTime: 50, retries: 12 } })
    this.hasty = new Kafka({ ...options, retry: { retries: 0 } }) // takes the first answer
  }

  async close () {
    await Promise.allSettled(this.open.map(c => c.disconnect()))
  }

  /** say prints a line of who does what. */
  say (who, text) {
    const at = ((Date.now() - this.began) / 1000).toFixed(2).padStart(6)
    console.log(`  ${dim(`${at}s`)} ${cyan(who.padEnd(10))} ${text}`)
  }

  /** check notes an outcome; one that does not hold fails the scenario. */
  check (holds, text) {
    this.checks++
    if (!holds) this.failures++
    console.log(`  ${holds ? green('ok') : red('not so')} ${text}`)
  }

  async admin () {
    if (!this.adminClient) {
      this.adminClient = this.kafka.admin()
      await this.adminClient.connect()
      this.open.push(this.adminClient)
    }
    return this.adminClient
  }

  async producer () {
    const producer = this.kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    this.open.push(producer)
    return producer
  }

  /** topic makes sure of a topic, and waits until it can be used. */
  async topic (name, partitions) {
    const admin = await this.admin()
    await admin.createTopics({ topics: [{ topic: name, numPartitions: partitions, replicationFactor: 1 }], waitForLeaders: true })
  }

  /** ends are the present ends of a topic's partitions: [{ partition, offset }], offsets as numbers. */
  async ends (topic) {
    const admin = await this.admin()
    return (await admin.fetchTopicOffsets(topic)).map(p => ({ partition: p.partition, offset: Number(p.high) }))
  }

  group (service) {
    return `scenario-js-${this.name}-${service}-${this.run}`
  }

  /**
   * follow runs a consumer in a group of its own, from the given offsets of its topics (their present ends when left out).
   * each gets (message, topic, partition), may be asynchronous, and says true when it has seen enough: then the promise
   * that follow resolves to, done, is kept.
   */
  async follow (service, topics, each, from) {
    const starts = {}
    for (const topic of topics) starts[topic] = (from && from[topic]) || await this.ends(topic)
    this.starts[service] = starts
    const consumer = this.kafka.consumer({ groupId: this.group(service), maxWaitTimeInMs: 100, sessionTimeout: 20000, rebalanceTimeout: 20000 })
    await consumer.connect()
    this.open.push(consumer)
    await consumer.subscribe({ topics })
    let keep, fail
    const done = new Promise((resolve, reject) => { keep = resolve; fail = reject })
    done.catch(() => {}) // whoever waits sees it; who does not, does not crash
    consumer.on(consumer.events.CRASH, e => fail(e.payload.error))
    await consumer.run({
      autoCommitThreshold: 1,
      eachMessage: async ({ topic, partition, message }) => {
        try {
          if (await each(message, topic, partition)) keep()
        } catch (err) {
          fail(err)
        }
      }
    })
    // admin.setOffsets would join the group once more to do this.
    for (const topic of topics) {
      for (const p of starts[topic]) consumer.seek({ topic, partition: p.partition, offset: String(p.offset) })
    }
    return done
  }
}

/** within gives up on a promise that takes too long. */
function within (seconds, promise, what) {
  let timer
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what()}: not within ${seconds} s`)), seconds * 1000)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

module.exports = { Stage, within, pause, bold, red, green }
