// openid-client, a certified relying party, with its defaults.

import { decodeJwt } from 'jose'
import * as openid from 'openid-client'
import { check, checkExchange, ensure, refused, world } from './report.mjs'

const issuer = new URL(world.issuer)

const discover = (client, auth, algorithm = 'oidc') =>
  openid.discovery(issuer, client.id, undefined, auth(client.secret), {
    algorithm,
    execute: [openid.allowInsecureRequests],
  })

const basic = (client, algorithm) => discover(client, openid.ClientSecretBasic, algorithm)

const exchange = async (subject, parameters = {}) =>
  openid.genericGrantRequest(await basic(subject.client), world.exchange_grant, {
    subject_token: subject.token,
    subject_token_type: subject.type,
    resource: subject.resource,
    ...parameters,
  })

async function ensureInactive(caller, token) {
  const found = await openid.tokenIntrospection(await basic(caller), token)
  ensure(JSON.stringify(found) === '{"active":false}', JSON.stringify(found))
}

const { client, resource, caller, stranger } = world.introspected
const newToken = async () => (await openid.clientCredentialsGrant(await basic(client), { resource })).access_token

await check('discovery', async () => {
  const metadata = (await basic(client)).serverMetadata()
  ensure(metadata.issuer === world.issuer, metadata.issuer)
})
await check('discovery-8414', async () => {
  const metadata = (await basic(client, 'oauth2')).serverMetadata()
  ensure(metadata.issuer === world.issuer, metadata.issuer)
})
for (const [name, auth] of [['basic', openid.ClientSecretBasic], ['post', openid.ClientSecretPost]]) {
  await check(`client-credentials-${name}`, async () => {
    const [client, { resource }] = [world.authenticated[name], world.signed.RS256]
    const tokens = await openid.clientCredentialsGrant(await discover(client, auth), { resource, scope: world.scope })
    ensure(tokens.expiresIn() > 0 && decodeJwt(tokens.access_token).sub === client.id, JSON.stringify(tokens))
  })
}
for (const subject of world.exchange) {
  await check(`exchange-${subject.name}`, async () => {
    const tokens = await exchange(subject)
    checkExchange(tokens, decodeJwt(tokens.access_token), subject)
  })
}
await check('introspect', async () => {
  const found = await openid.tokenIntrospection(await basic(caller), await newToken())
  ensure(found.active === true && found.client_id === client.id, JSON.stringify(found))
})
await check('introspect-foreign', async () => ensureInactive(stranger, await newToken()))
await check('introspect-garbage', () => ensureInactive(caller, 'garbage'))
for (const legacy of world.legacy) {
  await check(`introspect-${legacy.name}`, async () => {
    const hint = { token_type_hint: legacy.type }
    const found = await openid.tokenIntrospection(await basic(caller), legacy.token, hint)
    ensure(found.active === true && found.username === legacy.username, JSON.stringify(found))
  })
}
await check('revoke', async () => {
  const token = await newToken()
  await openid.tokenRevocation(await basic(client), token)
  await ensureInactive(caller, token)
})
await check('revoke-unknown', async () => openid.tokenRevocation(await basic(client), 'garbage'))
await check('invalid-client', () => {
  const impostor = { ...client, secret: 'wrong' }
  return refused(async () => openid.clientCredentialsGrant(await basic(impostor), { resource }), 401, 'invalid_client')
})
for (const subject of world.exchange.slice(0, 1)) {
  await check('invalid-subject', () =>
    refused(() => exchange(subject, { subject_token: '0'.repeat(32) }), 400, 'invalid_request'))
}
