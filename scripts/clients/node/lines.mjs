// Shared by the Node clients: reads calls as lines from standard input, writes answers as lines to standard output.
import http from 'node:http'
import readline from 'node:readline'
import { readFileSync } from 'node:fs'

// Node 19 and later use keep-alive by default.
http.globalAgent = new http.Agent({ keepAlive: true })

/** Writes for each line the result of `send`: { status, headers: [name, value, …], body: Buffer or string }. */
export async function serve (name, send) {
  console.log('ready\t' + version(name))
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [method, url, kind, text, ...lines] = line.split('\t')
    const headers = Object.fromEntries(lines.map(each => each.split(/: (.*)/, 2)))
    const form = new URLSearchParams(text)
    try {
      const answer = await send({ method, url, kind, text, headers, form, fields: Object.fromEntries(form), multipart })
      const names = pairs(answer.headers).map(([name, value]) => `\t${name}: ${value}`)
      console.log(`${answer.status}\t${Buffer.from(answer.body).toString('base64')}${names.join('')}`)
    } catch (fault) {
      console.log('dropped\t' + String(fault.cause ?? fault.stack ?? fault).replace(/\s+/g, ' '))
    }
  }
  process.exit() // Idle connections would keep the process alive.

  function multipart (Data = FormData) {
    const data = new Data()
    for (const [name, value] of Object.entries(this.fields)) data.append(name, value)
    return data
  }
}

/** The version of an installed package. */
export function version (name) {
  return JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version
}

/** Converts a headers object to Node's raw form. */
export function listed (headers) {
  return Object.entries(headers).flatMap(([name, values]) => [values].flat().flatMap(value => [name, value]))
}

function pairs (flat) {
  return flat.flatMap((name, at) => at % 2 ? [] : [[name, flat[at + 1]]])
}
