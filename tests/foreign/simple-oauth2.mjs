// simple-oauth2, as its README uses it: it keeps the last answer, refresh token included.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { AuthorizationCode } from 'simple-oauth2'
import { browse, done, finish, issuer, told } from './conversation.mjs'

const verifier = randomBytes(32).toString('base64url')
const client = new AuthorizationCode({
  client: { id: told.web.id, secret: told.web.secret },
  auth: { tokenHost: issuer.origin, tokenPath: '/oauth/token', authorizePath: '/oauth/authorize', revokePath: '/oauth/revoke' },
})
const url = client.authorizeURL({
  redirect_uri: told.back, scope: 'read write', state: 'x', code_challenge_method: 'S256',
  code_challenge: createHash('sha256').update(verifier).digest('base64url'),
})
const back = await browse(new URL(url))
let token = await client.getToken({ code: back.searchParams.get('code'), redirect_uri: told.back, code_verifier: verifier })
assert.equal(token.token.scope, 'read write')
done('authorization_code with PKCE')
for (let i = 0; i < 3; i++) {
  const before = token.token.access_token
  token = await token.refresh()
  assert.notEqual(token.token.access_token, before)
}
done('refresh_token')
await token.revokeAll()
await assert.rejects(token.refresh())
done('revoke')
finish()
