/*
 * walk.c
 *	  One rule looked at in full.  See walk.h.
 */
#include "postgres.h"

#include "engine/conditions.h"
#include "engine/walk.h"
#include "language/diagnostics.h"

/* Adds a part that fails; false where no more are wanted. */
static bool
add_failed(RuleWalk *walk, RulePartKind kind, int index, int most)
{
	walk->failed[walk->nfailed].kind = kind;
	walk->failed[walk->nfailed].index = index;
	walk->nfailed++;
	return most == 0 || walk->nfailed < most;
}

/* Counts a condition that was tried; false where no more are to be. */
static bool
note(RuleWalk *walk, bool holds, RulePartKind kind, int index, int most)
{
	if (!holds)
		return add_failed(walk, kind, index, most);
	walk->nheld++;
	return true;
}

/* What is unknown fails a rule that permits. */
static bool
walk_when(const CompiledRule *rule, Job *job, int most, PolicyBudget *budget, RuleWalk *walk)
{
	bool		restricts = rule->decision >= POLICY_THROTTLE;

	policy_budget_spend(budget, POLICY_BUDGET_INTERVAL / 8);
	walk->when = when_holds(&rule->match, job);
	return note(walk, walk->when == POLICY_TRUE || (walk->when == POLICY_UNKNOWN && restricts),
				RULE_PART_WHEN, 0, most);
}

static bool
walk_match(const CompiledRule *rule, Job *job, int most, PolicyBudget *budget, RuleWalk *walk)
{
	const CompiledMatch *match = &rule->match;

	if (match->has_secrets_present &&
		!note(walk, match->secrets_present == job->secrets_present, RULE_PART_SECRETS_PRESENT,
			  0, most))
		return false;
	for (int i = 0; i < match->nconditions; i++)
	{
		if (!note(walk, condition_holds(&match->conditions[i], job, budget), RULE_PART_CONDITION,
				  i, most))
			return false;
	}
	for (int i = 0; i < match->nlabels; i++)
	{
		if (!note(walk, label_holds(&match->labels[i], job, budget), RULE_PART_LABEL, i, most))
			return false;
	}
	return !match->has_when || walk_when(rule, job, most, budget, walk);
}

/* Returns what is known of all of them. */
static PolicyTruth
walk_exceptions(const CompiledRule *rule, Job *job, TimestampTz at, int most,
				PolicyBudget *budget, RuleWalk *walk)
{
	PolicyTruth result = POLICY_FALSE;

	for (int i = 0; i < rule->nexceptions; i++)
	{
		PolicyTruth holds;

		if (at >= rule->exceptions[i].expires_at)
			continue;
		holds = match_holds(&rule->exceptions[i].match, -1, job, budget);
		result = Max(result, holds);
		if (holds == POLICY_UNKNOWN && walk->unknown_exception < 0)
			walk->unknown_exception = i;
		if (holds == POLICY_TRUE && !add_failed(walk, RULE_PART_EXCEPTION, i, most))
			break;
	}
	return result;
}

void
policy_walk_rule(const CompiledRule *rule, Job *job, TimestampTz at, int most,
				 PolicyBudget *budget, RulePart *failed, RuleWalk *walk)
{
	PolicyTruth exception;

	memset(walk, 0, sizeof(RuleWalk));
	walk->failed = failed;
	walk->when = POLICY_TRUE;
	walk->unknown_exception = -1;
	walk->standing = POLICY_APPLIES_NOT;
	if (at < rule->not_before && !add_failed(walk, RULE_PART_NOT_BEFORE, 0, most))
		return;
	if (at >= rule->expires_at && !add_failed(walk, RULE_PART_EXPIRES_AT, 0, most))
		return;
	if (!walk_match(rule, job, most, budget, walk))
		return;
	exception = walk_exceptions(rule, job, at, most, budget, walk);
	if (walk->nfailed == 0)
		walk->standing = standing_of(rule, walk->when, exception);
}

int
policy_rule_conditions(const CompiledRule *rule)
{
	return (rule->match.has_secrets_present ? 1 : 0) + rule->match.nconditions +
		rule->match.nlabels + (rule->match.has_when ? 1 : 0) + rule->nexceptions;
}

int
policy_rule_parts(const CompiledRule *rule)
{
	return 2 + policy_rule_conditions(rule);
}

/* How many parts of each kind a rule has, times left out. */
static int
parts_of_kind(const CompiledRule *rule, RulePartKind kind)
{
	switch (kind)
	{
		case RULE_PART_NOT_BEFORE:
		case RULE_PART_EXPIRES_AT:
			return 0;
		case RULE_PART_SECRETS_PRESENT:
			return rule->match.has_secrets_present ? 1 : 0;
		case RULE_PART_CONDITION:
			return rule->match.nconditions;
		case RULE_PART_LABEL:
			return rule->match.nlabels;
		case RULE_PART_WHEN:
			return rule->match.has_when ? 1 : 0;
		case RULE_PART_EXCEPTION:
			return rule->nexceptions;
	}
	return 0;
}

int
policy_part_number(const CompiledRule *rule, RulePart part)
{
	int			number = part.index;

	if (part.kind == RULE_PART_NOT_BEFORE || part.kind == RULE_PART_EXPIRES_AT)
		return -1;
	for (int kind = 0; kind < (int) part.kind; kind++)
		number += parts_of_kind(rule, kind);
	return number;
}

RulePart
policy_part_numbered(const CompiledRule *rule, int number)
{
	RulePart	part = {RULE_PART_SECRETS_PRESENT, number};

	while (part.index >= parts_of_kind(rule, part.kind) && part.kind < RULE_PART_EXCEPTION)
	{
		part.index -= parts_of_kind(rule, part.kind);
		part.kind++;
	}
	return part;
}

const char *
policy_part_name(const CompiledRule *rule, RulePart part)
{
	const CompiledLabel *label;

	switch (part.kind)
	{
		case RULE_PART_NOT_BEFORE:
			return "not_before";
		case RULE_PART_EXPIRES_AT:
			return "expires_at";
		case RULE_PART_SECRETS_PRESENT:
			return "secrets_present";
		case RULE_PART_CONDITION:
			return policy_match_keys[rule->match.conditions[part.index].field];
		case RULE_PART_LABEL:
			label = &rule->match.labels[part.index];
			return psprintf("labels.%s", policy_excerpt(label->name, label->len));
		case RULE_PART_WHEN:
			return "when";
		case RULE_PART_EXCEPTION:
			return "exceptions";
	}
	return NULL;
}
