/*
 * lint_rules.c
 *	  Lint: rules that can match nothing, everything, or never win.
 *
 * Rules are not compared with all others.  A rule that covers another matches every
 * job that the other does, so also the one job that is made for it; the index finds
 * those that match that job, and they alone are looked at.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "engine/lint_rules.h"
#include "engine/match.h"

/* The steps of all searches for one document. */
#define LINT_STEPS INT64CONST(8000000000)

/* What finding one rule that matches an example counts as. */
#define STEPS_OF_CANDIDATE 16

static void report(RuleLint *lint, PolicyMark mark, const char *code, const char *hint,
				   const char *fmt,...) pg_attribute_printf(5, 6);

static void
report(RuleLint *lint, PolicyMark mark, const char *code, const char *hint,
	   const char *fmt,...)
{
	char		message[1024];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	policy_diagnose(lint->diags, mark, POLICY_SEVERITY_WARNING, code, hint, "%s", message);
}

/* ---- preparing ---- */

static void
prepare_rule(RuleLint *lint, int index)
{
	LintRule   *lint_rule = &lint->rules[index];
	const PolicyRule *rule = &lint->policy->rules[index];

	lint_rule->rule = rule;
	lint_rule->index = index;
	lint_rule->begins = Max(rule->not_before, lint->now);
	lint_rule->live = rule->enabled && lint_rule->begins < rule->expires_at;
	if (!lint_rule->live)
		return;
	lint_rule->shape = policy_shape(lint->shapes, &rule->match);
	lint_rule->exceptions = palloc0(sizeof(PolicyShape *) * Max(rule->nexceptions, 1));
	for (int i = 0; i < rule->nexceptions; i++)
	{
		if (rule->exceptions[i].expires_at > lint->now)
			lint_rule->exceptions[i] = policy_shape(lint->shapes, &rule->exceptions[i].match);
	}
}

/* Compiles the live rules as if they had nothing but their conditions. */
static void
prepare_plain(RuleLint *lint)
{
	static const uint8 no_digest[POLICY_DIGEST_LENGTH];
	Policy		plain = {.default_decision = POLICY_DENY, .default_reason = ""};
	PolicyBudget no_limit = {0};
	Size		size = sizeof(PolicyRule) * Max(lint->policy->nrules, 1);

	plain.rules = MemoryContextAllocHuge(CurrentMemoryContext, size);
	memset(plain.rules, 0, size);
	lint->plain_rules = palloc(sizeof(LintRule *) * Max(lint->policy->nrules, 1));
	for (int i = 0; i < lint->policy->nrules; i++)
	{
		PolicyRule *rule = &plain.rules[plain.nrules];

		if (!lint->rules[i].live)
			continue;
		rule->id = lint->rules[i].rule->id;
		rule->enabled = true;
		rule->not_before = DT_NOBEGIN;
		rule->expires_at = DT_NOEND;
		rule->match = lint->rules[i].rule->match;
		rule->match.when = NULL;
		lint->plain_rules[plain.nrules++] = &lint->rules[i];
	}
	lint->plain = policy_compile(&plain, NULL, no_digest, lint->context, &no_limit);
	pfree(plain.rules);
}

/* ---- a rule by itself ---- */

static void
report_dead_pattern(const PolicyPattern *pattern, void *arg)
{
	report(arg, pattern->mark, "dead_pattern",
		   "Values are compared normalised: they neither begin nor end with white space.",
		   "no value can match pattern \"%s\"",
		   policy_excerpt(pattern->source, pattern->sourcelen));
}

static void
report_cannot_hold(RuleLint *lint, const LintRule *rule)
{
	PolicyMark	mark = rule->rule->mark;
	const char *key = policy_shape_fault(rule->shape, &lint->work, &mark);

	report(lint, mark, "cannot_hold",
		   "Its lists contradict each other, or a pattern matches no normalised value. Correct them, or remove the rule.",
		   "rule \"%s\" can match no job%s%s", rule->rule->id,
		   key != NULL ? ": nothing satisfies its condition on " : "", key != NULL ? key : "");
}

/* Exceptions that no job can be inside of, at all or in the rule. */
static void
lint_exceptions(RuleLint *lint, const LintRule *rule)
{
	for (int i = 0; i < rule->rule->nexceptions; i++)
	{
		const PolicyException *exception = &rule->rule->exceptions[i];
		const PolicyShape *both[] = {rule->shape, rule->exceptions[i]};
		PolicyMark	mark = exception->mark;
		const char *key;

		if (rule->exceptions[i] == NULL ||
			policy_find_job(both, 2, NULL, 0, &lint->work, NULL) != POLICY_IMPOSSIBLE)
			continue;
		key = policy_shape_fault(rule->exceptions[i], &lint->work, &mark);
		report(lint, mark, "cannot_hold", "Correct its match, or remove the exception.",
			   key != NULL ?
			   "exception \"%s\" of rule \"%s\" can match no job: nothing satisfies its condition on %s" :
			   "exception \"%s\" of rule \"%s\" covers no job of its rule",
			   exception->id, rule->rule->id, key);
	}
}

/* Whether no job is outside of a match, its `when` left aside. */
static bool
holds_always(RuleLint *lint, const PolicyShape *shape)
{
	return policy_find_job(NULL, 0, &shape, 1, &lint->work, NULL) == POLICY_IMPOSSIBLE;
}

static bool
allows_everything(RuleLint *lint, const LintRule *rule)
{
	if (rule->rule->velocity != NULL || rule->rule->match.when != NULL ||
		!holds_always(lint, rule->shape))
		return false;
	for (int i = 0; i < rule->rule->nexceptions; i++)
	{
		if (rule->exceptions[i] != NULL)
			return false;
	}
	return true;
}

/* Where a rule's patterns for topics match every topic; a line of 0 where they do not. */
static PolicyMark
topics_of_all(RuleLint *lint, const PolicyRule *rule)
{
	PolicyMark	mark = {0, 0};
	PolicyMatch topics = {0};

	topics.fields[POLICY_FIELD_TOPIC] = rule->match.fields[POLICY_FIELD_TOPIC];
	if (holds_always(lint, policy_shape(lint->shapes, &topics)))
		mark = policy_condition_mark(&topics.fields[POLICY_FIELD_TOPIC], mark);
	return mark;
}

/* An allow that nothing narrows, or of which one would think that its topics did. */
static void
lint_breadth(RuleLint *lint, const LintRule *rule)
{
	const PolicyRule *r = rule->rule;
	const char *hint = "List the topics that it is meant for, or another condition that narrows it.";
	PolicyMark	mark = r->mark;
	bool		everything;
	LintProof	proof;

	if (r->decision > POLICY_ALLOW_WITH_CONSTRAINTS || r->monitor)
		return;
	everything = allows_everything(lint, rule);
	if (!everything)
	{
		mark = topics_of_all(lint, r);
		hint = "List the topics that it is meant for; where that is all of them, leave topics out.";
		if (mark.line == 0)
			return;
	}
	lint_prove(lint, rule, NULL, &proof);
	if (proof.job != NULL && proof.winner != NULL && strcmp(proof.winner, r->id) == 0)
		hint = psprintf("%s For example %s is %s.", hint, proof.job,
						policy_decision_labels[proof.decision]);
	report(lint, mark, everything ? "allows_everything" : "allows_all_topics", hint,
		   everything ? "rule \"%s\" allows every job, whatever its topic" :
		   "the topics of rule \"%s\", which allows, are all topics", r->id);
}

/* ---- rules beside each other ---- */

static void
report_same(RuleLint *lint, const LintRule *first, const LintRule *second)
{
	const char *hint = "Remove one of them.";
	LintProof	proof;

	if (!lint_prove(lint, second, first, &proof))
		return;
	if (second->rule->decision == POLICY_REQUIRE_APPROVAL && !lint->policy->first_match)
		hint = "Remove one of them: as it is, each asks for an approval of its own.";
	if (proof.job != NULL)
		hint = psprintf("%s For example both apply to %s.", hint, proof.job);
	report(lint, second->rule->mark, "same_rule", hint,
		   "rule \"%s\" is the same as rule \"%s\" at %d:%d", second->rule->id,
		   first->rule->id, first->rule->mark.line, first->rule->mark.column);
}

/* What a rule that cannot win still does. */
static const char *
remains(RuleLint *lint, const LintRule *over, const LintRule *rule)
{
	bool		constrains = rule->rule->constraints != NULL &&
	rule->rule->constraints->u.mapping.count > 0;

	if (lint->policy->first_match)
		return lint_covers(lint, over, rule, LINT_CERTAIN) ? "It has no effect." :
			psprintf("It counts only where whether \"%s\" applies is unknown: there its wait and constraints do, and it may end the search.",
					 over->rule->id);
	if (over->rule->decision == POLICY_DENY)
		return "All that remains of it is its name in matched_rules.";
	return psprintf("What remains of it: its name in matched_rules%s%s%s.",
					constrains ? ", its constraints" : "",
					rule->rule->decision == POLICY_REQUIRE_APPROVAL ?
					", an approval of its own" : "",
					rule->rule->decision >= POLICY_THROTTLE &&
					over->rule->decision > rule->rule->decision ?
					", and its decision once the job has that approval" : "");
}

static void
report_never_wins(RuleLint *lint, const LintRule *over, const LintRule *rule)
{
	LintProof	proof;
	const char *example = "";

	if (!lint_prove(lint, rule, over, &proof))
		return;
	if (proof.job != NULL)
		example = psprintf(" For example %s is %s by \"%s\".", proof.job,
						   policy_decision_labels[proof.decision],
						   proof.winner != NULL ? proof.winner : "the default");
	report(lint, rule->rule->mark, "never_wins",
		   psprintf("%s Narrow \"%s\", or remove this one.%s", remains(lint, over, rule),
					over->rule->id, example),
		   "rule \"%s\" can never win: it is inside of rule \"%s\" at %d:%d, which %s",
		   rule->rule->id, over->rule->id, over->rule->mark.line, over->rule->mark.column,
		   lint->policy->first_match || over->rule->decision == rule->rule->decision ?
		   "comes first" : "is stricter");
}

/* Whether over keeps rule from winning. */
static bool
keeps_from_winning(RuleLint *lint, const LintRule *over, const LintRule *rule)
{
	bool		earlier = over->index < rule->index;
	PolicyDecision theirs = over->rule->decision;
	PolicyDecision own = rule->rule->decision;

	if (over->rule->monitor)
		return false;
	if (!lint->policy->first_match)
		return (theirs > own || (theirs == own && earlier)) &&
			lint_covers(lint, over, rule, LINT_COUNTS);
	return earlier && ((theirs >= own && lint_covers(lint, over, rule, LINT_COUNTS)) ||
					   lint_covers(lint, over, rule, LINT_CERTAIN));
}

/* Compares a rule with those that match its example. */
static void
compare_rule(RuleLint *lint, const LintRule *rule, const ApplyingRules *others)
{
	for (int i = 0; i < others->count; i++)
	{
		const LintRule *other = lint->plain_rules[others->items[i].rule->position];

		CHECK_FOR_INTERRUPTS();
		if (other->index >= rule->index)
			break;
		if (lint_same(lint, other, rule))
		{
			report_same(lint, other, rule);
			return;
		}
	}
	if (rule->rule->monitor)
		return;
	for (int i = 0; i < others->count; i++)
	{
		const LintRule *other = lint->plain_rules[others->items[i].rule->position];

		CHECK_FOR_INTERRUPTS();
		if (other == rule || !keeps_from_winning(lint, other, rule))
			continue;
		report_never_wins(lint, other, rule);
		return;
	}
}

static void
lint_rule(RuleLint *lint, const LintRule *rule)
{
	PolicyBudget no_limit = {0};
	ApplyingRules others;
	ApplyingRules monitoring;
	PolicyExample *example;
	PolicyFinding finding;
	Job			job;

	finding = policy_find_job((const PolicyShape *const *) &rule->shape, 1, NULL, 0,
							  &lint->work, &example);
	if (finding == POLICY_IMPOSSIBLE)
		report_cannot_hold(lint, rule);
	if (finding != POLICY_FOUND)
		return;
	policy_shape_dead_patterns(rule->shape, &lint->work, report_dead_pattern, lint);
	lint_exceptions(lint, rule);
	lint_breadth(lint, rule);
	policy_job_read(policy_example_job(example), &job);
	if (job.invalid != NULL)
		return;
	policy_match(lint->plain, &job, lint->now, NULL, &no_limit, &others, &monitoring);
	lint->work.left -= (int64) others.count * STEPS_OF_CANDIDATE;
	compare_rule(lint, rule, &others);
}

/* Whether there is room for more warnings, and work left to find them. */
static bool
may_go_on(RuleLint *lint)
{
	static const PolicyMark no_position = {0, 0};

	if (lint->diags->count >= POLICY_MAX_DIAGNOSTICS)
	{
		lint->diags->truncated = true;
		return false;
	}
	if (lint->work.left >= 0)
		return true;
	report(lint, no_position, "lint_incomplete",
		   "Divide the document, or make its patterns simpler.",
		   "the document is too intricate: not all its rules were compared");
	return false;
}

void
policy_lint_rules(const Policy *policy, TimestampTz now, PolicyDiagnostics *diags)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch;
	RuleLint	lint = {.policy = policy, .now = now, .diags = diags};

	lint.work.left = LINT_STEPS;
	lint.context = AllocSetContextCreate(caller, "rule lint", ALLOCSET_DEFAULT_SIZES);
	scratch = AllocSetContextCreate(lint.context, "rule lint of a rule", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(lint.context);
	lint.rules = palloc0(sizeof(LintRule) * Max(policy->nrules, 1));
	lint.shapes = policy_shapes_create((uint64) now);
	lint.covering = MemoryContextAllocHuge(lint.context, sizeof(int64) * Max(policy->nrules, 1));
	for (int i = 0; i < policy->nrules; i++)
		lint.covering[i] = -1;
	for (int i = 0; i < policy->nrules; i++)
		prepare_rule(&lint, i);
	prepare_plain(&lint);
	MemoryContextSwitchTo(scratch);
	for (int i = 0; i < policy->nrules && may_go_on(&lint); i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(scratch);
		if (lint.rules[i].live)
			lint_rule(&lint, &lint.rules[i]);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(lint.context);
}
