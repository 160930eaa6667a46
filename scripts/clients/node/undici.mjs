// undici's request().
import { FormData, request } from 'undici'
import { listed, serve } from './lines.mjs'

const types = { form: 'application/x-www-form-urlencoded', json: 'application/json' }

serve('undici', async call => {
  const headers = { ...call.headers }
  if (types[call.kind]) headers['Content-Type'] = types[call.kind]
  const body = call.kind === 'multipart' ? call.multipart(FormData) : call.kind === 'none' ? undefined : call.text
  const answer = await request(call.url, { method: call.method, headers, body })
  return { status: answer.statusCode, headers: listed(answer.headers), body: Buffer.from(await answer.body.arrayBuffer()) }
})
