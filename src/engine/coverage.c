/*
 * coverage.c
 *	  What of a policy its tests touch.  See coverage.h.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "engine/coverage.h"

/* Two failures tell as much as all of them. */
#define MOST_FAILURES 2

void
policy_coverage_init(const CompiledPolicy *policy, PolicyCoverage *coverage)
{
	Size		size = sizeof(RuleCoverage) * Max(policy->nrules, 1);

	coverage->policy = policy;
	coverage->rules = MemoryContextAllocHuge(CurrentMemoryContext, size);
	memset(coverage->rules, 0, size);
	coverage->scratch = palloc(sizeof(RulePart) * MOST_FAILURES);
	for (int i = 0; i < policy->nrules; i++)
		coverage->rules[i].parts = palloc0(Max(policy_rule_conditions(&policy->rules[i]), 1));
}

static void
touch_rules(PolicyCoverage *coverage, const CompiledRule **rules, int count)
{
	for (int i = 0; i < count; i++)
		coverage->rules[rules[i]->position].touched = true;
}

/* Touches the one part that keeps a rule from applying, if it is but one. */
static void
touch_part(PolicyCoverage *coverage, const CompiledRule *rule, Job *job, TimestampTz at)
{
	PolicyBudget no_limit = {0};
	RuleWalk	walk;
	int			number;

	policy_walk_rule(rule, job, at, MOST_FAILURES, &no_limit, coverage->scratch, &walk);
	if (walk.nfailed != 1)
		return;
	number = policy_part_number(rule, walk.failed[0]);
	if (number >= 0)
		coverage->rules[rule->position].parts[number] = true;
}

void
policy_coverage_add(PolicyCoverage *coverage, Job *job, TimestampTz at,
					const PolicyVerdict *verdict)
{
	touch_rules(coverage, verdict->matched, verdict->nmatched);
	touch_rules(coverage, verdict->monitored, verdict->nmonitored);
	for (int i = 0; i < coverage->policy->nrules; i++)
		touch_part(coverage, &coverage->policy->rules[i], job, at);
}

static void
count_one(CoverageCount *count, bool touched)
{
	count->all++;
	if (touched)
		count->touched++;
}

void
policy_coverage_count(const PolicyCoverage *coverage, CoverageCounts *counts)
{
	memset(counts, 0, sizeof(CoverageCounts));
	for (int i = 0; i < coverage->policy->nrules; i++)
	{
		const CompiledRule *rule = &coverage->policy->rules[i];
		int			nparts = policy_rule_conditions(rule);

		count_one(&counts->rules, coverage->rules[i].touched);
		for (int j = 0; j < nparts; j++)
			count_one(j < nparts - rule->nexceptions ? &counts->conditions : &counts->exceptions,
					  coverage->rules[i].parts[j]);
	}
}
