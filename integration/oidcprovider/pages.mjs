// The pages of the sign-in, and how they find the interaction that they act for.

import { errors } from 'oidc-provider';

export const INTERACTION_TTL = 60 * 60;

// The engine limits its cookie to the path of the next page. Logto's cookie is for all pages.
const COOKIE = '_interaction';
const COOKIE_OPTIONS = { httpOnly: true, sameSite: 'lax', path: '/' };

// The answer to which Logto gives a code of its own, and the errors of the engine that get it.
export const sessionNotFound = {
  code: 'session.not_found',
  message: 'Session not found. Please go back and sign in again.',
};

export const isSessionNotFound = (description) => [
  'authorization request has expired', 'interaction session not found',
].includes(description);

export function answer(res, status, type, body) {
  res.writeHead(status, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-store' });
  res.end(body);
}

export const answerJSON = (res, status, body) => answer(res, status, 'application/json', JSON.stringify(body));

const escapeHTML = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

function answerSignInPage(res, status, { username = '', error = '' }) {
  answer(res, status, 'text/html', `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="UTF-8">
  <title>Sign in</title>
</head>
<body>
  ${error && `<p role="alert">${escapeHTML(error)}</p>`}
  <form method="post">
    <label>Username <input name="username" autocomplete="username" value="${escapeHTML(username)}"></label>
    <label>Password <input name="password" type="password" autocomplete="current-password"></label>
    <button type="submit">Sign in</button>
  </form>
</body>
</html>
`);
}

function answerUnknownSession(res) {
  answer(res, 200, 'text/html', `<!DOCTYPE html>
<html lang="en"><head><meta charset="UTF-8"><title>404 Not Found</title></head><body><h1>404 Not Found</h1><p>Session not found</p></body></html>
`);
}

async function readForm(req) {
  let body = '';
  req.setEncoding('utf8');
  for await (const chunk of req) {
    body += chunk;
    if (body.length > 65536) {
      throw new errors.InvalidRequest('the form is too large', 413);
    }
  }
  return new URLSearchParams(body);
}

// The interactions of a browser: one for each application, and the latest for requests that name
// no application.
function interactionUIDs(ctx) {
  try {
    return JSON.parse(decodeURIComponent(ctx.cookies.get(COOKIE))) ?? {};
  } catch {
    return {};
  }
}

/** Replaces the engine's cookie for an interaction that has just begun by Logto's. */
export function setInteractionCookies(ctx, { uid, params: { client_id: appId } }) {
  const uids = { ...interactionUIDs(ctx), _legacy: uid, [appId]: uid };
  ctx.cookies.set(COOKIE, encodeURIComponent(JSON.stringify(uids)), {
    ...COOKIE_OPTIONS, maxAge: INTERACTION_TTL * 1000, overwrite: true,
  });
  ctx.cookies.set('_logto', JSON.stringify({ appId }), COOKIE_OPTIONS);
}

// The interaction that a page acts for: the latest one of the application in this browser,
// whichever tab started it. The engine's interactionDetails reads one uid from the cookie.
async function interactionOf(provider, req, res) {
  const uids = interactionUIDs(provider.createContext(req, res));
  const uid = uids[new URL(req.url, provider.issuer).searchParams.get('app_id') ?? '_legacy'];
  const interaction = uid && await provider.Interaction.find(uid);
  if (!interaction) {
    throw new errors.SessionNotFound('interaction session not found');
  }
  const { session } = interaction;
  if (session?.uid && !await provider.Session.findByUid(session.uid)) {
    throw new errors.SessionNotFound('session not found');
  }
  return interaction;
}

function redirect(res, status, location) {
  res.writeHead(status, { location, 'cache-control': 'no-store' });
  res.end();
}

async function finish(res, status, interaction, result) {
  interaction.result = result;
  await interaction.persist();
  redirect(res, status, interaction.returnTo);
}

async function signIn(provider, users, req, res) {
  const interaction = await interactionOf(provider, req, res);
  if (req.method !== 'POST') {
    answerSignInPage(res, 200, { username: interaction.params.login_hint });
    return;
  }
  const form = await readForm(req);
  const username = form.get('username') ?? '';
  const user = users.find((candidate) => candidate.username === username);
  if (user === undefined || user.password !== form.get('password')) {
    answerSignInPage(res, 400, { username, error: 'Incorrect username or password.' });
    return;
  }
  await finish(res, 303, interaction, { login: { accountId: user.id } });
}

// Every client is a first-party application, for which Logto consents without
// asking.
async function consent(provider, req, res) {
  const interaction = await interactionOf(provider, req, res);
  const {
    grantId, lastSubmission, params, prompt: { details }, session,
  } = interaction;
  if (session === undefined) { // another tab has begun a sign-in since
    answerJSON(res, 400, sessionNotFound);
    return;
  }

  const grant = (grantId && await provider.Grant.find(grantId))
    || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (details.missingOIDCScope) {
    grant.addOIDCScope(details.missingOIDCScope);
  }
  for (const [indicator, scopes] of Object.entries(details.missingResourceScopes ?? {})) {
    grant.addResourceScope(indicator, scopes);
  }
  const result = { ...lastSubmission, consent: { grantId: await grant.save() } };
  await finish(res, 302, interaction, result);
}

// Answers for a page whose sign-in has ended, for example because another tab has finished it.
const guarded = (page) => async (req, res) => {
  try {
    await page(req, res);
  } catch (err) {
    if (!(err instanceof errors.SessionNotFound)) {
      throw err;
    }
    if (req.method === 'POST') {
      answerJSON(res, 400, sessionNotFound);
    } else {
      redirect(res, 302, '/unknown-session');
    }
  }
};

/** Returns the pages by their paths. */
export const createPages = (provider, users) => ({
  '/sign-in': guarded((req, res) => signIn(provider, users, req, res)),
  '/consent': guarded((req, res) => consent(provider, req, res)),
  '/unknown-session': (req, res) => answerUnknownSession(res),
});
