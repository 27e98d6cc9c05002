'use strict'
// A temporary broker, for when none is running.
const { execFileSync, spawn } = require('node:child_process')
const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { once } = require('node:events')

const root = path.join(__dirname, '..', '..', '..')

function connects (address) {
  const at = address.lastIndexOf(':')
  return new Promise(resolve => {
    const socket = net.connect({ host: address.slice(0, at), port: Number(address.slice(at + 1)), timeout: 1000 })
    const end = yes => { socket.destroy(); resolve(yes) }
    socket.once('connect', () => end(true)).once('error', () => end(false)).once('timeout', () => end(false))
  })
}

/** answers says whether something listens at one of the addresses. */
async function answers (addresses) {
  for (const address of addresses) if (await connects(address)) return true
  return false
}

async function freePort () {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** startBroker builds the broker and runs it in a directory that goes with it. */
async function startBroker () {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'gregor-scenarios-'))
  const remove = () => fs.rmSync(dir, { recursive: true, force: true })
  try {
    const program = path.join(dir, 'gregor')
    execFileSync('go', ['build', '-o', program, './cmd/gregor'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
    const address = `127.0.0.1:${await freePort()}`
    const properties = path.join(dir, 'server.properties')
    fs.writeFileSync(properties, `listeners=PLAINTEXT://${address}\nadvertised.listeners=PLAINTEXT://${address}\nlog.dirs=${path.join(dir, 'data')}\n`)
    const output = fs.openSync(path.join(dir, 'output.log'), 'w')
    const child = spawn(program, [properties], { stdio: ['ignore', output, output], detached: true })
    const exited = once(child, 'exit')
    for (let i = 0; i < 500 && !await connects(address); i++) await new Promise(resolve => setTimeout(resolve, 10))
    if (!await connects(address)) throw new Error(`the temporary broker does not answer: ${fs.readFileSync(path.join(dir, 'output.log'), 'utf8')}`)
    return { address, stop: async () => { child.kill('SIGTERM'); await exited; remove() } }
  } catch (err) {
    remove()
    throw err
  }
}

module.exports = { answers, startBroker }
