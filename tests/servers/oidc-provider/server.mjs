// oidc-provider, a certified authorization server, and an API that takes its tokens. It binds loopback, on a port that
// the system picks, and prints `READY <origin>` once it answers.
//
// For tests only: the secret and the signing keys are known to everyone.

import http from 'node:http';
import { Provider } from 'oidc-provider';

// Also in tests/real_servers.rs, with the names of the clients and the lifetime of short-lived's tokens.
const SECRET = 'secret-with:special/+%&=chars~and-32-bytes-min';

const client = (client_id, own) => ({
  client_id,
  client_secret: SECRET,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  scope: 'read write',
  token_endpoint_auth_method: 'client_secret_post',
  ...own,
});

const clients = [
  client('post'),
  client('basic', { token_endpoint_auth_method: 'client_secret_basic' }),
  client('reader', { scope: 'read' }),
  client('without-grant', { grant_types: [] }),
  client('counted'),
  client('short-lived'),
];

// The issuer has the port in its name, so the socket comes first.
const server = http.createServer();
server.listen(0, '127.0.0.1', () => {
  const origin = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(origin, {
    clients,
    scopes: ['read', 'write'],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post'],
    routes: { token: '/oauth2/token', revocation: '/oauth2/revoke' },
    ttl: { ClientCredentials: (ctx, token, { clientId }) => (clientId === 'short-lived' ? 2 : 86_400) },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      revocation: { enabled: true },
    },
  });

  const issued = new Map();
  provider.on('grant.success', ({ oidc }) => {
    const { clientId } = oidc.client;
    issued.set(clientId, (issued.get(clientId) ?? 0) + 1);
  });
  provider.on('server_error', (ctx, error) => console.error(error));

  // How many tokens a client was given.
  provider.use(async (ctx, next) => {
    const [, clientId] = ctx.path.match(/^\/issued\/(.+)$/) ?? [];
    if (!clientId) return next();
    ctx.body = String(issued.get(clientId) ?? 0);
  });

  // The API. Its challenges are those of RFC 6750.
  provider.use(async (ctx, next) => {
    if (ctx.path !== '/api/me') return next();
    const refuse = (status, error) => {
      ctx.status = status;
      ctx.set('WWW-Authenticate', `Bearer realm="api"${error}`);
      ctx.body = '';
    };
    const [, value] = ctx.get('authorization').match(/^Bearer (\S+)$/i) ?? [];
    if (!value) return refuse(401, '');
    const token = await provider.ClientCredentials.find(value);
    if (!token?.isValid) return refuse(401, ', error="invalid_token"');
    if (!token.scopes.has('read')) return refuse(403, ', error="insufficient_scope", scope="read"');
    ctx.body = token.clientId;
  });

  server.on('request', provider.callback());
  console.log(`READY ${origin}`);
});
