// oidc-provider, a certified authorization server, and an API that takes its tokens. It binds loopback, on ports that
// the system picks, and prints `READY <origin>` once it answers. Its token endpoint also answers over TLS, where it asks
// for a client certificate: discovery tells where (`mtls_endpoint_aliases`, RFC 8705 section 5).
//
// KEYS is the folder tests/keys. CLOCK_OFF sets the server's clock so many seconds ahead, or behind. For tests only: the secret and the keys are known to everyone.

import { createPublicKey, hash, randomBytes, randomUUID, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose';
import { errors, Provider } from 'oidc-provider';

const off = Number(process.env.CLOCK_OFF ?? 0) * 1000;
if (off !== 0) {
  const RealDate = Date;
  globalThis.Date = class extends RealDate {
    constructor(...args) {
      super(...(args.length === 0 ? [RealDate.now() + off] : args));
    }

    static now() {
      return RealDate.now() + off;
    }
  };
}

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

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

const clients = [
  client('post'),
  client('basic', { token_endpoint_auth_method: 'client_secret_basic' }),
  client('reader', { scope: 'read' }),
  client('without-grant', { grant_types: [] }),
  client('counted'),
  client('short-lived'),
  client('exchanger', { grant_types: [TOKEN_EXCHANGE] }),
  client('public', {
    client_secret: undefined,
    grant_types: [TOKEN_EXCHANGE],
    token_endpoint_auth_method: 'none',
  }),
  client('secret-jwt', { token_endpoint_auth_method: 'client_secret_jwt' }),
  ...['HS256', 'HS384', 'HS512'].map((alg) => client(alg, {
    client_secret: SECRET + SECRET,
    token_endpoint_auth_method: 'client_secret_jwt',
    token_endpoint_auth_signing_alg: alg,
  })),
  ...[
    ['RS256', 'rsa'],
    ['RS384', 'rsa'],
    ['RS512', 'rsa'],
    ['PS256', 'rsa'],
    ['PS384', 'rsa'],
    ['PS512', 'rsa'],
    ['ES256', 'p256'],
    ['ES384', 'p384'],
    ['EdDSA', 'ed25519'],
    ['Ed25519', 'ed25519'],
  ].map(([alg, name]) => clientWithKey(alg, alg, name)),
  // What is required of their assertions stands below.
  ...['newer', 'older', 'detailed'].map((id) => clientWithKey(id, 'ES256', 'p256')),
  client('dpop', { dpop_bound_access_tokens: true }),
  client('dpop-nonce', { dpop_bound_access_tokens: true }),
  clientWithKey('dpop-fapi', 'ES256', 'p256'),
  client('tls', {
    client_secret: undefined,
    token_endpoint_auth_method: 'tls_client_auth',
    tls_client_auth_subject_dn: 'CN=mtls-client',
  }),
  client('self-signed', {
    client_secret: undefined,
    token_endpoint_auth_method: 'self_signed_tls_client_auth',
    jwks: {
      keys: [{
        ...publicJwk('self-signed.crt'),
        kid: 'k1',
        use: 'sig',
        x5c: [new X509Certificate(key('self-signed.crt')).raw.toString('base64')],
      }],
    },
  }),
];

function clientWithKey(client_id, alg, name) {
  return client(client_id, {
    client_secret: undefined,
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: alg,
    jwks: { keys: [{ ...publicJwk(`${name}.pem`), kid: 'k1', use: 'sig', alg }] },
  });
}

function key(file) {
  return fs.readFileSync(`${process.env.KEYS}/${file}`);
}

function publicJwk(file) {
  return createPublicKey(key(file)).export({ format: 'jwk' });
}

// The issuer has the port in its name, so the sockets come first.
const server = http.createServer();
const tls = https.createServer({
  key: key('server.key'),
  cert: key('server.crt'),
  ca: key('ca.crt'),
  requestCert: true,
  // Whether a certificate will do is the provider's to say: some are self-signed.
  rejectUnauthorized: false,
});
for (const each of [server, tls]) {
  each.listen(0, '127.0.0.1');
  await once(each, 'listening');
}

const origin = `http://127.0.0.1:${server.address().port}`;
const tlsOrigin = `https://127.0.0.1:${tls.address().port}`;
const signing = clients.map((it) => it.token_endpoint_auth_signing_alg).filter(Boolean);
// The forms of an assertion: that of RFC 7523's successor, the older one, and one with claims and a header of its own.
const required = {
  newer: (header, claims) => header.typ === 'client-authentication+jwt' && claims.aud === origin,
  older: (header, claims) => header.typ === 'JWT' && claims.aud === `${origin}/oauth2/token`,
  detailed: (header, claims) => claims.tenant === '7'
    && claims.sub === 'detailed'
    && new X509Certificate(Buffer.from(header.x5c[0], 'base64')).subject === 'CN=mtls-client',
};
const provider = new Provider(origin, {
  clients,
  scopes: ['read', 'write'],
  clientAuthMethods: [
    'none',
    'client_secret_basic',
    'client_secret_post',
    'client_secret_jwt',
    'private_key_jwt',
    'tls_client_auth',
    'self_signed_tls_client_auth',
  ],
  enabledJWA: { clientAuthSigningAlgValues: [...new Set(signing)] },
  assertJwtClientAuthClaimsAndHeader: (ctx, claims, header, { clientId }) => {
    if (required[clientId]?.(header, claims) === false) {
      throw new errors.InvalidClientAuth(`the assertion is not as ${clientId} requires it`);
    }
  },
  discovery: { mtls_endpoint_aliases: { token_endpoint: `${tlsOrigin}/oauth2/token` } },
  routes: { token: '/oauth2/token', revocation: '/oauth2/revoke' },
  ttl: { ClientCredentials: (ctx, token, { clientId }) => (clientId === 'short-lived' ? 2 : 86_400) },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: {
      enabled: true,
      nonceSecret: randomBytes(32),
      requireNonce: (ctx) => /^dpop-(nonce|fapi)$/.test(ctx.oidc?.client?.clientId),
    },
    mTLS: {
      enabled: true,
      tlsClientAuth: true,
      selfSignedTlsClientAuth: true,
      getCertificate: (ctx) => certificateOf(ctx),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => (
        property === 'tls_client_auth_subject_dn' && certificateOf(ctx).subject === expected
      ),
    },
    revocation: { enabled: true },
  },
});

// RFC 8693, for access tokens of this server. A subject token that is not valid is an invalid request (section 2.2.2).
provider.registerGrantType(TOKEN_EXCHANGE, async (ctx) => {
  const { client: exchanger, params } = ctx.oidc;
  const { requested_token_type: requested = ACCESS_TOKEN } = params;
  if (params.subject_token_type !== ACCESS_TOKEN || requested !== ACCESS_TOKEN) {
    throw new errors.InvalidRequest('only access tokens are exchanged');
  }
  const subject = await provider.ClientCredentials.find(params.subject_token);
  if (!subject?.isValid) throw new errors.InvalidRequest('the subject_token is not valid');
  // No more than the subject may, and than was asked for.
  const asked = params.scope?.split(' ') ?? [...subject.scopes];
  const scope = asked.filter((it) => subject.scopes.has(it)).join(' ') || undefined;
  const token = new provider.ClientCredentials({ client: exchanger, scope });
  ctx.oidc.entity('ClientCredentials', token);
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: ACCESS_TOKEN,
    token_type: token.tokenType,
    expires_in: token.expiration,
    scope,
  };
}, ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'scope'], []);

function certificateOf(ctx) {
  const certificate = ctx.socket.getPeerCertificate?.();
  return certificate?.raw && new X509Certificate(certificate.raw);
}

const issued = new Map();
provider.on('grant.success', ({ oidc }) => {
  const { clientId } = oidc.client;
  issued.set(clientId, (issued.get(clientId) ?? 0) + 1);
});
provider.on('server_error', (ctx, error) => console.error(error));

// Node.js tells the time of the machine.
provider.use((ctx, next) => {
  ctx.set('Date', new Date().toUTCString());
  return next();
});

// How many tokens a client was given.
provider.use(async (ctx, next) => {
  const [, clientId] = ctx.path.match(/^\/issued\/(.+)$/) ?? [];
  if (!clientId) return next();
  ctx.body = String(issued.get(clientId) ?? 0);
});

// The API's own check of a proof (RFC 9449 section 4.3), by jose. With a client of nonces, each answer has a new one, and the last
// two are good.
const nonces = [];
const jtis = new Set();
async function problemOfProof(ctx, token, { jkt, clientId }) {
  const needsNonce = clientId === 'dpop-nonce';
  if (needsNonce) {
    nonces.unshift(randomUUID());
    nonces.splice(2);
    ctx.set('DPoP-Nonce', nonces[0]);
  }
  try {
    const { payload, protectedHeader } = await jwtVerify(ctx.get('DPoP'), EmbeddedJWK, { typ: 'dpop+jwt' });
    if (needsNonce && !nonces.includes(payload.nonce)) return 'use_dpop_nonce';
    const holds = payload.htm === ctx.method
      && payload.htu === `${origin}${ctx.path}`
      && payload.ath === hash('sha256', token, 'base64url')
      && Math.abs(payload.iat - Date.now() / 1000) < 60
      && !jtis.has(payload.jti)
      && await calculateJwkThumbprint(protectedHeader.jwk) === jkt;
    jtis.add(payload.jti);
    return holds ? undefined : 'invalid_dpop_proof';
  } catch {
    return 'invalid_dpop_proof';
  }
}

// The API. Its challenges are those of RFC 6750.
provider.use(async (ctx, next) => {
  if (ctx.path !== '/api/me') return next();
  const reject = (status, error) => {
    ctx.status = status;
    ctx.set('WWW-Authenticate', `Bearer realm="api"${error}`);
    ctx.body = '';
  };
  const [, scheme, value] = ctx.get('authorization').match(/^(Bearer|DPoP) (\S+)$/i) ?? [];
  if (!value) return reject(401, '');
  const token = await provider.ClientCredentials.find(value);
  if (!token?.isValid) return reject(401, ', error="invalid_token"');
  if (token.jkt || scheme === 'DPoP') {
    const problem = await problemOfProof(ctx, value, token);
    if (problem) {
      ctx.status = 401;
      ctx.set('WWW-Authenticate', `DPoP algs="ES256", error="${problem}"`);
      ctx.body = '';
      return;
    }
  }
  if (!token.scopes.has('read')) return reject(403, ', error="insufficient_scope", scope="read"');
  ctx.body = token.clientId;
});

server.on('request', provider.callback());
tls.on('request', provider.callback());
console.log(`READY ${origin}`);
