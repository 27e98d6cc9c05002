'use strict'
// Sensors over six partitions, rolling averages, alarms; see ../telemetry.go.
const { newEvent, decode } = require('./envelope')
const { within } = require('./stage')

const topic = 'scenario.telemetry'
const alarmsTopic = 'scenario.alarms'
const window = 10 // readings of a rolling average
const tooHot = 80 // an average above is an alarm
const devices = 10
const readings = 80

/** Rolling is the average of the last readings of one device. */
class Rolling {
  constructor () {
    this.last = []
    this.alarm = false
  }

  /** add takes a reading in and says whether the alarm begins. */
  add (v) {
    this.last.push(v)
    if (this.last.length > window) this.last.shift()
    const average = this.last.reduce((a, b) => a + b, 0) / this.last.length
    const hot = this.last.length === window && average > tooHot
    const begins = hot && !this.alarm
    this.alarm = hot
    return { average, begins }
  }
}

/** celsius is what a device measures: a wave, and two devices that overheat. */
function celsius (device, number) {
  let t = 60 + 8 * Math.sin(number / 5 + device)
  if (device % 5 === 4 && number >= 40) t += 30
  return Math.round(t * 10) / 10
}

module.exports = async function telemetry (s) {
  await s.topic(topic, 6)
  await s.topic(alarmsTopic, 1)
  const producer = await s.producer()
  const expected = new Map()
  const models = Array.from({ length: devices }, () => new Rolling())
  const messages = []
  for (let number = 0; number < readings; number++) {
    for (let d = 0; d < devices; d++) {
      const device = `${s.run}-sensor-${String(d).padStart(2, '0')}`
      const r = { device, number, celsius: celsius(d, number) }
      const { average, begins } = models[d].add(r.celsius)
      if (begins) expected.set(`${device}@${number}`, average)
      messages.push(newEvent(device, 'Reading', `${s.run}-${d}-${number}`, device, r))
    }
  }
  const raised = new Map()
  const alarmed = s.follow('operator', [alarmsTopic], message => {
    let event
    try {
      event = decode(message)
    } catch {
      return false
    }
    if (!event.correlationId.startsWith(s.run)) return false
    raised.set(`${event.payload.device}@${event.payload.number}`, event.payload.average)
    return raised.size === expected.size
  }, { [alarmsTopic]: await s.ends(alarmsTopic) })

  const home = new Map()
  const last = new Map()
  const averages = new Map()
  let seen = 0
  const monitored = s.follow('monitor', [topic], async (message, _topic, partition) => {
    let event
    try {
      event = decode(message)
    } catch (err) {
      s.say('monitor', `${topic}-${partition} offset ${message.offset}: ${err.message}: passed by`)
      return false
    }
    if (!event.correlationId.startsWith(s.run)) return false
    const { device, number, celsius } = event.payload
    if (home.has(device) && (home.get(device) !== partition || last.get(device) + 1 !== number)) {
      s.check(false, `reading ${number} of ${device} in partition ${partition} follows reading ${last.get(device)} in partition ${home.get(device)}`)
    }
    home.set(device, partition)
    last.set(device, number)
    if (!averages.has(device)) averages.set(device, new Rolling())
    const { average, begins } = averages.get(device).add(celsius)
    if (begins) {
      s.say('monitor', `${device}: ${average.toFixed(1)} °C on average over ${window} readings`)
      await producer.send({ topic: alarmsTopic, messages: [newEvent(device, 'Overheated', event.correlationId, 'monitor-js', { device, number, average })] })
    }
    return ++seen === messages.length
  }, { [topic]: await s.ends(topic) })

  s.say('sensors', `${devices} devices send ${readings} readings each`)
  await producer.send({ topic, messages })
  await within(60, monitored, () => `${seen} of ${messages.length} readings arrived`)
  s.check(home.size === devices, `every device stayed in its partition, in order (${devices} devices over ${new Set(home.values()).size} partitions)`)
  await within(60, alarmed, () => `${raised.size} of ${expected.size} alarms were raised`)
  const right = [...expected].filter(([key, average]) => Math.abs((raised.get(key) ?? NaN) - average) < 0.001)
  s.check(right.length === expected.size && right.length > 0, `the ${expected.size} alarms that had to come came, with the averages they had to have`)
}
