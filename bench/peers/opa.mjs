// OPA, in a Go process of its own that evaluates in-process; built by run where Go
// and its module proxy are in reach.  A rule is a rule of Rego, so that OPA can index
// it by what it compares.

import { runExternal } from './external.mjs';
import { attributes, conditions, isPattern } from './policy.mjs';

const string = (text) => JSON.stringify(text);
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
  const rules = `package peers\n\n${policy.rules.map(translate).join('\n')}`;

  return runExternal(process.env.OPA_PEER, policy, place, rules, jobs.map(attributes));
}
