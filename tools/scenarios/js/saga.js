'use strict'
// An order goes through payment and shipping to its outcome; see ../saga.go, whose topics it shares.
const { newEvent, decode } = require('./envelope')
const { within, pause } = require('./stage')

const orders = 'scenario.orders'
const payments = 'scenario.payments'
const shipments = 'scenario.shipments'
const outcomes = 'scenario.order-outcomes'
const creditLimit = 500
const soldOut = 'piano'

module.exports = async function saga (s) {
  for (const topic of [orders, payments, shipments, outcomes]) await s.topic(topic, 3)
  const producer = await s.producer()
  const services = []
  let poison = 0

  const reactions = {
    payment (e, o) {
      if (e.eventType !== 'OrderPlaced') return []
      if (o.amount > creditLimit) {
        s.say('payment', `${o.orderId}: ${o.amount} is beyond the limit, declined`)
        return [[payments, 'PaymentDeclined', { ...o, reason: 'credit limit' }]]
      }
      s.say('payment', `${o.orderId}: ${o.amount} taken`)
      return [[payments, 'PaymentAccepted', o]]
    },
    shipping (e, o) {
      if (e.eventType !== 'PaymentAccepted') return []
      if (o.item === soldOut) {
        s.say('shipping', `${o.orderId}: no ${o.item} left`)
        return [[shipments, 'ShipmentFailed', { ...o, reason: 'sold out' }]]
      }
      s.say('shipping', `${o.orderId}: ${o.item} is on its way`)
      return [[shipments, 'ShipmentSent', o]]
    },
    order (e, o) {
      switch (e.eventType) {
        case 'PaymentDeclined': return [[outcomes, 'OrderCancelled', o]]
        case 'ShipmentSent': return [[outcomes, 'OrderConfirmed', o]]
        case 'ShipmentFailed':
          s.say('order', `${o.orderId}: giving ${o.amount} back`)
          return [[payments, 'PaymentRefunded', o], [outcomes, 'OrderCancelled', o]]
        default: return []
      }
    }
  }

  // A service reads, reacts, waits until its reactions are acknowledged, and commits.
  const serve = (name, topics) => s.follow(name, topics, async (message, topic, partition) => {
    let event
    try {
      event = decode(message)
    } catch (err) {
      if (String(message.value).includes(s.run)) {
        poison++
        s.say(name, `${topic}-${partition} offset ${message.offset} cannot be read (${err.message}): reported, passed by`)
      }
      return false
    }
    if (!event.correlationId.startsWith(s.run)) return false // of another run
    for (const [to, type, payload] of reactions[name](event, event.payload)) {
      await producer.send({ topic: to, messages: [newEvent(payload.orderId, type, event.correlationId, `${name}-service-js`, payload)] })
    }
    return false
  })

  const expected = new Map()
  const reached = new Map()
  const followed = s.follow('customer', [outcomes], message => {
    let event
    try {
      event = decode(message)
    } catch {
      return false
    }
    if (!event.correlationId.startsWith(s.run)) return false
    const id = event.payload.orderId
    if (reached.has(id)) s.check(false, `order ${id} has two outcomes, ${reached.get(id)} and ${event.eventType}`)
    reached.set(id, event.eventType)
    s.say('order', `${id}: ${event.eventType}`)
    return reached.size === 12
  })
  const running = []
  for (const [name, topics] of [['payment', [orders]], ['shipping', [payments]], ['order', [payments, shipments]]]) {
    running.push(serve(name, topics))
    services.push(name)
  }
  // Every service is there before the first order is placed.
  await settled(s, [...services, 'customer'])

  const items = ['book', 'lamp', soldOut, 'chair']
  for (let i = 0; i < 12; i++) {
    const o = { orderId: `${s.run}-${String(i).padStart(2, '0')}`, item: items[i % items.length], amount: 60 * i }
    expected.set(o.orderId, o.amount > creditLimit || o.item === soldOut ? 'OrderCancelled' : 'OrderConfirmed')
    await producer.send({ topic: orders, messages: [newEvent(o.orderId, 'OrderPlaced', `${s.run}-${o.orderId}`, 'shop-js', o)] })
    s.say('customer', `${o.orderId}: a ${o.item} for ${o.amount}`)
    if (i === 5) {
      await producer.send({ topic: orders, messages: [{ key: o.orderId, value: `{ not an event of ${s.run}` }] })
      s.say('customer', 'and something nobody can read')
    }
  }
  await within(60, Promise.race([followed, ...running]), () => `${reached.size} of ${expected.size} orders have an outcome`)
  const wrong = [...expected].filter(([id, want]) => reached.get(id) !== want)
  s.check(wrong.length === 0, `every one of ${expected.size} orders reached the outcome it should`)
  s.check(poison === 1, `the record that nobody can read was reported once and passed by (${poison} reports)`)
  await checkLag(s, services)
}

// settled waits until the groups have members.
async function settled (s, services) {
  const admin = await s.admin()
  for (;;) {
    const { groups } = await admin.describeGroups(services.map(name => s.group(name)))
    if (groups.every(g => g.state === 'Stable')) return
    await pause(50)
  }
}

// checkLag looks whether the services have committed everything they were given.
async function checkLag (s, services) {
  const admin = await s.admin()
  for (const name of services) {
    for (let tries = 0; ; tries++) {
      const committed = await admin.fetchOffsets({ groupId: s.group(name) })
      let lag = 0
      for (const { topic, partitions } of committed) {
        const ends = new Map((await s.ends(topic)).map(p => [p.partition, p.offset]))
        const starts = new Map(s.starts[name][topic].map(p => [p.partition, p.offset]))
        for (const p of partitions) lag += ends.get(p.partition) - (Number(p.offset) < 0 ? starts.get(p.partition) : Number(p.offset))
      }
      if (lag === 0 || tries === 200) {
        s.check(lag === 0, `group ${s.group(name)} has no lag`)
        break
      }
      await pause(50)
    }
  }
}
