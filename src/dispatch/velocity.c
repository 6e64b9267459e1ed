/*
 * velocity.c
 *	  What velocities say of an attempt, and what it is charged.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "dispatch/counters.h"
#include "dispatch/velocity.h"
#include "engine/rate.h"
#include "store/active.h"
#include "store/cache.h"
#include "store/decide.h"

/* A key buffer that has grown past this is not kept. */
#define MAX_KEPT_KEY (64 * 1024)

typedef struct VelocityAnswer
{
	char	   *key;
	int			keylen;
	PolicyRateState state;
	int			wait;
} VelocityAnswer;

/* The key, in a buffer of the session's; good until the next one is made. */
static StringInfo
make_key(const CompiledRule *rule, const Job *job)
{
	static StringInfoData key;

	if (key.data != NULL && key.maxlen > MAX_KEPT_KEY)
	{
		pfree(key.data);
		key.data = NULL;
	}
	if (key.data == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(&key);
		MemoryContextSwitchTo(caller);
	}
	resetStringInfo(&key);
	rate_key(&key, rule->id, rule->velocity, job);
	return &key;
}

/* A key that there is no room for is beyond its rate, where that is the stricter. */
static PolicyRateState
ask_counter(const CompiledRule *rule, StringInfo key, TimestampTz at, CounterUse use, int *wait)
{
	const PolicyVelocity *velocity = rule->velocity;

	switch (counters_ask(key->data, key->len, velocity->window_seconds, velocity->max_requests,
						 at, use, wait))
	{
		case COUNTER_ADMITS:
			return POLICY_RATE_ADMITS;
		case COUNTER_EXCEEDED:
			return POLICY_RATE_EXCEEDED;
		case COUNTER_REFUSED:
			*wait = velocity->window_seconds;
			return rule->decision >= POLICY_THROTTLE ? POLICY_RATE_EXCEEDED : POLICY_RATE_UNKNOWN;
		default:
			return POLICY_RATE_UNKNOWN;
	}
}

static PolicyRateState
read_rate(PolicyRates *rates, const CompiledRule *rule, const Job *job, TimestampTz at, int *wait)
{
	return ask_counter(rule, make_key(rule, job), at, COUNTER_READ, wait);
}

static PolicyRates reading = {read_rate};

void
policy_velocity_init(void)
{
	policy_rates_read = &reading;
}

static const CompiledRule *
rule_of(const CompiledPolicy *policy, const char *id)
{
	for (int i = 0; i < policy->nrules; i++)
	{
		if (strcmp(policy->rules[i].id, id) == 0)
			return &policy->rules[i];
	}
	return NULL;
}

static bool
names_rule(ArrayType *rules, const char *id)
{
	Datum	   *items;
	bool	   *nulls;
	int			nitems;

	deconstruct_array(rules, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &nitems);
	for (int i = 0; i < nitems; i++)
	{
		if (!nulls[i] && strcmp(TextDatumGetCString(items[i]), id) == 0)
			return true;
	}
	return false;
}

static bool
same_key(const CompiledRule *rule, const Job *job, StringInfo key)
{
	StringInfoData other;
	bool		same;

	initStringInfo(&other);
	rate_key(&other, rule->id, rule->velocity, job);
	same = other.len == key->len && memcmp(other.data, key->data, key->len) == 0;
	pfree(other.data);
	return same;
}

/*
 * Whether the prior decision asked the velocity of a rule of its policy, so that what
 * it said of the rule is what the velocity said.
 */
static bool
was_asked(const CompiledPolicy *policy, const CompiledRule *rule, Job *job,
		  const PriorDecision *prior)
{
	PolicyBudget no_limit = {0};
	PolicyTruth asks = policy_rule_asks_rate(rule, job, prior->at, &no_limit);

	if (asks == POLICY_FALSE)
		return false;
	if (rule->monitor || names_rule(prior->matched, rule->id))
		return true;
	/* Exceeded, it may still not be among those that were recorded. */
	if (asks == POLICY_UNKNOWN && (policy->first_match || rule->decision < POLICY_THROTTLE))
		return false;
	if (!policy->first_match)
		return true;
	/* Was it reached?  The winner, if any, is the only one that was recorded. */
	for (int i = 0; i < rule->position; i++)
	{
		if (names_rule(prior->matched, policy->rules[i].id))
			return false;
	}
	return true;
}

/* What the prior decision was told by a rule of its policy; UNKNOWN: nothing. */
static PolicyRateState
told_under(const CompiledPolicy *policy, const CompiledRule *rule, Job *job, StringInfo key,
		   const PriorDecision *prior)
{
	const CompiledRule *then = rule_of(policy, rule->id);

	if (then == NULL || then->velocity == NULL || !same_key(then, job, key) ||
		!was_asked(policy, then, job, prior))
		return POLICY_RATE_UNKNOWN;
	if (!names_rule(then->monitor ? prior->monitored : prior->matched, then->id))
		return POLICY_RATE_ADMITS;
	/* What throttled the job has given it back, and is asked again. */
	return then->decision == POLICY_THROTTLE && prior->is_due ?
		POLICY_RATE_UNKNOWN : POLICY_RATE_EXCEEDED;
}

static PolicyRateState
told_before(PolicyAttempt *attempt, const CompiledRule *rule, Job *job, StringInfo key)
{
	const PriorDecision *prior = attempt->prior;
	CompiledPolicy *policy;
	PolicyRateState state;

	if (prior == NULL || prior->snapshot == NULL)
		return POLICY_RATE_UNKNOWN;
	policy = policy_snapshot_pin_readable(prior->snapshot, attempt->policy);
	if (policy == NULL)
		return POLICY_RATE_UNKNOWN;
	state = told_under(policy, rule, job, key, prior);
	policy_cache_unpin(policy);
	return state;
}

static PolicyRateState
ask_anew(PolicyAttempt *attempt, const CompiledRule *rule, StringInfo key, TimestampTz at,
		 int *wait)
{
	CounterUse	use = COUNTER_CHARGE;

	if (attempt->reads_only)
		use = COUNTER_READ;
	else if (rule->decision == POLICY_THROTTLE)
		use = attempt->prior != NULL && attempt->prior->is_due ?
			COUNTER_CHARGE_RETURNING : COUNTER_CHARGE_ADMITTED;
	return ask_counter(rule, key, at, use, wait);
}

static void
remember(PolicyAttempt *attempt, StringInfo key, PolicyRateState state, int wait)
{
	MemoryContext caller = MemoryContextSwitchTo(attempt->context);
	Size		size = sizeof(VelocityAnswer) * (attempt->nanswers + 1);
	VelocityAnswer *answer;

	attempt->answers = attempt->answers == NULL ? palloc(size) : repalloc(attempt->answers, size);
	answer = &attempt->answers[attempt->nanswers++];
	answer->key = palloc(key->len);
	memcpy(answer->key, key->data, key->len);
	answer->keylen = key->len;
	answer->state = state;
	answer->wait = wait;
	MemoryContextSwitchTo(caller);
}

static PolicyRateState
ask_attempt(PolicyRates *rates, const CompiledRule *rule, const Job *job, TimestampTz at, int *wait)
{
	PolicyAttempt *attempt = (PolicyAttempt *) rates;
	StringInfo	key = make_key(rule, job);
	PolicyRateState state;

	for (int i = 0; i < attempt->nanswers; i++)
	{
		const VelocityAnswer *answer = &attempt->answers[i];

		if (answer->keylen == key->len && memcmp(answer->key, key->data, key->len) == 0)
		{
			*wait = answer->wait;
			return answer->state;
		}
	}
	state = told_before(attempt, rule, unconstify(Job *, job), key);
	if (state == POLICY_RATE_UNKNOWN)
		state = ask_anew(attempt, rule, key, at, wait);
	else if (state == POLICY_RATE_EXCEEDED)
	{
		/* When it comes back it will be asked again. */
		(void) ask_counter(rule, key, at, COUNTER_READ, wait);
		*wait = Max(*wait, 1);
	}
	remember(attempt, key, state, *wait);
	return state;
}

void
policy_attempt_init(PolicyAttempt *attempt, const PriorDecision *prior)
{
	memset(attempt, 0, sizeof(PolicyAttempt));
	attempt->base.ask = ask_attempt;
	attempt->prior = prior;
	attempt->context = CurrentMemoryContext;
}

void
policy_attempt_end(PolicyAttempt *attempt)
{
	for (int i = 0; i < attempt->nanswers; i++)
		pfree(attempt->answers[i].key);
	if (attempt->answers != NULL)
		pfree(attempt->answers);
	attempt->answers = NULL;
	attempt->nanswers = 0;
}
