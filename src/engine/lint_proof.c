/*
 * lint_proof.c
 *	  Lint: examples, tried before they are shown.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "engine/evaluate.h"
#include "engine/lint_rules.h"

/* What of an example is shown, in bytes. */
#define MAX_EXAMPLE_BYTES 400

/* A job inside of the rule, of other, and of none of their exceptions, if there is one. */
static PolicyExample *
find_example(RuleLint *lint, const LintRule *rule, const LintRule *other)
{
	const LintRule *both[] = {rule, other};
	const PolicyShape *inside[] = {rule->shape, other != NULL ? other->shape : NULL};
	int			ninside = other != NULL ? 2 : 1;
	const PolicyShape **outside;
	int			noutside = 0;
	int			nexceptions = 0;
	PolicyExample *example;

	for (int i = 0; i < ninside; i++)
		nexceptions += both[i]->rule->nexceptions;
	outside = palloc(sizeof(PolicyShape *) * Max(nexceptions, 1));
	for (int i = 0; i < ninside; i++)
	{
		for (int j = 0; j < both[i]->rule->nexceptions; j++)
		{
			if (both[i]->exceptions[j] != NULL)
				outside[noutside++] = both[i]->exceptions[j];
		}
	}
	if (policy_find_job(inside, ninside, outside, noutside, &lint->work, &example) != POLICY_FOUND)
		return NULL;
	return example;
}

static CompiledPolicy *
compile(const Policy *policy, MemoryContext parent)
{
	static const uint8 no_digest[POLICY_DIGEST_LENGTH];
	PolicyBudget no_limit = {0};

	return policy_compile(policy, NULL, no_digest, parent, &no_limit);
}

/* Whether each of the rules, and no other policy around them, applies to the job. */
static bool
all_apply(const LintRule *rule, const LintRule *other, Job *job)
{
	Policy		alone = {.default_decision = POLICY_DENY, .default_reason = ""};
	PolicyRule	rules[2];
	PolicyBudget no_limit = {0};
	CompiledPolicy *compiled;
	PolicyVerdict verdict;

	alone.rules = rules;
	rules[alone.nrules++] = *rule->rule;
	if (other != NULL)
		rules[alone.nrules++] = *other->rule;
	compiled = compile(&alone, CurrentMemoryContext);
	policy_decide(compiled, job, rule->begins, NULL, NULL, &no_limit, &verdict);
	return verdict.nmatched + verdict.nmonitored == alone.nrules;
}

static const char *
cut(const char *text)
{
	int			len = strlen(text);

	if (len <= MAX_EXAMPLE_BYTES)
		return text;
	len = MAX_EXAMPLE_BYTES;
	while (len > 0 && (text[len] & 0xC0) == 0x80)
		len--;
	return psprintf("%s ...", pnstrdup(text, len));
}

bool
lint_prove(RuleLint *lint, const LintRule *rule, const LintRule *other, LintProof *proof)
{
	PolicyExample *example = find_example(lint, rule, other);
	PolicyBudget no_limit = {0};
	PolicyVerdict verdict;
	Job			job;

	memset(proof, 0, sizeof(LintProof));
	if (example == NULL)
		return true;
	policy_job_read(policy_example_job(example), &job);
	if (job.invalid != NULL || !all_apply(rule, other, &job))
		return true;
	if (lint->whole == NULL)
		lint->whole = compile(lint->policy, lint->context);
	policy_decide(lint->whole, &job, rule->begins, NULL, NULL, &no_limit, &verdict);
	proof->job = cut(policy_example_text(example));
	proof->decision = verdict.decision;
	proof->winner = verdict.winner != NULL ? verdict.winner->id : NULL;
	return verdict.winner == NULL || strcmp(verdict.winner->id, rule->rule->id) != 0;
}
