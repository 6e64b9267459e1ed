/*
 * match.c
 *	  Which rules apply to a job at a time.
 *
 * The index finds those that can; what it finds is checked in full here.
 */
#include "postgres.h"

#include "engine/conditions.h"
#include "engine/match.h"
#include "engine/rule_index.h"

#define FEW_FOUND 4

/* A rule's texts and conditions lie together: most of them in so many bytes. */
#define PARTS_OF_RULE 320

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
	PolicyTruth holds;

	if (at < rule->not_before || at >= rule->expires_at)
		return POLICY_APPLIES_NOT;
	holds = match_holds(&rule->match, proven, job, budget);
	if (holds == POLICY_FALSE)
		return POLICY_APPLIES_NOT;
	return standing_of(rule, holds, excepted(rule, job, at, budget));
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
	if (state != POLICY_RATE_EXCEEDED)
		*wait = 0;
	return standing_with_rate(rule, standing, state);
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
