/*
 * owner_query.c
 *	  Queries on the extension's own tables, run as their owner.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/syscache.h"

#include "dispatch/owner_query.h"
#include "dispatch/verb.h"
#include "store/table.h"

static Oid
tables_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(policy_relation_oid("jobs")));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for policy.jobs");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

bool
policy_is_peeking(void)
{
	const char *verb = policy_verb_current();

	return verb != NULL && strcmp(verb, POLICY_VERB_PEEK) == 0;
}

void
policy_owner_begin(OwnerScope *scope, const char *verb)
{
	GetUserIdAndSecContext(&scope->user, &scope->security_context);
	SetUserIdAndSecContext(tables_owner(),
						   scope->security_context | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	policy_verb_enter(verb);
}

void
policy_owner_end(const OwnerScope *scope)
{
	policy_verb_leave();
	SPI_finish();
	SetUserIdAndSecContext(scope->user, scope->security_context);
}

void
policy_owner_run(OwnerQuery *query, Datum *values, const char *nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	int			result;

	if (query->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(query->text, query->nargs, query->types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare \"%s\": %s", query->text,
				 SPI_result_code_string(SPI_result));
		query->plan = plan;
	}
	result = SPI_execute_plan(query->plan, values, nulls, policy_is_peeking(), 0);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", query->text, SPI_result_code_string(result));
	/* SPI leaves its own, which the scope's end frees. */
	MemoryContextSwitchTo(caller);
}

uint64
policy_owner_execute(OwnerQuery *query, Datum *values, const char *nulls)
{
	OwnerScope	scope;
	uint64		processed;

	policy_owner_begin(&scope, "engine");
	policy_owner_run(query, values, nulls);
	processed = SPI_processed;
	policy_owner_end(&scope);
	return processed;
}
