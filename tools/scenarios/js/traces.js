'use strict'
// A live stream of log lines, filtered to the errors of two requests; see ../traces.go.
const { newEvent, decode } = require('./envelope')
const { within } = require('./stage')

const topic = 'scenario.traces'
const requests = 20
const lines = 30
const request = (run, i) => `${run}-req-${String(i).padStart(2, '0')}`

module.exports = async function traces (s) {
  await s.topic(topic, 3)
  const producer = await s.producer()
  const watched = [request(s.run, 3), request(s.run, 11)]
  const services = ['gateway', 'basket', 'stock', 'billing']
  const expected = new Map(watched.map(id => [id, []]))
  const found = new Map(watched.map(id => [id, []]))
  const messages = []
  for (let line = 0; line < lines; line++) {
    for (let i = 0; i < requests; i++) {
      const correlation = request(s.run, i)
      const failed = (i * 7 + line * 5) % 11 === 0
      const payload = { level: failed ? 'ERROR' : 'INFO', service: services[(i + line) % 4], line, message: failed ? `step ${line} timed out` : 'step done' }
      if (failed && expected.has(correlation)) expected.get(correlation).push(line)
      messages.push(newEvent(correlation, 'LogLine', correlation, `${payload.service}-js`, payload))
    }
  }
  let seen = 0
  const streamed = s.follow('streamer', [topic], (message, _topic, partition) => {
    let event
    try {
      event = decode(message)
    } catch (err) {
      s.say('streamer', `${topic}-${partition} offset ${message.offset}: ${err.message}: passed by`)
      return false
    }
    if (!event.correlationId.startsWith(s.run)) return false
    seen++
    const { level, service, line, message: text } = event.payload
    if (level === 'ERROR' && found.has(event.correlationId)) {
      s.say('streamer', `${event.correlationId} ${service}: ${text}`)
      found.get(event.correlationId).push(line)
    }
    return seen === messages.length
  }, { [topic]: await s.ends(topic) })
  s.say('writer', `${messages.length} lines of ${requests} requests; following the errors of ${watched.join(' and ')}`)
  await producer.send({ topic, messages })
  await within(60, streamed, () => `${seen} of ${messages.length} lines arrived`)
  for (const id of watched) {
    s.check(String(found.get(id)) === String(expected.get(id)), `${id}: its ${expected.get(id).length} errors arrived, each once and in order`)
  }
}
