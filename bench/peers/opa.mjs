// OPA, in a Go process of its own that evaluates in-process; built by run where Go
// and its module proxy are in reach.  A rule is a rule of Rego, so that OPA can index
// it by what it compares.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { attributes, conditions, isPattern, strictest } from './policy.mjs';

const string = (text) => JSON.stringify(text);
const list = (texts) => `[${texts.map(string).join(', ')}]`;
const set = (texts) => `{${texts.map(string).join(', ')}}`;

function matches(expression, pattern) {
  return isPattern(pattern) ? `glob.match(${string(pattern)}, null, ${expression})` : `${expression} == ${string(pattern)}`;
}

function translate(rule) {
  const c = conditions(rule);
  const tests = [];

  if (c.topic) tests.push(matches('input.topic', c.topic));
  if (c.tenants) tests.push(`input.tenant in ${set(c.tenants)}`);
  for (const tag of c.tagsAll ?? []) tests.push(`${string(tag)} in input.risk_tags`);
  if (c.tagsAny) tests.push(`some tag in input.risk_tags`, `tag in ${set(c.tagsAny)}`);
  for (const tag of c.tagsNone ?? []) tests.push(`not ${string(tag)} in input.risk_tags`);
  for (const [name, values] of c.labels) tests.push(`input.labels.${name} in ${set(values)}`);
  if (c.actorTypes) tests.push(`input.actor_type in ${set(c.actorTypes)}`);
  if (c.actorId) tests.push(matches('input.actor_id', c.actorId));
  if (c.amountAbove) tests.push(`input.amount > ${c.amountAbove}`);
  return `applies contains ${string(rule.id)} if {\n${tests.map((test) => `\t${test}\n`).join('')}}\n`;
}

export async function open(policy, { jobs, place }) {
  const program = process.env.OPA_PEER;
  const decide = strictest(policy);

  if (!program || !existsSync(program)) {
    throw Object.assign(new Error('Go, or its module proxy, is out of reach'), { code: 'UNAVAILABLE' });
  }
  writeFileSync(join(place, 'policy.rego'), `package peers\n\n${policy.rules.map(translate).join('\n')}`);
  writeFileSync(join(place, 'inputs.json'), JSON.stringify(jobs.map(attributes)));
  execFileSync(program, [join(place, 'policy.rego'), join(place, 'inputs.json'), join(place, 'answers.json'),
    String(process.env.PEERS_SECONDS ?? 3)], { stdio: ['ignore', 'inherit', 'inherit'] });
  const { version, answers } = JSON.parse(readFileSync(join(place, 'answers.json'), 'utf8'));

  return {
    kind: 'in-process',
    version,
    bulk: async () => ({
      decisions: answers.map((answer) => decide(answer.rules)),
      times: answers.map((answer) => answer.us),
    }),
  };
}
