// What the translations share.

export const decisions = ['ALLOW', 'ALLOW_WITH_CONSTRAINTS', 'THROTTLE', 'REQUIRE_APPROVAL', 'DENY'];

const rank = new Map(decisions.map((decision, i) => [decision, i]));

// The decision of a set of rules that apply, by their ids; the default, deny, where
// there is none.
export function strictest(policy) {
  const byId = new Map(policy.rules.map((rule) => [rule.id, rule.decision.toUpperCase()]));

  return (ids) => {
    let result;

    for (const id of ids) {
      const decision = byId.get(id);

      if (decision === undefined) throw new Error(`there is no rule ${id}`);
      if (result === undefined || rank.get(decision) > rank.get(result)) result = decision;
    }
    return result ?? 'DENY';
  };
}

// A rule's conditions in one form: lists of any, all and none, and the rest.
export function conditions(rule) {
  const { topics, tenants, risk_tags: tags, labels, actor_types: types, actor_ids: ids, when } = rule.match;
  const amount = when && /^\$\.payload\.amount > (\d+)$/.exec(when);
  const known = ['topics', 'tenants', 'risk_tags', 'labels', 'actor_types', 'actor_ids', 'when'];

  for (const key of Object.keys(rule.match)) {
    if (!known.includes(key)) throw new Error(`no translation for ${key}`);
  }
  if (when && !amount) throw new Error(`no translation for ${when}`);
  return {
    topic: topics?.[0],
    tenants,
    tagsAll: Array.isArray(tags) ? tags : tags?.all,
    tagsAny: tags?.any,
    tagsNone: tags?.none,
    labels: Object.entries(labels ?? {}).map(([name, values]) => [name, [values].flat()]),
    actorTypes: types,
    actorId: ids?.[0],
    amountAbove: amount && Number(amount[1]),
  };
}

export const isPattern = (text) => /[*?[]/.test(text);

// A pattern of the workload as a regular expression: *, and one class of digits.
export function regexOf(pattern) {
  const parts = pattern.split(/(\*|\[0-9\])/);

  return new RegExp('^' + parts.map((part) =>
    part === '*' ? '.*' : part === '[0-9]' ? part : part.replace(/[.\\]/g, '\\$&')).join('') + '$', 's');
}

// A job as an engine that knows no jsonb is given it: what conditions read.
export function attributes(job) {
  return {
    topic: job.topic,
    tenant: job.tenant_id,
    risk_tags: job.risk_tags ?? [],
    labels: job.labels ?? {},
    actor_id: job.actor?.id ?? '',
    actor_type: job.actor?.type ?? '',
    amount: job.payload.amount,
  };
}
