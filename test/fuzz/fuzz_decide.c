/*
 * fuzz_decide.c
 *	  What must hold of every verdict.  The input is a policy, a line of dashes, and
 *	  a job as JSON.
 */
#include "shim.h"

#include "engine/evaluate.h"

int			LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

static const char separator[] = "\n---\n";

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static void
decide(const CompiledPolicy *policy, Jsonb *source, TimestampTz at, PolicyVerdict *verdict, Job *job)
{
	PolicyBudget no_limit = {0};

	policy_job_read(source, job);
	require(policy_decide(policy, job, at, NULL, NULL, &no_limit, verdict));
}

static void
check_verdict(const CompiledPolicy *policy, const Job *job, const PolicyVerdict *verdict)
{
	bool		winner_matched = verdict->winner == NULL;

	require(verdict->decision <= POLICY_DENY);
	require(JB_ROOT_IS_OBJECT(verdict->constraints));
	if (verdict->decision == POLICY_DENY)
		require(JB_ROOT_COUNT(verdict->constraints) == 0);
	require((verdict->decision == POLICY_THROTTLE) == (verdict->retry_after_sec > 0));
	if (job->invalid != NULL)
		require(verdict->decision == POLICY_DENY && verdict->winner == NULL &&
				verdict->nmatched == 0 && verdict->nmonitored == 0);
	for (int i = 0; i < verdict->nmatched; i++)
	{
		require(i == 0 || verdict->matched[i - 1]->position < verdict->matched[i]->position);
		require(!verdict->matched[i]->monitor);
		require(policy->first_match || verdict->matched[i]->decision <= verdict->decision);
		winner_matched = winner_matched || verdict->matched[i] == verdict->winner;
	}
	require(winner_matched);
	for (int i = 0; i < verdict->nmonitored; i++)
		require(verdict->monitored[i]->monitor);
}

static int
position_of(const CompiledRule *rule)
{
	return rule != NULL ? rule->position : -1;
}

static void
require_same(const PolicyVerdict *a, const PolicyVerdict *b)
{
	require(a->decision == b->decision && position_of(a->winner) == position_of(b->winner) &&
			a->nmatched == b->nmatched && a->nmonitored == b->nmonitored &&
			a->retry_after_sec == b->retry_after_sec &&
			VARSIZE(a->constraints) == VARSIZE(b->constraints) &&
			memcmp(a->constraints, b->constraints, VARSIZE(a->constraints)) == 0);
}

/* The job with every string value's ASCII letters raised, and ignorable bytes in it. */
static Jsonb *
respell(Jsonb *source)
{
	JsonbIterator *iterator = JsonbIteratorInit(&source->root);
	JsonbIteratorToken token;
	JsonbParseState *state = NULL;
	JsonbValue	value;
	JsonbValue *result = NULL;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvString)
		{
			int			len = value.val.string.len;
			char	   *copy = palloc(len + 3);

			for (int i = 0; i < len; i++)
				copy[i] = value.val.string.val[i] >= 'a' && value.val.string.val[i] <= 'z' ?
					value.val.string.val[i] - 32 : value.val.string.val[i];
			memcpy(copy + len, "\342\200\213", 3);	/* U+200B */
			value.val.string.val = copy;
			value.val.string.len = len + 3;
		}
		result = pushJsonbValue(&state, token, token < WJB_BEGIN_ARRAY ? &value : NULL);
	}
	return JsonbValueToJsonb(result);
}

static bool
asks_when(const CompiledPolicy *policy)
{
	for (int i = 0; i < policy->nrules; i++)
	{
		if (policy->rules[i].match.when != NULL)
			return true;
		for (int j = 0; j < policy->rules[i].nexceptions; j++)
		{
			if (policy->rules[i].exceptions[j].match.when != NULL)
				return true;
		}
	}
	return false;
}

/* The policy as a stored document carries it. */
static CompiledPolicy *
compile_stored(const Policy *parsed, const uint8 *digest, PolicyBudget *budget)
{
	StringInfoData bytes;
	PolicyTree	tree;
	Policy		stored;

	initStringInfo(&bytes);
	require(policy_tree_write(parsed, PG_INT32_MAX, &bytes));
	policy_tree_open(&tree, bytes.data, bytes.len, &stored);
	return policy_compile(&stored, &tree, digest, CurrentMemoryContext, budget);
}

static void
check(const char *document, int document_len, const char *json, int json_len)
{
	PolicyDiagnostics diags;
	PolicyBudget no_limit = {0};
	uint8		digest[POLICY_DIGEST_LENGTH] = {0};
	Policy	   *parsed;
	CompiledPolicy *policy;
	Jsonb	   *source = shim_json(json, json_len);
	TimestampTz at = INT64CONST(845000000) * USECS_PER_SEC; /* in 2026 */
	PolicyVerdict first;
	PolicyVerdict second;
	Job			job;

	policy_diagnostics_init(&diags);
	parsed = policy_parse(document, document_len, &diags);
	if (parsed == NULL)
		return;
	policy = policy_compile(parsed, NULL, digest, CurrentMemoryContext, &no_limit);
	decide(policy, source, at, &first, &job);
	check_verdict(policy, &job, &first);
	decide(policy, source, at, &second, &job);
	require_same(&first, &second);

	decide(compile_stored(parsed, digest, &no_limit), source, at, &second, &job);
	require_same(&first, &second);

	/* A topic at its limit grows past it when it is respelled. */
	if (source == NULL || asks_when(policy) || json_len > POLICY_MAX_TOPIC_BYTES / 2)
		return;
	decide(policy, respell(source), at, &second, &job);
	require_same(&first, &second);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	const char *text = (const char *) data;
	const char *cut = memmem(data, size, separator, strlen(separator));
	MemoryContext context = shim_begin_input();

	if (cut != NULL && shim_is_text(text, size))
	{
		int			document_len = cut - text;
		int			json_len = size - document_len - strlen(separator);

		check(pnstrdup(text, document_len), document_len,
			  pnstrdup(cut + strlen(separator), json_len), json_len);
	}
	shim_end_input(context);
	return 0;
}
