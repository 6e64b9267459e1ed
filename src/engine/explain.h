/*
 * explain.h
 *	  Why each rule of a policy does or does not apply to a job
 *	  (docs/sql-api.md, section 2).
 */
#ifndef POLICY_EXPLAIN_H
#define POLICY_EXPLAIN_H

#include "lib/stringinfo.h"

#include "engine/evaluate.h"
#include "engine/walk.h"

/* A rule, and what the job and the time make of it. */
typedef struct ExplainedRule
{
	const PolicyRule *source;	/* NULL: the default */
	const CompiledRule *rule;	/* of a policy with no rule left out */
	RuleWalk	walk;
	bool		asked;			/* its velocity was asked about */
	PolicyRateState rate;
	int			wait;			/* of a velocity that is exceeded */
	PolicyStanding standing;	/* with its velocity */
	bool		settled;		/* first_match: an earlier rule has won for
								 * sure */
	bool		applies;		/* the verdict lists it */
	bool		wins;
	PolicyDecision decision;
	int			nfailed;		/* what keeps it from applying, all told */
} ExplainedRule;

typedef struct Explanation
{
	const Policy *source;
	const CompiledPolicy *policy;
	Job		   *job;
	TimestampTz at;
	ExplainedRule *rules;		/* the nearest first */
	int			nrules;
	PolicyVerdict verdict;
} Explanation;

/*
 * Explains a valid job's verdict, in the current memory context.  Every rule is
 * looked at; no index is asked.  The order: those that apply, by their standing, the
 * default among them where it counts; those that would in monitor mode; then the
 * others, those first that fewest parts keep from applying, among equals those of
 * which most conditions hold, then in document order.
 */
extern void policy_explain_job(const Policy *policy, Job *job, TimestampTz at,
							   PolicyRates *rates, Explanation *explanation);

/* What is said of a rule; *failed_on is NULL where it applies. */
extern char *policy_explain_detail(const Explanation *explanation, const ExplainedRule *rule,
								   const char **failed_on);

/* ---- explain_text_sql.c ---- */

/*
 * Appends a string on one line: as it is where it is a plain word, else quoted and
 * cut, with what is invisible by number.
 */
extern void policy_append_word(StringInfo out, const char *data, int len);

/* Appends what a condition or a label asks, and what the job has there. */
extern void policy_append_condition(StringInfo out, const ExplainedRule *rule, RulePart part,
									const Job *job);

/* Appends what a `when` reads: what is absent or null where that is known, else values. */
extern void policy_append_reads(StringInfo out, const char *when, const Job *job);

extern void policy_append_time(StringInfo out, TimestampTz at);

#endif							/* POLICY_EXPLAIN_H */
