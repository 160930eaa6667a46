// oidc-provider, a certified server, as the control: what the clients do with Stele must work here as well.
//
// It has no token exchange; `exchange` below is one for its own access tokens, in the form that its documentation
// gives for a custom grant type, so that the clients' own code for exchanges runs against another server too.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { errors, Provider } from 'oidc-provider'

// The world: from the file that is named, or from standard input.
const world = JSON.parse(readFileSync(process.argv[2] ?? 0, 'utf8'))
const { port, clients, resources, keys, exchangeGrant, accessTokenType } = world
const serverOf = (audience) => Object.values(resources).find((resource) => resource.audience === audience)

const server = createServer()
await new Promise((resolve) => server.listen(port ?? 0, '127.0.0.1', resolve))
const issuer = `http://127.0.0.1:${server.address().port}`

const provider = new Provider(issuer, {
  clients: clients.map(({ id, secret, auth, grants }) => ({
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: auth,
    grant_types: grants,
    redirect_uris: [],
    response_types: [],
  })),
  scopes: ['openid', 'read'],
  ...(keys && { jwks: { keys } }),
  clientAuthMethods: ['client_secret_basic', 'client_secret_post'],
  ttl: { ClientCredentials: 300, AccessToken: 300 },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: {
      enabled: true,
      // A resource server may read the tokens that are for it.
      allowedPolicy: (_, client, token) => resources[client.clientId]?.audience === token.aud,
    },
    revocation: { enabled: true, allowedPolicy: (_, client, token) => client.clientId === token.clientId },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_, indicator) {
        const resource = serverOf(indicator)
        if (!resource) throw new errors.InvalidTarget()
        const { audience, algorithm } = resource
        const format = algorithm ? { accessTokenFormat: 'jwt', jwt: { sign: { alg: algorithm } } } : {}
        return { scope: 'read', audience, accessTokenTTL: 300, ...format }
      },
    },
  },
})

async function exchange(ctx) {
  const { client, params } = ctx.oidc
  const subject = params.subject_token_type === accessTokenType
    && await provider.ClientCredentials.find(params.subject_token)
  if (!subject || !subject.isValid || subject.clientId !== client.clientId) {
    throw new errors.InvalidRequest('the subject token is invalid')
  }
  const { audience, algorithm } = serverOf(params.resource) ?? {}
  if (!audience) throw new errors.InvalidTarget()
  const token = new provider.ClientCredentials({ client, scope: subject.scope })
  token.resourceServer = new provider.ResourceServer(audience, {
    scope: 'read', audience, accessTokenFormat: 'jwt', jwt: { sign: { alg: algorithm } },
  })
  const { exp } = subject
  token.expiresIn = exp - Math.floor(Date.now() / 1000)
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: accessTokenType,
    token_type: 'Bearer',
    expires_in: token.expiresIn,
    scope: token.scope,
  }
}
provider.registerGrantType(exchangeGrant, exchange, ['subject_token', 'subject_token_type', 'resource', 'scope'])

server.on('request', provider.callback())
console.log(JSON.stringify({ issuer }))
