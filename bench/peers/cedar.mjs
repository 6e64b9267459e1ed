// Cedar, as WebAssembly.  A rule is a permit; the response names every permit that
// holds, which is what the strictest decision is taken from.  An exact topic is the
// policy's resource, which Cedar compares before it evaluates anything.

import { createRequire } from 'node:module';
import { attributes, conditions, isPattern, strictest } from './policy.mjs';

const string = (text) => JSON.stringify(text);
const list = (texts) => `[${texts.map(string).join(', ')}]`;

// Cedar's patterns know * alone: a class of digits becomes ten patterns.
function like(expression, pattern) {
  if (!pattern.includes('[0-9]')) return `${expression} like ${string(pattern)}`;
  const each = [...'0123456789'].map((digit) => `${expression} like ${string(pattern.replace('[0-9]', digit))}`);

  return `(${each.join(' || ')})`;
}

function translate(rule) {
  const c = conditions(rule);
  const tests = [];
  let resource = 'resource';

  if (c.topic && !isPattern(c.topic)) resource = `resource == Topic::${string(c.topic)}`;
  else if (c.topic) tests.push(like('context.topic', c.topic));
  if (c.tenants) tests.push(`${list(c.tenants)}.contains(context.tenant)`);
  if (c.tagsAll) tests.push(`context.risk_tags.containsAll(${list(c.tagsAll)})`);
  if (c.tagsAny) tests.push(`context.risk_tags.containsAny(${list(c.tagsAny)})`);
  if (c.tagsNone) tests.push(`!context.risk_tags.containsAny(${list(c.tagsNone)})`);
  for (const [name, values] of c.labels) {
    tests.push(`context.labels has ${name} && ${list(values)}.contains(context.labels.${name})`);
  }
  if (c.actorTypes) tests.push(`${list(c.actorTypes)}.contains(context.actor_type)`);
  if (c.actorId) tests.push(like('context.actor_id', c.actorId));
  if (c.amountAbove) tests.push(`context.amount > ${c.amountAbove}`);
  return `permit(principal, action, ${resource})` + (tests.length > 0 ? ` when { ${tests.join(' && ')} };` : ';');
}

export function translatePolicies(policy) {
  return Object.fromEntries(policy.rules.map((rule) => [rule.id, translate(rule)]));
}

export async function open(policy) {
  const require = createRequire(import.meta.url);
  const cedar = require('@cedar-policy/cedar-wasm/nodejs');
  const decide = strictest(policy);
  const parsed = cedar.preparsePolicySet('peers', { staticPolicies: translatePolicies(policy) });

  if (parsed.type !== 'success') throw new Error(JSON.stringify(parsed.errors).slice(0, 500));
  return {
    kind: 'in-process',
    version: cedar.getCedarSDKVersion(),
    decide: (job) => {
      const answer = cedar.statefulIsAuthorized({
        principal: { type: 'Agent', id: job.actor?.id ?? '' },
        action: { type: 'Action', id: 'run' },
        resource: { type: 'Topic', id: job.topic },
        context: attributes(job),
        preparsedPolicySetId: 'peers',
        entities: [],
      });

      if (answer.type !== 'success') throw new Error(JSON.stringify(answer.errors));
      if (answer.response.diagnostics.errors.length > 0) {
        throw new Error(JSON.stringify(answer.response.diagnostics.errors[0]));
      }
      return decide(answer.response.diagnostics.reason);
    },
  };
}
