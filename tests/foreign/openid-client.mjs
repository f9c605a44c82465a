// openid-client, as its documentation uses it.
import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { browse, done, finish, issuer, told } from './conversation.mjs'

const options = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }
const discover = (id, auth) => client.discovery(issuer, id, undefined, auth, options)
const web = await discover(told.web.id, client.ClientSecretBasic(told.web.secret))
done('metadata')

const post = await discover(told.web.id, client.ClientSecretPost(told.web.secret))
for (const [way, config] of Object.entries({ client_secret_basic: web, client_secret_post: post })) {
  const token = await client.clientCredentialsGrant(config, { scope: 'read' })
  assert.equal(token.scope, 'read')
  done(`client_credentials ${way}`)
}

if (told.signer) {
  const jwk = JSON.parse(told.signer.key)
  const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
  const signer = await discover(told.signer.id, client.PrivateKeyJwt({ key, kid: jwk.kid }))
  await client.clientCredentialsGrant(signer, { scope: 'read' })
  done('private_key_jwt')
}

const app = await discover(told.app.id, client.None())
const pkceCodeVerifier = client.randomPKCECodeVerifier()
const expectedState = client.randomState()
const url = client.buildAuthorizationUrl(app, {
  redirect_uri: told.back, scope: 'read write', state: expectedState,
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256',
})
const first = await client.authorizationCodeGrant(app, await browse(url), { pkceCodeVerifier, expectedState })
assert.equal(first.scope, 'read write')
done('authorization_code with PKCE')

const answer = await client.fetchProtectedResource(app, first.access_token, new URL('/auth/session', issuer), 'GET')
assert.equal((await answer.json()).name, 'ada')
done('a resource')

const second = await client.refreshTokenGrant(app, first.refresh_token)
assert.notEqual(second.access_token, first.access_token)
done('refresh_token')

const narrow = await client.genericGrantRequest(web, 'urn:ietf:params:oauth:grant-type:token-exchange', {
  subject_token: second.access_token, subject_token_type: 'urn:ietf:params:oauth:token-type:access_token', audience: 'billing', scope: 'read',
})
done('token exchange')

let said = await client.tokenIntrospection(web, narrow.access_token)
assert.deepEqual([said.active, said.aud, said.username], [true, 'billing', 'ada'])
done('introspect')

await client.tokenRevocation(app, first.refresh_token)
said = await client.tokenIntrospection(web, narrow.access_token)
assert.deepEqual(said, { active: false })
done('revoke')
finish()
