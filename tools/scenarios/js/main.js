'use strict'
// node tools/scenarios/js [--brokers HOST:PORT,...] [NAME...]: the five scenarios of the directory above, on KafkaJS. If no
// broker answers, a temporary one is built from this module (which takes a Go toolchain) and goes when they are done. The
// exit status is 0 when every check held, 1 when one did not, 2 when there was nothing to run against.
const { execFileSync } = require('node:child_process')

try {
  require.resolve('kafkajs')
} catch {
  console.log('installing the client library once')
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: __dirname, stdio: 'inherit' })
}

const { Stage, within, bold, red, green } = require('./stage')
const { answers, startBroker } = require('./broker')

const scenarios = {
  saga: { about: 'an order goes through three services; one record nobody can read', run: require('./saga') },
  traces: { about: 'the errors of chosen requests out of a live stream of log lines', run: require('./traces') },
  ledger: { about: 'balances rebuilt by replaying an audit log from offset zero', run: require('./ledger') },
  telemetry: { about: 'sensors over six partitions, rolling averages, alarms', run: require('./telemetry') },
  audit: { about: 'what the broker says it is, and whether it is so', run: require('./audit') }
}

/** perform runs one scenario and says how it went. */
async function perform (name, brokers) {
  const stage = new Stage(name, brokers)
  console.log(`\n${bold(name)} ${scenarios[name].about}`)
  let error
  try {
    await within(90, scenarios[name].run(stage), () => name)
  } catch (err) {
    error = err
  }
  await stage.close()
  const took = `${Date.now() - stage.began} ms`
  if (!error && stage.failures === 0) {
    console.log(`${green('PASS')} ${name}: ${stage.checks} checks, ${took}`)
    return true
  }
  if (error) console.log(`  ${red('error')} ${error.message}`)
  console.log(`${red('FAIL')} ${name}: ${stage.failures} of ${stage.checks} checks failed, ${took}`)
  return false
}

async function main () {
  const names = []
  let brokers = ['localhost:9092']
  for (let i = 2; i < process.argv.length; i++) {
    const arg = process.argv[i]
    if (arg === '--brokers' || arg === '-brokers') brokers = (process.argv[++i] || '').split(',')
    else if (scenarios[arg]) names.push(arg)
    else {
      console.error(`scenarios: ${arg}: expected --brokers HOST:PORT or one of ${Object.keys(scenarios).join(', ')}`)
      return 2
    }
  }
  let temporary
  if (!await answers(brokers)) {
    console.log(`no broker answers at ${brokers}: starting a temporary one`)
    try {
      temporary = await startBroker()
    } catch (err) {
      console.error(`scenarios: ${err.message}`)
      return 2
    }
    brokers = [temporary.address]
  }
  let failed = 0
  try {
    for (const name of names.length ? names : Object.keys(scenarios)) {
      if (!await perform(name, brokers)) failed++
    }
  } finally {
    if (temporary) await temporary.stop()
  }
  return failed ? 1 : 0
}

main().then(code => process.exit(code), err => { console.error(err); process.exit(1) })
