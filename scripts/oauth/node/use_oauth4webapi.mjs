// oauth4webapi: rejects every response that is not as the RFCs have it.

import * as oauth from 'oauth4webapi'
import { check, checkExchange, ensure, refused, world } from './report.mjs'

const insecure = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(world.issuer)
let server

async function discover(algorithm) {
  const response = await oauth.discoveryRequest(issuer, { algorithm, ...insecure })
  return oauth.processDiscoveryResponse(issuer, response)
}

const basic = (client) => [{ client_id: client.id }, oauth.ClientSecretBasic(client.secret)]
const post = (client) => [{ client_id: client.id }, oauth.ClientSecretPost(client.secret)]

async function clientCredentials([client, auth], parameters) {
  const response = await oauth.clientCredentialsGrantRequest(server, client, auth, parameters, insecure)
  return oauth.processClientCredentialsResponse(server, client, response)
}

async function genericGrant([client, auth], grant, parameters) {
  const response = await oauth.genericTokenEndpointRequest(server, client, auth, grant, parameters, insecure)
  return oauth.processGenericTokenEndpointResponse(server, client, response)
}

const exchange = (subject, parameters = {}) => genericGrant(basic(subject.client), world.exchange_grant, {
  subject_token: subject.token,
  subject_token_type: subject.type,
  resource: subject.resource,
  ...parameters,
})

/** Verifies an access token as a resource server does (RFC 9068 section 4). */
function verify(token, audience) {
  const request = new Request(audience, { headers: { authorization: `Bearer ${token}` } })
  return oauth.validateJwtAccessToken(server, request, audience, insecure)
}

async function introspect([client, auth], token, hint) {
  const additionalParameters = hint ? { token_type_hint: hint } : {}
  const response = await oauth.introspectionRequest(server, client, auth, token, { additionalParameters, ...insecure })
  return oauth.processIntrospectionResponse(server, client, response)
}

async function revoke([client, auth], token) {
  await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, auth, token, insecure))
}

async function ensureInactive(caller, token) {
  const found = await introspect(basic(caller), token)
  ensure(JSON.stringify(found) === '{"active":false}', JSON.stringify(found))
}

await check('discovery', async () => {
  server = await discover('oidc')
})
await check('discovery-8414', async () => {
  const found = await discover('oauth2')
  for (const name of ['token_endpoint', 'jwks_uri', 'introspection_endpoint', 'revocation_endpoint']) {
    ensure(found[name] && found[name] === server[name], `${name}: ${found[name]}, ${server[name]}`)
  }
})

for (const [name, auth] of [['basic', basic], ['post', post]]) {
  await check(`client-credentials-${name}`, async () => {
    const { resource } = world.signed.RS256
    const tokens = await clientCredentials(auth(world.authenticated[name]), { resource, scope: world.scope })
    ensure(tokens.expires_in > 0 && !tokens.refresh_token, JSON.stringify(tokens))
  })
}
for (const [algorithm, { client, resource }] of Object.entries(world.signed)) {
  await check(`verify-${algorithm}`, async () => {
    const tokens = await clientCredentials(basic(client), { resource, scope: world.scope })
    const claims = await verify(tokens.access_token, resource)
    ensure(claims.sub === client.id && claims.client_id === client.id, JSON.stringify(claims))
    ensure(claims.scope === world.scope, `scope ${claims.scope}`)
  })
}
for (const subject of world.exchange) {
  await check(`exchange-${subject.name}`, async () => {
    const tokens = await exchange(subject)
    checkExchange(tokens, await verify(tokens.access_token, subject.resource), subject)
  })
}

const { client, resource, caller, stranger, other } = world.introspected
await check('introspect', async () => {
  const { access_token } = await clientCredentials(basic(client), { resource, scope: world.scope })
  const found = await introspect(basic(caller), access_token)
  ensure(found.active === true && found.client_id === client.id, JSON.stringify(found))
  ensure([found.aud].flat().includes(resource) && found.scope === world.scope, JSON.stringify(found))
  ensure(found.exp > found.iat && found.iss === world.issuer, JSON.stringify(found))
})
await check('introspect-foreign', async () => {
  const { access_token } = await clientCredentials(basic(client), { resource })
  await ensureInactive(stranger, access_token)
})
await check('introspect-garbage', () => ensureInactive(caller, 'garbage'))
for (const legacy of world.legacy) {
  await check(`introspect-${legacy.name}`, async () => {
    const found = await introspect(basic(caller), legacy.token, legacy.type)
    ensure(found.active === true && found.token_type === legacy.type, JSON.stringify(found))
    for (const name of ['sub', 'username', 'acr']) ensure(found[name] === legacy[name], JSON.stringify(found))
    await ensureInactive(stranger, legacy.token)
  })
}

await check('revoke', async () => {
  const { access_token } = await clientCredentials(basic(client), { resource })
  ensure((await introspect(basic(caller), access_token)).active, 'inactive before it is revoked')
  await revoke(basic(client), access_token)
  await ensureInactive(caller, access_token)
})
await check('revoke-unknown', () => revoke(basic(client), 'garbage'))
await check('revoke-foreign', async () => {
  const { access_token } = await clientCredentials(basic(client), { resource })
  // RFC 7009 section 2.1: refused, or ignored; it must not end the token of another client.
  await revoke(basic(other), access_token).catch((error) => ensure(error.status === 400, error.message))
  ensure((await introspect(basic(caller), access_token)).active, 'another client has ended the token')
})

await check('invalid-client', () =>
  refused(() => clientCredentials(basic({ ...client, secret: 'wrong' }), { resource }), 401, 'invalid_client'))
await check('invalid-target', () =>
  refused(() => clientCredentials(basic(client), { resource: 'https://unknown.example/' }), 400, 'invalid_target'))
await check('unsupported-grant', () =>
  refused(() => genericGrant(basic(client), 'password', { username: 'a' }), 400, 'unsupported_grant_type'))
for (const subject of world.exchange.slice(0, 1)) {
  await check('invalid-subject', () =>
    refused(() => exchange(subject, { subject_token: '0'.repeat(32) }), 400, 'invalid_request'))
}
if (world.escalation) {
  await check('invalid-scope', () =>
    refused(() => clientCredentials(basic(client), { resource, scope: 'everything' }), 400, 'invalid_scope'))
  await check('wrong-kind', () =>
    refused(() => exchange(world.exchange[0], { subject_token_type: world.exchange[1].type }), 400, 'invalid_request'))
}
