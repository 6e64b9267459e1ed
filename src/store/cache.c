/*
 * cache.c
 *	  The session's compiled policies.
 *
 * A CompiledPolicy is built completely, then entered.  Its reference count is
 * the pins held on it; the cache itself holds none.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "language/diagnostics.h"
#include "store/cache.h"

/* Policies that a session keeps: what is active, and a few under comparison. */
#define MAX_CACHED 8

typedef struct CacheSlot
{
	CompiledPolicy *policy;
	uint64		last_used;
} CacheSlot;

static CacheSlot slots[MAX_CACHED];
static uint64 clock_hand = 0;

CompiledPolicy *
policy_cache_pin(const uint8 *digest)
{
	for (int i = 0; i < MAX_CACHED; i++)
	{
		CompiledPolicy *policy = slots[i].policy;

		if (policy != NULL && memcmp(policy->digest, digest, POLICY_DIGEST_LENGTH) == 0)
		{
			slots[i].last_used = ++clock_hand;
			policy->references++;
			return policy;
		}
	}
	return NULL;
}

CompiledPolicy *
policy_cache_pin_again(CompiledPolicy *policy)
{
	Assert(policy->references > 0);
	policy->references++;
	return policy;
}

/* An entry that was evicted while it was pinned goes with its last pin. */
void
policy_cache_unpin(CompiledPolicy *policy)
{
	Assert(policy->references > 0);
	if (--policy->references > 0)
		return;
	for (int i = 0; i < MAX_CACHED; i++)
	{
		if (slots[i].policy == policy)
			return;
	}
	MemoryContextDelete(policy->context);
}

static void
enter(CompiledPolicy *policy)
{
	CacheSlot  *oldest = &slots[0];

	for (int i = 1; i < MAX_CACHED; i++)
	{
		if (slots[i].last_used < oldest->last_used)
			oldest = &slots[i];
	}
	if (oldest->policy != NULL && oldest->policy->references == 0)
		MemoryContextDelete(oldest->policy->context);
	oldest->policy = policy;
	oldest->last_used = ++clock_hand;
}

/* Compiles from the source, as if nothing were stored beside it. */
static CompiledPolicy *
compile_source(Datum datum, PolicyBudget *budget)
{
	PolicyDocument *document = DatumGetPolicyDocument(datum);
	PolicyDiagnostics diags;
	uint8		digest[POLICY_DIGEST_LENGTH];
	Policy	   *policy;

	policy_document_verify(document, digest);
	policy_diagnostics_init(&diags);
	policy = policy_parse(document->source, document->source_len, &diags);
	if (policy == NULL)
		policy_diagnostics_raise(&diags);
	if (!policy_budget_spend(budget, POLICY_BUDGET_INTERVAL))
		return NULL;
	return policy_compile(policy, NULL, digest, TopMemoryContext, budget);
}

static CompiledPolicy *
compile_tree(const char *bytes, int len, const uint8 *digest, PolicyBudget *budget)
{
	PolicyTree	tree;
	Policy		policy;

	policy_tree_open(&tree, bytes, len, &policy);
	return policy_compile(&policy, &tree, digest, TopMemoryContext, budget);
}

static CompiledPolicy *
compile_document(Datum document, PolicyBudget *budget)
{
	uint8		digest[POLICY_DIGEST_LENGTH];
	int			len;
	char	   *bytes = policy_document_tree(document, digest, &len);

	if (bytes == NULL)
		return compile_source(document, budget);
	return compile_tree(bytes, len, digest, budget);
}

static CompiledPolicy *
compile_snapshot(const SnapshotRow *row, PolicyBudget *budget)
{
	uint8		digest[POLICY_DIGEST_LENGTH];
	int			len;
	char	   *bytes = snapshot_tree(row, digest, &len);

	if (bytes == NULL)
		return compile_document(snapshot_document(row), budget);
	return compile_tree(bytes, len, digest, budget);
}

/* Of the row where there is one, else of the document. */
static CompiledPolicy *
load(const SnapshotRow *row, Datum document, PolicyBudget *budget)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "policy document",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(work);
	CompiledPolicy *compiled = row != NULL ? compile_snapshot(row, budget) :
	compile_document(document, budget);

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
	if (compiled == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("compiling the policy took longer than policy_engine.timeout")));
	compiled->references = 1;
	enter(compiled);
	return compiled;
}

CompiledPolicy *
policy_cache_load(Datum document, PolicyBudget *budget)
{
	return load(NULL, document, budget);
}

CompiledPolicy *
policy_cache_load_snapshot(const SnapshotRow *row, PolicyBudget *budget)
{
	return load(row, (Datum) 0, budget);
}
