/*
 * coverage.h
 *	  What of a policy its tests touch (docs/policy-language.md, section 10).
 *
 * A rule is touched by a test whose verdict lists it, in matched_rules or
 * monitored_rules.  A condition (a match key, a label, the `when`), or an exception,
 * is touched by a test whose job it alone keeps the rule from: without it the rule
 * would apply, so that there is a test which can notice its loss.
 */
#ifndef POLICY_COVERAGE_H
#define POLICY_COVERAGE_H

#include "engine/evaluate.h"
#include "engine/walk.h"

typedef struct RuleCoverage
{
	bool		touched;
	bool	   *parts;			/* by policy_part_number() */
} RuleCoverage;

typedef struct PolicyCoverage
{
	const CompiledPolicy *policy;
	RuleCoverage *rules;		/* by position */
	RulePart   *scratch;
} PolicyCoverage;

/* Touched, of how many. */
typedef struct CoverageCount
{
	int			touched;
	int			all;
} CoverageCount;

typedef struct CoverageCounts
{
	CoverageCount rules;
	CoverageCount conditions;
	CoverageCount exceptions;
} CoverageCounts;

/* In the current memory context. */
extern void policy_coverage_init(const CompiledPolicy *policy, PolicyCoverage *coverage);

/* Adds a test's valid job and its verdict. */
extern void policy_coverage_add(PolicyCoverage *coverage, Job *job, TimestampTz at,
								const PolicyVerdict *verdict);

extern void policy_coverage_count(const PolicyCoverage *coverage, CoverageCounts *counts);

#endif							/* POLICY_COVERAGE_H */
