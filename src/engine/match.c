/*
 * match.c
 *	  Which rules apply to a job at a time.
 *
 * The index finds those that can; what it finds is checked in full here.
 */
#include "postgres.h"

#include "engine/match.h"
#include "engine/nulls.h"
#include "engine/rule_index.h"

#define FEW_FOUND 4

/* A rule's texts and conditions lie together: most of them in so many bytes. */
#define PARTS_OF_RULE 320

static bool
glob_matches(const Glob *glob, const JobString *value, PolicyBudget *budget)
{
	return policy_budget_spend(budget, 1 + value->len / 64) &&
		glob_match(glob, value->data, value->len);
}

static bool
any_value_matches(const Glob *glob, const JobString *values, int nvalues, PolicyBudget *budget)
{
	for (int i = 0; i < nvalues; i++)
	{
		if (glob_matches(glob, &values[i], budget))
			return true;
	}
	return false;
}

/* Whether one of the list's patterns matches one of the values. */
static bool
any_glob_matches(const Glob *globs, int count, const JobString *values, int nvalues,
				 PolicyBudget *budget)
{
	for (int i = 0; i < count; i++)
	{
		if (any_value_matches(&globs[i], values, nvalues, budget))
			return true;
	}
	return false;
}

static bool
lists_hold(const GlobLists *lists, const JobString *values, int nvalues, PolicyBudget *budget)
{
	const Glob *all = lists->globs + lists->nany;
	const Glob *none = all + lists->nall;

	if (lists->nany > 0 && !any_glob_matches(lists->globs, lists->nany, values, nvalues, budget))
		return false;
	for (int i = 0; i < lists->nall; i++)
	{
		if (!any_value_matches(&all[i], values, nvalues, budget))
			return false;
	}
	return !any_glob_matches(none, lists->nnone, values, nvalues, budget);
}

static bool
condition_holds(const CompiledCondition *condition, const Job *job, PolicyBudget *budget)
{
	const JobString *values;
	int			nvalues;

	if (condition->field >= POLICY_FIRST_SET)
	{
		const JobSet *set = &job->sets[condition->field - POLICY_FIRST_SET];

		values = set->items;
		nvalues = set->count;
	}
	else
	{
		values = &job->fields[condition->field];
		nvalues = values->data != NULL ? 1 : 0;
	}
	return lists_hold(&condition->lists, values, nvalues, budget);
}

static bool
label_holds(const CompiledLabel *label, const Job *job, PolicyBudget *budget)
{
	const JobString *value = policy_job_label(job, label->name, label->len);

	if (label->present)
		return value != NULL;
	return lists_hold(&label->lists, value, value != NULL ? 1 : 0, budget);
}

/*
 * What a null changes is unknown, but where the predicate looks for null itself.
 * PostgreSQL calls null > 1000 false, and so a null would slip past what an
 * absent field or a string does not.
 */
static PolicyTruth
when_holds(const CompiledMatch *match, Job *job)
{
	PolicyTruth truth = policy_predicate_test(match->when, job->source);
	Jsonb	   *comparable = policy_job_comparable(job);

	if (match->lax || comparable == job->source)
		return truth;
	if (match->null_places != NULL)
		comparable = policy_without_nulls(job->source, match->null_places);
	return policy_predicate_test(match->when, comparable) == truth ? truth : POLICY_UNKNOWN;
}

/* proven: the condition that is known to hold, or -1. */
static PolicyTruth
match_holds(const CompiledMatch *match, int proven, Job *job, PolicyBudget *budget)
{
	if (match->has_secrets_present && match->secrets_present != job->secrets_present)
		return POLICY_FALSE;
	for (int i = 0; i < match->nconditions; i++)
	{
		if (i != proven && !condition_holds(&match->conditions[i], job, budget))
			return POLICY_FALSE;
	}
	for (int i = 0; i < match->nlabels; i++)
	{
		if (!label_holds(&match->labels[i], job, budget))
			return POLICY_FALSE;
	}
	if (!match->has_when)
		return POLICY_TRUE;
	if (!policy_budget_spend(budget, POLICY_BUDGET_INTERVAL / 8))
		return POLICY_FALSE;
	return when_holds(match, job);
}

/* Whether one of the rule's live exceptions holds. */
static PolicyTruth
excepted(const CompiledRule *rule, Job *job, TimestampTz at, PolicyBudget *budget)
{
	PolicyTruth result = POLICY_FALSE;

	for (int i = 0; i < rule->nexceptions && result != POLICY_TRUE; i++)
	{
		if (at < rule->exceptions[i].expires_at)
			result = Max(result, match_holds(&rule->exceptions[i].match, -1, job, budget));
	}
	return result;
}

bool
policy_rule_is_excepted(const CompiledRule *rule, Job *job, TimestampTz at, PolicyBudget *budget)
{
	return at >= rule->not_before && at < rule->expires_at &&
		match_holds(&rule->match, -1, job, budget) != POLICY_FALSE &&
		excepted(rule, job, at, budget) != POLICY_FALSE;
}

/* How sure it is that a rule applies, but for its velocity; proven as for match_holds(). */
static PolicyStanding
standing_without_rate(const CompiledRule *rule, int proven, Job *job, TimestampTz at,
					  PolicyBudget *budget)
{
	bool		restricts = rule->decision >= POLICY_THROTTLE;
	PolicyTruth holds;
	PolicyTruth exception;

	if (at < rule->not_before || at >= rule->expires_at)
		return POLICY_APPLIES_NOT;
	holds = match_holds(&rule->match, proven, job, budget);
	if (holds == POLICY_FALSE)
		return POLICY_APPLIES_NOT;
	exception = excepted(rule, job, at, budget);
	if (exception == POLICY_TRUE)
		return POLICY_APPLIES_NOT;
	if (!restricts)
	{
		if (holds == POLICY_UNKNOWN)
			return POLICY_APPLIES_NOT;
		return exception == POLICY_UNKNOWN ? POLICY_APPLIES_MAYBE : POLICY_APPLIES;
	}
	return holds == POLICY_UNKNOWN || exception == POLICY_UNKNOWN ?
		POLICY_APPLIES_UNCERTAIN : POLICY_APPLIES;
}

PolicyTruth
policy_rule_asks_rate(const CompiledRule *rule, Job *job, TimestampTz at, PolicyBudget *budget)
{
	PolicyStanding standing = standing_without_rate(rule, -1, job, at, budget);

	if (standing == POLICY_APPLIES)
		return POLICY_TRUE;
	return standing == POLICY_APPLIES_NOT ? POLICY_FALSE : POLICY_UNKNOWN;
}

/* *wait is set where the rule's velocity is exceeded. */
static PolicyStanding
rule_standing(const CompiledRule *rule, Job *job, TimestampTz at, PolicyRates *rates,
			  PolicyBudget *budget, int *wait)
{
	PolicyStanding standing = standing_without_rate(rule, rule->proven, job, at, budget);
	PolicyRateState state = POLICY_RATE_UNKNOWN;

	if (rule->velocity == NULL || standing == POLICY_APPLIES_NOT || budget->exhausted)
		return standing;
	if (rates != NULL)
		state = rates->ask(rates, rule, job, at, wait);
	if (state == POLICY_RATE_EXCEEDED)
		return standing;
	*wait = 0;
	if (state == POLICY_RATE_ADMITS || rule->decision < POLICY_THROTTLE)
		return POLICY_APPLIES_NOT;
	return POLICY_APPLIES_UNCERTAIN;
}

static void
add_rule(ApplyingRules *rules, const CompiledRule *rule, uint8 brief, PolicyStanding standing,
		 int wait)
{
	if (rules->count == rules->capacity)
	{
		rules->capacity = Max(8, rules->capacity * 2);
		rules->items = rules->items == NULL ?
			palloc(sizeof(ApplyingRule) * rules->capacity) :
			repalloc(rules->items, sizeof(ApplyingRule) * rules->capacity);
	}
	rules->items[rules->count].rule = rule;
	rules->items[rules->count].standing = standing;
	rules->items[rules->count].brief = brief;
	rules->items[rules->count].wait = wait;
	rules->count++;
}

void
policy_match_found(const CompiledPolicy *policy, const FoundRules *met, Job *job, TimestampTz at,
				   PolicyRates *rates, PolicyBudget *budget, ApplyingRules *enforcing, ApplyingRules *monitoring)
{
	bool		settled = false;
	int			count;
	int		   *found = rule_index_all(met, &count);

	/* Few, they are read one after the other, and each from several places. */
	for (int i = 0; i < Min(count, FEW_FOUND); i++)
	{
		if (!(policy->briefs[found[i]] & RULE_CERTAIN))
			policy_prefetch(policy->rules[found[i]].id_text, PARTS_OF_RULE);
	}
	memset(enforcing, 0, sizeof(ApplyingRules));
	memset(monitoring, 0, sizeof(ApplyingRules));
	for (int i = 0; i < count; i++)
	{
		const CompiledRule *rule = &policy->rules[found[i]];
		uint8		brief = policy->briefs[found[i]];
		bool		monitor = (brief & RULE_MONITOR) != 0;
		PolicyStanding standing = POLICY_APPLIES;
		int			wait = 0;

		if (settled && !monitor)
			continue;
		if (!policy_budget_spend(budget, 1))
			return;
		if (!(brief & RULE_CERTAIN))
			standing = rule_standing(rule, job, at, rates, budget, &wait);
		if (monitor && standing >= POLICY_APPLIES_UNCERTAIN)
			add_rule(monitoring, rule, brief, standing, wait);
		else if (!monitor && standing != POLICY_APPLIES_NOT)
		{
			add_rule(enforcing, rule, brief, standing, wait);
			settled = policy->first_match && standing == POLICY_APPLIES;
		}
	}
}

void
policy_match_open(const CompiledPolicy *policy, const FoundRules *met, Job *job, TimestampTz at,
				  PolicyBudget *budget, ApplyingRules *open)
{
	int			count;
	int		   *found = rule_index_open(met, &count);

	memset(open, 0, sizeof(ApplyingRules));
	for (int i = 0; i < count; i++)
	{
		const CompiledRule *rule = &policy->rules[found[i]];
		PolicyStanding standing;

		if (!policy_budget_spend(budget, 1))
			return;
		standing = standing_without_rate(rule, rule->proven, job, at, budget);
		if (standing != POLICY_APPLIES_NOT)
			add_rule(open, rule, policy->briefs[found[i]], standing, 0);
	}
}

void
policy_match(const CompiledPolicy *policy, Job *job, TimestampTz at,
			 PolicyRates *rates, PolicyBudget *budget, ApplyingRules *enforcing,
			 ApplyingRules *monitoring)
{
	FoundRules	found;

	rule_index_meet(policy->index, job, &found);
	policy_match_found(policy, &found, job, at, rates, budget, enforcing, monitoring);
}
