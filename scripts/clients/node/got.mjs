// got. A status of 400 and above is thrown as an error that contains the response.
import got from 'got'
import { serve } from './lines.mjs'

function body (call) {
  switch (call.kind) {
    case 'form': return { form: call.fields }
    case 'multipart': return { body: call.multipart() }
    case 'json': return { json: JSON.parse(call.text) }
    case 'text': return { body: call.text }
  }
}

serve('got', async call => {
  const { method, headers } = call
  const answer = await got(call.url, { method, headers, ...body(call) })
    .catch(error => error.response ?? Promise.reject(error))
  return { status: answer.statusCode, headers: answer.rawHeaders, body: answer.rawBody }
})
