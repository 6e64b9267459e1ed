/*
 * explain_sql.c
 *	  Why each rule of a policy does or does not apply to a job.
 *
 * The rules are walked one by one (walk.h), and the verdict is made of those that
 * are found to apply, so that nothing rests on the index.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "engine/conditions.h"
#include "engine/explain.h"

/* ---- what applies ---- */

/* Compiles all rules, the disabled ones too: positions are places in the document. */
static CompiledPolicy *
compile_all(const Policy *policy)
{
	static const uint8 no_digest[POLICY_DIGEST_LENGTH];
	PolicyBudget no_limit = {0};
	Policy		enabled = *policy;
	Size		size = sizeof(PolicyRule) * Max(policy->nrules, 1);

	enabled.rules = MemoryContextAllocHuge(CurrentMemoryContext, size);
	memcpy(enabled.rules, policy->rules, sizeof(PolicyRule) * policy->nrules);
	for (int i = 0; i < policy->nrules; i++)
		enabled.rules[i].enabled = true;
	return policy_compile(&enabled, NULL, no_digest, CurrentMemoryContext, &no_limit);
}

static void
walk_rule(const Explanation *explanation, ExplainedRule *explained)
{
	const CompiledRule *rule = explained->rule;
	PolicyBudget no_limit = {0};
	RulePart   *failed = palloc(sizeof(RulePart) * policy_rule_parts(rule));

	policy_walk_rule(rule, explanation->job, explanation->at, 0, &no_limit, failed,
					 &explained->walk);
	explained->decision = rule->decision;
	explained->nfailed = explained->walk.nfailed;
	explained->standing = explained->walk.standing;
	if (explained->source->enabled)
		return;
	explained->nfailed++;
	explained->standing = POLICY_APPLIES_NOT;
}

static void
ask_rate(const Explanation *explanation, PolicyRates *rates, ExplainedRule *explained)
{
	const CompiledRule *rule = explained->rule;

	if (rule->velocity == NULL || explained->standing == POLICY_APPLIES_NOT)
		return;
	explained->asked = true;
	if (rates != NULL)
		explained->rate = rates->ask(rates, rule, explanation->job, explanation->at,
									 &explained->wait);
	if (explained->rate != POLICY_RATE_EXCEEDED)
		explained->wait = 0;
	explained->standing = standing_with_rate(rule, explained->standing, explained->rate);
	if (explained->standing == POLICY_APPLIES_NOT)
		explained->nfailed++;
}

static void
add_applying(ApplyingRules *rules, const Explanation *explanation,
			 const ExplainedRule *explained)
{
	ApplyingRule *applying = &rules->items[rules->count++];

	applying->rule = explained->rule;
	applying->standing = explained->standing;
	applying->brief = explanation->policy->briefs[explained->rule->position];
	applying->wait = explained->wait;
}

/* The rules are still in document order. */
static void
find_verdict(Explanation *explanation, PolicyRates *rates)
{
	Size		size = sizeof(ApplyingRule) * Max(explanation->nrules, 1);
	ApplyingRules enforcing = {.items = MemoryContextAllocHuge(CurrentMemoryContext, size)};
	ApplyingRules monitoring = {.items = MemoryContextAllocHuge(CurrentMemoryContext, size)};
	bool		settled = false;

	for (int i = 0; i < explanation->nrules; i++)
	{
		ExplainedRule *explained = &explanation->rules[i];
		bool		monitor = explained->rule->monitor;

		explained->settled = settled && !monitor;
		if (explained->settled)
			continue;
		ask_rate(explanation, rates, explained);
		if (monitor && explained->standing >= POLICY_APPLIES_UNCERTAIN)
			add_applying(&monitoring, explanation, explained);
		else if (!monitor && explained->standing != POLICY_APPLIES_NOT)
		{
			add_applying(&enforcing, explanation, explained);
			settled = explanation->policy->first_match && explained->standing == POLICY_APPLIES;
		}
	}
	policy_decide_among(explanation->policy, &enforcing, &monitoring, &explanation->verdict);
}

static void
mark_applying(Explanation *explanation)
{
	const PolicyVerdict *verdict = &explanation->verdict;

	for (int i = 0; i < verdict->nmatched; i++)
		explanation->rules[verdict->matched[i]->position].applies = true;
	for (int i = 0; i < verdict->nmonitored; i++)
		explanation->rules[verdict->monitored[i]->position].applies = true;
	if (verdict->winner != NULL)
		explanation->rules[verdict->winner->position].wins = true;
}

static void
add_default(Explanation *explanation)
{
	ExplainedRule *row = &explanation->rules[explanation->nrules];

	if (!explanation->verdict.default_counts)
		return;
	memset(row, 0, sizeof(ExplainedRule));
	row->applies = true;
	row->wins = explanation->verdict.winner == NULL;
	row->decision = explanation->policy->default_decision;
	explanation->nrules++;
}

/* ---- the order ---- */

/* Enforcing rules that apply and the default, monitoring ones, all others. */
static int
group_of(const ExplainedRule *rule)
{
	if (!rule->applies)
		return 2;
	return rule->rule != NULL && rule->rule->monitor ? 1 : 0;
}

static int
place_of(const ExplainedRule *rule)
{
	return rule->rule != NULL ? rule->rule->position : PG_INT32_MAX;
}

static int
compare_nearness(const void *a, const void *b)
{
	const ExplainedRule *left = a;
	const ExplainedRule *right = b;
	int			order = group_of(left) - group_of(right);

	if (order == 0 && left->applies && group_of(left) == 0)
		order = (int) right->decision - (int) left->decision;
	if (order == 0 && !left->applies)
		order = left->nfailed != right->nfailed ? left->nfailed - right->nfailed :
			right->walk.nheld - left->walk.nheld;
	return order != 0 ? order : place_of(left) - place_of(right);
}

void
policy_explain_job(const Policy *policy, Job *job, TimestampTz at, PolicyRates *rates,
				   Explanation *explanation)
{
	Size		size = sizeof(ExplainedRule) * (policy->nrules + 1);

	memset(explanation, 0, sizeof(Explanation));
	explanation->source = policy;
	explanation->policy = compile_all(policy);
	explanation->job = job;
	explanation->at = at;
	explanation->nrules = policy->nrules;
	explanation->rules = MemoryContextAllocHuge(CurrentMemoryContext, size);
	memset(explanation->rules, 0, size);
	for (int i = 0; i < policy->nrules; i++)
	{
		CHECK_FOR_INTERRUPTS();
		explanation->rules[i].source = &policy->rules[i];
		explanation->rules[i].rule = &explanation->policy->rules[i];
		walk_rule(explanation, &explanation->rules[i]);
	}
	find_verdict(explanation, rates);
	mark_applying(explanation);
	add_default(explanation);
	qsort(explanation->rules, explanation->nrules, sizeof(ExplainedRule), compare_nearness);
}

/* ---- what is said ---- */

static void
append_exception(StringInfo out, const PolicyException *exception)
{
	appendStringInfo(out, "exception \"%s\" holds until ", exception->id);
	policy_append_time(out, exception->expires_at);
	appendStringInfoString(out, ": ");
	policy_append_word(out, exception->reason, strlen(exception->reason));
	if (exception->ticket == NULL)
		return;
	appendStringInfoString(out, ", ");
	policy_append_word(out, exception->ticket, strlen(exception->ticket));
}

static void
append_when(StringInfo out, const Explanation *explanation, const ExplainedRule *rule)
{
	static const char mode[] = "strict ";
	const char *when = rule->source->match.when;
	int			skipped = strncmp(when, mode, strlen(mode)) == 0 ? strlen(mode) : 0;

	policy_append_word(out, when + skipped, strlen(when) - skipped);
	appendStringInfo(out, " is %s", rule->walk.when == POLICY_TRUE ? "true" :
					 rule->walk.when == POLICY_FALSE ? "false" : "unknown");
	if (rule->walk.when == POLICY_UNKNOWN)
		appendStringInfoString(out, rule->rule->decision < POLICY_THROTTLE ?
							   ", which permits nothing" : ", which counts as true");
	policy_append_reads(out, when, explanation->job);
}

static void
append_velocity(StringInfo out, const ExplainedRule *rule)
{
	const PolicyVelocity *velocity = rule->rule->velocity;

	appendStringInfo(out, "more than " INT64_FORMAT " in %d s is ", velocity->max_requests,
					 velocity->window_seconds);
	if (rule->rate == POLICY_RATE_EXCEEDED)
		appendStringInfo(out, "true: it will next admit one in %d s", rule->wait);
	else if (rule->rate == POLICY_RATE_ADMITS)
		appendStringInfoString(out, "false: one more is admitted");
	else
		appendStringInfo(out, "unknown, which %s", rule->rule->decision < POLICY_THROTTLE ?
						 "permits nothing" : "counts as true");
}

static void
append_part(StringInfo out, const Explanation *explanation, const ExplainedRule *rule,
			RulePart part)
{
	switch (part.kind)
	{
		case RULE_PART_NOT_BEFORE:
			appendStringInfoString(out, "it begins at ");
			policy_append_time(out, rule->source->not_before);
			break;
		case RULE_PART_EXPIRES_AT:
			appendStringInfoString(out, "it ended at ");
			policy_append_time(out, rule->source->expires_at);
			break;
		case RULE_PART_SECRETS_PRESENT:
			appendStringInfo(out, "the job has %s", explanation->job->secrets_present ?
							 "secrets" : "none");
			break;
		case RULE_PART_CONDITION:
		case RULE_PART_LABEL:
			policy_append_condition(out, rule, part, explanation->job);
			break;
		case RULE_PART_WHEN:
			append_when(out, explanation, rule);
			break;
		case RULE_PART_EXCEPTION:
			append_exception(out, &rule->source->exceptions[part.index]);
			break;
	}
}

/* Why a rule of which every part holds is still not listed by the verdict. */
static const char *
explain_outvoted(StringInfo out, const Explanation *explanation, const ExplainedRule *rule)
{
	const CompiledRule *winner = explanation->verdict.winner;

	if (explanation->policy->first_match)
	{
		appendStringInfo(out, "would have matched but for first_match: %s %s",
						 winner != NULL ? winner->id : "the default",
						 rule->settled ? "comes first" : "is the stricter of what is uncertain");
		return "first_match";
	}
	appendStringInfo(out, "would have matched but for exceptions: whether exception \"%s\" holds is unknown, and without the rule the verdict is no looser",
					 rule->source->exceptions[rule->walk.unknown_exception].id);
	return "exceptions";
}

/* What keeps a rule from applying: the first part in full, the others by name. */
static const char *
explain_miss(StringInfo out, const Explanation *explanation, const ExplainedRule *rule)
{
	bool		disabled = !rule->source->enabled;
	int			first = disabled ? 0 : 1;
	const char *name;

	if (rule->nfailed == 0)
		return explain_outvoted(out, explanation, rule);
	name = disabled ? "enabled" : rule->walk.nfailed == 0 ? "velocity" :
		policy_part_name(rule->rule, rule->walk.failed[0]);
	appendStringInfo(out, "%s%s: ", rule->nfailed == 1 ? "would have matched but for " : "",
					 name);
	if (disabled)
		appendStringInfoString(out, "the rule is disabled");
	else if (rule->walk.nfailed == 0)
		append_velocity(out, rule);
	else
		append_part(out, explanation, rule, rule->walk.failed[0]);
	for (int i = first; i < rule->walk.nfailed; i++)
		appendStringInfo(out, "%s%s", i == first ? "; nor do these hold: " : ", ",
						 policy_part_name(rule->rule, rule->walk.failed[i]));
	return name;
}

/* What a rule that applies asks, and what the job has. */
static void
explain_match(StringInfo out, const Explanation *explanation, const ExplainedRule *rule)
{
	int			nparts = policy_rule_conditions(rule->rule) - rule->rule->nexceptions;

	appendStringInfoString(out, rule->wins ? "wins" : rule->rule->monitor ?
						   "applies, in monitor mode: it decides nothing" : "applies");
	for (int i = 0; i < nparts; i++)
	{
		RulePart	part = policy_part_numbered(rule->rule, i);

		appendStringInfo(out, "; %s: ", policy_part_name(rule->rule, part));
		append_part(out, explanation, rule, part);
	}
	if (nparts == 0)
		appendStringInfoString(out, "; it has no condition");
	if (rule->walk.unknown_exception >= 0)
		appendStringInfo(out, "; exceptions: whether \"%s\" holds is unknown, which leaves the stricter",
						 rule->source->exceptions[rule->walk.unknown_exception].id);
	if (rule->asked)
	{
		appendStringInfoString(out, "; velocity: ");
		append_velocity(out, rule);
	}
}

static void
explain_default(StringInfo out, const Explanation *explanation, const ExplainedRule *row)
{
	appendStringInfoString(out, row->wins ? "wins: " : "counts: ");
	appendStringInfoString(out, explanation->verdict.nmatched == 0 && row->wins ?
						   "the default, since no rule certainly applies" :
						   "the default, since every rule that applies does so only because something is unknown");
}

char *
policy_explain_detail(const Explanation *explanation, const ExplainedRule *rule,
					  const char **failed_on)
{
	StringInfoData out;

	initStringInfo(&out);
	*failed_on = NULL;
	if (rule->source == NULL)
		explain_default(&out, explanation, rule);
	else if (rule->applies)
		explain_match(&out, explanation, rule);
	else
		*failed_on = explain_miss(&out, explanation, rule);
	return out.data;
}
