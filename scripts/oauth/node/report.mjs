// What the JavaScript clients share: the world on standard input, and a line on standard output for each check.

import { readFileSync } from 'node:fs'

export const world = JSON.parse(readFileSync(0, 'utf8'))

export function ensure(condition, text) {
  if (!condition) throw new Error(text)
}

/** Runs one check and prints its result; checks of one client run one after another. */
export async function check(name, run) {
  let result = { check: name, result: 'ok' }
  try {
    await run()
  } catch (error) {
    const cause = error.cause?.error ?? error.cause?.message ?? error.code
    result = { check: name, result: 'failed', detail: `${error.name}: ${error.message}${cause ? ` (${cause})` : ''}` }
  }
  console.log(JSON.stringify(result))
}

/** Checks that `run` is rejected by the server with this OAuth error code (RFC 6749 section 5.2). */
export async function refused(run, status, code) {
  let error
  try {
    await run()
  } catch (thrown) {
    error = thrown
  }
  ensure(error, `accepted instead of ${code}`)
  // The libraries report a 401 with a challenge as such, and do not read its body.
  const isChallenge = status === 401 && error.cause?.[0]?.scheme === 'basic'
  ensure(error.status === status, `${error.name}: ${error.message}, status ${error.status} instead of ${status}`)
  ensure(isChallenge || error.error === code, `${error.error ?? error.message} instead of ${code}`)
}

/** Checks the response of a token exchange (RFC 8693 section 2.2.1), and the claims that say how the user logged in. */
export function checkExchange(tokens, claims, subject) {
  ensure(tokens.issued_token_type === world.access_token_type, `issued_token_type ${tokens.issued_token_type}`)
  ensure(tokens.token_type.toLowerCase() === 'bearer', `token_type ${tokens.token_type}`)
  ensure(tokens.refresh_token === undefined, 'an exchange returned a refresh token')
  ensure(tokens.expires_in > 0 && tokens.expires_in <= 300, `expires_in ${tokens.expires_in}`)
  for (const [name, value] of Object.entries(subject.claims)) {
    ensure(claims[name] === value, `${name} ${claims[name]} instead of ${value}`)
  }
  for (const name of subject.present) ensure(claims[name] !== undefined, `no claim ${name}`)
}
