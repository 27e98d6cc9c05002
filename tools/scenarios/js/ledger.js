'use strict'
// Balances rebuilt from an audit log, all runs and both languages; see ../ledger.go.
const { newEvent, decode } = require('./envelope')
const { within } = require('./stage')

const topic = 'scenario.ledger'
const opening = 1000

module.exports = async function ledger (s) {
  await s.topic(topic, 2)
  const producer = await s.producer()
  const owners = ['ada', 'grace', 'edsger', 'barbara']
  const expected = new Map()
  const messages = []
  const put = (account, type, amount, correlation, note) => {
    expected.set(account, (expected.get(account) || 0) + amount)
    messages.push(newEvent(account, type, correlation, 'ledger-js', { account, amount, note }))
  }
  owners.forEach((owner, i) => put(`${s.run}.${owner}`, 'AccountOpened', opening, `${s.run}-open-${i}`, 'opening'))
  for (let i = 0; i < 100; i++) {
    const from = i % 4
    const to = (from + 1 + i % 3) % 4
    const amount = 1 + (i * 37) % 50
    const correlation = `${s.run}-transfer-${i}`
    put(`${s.run}.${owners[from]}`, 'Withdrawn', -amount, correlation, `to ${owners[to]}`)
    put(`${s.run}.${owners[to]}`, 'Deposited', amount, correlation, `from ${owners[from]}`)
  }
  await producer.send({ topic, messages })
  s.say('bank', `${owners.length} accounts, 100 transfers, ${messages.length} entries`)

  const ends = new Map((await s.ends(topic)).map(p => [p.partition, p.offset]))
  const next = new Map([...ends.keys()].map(p => [p, 0]))
  const balances = new Map()
  const transfers = new Map()
  const runs = new Set()
  const senders = new Set()
  let entries = 0
  let unreadable = 0
  let disorder = 0
  const done = () => [...ends].every(([p, end]) => next.get(p) >= end)
  const zero = [...ends.keys()].map(partition => ({ partition, offset: 0 }))
  const replayed = s.follow('auditor', [topic], (message, _topic, partition) => {
    const offset = Number(message.offset)
    if (offset !== next.get(partition)) disorder++
    next.set(partition, offset + 1)
    if (offset >= ends.get(partition)) return done()
    let event
    try {
      event = decode(message)
    } catch (err) {
      unreadable++
      s.say('auditor', `${topic}-${partition} offset ${offset}: ${err.message}: passed by`)
      return done()
    }
    const { account, amount } = event.payload
    balances.set(account, (balances.get(account) || 0) + amount)
    runs.add(account.split('.')[0])
    senders.add(event.sender)
    if (event.eventType !== 'AccountOpened') {
      const t = transfers.get(event.correlationId) || { sides: 0, sum: 0 }
      transfers.set(event.correlationId, { sides: t.sides + 1, sum: t.sum + amount })
    }
    entries++
    return done()
  }, { [topic]: zero })
  await within(60, replayed, () => `${entries} entries replayed`)
  s.say('auditor', `${entries} entries of ${runs.size} runs read from offset zero, written by ${[...senders].sort().join(', ')}; ${unreadable} records could not be read`)
  for (const account of [...expected.keys()].sort()) s.say('auditor', `${account.padEnd(22)} ${String(balances.get(account)).padStart(6)}`)
  s.check([...expected].every(([account, balance]) => balances.get(account) === balance), `the ${expected.size} balances of this run are what was written`)
  const whole = [...transfers.values()].filter(t => t.sides === 2)
  s.check(whole.every(t => t.sum === 0), `no transfer made or lost money (${transfers.size} transfers, ${transfers.size - whole.length} without their other side)`)
  s.check(disorder === 0, 'offsets rise by one in every partition')
}
