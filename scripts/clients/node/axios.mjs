// axios. A status of 300 and above is thrown as an error that contains the response.
import axios from 'axios'
import { serve } from './lines.mjs'

function body (call) {
  switch (call.kind) {
    case 'form': return call.form
    case 'multipart': return call.multipart()
    case 'json': return JSON.parse(call.text)
    case 'text': return call.text
  }
}

serve('axios', async call => {
  const { method, url, headers } = call
  const answer = await axios({ method, url, headers, data: body(call) })
    .catch(error => error.response ?? Promise.reject(error))
  const text = typeof answer.data === 'string' ? answer.data : JSON.stringify(answer.data)
  return { status: answer.status, headers: answer.request.res.rawHeaders, body: text }
})
