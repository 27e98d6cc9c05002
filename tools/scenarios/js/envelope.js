'use strict'
// The envelope around every event of every scenario, in both languages (see ../envelope.go).
const { randomUUID } = require('node:crypto')

/** newEvent makes a message about one thing: the key keeps its events in order. */
function newEvent (key, eventType, correlationId, sender, payload) {
  const event = { eventId: randomUUID(), eventType, timestamp: new Date().toISOString(), correlationId, sender, payload }
  return { key, value: JSON.stringify(event) }
}

/** decode opens an envelope; an error is what makes a record a poison pill, to be reported and passed by. */
function decode (message) {
  let event
  try {
    event = JSON.parse(message.value)
  } catch (err) {
    throw new Error(`no event: ${err.message}`)
  }
  if (!event || !event.eventId || !event.eventType) throw new Error('no event: eventId or eventType is missing')
  return event
}

module.exports = { newEvent, decode }
