// Starts the Slack API of the npm package `emulate` on 127.0.0.1 with the seed given as JSON in
// argv[2], subscribes argv[4] (if given) to its events, and prints READY with the ids it made.
// usage: node slack.mjs SEED_JSON PORT [EVENTS_URL]; node_modules is beside this file.
import { readdir, readFile } from 'node:fs/promises';
import { createEmulator } from 'emulate';

const [seed, port, eventsUrl] = [JSON.parse(process.argv[2]), Number(process.argv[3]), process.argv[4]];

// The package signs and delivers events but has no public call to subscribe to them: its own
// plugin object, the same instance that createEmulator loads, is asked for its dispatcher.
async function slackModule() {
  const home = new URL('.', import.meta.resolve('emulate'));
  for (const name of await readdir(home)) {
    if (!/^dist-\w+\.js$/.test(name)) continue;
    if ((await readFile(new URL(name, home), 'utf8')).includes('\n  slackPlugin\n')) {
      return import(new URL(name, home));
    }
  }
  throw new Error('emulate has no Slack plugin');
}

// Slack takes a method's arguments from the query too, and reads with GET; the package takes them
// from the body of a POST. slack_sdk uses the query for many methods.
function asPost(request) {
  const url = new URL(request.url);
  if (!url.pathname.startsWith('/api/') || (request.method === 'POST' && !url.search)) return request;
  const headers = new Headers({ 'Content-Type': 'application/x-www-form-urlencoded' });
  const token = request.headers.get('Authorization');
  if (token) headers.set('Authorization', token);
  return new Request(new URL(url.pathname, url), { method: 'POST', headers, body: url.search.slice(1) });
}

// The package takes a token it never gave for its administrator's.
function hasUnknownToken(request) {
  const token = (request.headers.get('Authorization') ?? '').match(/^Bearer (.+)$/)?.[1];
  return token !== undefined && !seen.store.tokens.findOneBy('token', token);
}

// Slack answers a method it does not know with 200 and an error; the package with 404.
function asSlack(request, response) {
  if (response.status !== 404 || !new URL(request.url).pathname.startsWith('/api/')) return response;
  return Response.json({ ok: false, error: 'unknown_method' });
}

const { slackPlugin, getSlackStore } = await slackModule();
let seen;
const register = slackPlugin.register;
slackPlugin.register = (app, store, webhooks, ...rest) => {
  seen = { store: getSlackStore(store), webhooks };
  register(app, store, webhooks, ...rest);
  const answer = app.fetch;
  app.fetch = async (request, ...more) => {
    if (hasUnknownToken(request)) return Response.json({ ok: false, error: 'invalid_auth' });
    return asSlack(request, await answer(asPost(request), ...more));
  };
};

await createEmulator({ service: 'slack', port, baseUrl: `http://127.0.0.1:${port}`, seed: { slack: seed } });
if (eventsUrl) {
  seen.webhooks.register({ url: eventsUrl, events: ['*'], active: true, owner: 'slack' });
}
const { store } = seen;
console.log('READY ' + JSON.stringify({
  team_id: store.teams.all()[0].team_id,
  user_id: store.users.findOneBy('name', seed.users[0].name).user_id,
  channel_id: store.channels.findOneBy('name', seed.channels[0].name).channel_id,
}));
