// json-rules-engine: a rule is a rule, its event names it.  Patterns are an operator
// of our own, compiled once.

import { Engine } from 'json-rules-engine';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { attributes, conditions, isPattern, regexOf, strictest } from './policy.mjs';

function translate(rule) {
  const c = conditions(rule);
  const all = [];
  const test = (fact, operator, value, path) => all.push({ fact, operator, value, ...(path && { path }) });

  if (c.topic) test('topic', isPattern(c.topic) ? 'matches' : 'equal', c.topic);
  if (c.tenants) test('tenant', 'in', c.tenants);
  for (const tag of c.tagsAll ?? []) test('risk_tags', 'contains', tag);
  if (c.tagsAny) all.push({ any: c.tagsAny.map((value) => ({ fact: 'risk_tags', operator: 'contains', value })) });
  for (const tag of c.tagsNone ?? []) test('risk_tags', 'doesNotContain', tag);
  for (const [name, values] of c.labels) test('labels', 'in', values, `$.${name}`);
  if (c.actorTypes) test('actor_type', 'in', c.actorTypes);
  if (c.actorId) test('actor_id', 'matches', c.actorId);
  if (c.amountAbove) test('amount', 'greaterThan', c.amountAbove);
  return { name: rule.id, conditions: { all }, event: { type: rule.id } };
}

export async function open(policy) {
  const require = createRequire(import.meta.url);
  const engine = new Engine(policy.rules.map(translate));
  const decide = strictest(policy);
  const regexes = new Map();

  engine.addOperator('matches', (value, pattern) => {
    if (!regexes.has(pattern)) regexes.set(pattern, regexOf(pattern));
    return regexes.get(pattern).test(value);
  });
  return {
    kind: 'in-process',
    version: JSON.parse(readFileSync(require.resolve('json-rules-engine').replace(/dist\/.*/, 'package.json'))).version,
    decide: async (job) => {
      const { events } = await engine.run(attributes(job));

      return decide(events.map((event) => event.type));
    },
  };
}
