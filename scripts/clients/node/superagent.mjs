// superagent with Node's agent: without one it opens a connection for each request.
import http from 'node:http'
import superagent from 'superagent'
import { listed, serve } from './lines.mjs'

serve('superagent', async call => {
  const request = superagent(call.method, call.url).agent(http.globalAgent).set(call.headers)
  switch (call.kind) {
    case 'form': request.type('form').send(call.fields); break
    case 'multipart': request.field(call.fields); break
    case 'json': request.send(JSON.parse(call.text)); break
    case 'text': request.send(call.text); break
  }
  const answer = await request.catch(error => error.response ?? Promise.reject(error))
  return { status: answer.status, headers: listed(answer.headers), body: answer.text ?? answer.body }
})
