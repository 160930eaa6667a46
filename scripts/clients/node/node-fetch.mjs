// node-fetch with Node's agent: without one it sends `Connection: close`.
import http from 'node:http'
import fetch, { FormData } from 'node-fetch'
import { listed, serve } from './lines.mjs'

serve('node-fetch', async call => {
  const headers = { ...call.headers }
  if (call.kind === 'json') headers['Content-Type'] = 'application/json'
  const bodies = { form: call.form, multipart: call.multipart(FormData), json: call.text, text: call.text }
  const options = { method: call.method, headers, body: bodies[call.kind], agent: http.globalAgent }
  const answer = await fetch(call.url, options)
  return { status: answer.status, headers: listed(answer.headers.raw()), body: Buffer.from(await answer.arrayBuffer()) }
})
