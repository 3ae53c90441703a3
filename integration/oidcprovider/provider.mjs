// An OpenID Provider for tests: the engine inside Logto, configured as Logto
// configures it.
//
// Its configuration is one line of JSON on standard input. When it is ready, it
// writes one line of JSON with its issuer to standard output. It ends when
// standard input is closed, so that it never outlives the test that started it.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import readline from 'node:readline';

// Standard output carries the ready line alone.
console.log = console.error;
console.info = console.error;

const { Provider, errors } = await import('oidc-provider');
const { memoryAdapter } = await import('./adapter.mjs');
const {
  INTERACTION_TTL, answer, answerJSON, createPages, isSessionNotFound, sessionNotFound,
  setInteractionCookies,
} = await import('./pages.mjs');

// The clock that a test can move. The engine reads it for everything that
// expires; timers and the runtime's own business do not go by it.
const realNow = Date.now;
let advancedBy = 0;
Date.now = () => realNow() + advancedBy;

const HOST = '127.0.0.1';
const MOUNT_PATH = '/oidc';

const DAY = 24 * 60 * 60;

const ORGANIZATIONS_RESOURCE = 'urn:logto:resource:organizations';

const SCOPES = ['openid', 'offline_access'];

// Scopes with claims come after the scopes without, as in Logto's discovery
// document.
const CLAIMS_BY_SCOPE = {
  profile: [
    'name', 'family_name', 'given_name', 'middle_name', 'nickname', 'preferred_username',
    'profile', 'picture', 'website', 'gender', 'birthdate', 'zoneinfo', 'locale', 'updated_at',
    'username', 'created_at',
  ],
  email: ['email', 'email_verified'],
  phone: ['phone_number', 'phone_number_verified'],
  address: ['address'],
  custom_data: ['custom_data'],
  identities: ['identities', 'sso_identities'],
  roles: ['roles'],
  'urn:logto:scope:organizations': ['organizations', 'organization_data'],
  'urn:logto:scope:organization_roles': ['organization_roles'],
};

// The claims that a Logto tenant can add to the ID token or leave out of it.
// The user info endpoint always returns them.
const EXTENDED_CLAIMS = [
  'custom_data', 'identities', 'sso_identities', 'roles', 'organizations', 'organization_data',
  'organization_roles',
];

// Parameters of the authorization request that only Logto knows.
const LOGTO_PARAMETERS = [
  'first_screen', 'interaction_mode', 'direct_sign_in', 'identifier', 'one_time_token',
  'organization_id', 'google_one_tap_credential',
];

const DEFAULTS = {
  port: 0,
  clients: [],
  users: [],
  resources: [],
  signingAlgorithm: 'ES384',
  refreshTokenRotation: 'near-expiry',
  idTokenClaims: ['roles', 'organizations', 'organization_roles'],
  accessTokenTTL: 60 * 60,
  idTokenTTL: 60 * 60,
  refreshTokenTTL: 14 * DAY,
};

const lines = readline.createInterface({ input: process.stdin });
lines.once('close', () => process.exit(0));
const [firstLine] = await once(lines, 'line');
const config = { ...DEFAULTS, ...JSON.parse(firstLine) };

const users = new Map(config.users.map((user) => [user.id, user]));
const clients = new Map(config.clients.map((client) => [client.id, client]));
const resources = new Map(config.resources.map((resource) => [resource.indicator, resource]));
// Official SDKs always ask for it together with the organizations scope.
if (!resources.has(ORGANIZATIONS_RESOURCE)) {
  resources.set(ORGANIZATIONS_RESOURCE, { indicator: ORGANIZATIONS_RESOURCE, scopes: [] });
}

const server = http.createServer();
server.listen(config.port, HOST);
await once(server, 'listening');

const endpoint = `http://${HOST}:${server.address().port}`;
const issuer = `${endpoint}${MOUNT_PATH}`;

function signingKey() {
  const { privateKey } = config.signingAlgorithm === 'RS256'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : generateKeyPairSync('ec', { namedCurve: 'P-384' });
  // Without "alg" and "kid": the engine adds "kid" to every key and "alg" to EC
  // keys only, which is how Logto's key set looks.
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig' };
}

function clientMetadata(client) {
  if (client.machineToMachine) {
    return {
      client_id: client.id,
      client_secret: client.secret,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    };
  }
  return {
    client_id: client.id,
    ...(client.secret
      ? { client_secret: client.secret, token_endpoint_auth_method: 'client_secret_basic' }
      : { token_endpoint_auth_method: 'none' }),
    application_type: 'web',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: client.redirectURIs,
    post_logout_redirect_uris: client.postLogoutRedirectURIs ?? [],
    ...(client.backchannelLogoutURI && {
      backchannel_logout_uri: client.backchannelLogoutURI,
      backchannel_logout_session_required: client.backchannelLogoutSessionRequired ?? false,
    }),
  };
}

// Logto's identifiers are null rather than absent, and count as verified as
// soon as they exist.
function userClaims({ username, claims = {} }) {
  const all = {
    name: null,
    picture: null,
    username,
    email: null,
    phone_number: null,
    created_at: 1735689600000,
    updated_at: 1735689600000,
    custom_data: {},
    identities: {},
    sso_identities: [],
    roles: [],
    organizations: [],
    organization_data: [],
    organization_roles: [],
    ...claims,
  };
  return {
    preferred_username: all.username,
    email_verified: all.email !== null,
    phone_number_verified: all.phone_number !== null,
    ...all,
  };
}

function findAccount(ctx, sub) {
  const user = users.get(sub);
  return user && {
    accountId: sub,
    async claims(use) {
      const claims = { sub, ...userClaims(user) };
      if (use === 'id_token') {
        EXTENDED_CLAIMS
          .filter((claim) => !config.idTokenClaims.includes(claim))
          .forEach((claim) => delete claims[claim]);
      }
      return claims;
    },
  };
}

const resourceIndicators = {
  enabled: true,

  // No tenant-wide default API: without a resource in the token request the
  // access token is opaque, whatever the authorization request asked for.
  async defaultResource(ctx) {
    if (ctx.oidc.route === 'token' && ctx.oidc.params.grant_type === 'client_credentials') {
      throw new errors.InvalidTarget();
    }
    return undefined;
  },

  useGrantedResource: async () => false,

  async getResourceServerInfo(ctx, indicator) {
    const resource = resources.get(indicator);
    if (resource === undefined) {
      throw new errors.InvalidTarget();
    }
    return {
      audience: indicator,
      scope: (resource.scopes ?? []).join(' '),
      accessTokenFormat: 'jwt',
      accessTokenTTL: resource.accessTokenTTL ?? config.accessTokenTTL,
      jwt: { sign: { alg: config.signingAlgorithm } },
    };
  },
};

const rotations = {
  // The engine's own rule is Logto's: public clients rotate on every use,
  // confidential clients after 70 % of the lifetime.
  'near-expiry': undefined,
  'every-use': true,
  never: false,
};
if (!(config.refreshTokenRotation in rotations)) {
  throw new Error(`unknown refresh token rotation ${config.refreshTokenRotation}`);
}
const rotateRefreshToken = rotations[config.refreshTokenRotation];

const accessTokenTTL = (ctx, token) => token.resourceServer?.accessTokenTTL
  ?? config.accessTokenTTL;

const provider = new Provider(issuer, {
  adapter: memoryAdapter({ strictReuseDetection: config.refreshTokenRotation === 'every-use' }),
  jwks: { keys: [signingKey()] },
  enabledJWA: { idTokenSigningAlgValues: ['ES384', 'RS256'] },
  clients: config.clients.map(clientMetadata),
  clientDefaults: { id_token_signed_response_alg: config.signingAlgorithm },
  cookies: { keys: [randomBytes(32).toString('base64url')] },
  scopes: SCOPES,
  claims: CLAIMS_BY_SCOPE,
  conformIdTokenClaims: false,
  extraParams: LOGTO_PARAMETERS,
  findAccount,
  pkce: { required: () => true },
  ...(rotateRefreshToken !== undefined && { rotateRefreshToken }),

  async issueRefreshToken(ctx, client, source) {
    return client.grantTypeAllowed('refresh_token')
      && (source.scopes.has('offline_access')
        || clients.get(client.clientId).alwaysIssueRefreshToken === true);
  },

  // Back-channel logout goes to the loopback interface here. The engine hands
  // its filter for such addresses over as a dispatcher; this is Logto with
  // OIDC_PROVIDER_SSRF_PROTECTION_DISABLED set.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),

  clientBasedCORS: () => true,

  formats: {
    customizers: {
      async jwt(ctx, token, jwt) {
        if (token.kind === 'AccessToken') {
          jwt.payload.scope ??= '';
        }
      },
    },
  },

  ttl: {
    AccessToken: accessTokenTTL,
    AuthorizationCode: 60,
    ClientCredentials: accessTokenTTL,
    Grant: 180 * DAY,
    IdToken: config.idTokenTTL,
    Interaction: INTERACTION_TTL,
    // Rotation does not lengthen the life of a public web client's refresh token.
    RefreshToken: (ctx, token, client) => (
      client.clientAuthMethod === 'none'
        ? ctx?.oidc?.entities.RotatedRefreshToken?.remainingTTL
        : undefined
    ) ?? config.refreshTokenTTL,
    Session: 14 * DAY,
  },

  interactions: {
    url(ctx, interaction) {
      const { prompt, params } = interaction;
      ctx.state.startedInteraction = interaction;
      const query = new URLSearchParams({ app_id: params.client_id });
      [...LOGTO_PARAMETERS, 'login_hint', 'ui_locales']
        .filter((name) => params[name] !== undefined)
        .forEach((name) => query.set(name, params[name]));
      return `${prompt.name === 'consent' ? '/consent' : '/sign-in'}?${query}`;
    },
  },

  // Logto answers with JSON where a browser would get an error page.
  renderError(ctx, out) {
    ctx.type = 'json';
    ctx.body = out;
  },

  features: {
    devInteractions: { enabled: false },
    dPoP: { enabled: false },
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientAuthMethod !== 'none' },
    resourceIndicators,
    revocation: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource(ctx, form) {
        ctx.body = `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="UTF-8">
  <title>Sign Out</title>
</head>
<body onload="document.getElementById('op.logoutForm').submit();">
  ${form}
  <input type="hidden" form="op.logoutForm" value="yes" name="logout" />
</body>
</html>
`;
      },
      postLogoutSuccessSource(ctx) {
        ctx.body = '<!DOCTYPE html>\n<html lang="en"><head><meta charset="UTF-8"><title>Signed out</title></head><body><p>You have signed out.</p></body></html>\n';
      },
    },
  },
});

// What Logto's own middleware adds to the responses of the engine.
provider.use(async (ctx, next) => {
  await next();
  if (ctx.path === '/jwks') {
    ctx.set('cache-control', 'no-cache, max-age=0, must-revalidate');
  }
  if (ctx.state.startedInteraction !== undefined) {
    setInteractionCookies(ctx, ctx.state.startedInteraction);
  }
  if (typeof ctx.body?.error === 'string') {
    const { error, error_description: description } = ctx.body;
    ctx.body = {
      ...(isSessionNotFound(description)
        ? sessionNotFound
        : { code: `oidc.${error}`, message: description ?? error }),
      ...ctx.body,
    };
  }
});

for (const event of ['server_error', 'backchannel.error']) {
  provider.on(event, (ctx, err) => console.error(`${event}:`, err));
}

const answerEngine = provider.callback();
const pages = createPages(provider, config.users);

const noCalls = () => ({
  discovery: 0,
  keys: 0,
  authorization: 0,
  token: 0,
  userInfo: 0,
  revocation: 0,
  endSession: 0,
});
let calls = noCalls();

const CALL_BY_PATH = {
  '/oidc/.well-known/openid-configuration': 'discovery',
  '/oidc/.well-known/oauth-authorization-server': 'discovery',
  '/oidc/jwks': 'keys',
  '/oidc/auth': 'authorization',
  '/oidc/token': 'token',
  '/oidc/me': 'userInfo',
  '/oidc/token/revocation': 'revocation',
  '/oidc/session/end': 'endSession',
};

function route(req, res) {
  const [path] = req.url.split('?');

  if (path === MOUNT_PATH || path.startsWith(`${MOUNT_PATH}/`)) {
    if (req.method !== 'OPTIONS' && Object.hasOwn(CALL_BY_PATH, path)) {
      calls[CALL_BY_PATH[path]] += 1;
    }
    req.originalUrl = req.url;
    req.url = req.url.slice(MOUNT_PATH.length) || '/';
    return answerEngine(req, res);
  }
  if (Object.hasOwn(pages, path)) {
    return pages[path](req, res);
  }
  if (path === '/favicon.ico') { // browsers ask for it, and complain if there is none
    return answer(res, 204, 'image/x-icon');
  }
  if (path === '/control/calls' && req.method === 'GET') {
    return answerJSON(res, 200, calls);
  }
  if (path === '/control/calls/reset' && req.method === 'POST') {
    calls = noCalls();
    return answerJSON(res, 200, calls);
  }
  if (path === '/control/advance' && req.method === 'POST') {
    const { searchParams } = new URL(req.url, endpoint);
    advancedBy += Number(searchParams.get('milliseconds'));
    return answerJSON(res, 200, calls);
  }
  return answerJSON(res, 404, { code: 'entity.not_found', message: 'not found' });
}

server.on('request', async (req, res) => {
  try {
    await route(req, res);
  } catch (err) {
    console.error(err);
    if (!res.headersSent) {
      answerJSON(res, err.statusCode ?? 500, { message: 'internal server error' });
    }
  }
});

process.stdout.write(`${JSON.stringify({ issuer })}\n`);
