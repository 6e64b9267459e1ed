/*
 * statement.c
 *	  What a statement's guard triggers know together.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "dispatch/statement.h"
#include "store/cache.h"
#include "store/table.h"

/* Past this a statement's jobs are not kept from BEFORE to AFTER. */
#define MAX_KEPT (16 * 1024 * 1024)

/* Those that are running: one, and what its triggers run. */
static GuardStatement *statements = NULL;

static void
release_statement(void *arg)
{
	GuardStatement *statement = arg;
	GuardStatement **link = &statements;
	ListCell   *cell;

	while (*link != NULL && *link != statement)
		link = &(*link)->next;
	if (*link != NULL)
		*link = statement->next;
	foreach(cell, statement->pinned)
		policy_cache_unpin(lfirst(cell));
	statement->pinned = NIL;
}

static GuardStatement *
begin_statement(MemoryContext key)
{
	MemoryContext context = AllocSetContextCreate(key, "policy guard", ALLOCSET_DEFAULT_SIZES);
	GuardStatement *statement = MemoryContextAllocZero(context, sizeof(GuardStatement));

	statement->key = key;
	statement->context = context;
	statement->row_context = AllocSetContextCreate(context, "policy guard row",
												   ALLOCSET_DEFAULT_SIZES);
	statement->release.func = release_statement;
	statement->release.arg = statement;
	MemoryContextRegisterResetCallback(context, &statement->release);
	policy_arena_init(&statement->arena, context);
	statement->next = statements;
	statements = statement;
	return statement;
}

GuardStatement *
policy_statement(FunctionCallInfo fcinfo)
{
	MemoryContext key = fcinfo->flinfo->fn_mcxt;

	for (GuardStatement *statement = statements; statement != NULL; statement = statement->next)
	{
		if (statement->key == key)
			return statement;
	}
	return begin_statement(key);
}

const PolicyCaller *
policy_statement_caller(GuardStatement *statement)
{
	MemoryContext caller;

	if (statement->has_caller && policy_caller_is_current(&statement->caller))
		return &statement->caller;
	caller = MemoryContextSwitchTo(statement->context);
	policy_caller_read(&statement->caller);
	statement->identities = policy_bound_identities(policy_caller_roles(&statement->caller));
	statement->has_caller = true;
	MemoryContextSwitchTo(caller);
	return &statement->caller;
}

/* Numbers what was decided without an id, in the order in which it was. */
static void
number_decided(GuardStatement *statement, Oid sequence)
{
	for (; statement->nnumbered < statement->ndecided; statement->nnumbered++)
		statement->decided[statement->nnumbered].decision_id = nextval_internal(sequence, false);
}

static Oid
decision_sequence(void)
{
	static PolicyRelation sequence = {.name = "decision_id_seq"};

	(void) GetTopTransactionId();
	return policy_relation_known(&sequence);
}

int64
policy_next_decision_id(void)
{
	Oid			sequence = decision_sequence();

	for (GuardStatement *statement = statements; statement != NULL; statement = statement->next)
		number_decided(statement, sequence);
	return nextval_internal(sequence, false);
}

static void
pin(GuardStatement *statement, CompiledPolicy *policy)
{
	if (policy == NULL ||
		(statement->pinned != NIL && llast(statement->pinned) == policy))
		return;
	statement->pinned = lappend(statement->pinned, policy_cache_pin_again(policy));
}

static void *
copy_varlena(GuardStatement *statement, const void *varlena)
{
	return varlena == NULL ? NULL : policy_arena_varlena(&statement->arena, varlena);
}

static text *
copy_snapshot(GuardStatement *statement, const text *snapshot)
{
	if (snapshot == NULL || statement->snapshot == NULL ||
		VARSIZE_ANY(snapshot) != VARSIZE_ANY(statement->snapshot) ||
		memcmp(snapshot, statement->snapshot, VARSIZE_ANY(snapshot)) != 0)
		statement->snapshot = copy_varlena(statement, snapshot);
	return statement->snapshot;
}

static const CompiledRule **
copy_rules(GuardStatement *statement, const CompiledRule **rules, int count)
{
	return count == 0 ? NULL :
		policy_arena_copy(&statement->arena, rules, sizeof(CompiledRule *) * count);
}

/* Keeps a verdict, but for what lasts as long as its policy. */
static void
keep_verdict(GuardStatement *statement, const PolicyEnforced *enforced, PolicyVerdict *kept)
{
	const PolicyVerdict *verdict = &enforced->verdict;

	*kept = *verdict;
	if (verdict->winner == NULL || verdict->winner->reason == NULL)
		kept->reason = copy_varlena(statement, verdict->reason);
	if (enforced->policy == NULL || !policy_lends_constraints(enforced->policy, verdict))
		kept->constraints = copy_varlena(statement, verdict->constraints);
	kept->matched = copy_rules(statement, verdict->matched, verdict->nmatched);
	kept->monitored = copy_rules(statement, verdict->monitored, verdict->nmonitored);
}

static Decided *
next_entry(GuardStatement *statement)
{
	if (statement->ndecided == statement->capacity)
	{
		statement->capacity = Max(16, statement->capacity * 2);
		statement->decided = statement->decided == NULL ?
			palloc(sizeof(Decided) * statement->capacity) :
			repalloc_huge(statement->decided, sizeof(Decided) * statement->capacity);
	}
	return &statement->decided[statement->ndecided++];
}

void
policy_statement_keep(GuardStatement *statement, const PolicyEnforced *enforced,
					  uint64 content, bool is_given, Jsonb *given)
{
	MemoryContext caller = MemoryContextSwitchTo(statement->context);
	Decided    *decided = next_entry(statement);

	memset(decided, 0, sizeof(Decided));
	pin(statement, enforced->policy);
	decided->decision_id = enforced->decision_id;
	decided->at = enforced->at;
	decided->source = enforced->source;
	decided->content = content;
	if (!is_given && statement->kept < MAX_KEPT)
	{
		decided->job = copy_varlena(statement, enforced->job);
		statement->kept += VARSIZE(enforced->job);
	}
	keep_verdict(statement, enforced, &decided->verdict);
	decided->policy = enforced->policy;
	decided->snapshot = copy_snapshot(statement, enforced->snapshot);
	decided->release_id = enforced->release_id;
	decided->unavailable = enforced->unavailable;
	decided->is_given = is_given;
	decided->given = copy_varlena(statement, given);
	decided->tenant_id = copy_varlena(statement, enforced->tenant_id);
	decided->actor_id = copy_varlena(statement, enforced->actor_id);
	decided->topic = copy_varlena(statement, enforced->topic);
	decided->note = enforced->note != NULL ? pstrdup(enforced->note) : NULL;
	if (decided->decision_id != 0)
	{
		Assert(statement->nnumbered == statement->ndecided - 1);
		statement->nnumbered = statement->ndecided;
	}
	MemoryContextSwitchTo(caller);
}

Decided *
policy_statement_find(GuardStatement *statement, int64 decision_id)
{
	int			low = 0;
	int			high = statement->ndecided - 1;

	if (statement->next_decided < statement->ndecided &&
		statement->decided[statement->next_decided].decision_id == decision_id)
		return &statement->decided[statement->next_decided++];
	/* Ids count up, and so they are sorted. */
	while (low <= high)
	{
		int			middle = low + (high - low) / 2;
		int64		id = statement->decided[middle].decision_id;

		if (id == decision_id)
		{
			statement->next_decided = middle + 1;
			return &statement->decided[middle];
		}
		if (id < decision_id)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return NULL;
}

const Decided *
policy_statement_decided(GuardStatement *statement, int place)
{
	if (place >= statement->nnumbered)
		number_decided(statement, decision_sequence());
	return &statement->decided[place];
}

void
policy_statement_enforced(const Decided *decided, Jsonb *job, PolicyEnforced *enforced)
{
	memset(enforced, 0, sizeof(PolicyEnforced));
	enforced->decision_id = decided->decision_id;
	enforced->at = decided->at;
	enforced->source = decided->source;
	enforced->job = decided->is_given ? decided->given : job;
	enforced->verdict = decided->verdict;
	enforced->policy = decided->policy;
	enforced->snapshot = decided->snapshot;
	enforced->release_id = decided->release_id;
	enforced->unavailable = decided->unavailable;
	enforced->tenant_id = decided->tenant_id;
	enforced->actor_id = decided->actor_id;
	enforced->topic = decided->topic;
	enforced->note = decided->note;
	if (enforced->job != NULL)
		job_hash(enforced->job, enforced->hash);
	else
		policy_digest("", 0, enforced->hash);
}

void
policy_statement_batches(GuardStatement *statement)
{
	MemoryContext caller;

	if (statement->evidence != NULL)
		return;
	caller = MemoryContextSwitchTo(statement->context);
	statement->evidence = policy_evidence_batch();
	statement->approvals = policy_approvals_batch();
	MemoryContextSwitchTo(caller);
}
