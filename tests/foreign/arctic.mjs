// arctic's generic client: it asks each answer for its refresh token.
import assert from 'node:assert/strict'
import * as arctic from 'arctic'
import { browse, done, finish, issuer, told } from './conversation.mjs'

const client = new arctic.OAuth2Client(told.web.id, told.web.secret, told.back)
const [state, verifier] = [arctic.generateState(), arctic.generateCodeVerifier()]
const to = client.createAuthorizationURLWithPKCE(`${issuer.origin}/oauth/authorize`, state, arctic.CodeChallengeMethod.S256, verifier, ['read', 'write'])
const back = await browse(to)
assert.equal(back.searchParams.get('state'), state)
let tokens = await client.validateAuthorizationCode(`${issuer.origin}/oauth/token`, back.searchParams.get('code'), verifier)
assert.deepEqual(tokens.scopes(), ['read', 'write'])
done('authorization_code with PKCE')
for (let i = 0; i < 3; i++) tokens = await client.refreshAccessToken(`${issuer.origin}/oauth/token`, tokens.refreshToken(), [])
done('refresh_token')
await client.revokeToken(`${issuer.origin}/oauth/revoke`, tokens.refreshToken())
await assert.rejects(client.refreshAccessToken(`${issuer.origin}/oauth/token`, tokens.refreshToken(), []), arctic.OAuth2RequestError)
done('revoke')
finish()
