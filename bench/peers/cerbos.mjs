// Cerbos: its own server, asked by gRPC over a Unix socket.  Every rule allows the one
// action, and says by its output that it has; the strictest of those decides.  (An
// action a decision took Cerbos three times as long.)

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { GRPC } from '@cerbos/grpc';
import { attributes, conditions, isPattern, regexOf, strictest } from './policy.mjs';

const string = (text) => JSON.stringify(text);
const list = (texts) => `[${texts.map(string).join(', ')}]`;

// CEL has regular expressions; a pattern that is a prefix alone needs none.
function matches(expression, pattern) {
  const prefix = pattern.slice(0, -1);

  if (!isPattern(pattern)) return `${expression} == ${string(pattern)}`;
  if (pattern.endsWith('*') && !isPattern(prefix)) return `${expression}.startsWith(${string(prefix)})`;
  return `${expression}.matches(${string(regexOf(pattern).source)})`;
}

function translate(rule) {
  const c = conditions(rule);
  const tests = [];

  if (c.topic) tests.push(matches('R.attr.topic', c.topic));
  if (c.tenants) tests.push(`R.attr.tenant in ${list(c.tenants)}`);
  for (const tag of c.tagsAll ?? []) tests.push(`${string(tag)} in R.attr.risk_tags`);
  if (c.tagsAny) tests.push(`hasIntersection(R.attr.risk_tags, ${list(c.tagsAny)})`);
  if (c.tagsNone) tests.push(`!hasIntersection(R.attr.risk_tags, ${list(c.tagsNone)})`);
  for (const [name, values] of c.labels) {
    tests.push(`has(R.attr.labels.${name}) && R.attr.labels.${name} in ${list(values)}`);
  }
  if (c.actorTypes) tests.push(`R.attr.actor_type in ${list(c.actorTypes)}`);
  if (c.actorId) tests.push(matches('R.attr.actor_id', c.actorId));
  if (c.amountAbove) tests.push(`R.attr.amount > ${c.amountAbove}.0`);
  return {
    name: rule.id,
    actions: ['run'],
    effect: 'EFFECT_ALLOW',
    roles: ['agent'],
    output: { when: { ruleActivated: string(rule.id) } },
    ...(tests.length > 0 && { condition: { match: { expr: tests.join(' && ') } } }),
  };
}

function writePolicy(policy, place) {
  mkdirSync(join(place, 'policies'));
  writeFileSync(join(place, 'policies', 'job.json'), JSON.stringify({
    apiVersion: 'api.cerbos.dev/v1',
    resourcePolicy: { resource: 'job', version: 'default', rules: policy.rules.map(translate) },
  }));
  writeFileSync(join(place, 'config.yaml'), JSON.stringify({
    server: {
      grpcListenAddr: `unix:${join(place, 'grpc.sock')}`,
      httpListenAddr: `unix:${join(place, 'http.sock')}`,
    },
    storage: { driver: 'disk', disk: { directory: join(place, 'policies'), watchForChanges: false } },
    telemetry: { disabled: true },
    audit: { enabled: false },
  }));
}

// The server's binary comes with the package of this platform.
function binary() {
  const require = createRequire(import.meta.url);
  const home = join(require.resolve('cerbos/package.json'), '..', '..');
  const name = `cerbos-${process.platform}-${process.arch}`;
  const found = join(home, '@cerbos', name, name);

  if (!existsSync(found)) throw Object.assign(new Error('no binary of Cerbos for this platform'), { code: 'UNAVAILABLE' });
  return found;
}

async function ready(client, server) {
  for (let i = 0; i < 1200; i++) {
    if (server.exitCode !== null) throw new Error('Cerbos did not start');
    try {
      await client.serverInfo();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  throw new Error('Cerbos was not ready in two minutes');
}

function decideWith(client, policy) {
  const decide = strictest(policy);

  return async (job) => {
    const answer = await client.checkResource({
      principal: { id: job.actor?.id ?? 'nobody', roles: ['agent'] },
      resource: { kind: 'job', id: 'job', attr: attributes(job) },
      actions: ['run'],
    });

    return decide(answer.outputs.map((output) => output.value));
  };
}

export async function open(policy, { place }) {
  writePolicy(policy, place);
  const log = openSync(join(place, 'cerbos.log'), 'w');
  const server = spawn(binary(), ['server', '--config', join(place, 'config.yaml'), '--log-level', 'warn'],
    { stdio: ['ignore', log, log] });
  const client = new GRPC(`unix:${join(place, 'grpc.sock')}`, { tls: false });
  const close = () => {
    client.close();
    server.kill();
  };

  try {
    await ready(client, server);
  } catch (error) {
    close();
    throw new Error(`${error.message}: ${readFileSync(join(place, 'cerbos.log'), 'utf8').slice(-500)}`);
  }
  return {
    kind: 'round trip',
    version: (await client.serverInfo()).version,
    decide: decideWith(client, policy),
    close,
  };
}
