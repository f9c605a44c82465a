// oauth4webapi, as its examples use it.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { browse, done, finish, issuer, told } from './conversation.mjs'

const loopback = { [oauth.allowInsecureRequests]: true }
const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...loopback })
const server = await oauth.processDiscoveryResponse(issuer, found)
done('metadata')

const client = { client_id: told.web.id }
const basic = oauth.ClientSecretBasic(told.web.secret)
const ways = { client_secret_basic: basic, client_secret_post: oauth.ClientSecretPost(told.web.secret) }
for (const [way, auth] of Object.entries(ways)) {
  const answer = await oauth.clientCredentialsGrantRequest(server, client, auth, { scope: 'read' }, loopback)
  const token = await oauth.processClientCredentialsResponse(server, client, answer)
  assert.equal(token.scope, 'read')
  done(`client_credentials ${way}`)
}

if (told.signer) {
  const jwk = JSON.parse(told.signer.key)
  const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
  const signer = { client_id: told.signer.id }
  const auth = oauth.PrivateKeyJwt({ key, kid: jwk.kid })
  const answer = await oauth.clientCredentialsGrantRequest(server, signer, auth, { scope: 'read' }, loopback)
  await oauth.processClientCredentialsResponse(server, signer, answer)
  done('private_key_jwt')
}

// An app in a browser: no secret.
const app = { client_id: told.app.id }
const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()
const url = new URL(server.authorization_endpoint)
url.search = new URLSearchParams({
  client_id: app.client_id, redirect_uri: told.back, response_type: 'code', scope: 'read write', state,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
})
const back = oauth.validateAuthResponse(server, app, await browse(url), state)
let answer = await oauth.authorizationCodeGrantRequest(server, app, oauth.None(), back, told.back, verifier, loopback)
const first = await oauth.processAuthorizationCodeResponse(server, app, answer)
assert.equal(first.scope, 'read write')
done('authorization_code with PKCE')

answer = await oauth.protectedResourceRequest(first.access_token, 'GET', new URL('/auth/session', issuer), undefined, undefined, loopback)
assert.equal((await answer.json()).name, 'ada')
done('a resource')

answer = await oauth.refreshTokenGrantRequest(server, app, oauth.None(), first.refresh_token, loopback)
const second = await oauth.processRefreshTokenResponse(server, app, answer)
assert.notEqual(second.access_token, first.access_token)
done('refresh_token')

const exchange = {
  subject_token: second.access_token, subject_token_type: 'urn:ietf:params:oauth:token-type:access_token', audience: 'billing', scope: 'read',
}
answer = await oauth.genericTokenEndpointRequest(server, client, basic, 'urn:ietf:params:oauth:grant-type:token-exchange', exchange, loopback)
const narrow = await oauth.processGenericTokenEndpointResponse(server, client, answer)
assert.equal(narrow.issued_token_type, 'urn:ietf:params:oauth:token-type:access_token')
done('token exchange')

answer = await oauth.introspectionRequest(server, client, basic, narrow.access_token, loopback)
let said = await oauth.processIntrospectionResponse(server, client, answer)
assert.deepEqual([said.active, said.aud, said.username], [true, 'billing', 'ada'])
done('introspect')

await oauth.processRevocationResponse(await oauth.revocationRequest(server, app, oauth.None(), first.refresh_token, loopback))
answer = await oauth.introspectionRequest(server, client, basic, narrow.access_token, loopback)
said = await oauth.processIntrospectionResponse(server, client, answer)
assert.deepEqual(said, { active: false })
done('revoke')
finish()
