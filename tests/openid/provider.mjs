// A real OpenID provider for the tests, certified: `oidc-provider` with its own login and consent pages.
//
//   node provider.mjs FOLDER-WITH-NODE_MODULES
//
// Says its issuer, reads a line of JSON {client, secret, redirect}, says "ready". Whoever logs in exists, under that name.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const library = join(process.argv[2], 'node_modules', 'oidc-provider', 'lib', 'index.js');
const { default: Provider } = await import(pathToFileURL(library));

const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;
console.log(issuer);

const lines = createInterface({ input: process.stdin });
const [line] = await once(lines, 'line');
const { client, secret, redirect } = JSON.parse(line);

const provider = new Provider(issuer, {
  clients: [{ client_id: client, client_secret: secret, redirect_uris: [redirect] }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'] },
  cookies: { keys: ['of the tests'] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({
      sub, email: `${sub}@example.org`, email_verified: true, name: sub, preferred_username: sub,
    }),
  }),
});
server.on('request', provider.callback());
console.log('ready');

// Ends with whoever started it.
lines.on('close', () => process.exit(0));
