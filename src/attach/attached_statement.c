/*
 * attached_statement.c
 *	  What the guards of attached tables know of one statement.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "attach/attached_statement.h"
#include "errors.h"

static void
release_tables(void *arg)
{
	AttachedStatement *statement = arg;
	ListCell   *cell;

	foreach(cell, statement->tables)
		attached_table_release(lfirst(cell));
	statement->tables = NIL;
}

AttachedStatement *
attached_statement(FunctionCallInfo fcinfo)
{
	GuardStatement *guard = policy_statement(fcinfo);
	AttachedStatement *statement = guard->attached;

	if (statement != NULL)
		return statement;
	statement = MemoryContextAllocZero(guard->context, sizeof(AttachedStatement));
	statement->guard = guard;
	statement->release.func = release_tables;
	statement->release.arg = statement;
	MemoryContextRegisterResetCallback(guard->context, &statement->release);
	guard->attached = statement;
	return statement;
}

static int64
attachment_of(const TriggerData *trigger)
{
	const Trigger *made = trigger->tg_trigger;

	if (made->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" does not name its attachment", made->tgname),
				 errhint("Guards of attached tables are made by policy_attach alone.")));
	return strtoll(made->tgargs[0], NULL, 10);
}

AttachedTable *
attached_statement_table(AttachedStatement *statement, TriggerData *trigger)
{
	Oid			relid = RelationGetRelid(trigger->tg_relation);
	Oid			user = GetUserId();
	MemoryContext caller;
	ListCell   *cell;
	AttachedTable *table;

	foreach(cell, statement->tables)
	{
		table = lfirst(cell);
		if (table->relid == relid && table->user == user)
			return table;
	}
	caller = MemoryContextSwitchTo(statement->guard->context);
	table = attached_table_acquire(trigger->tg_relation, attachment_of(trigger));
	statement->tables = lappend(statement->tables, table);
	MemoryContextSwitchTo(caller);
	return table;
}

AttachedDecision *
attached_statement_add(AttachedStatement *statement, const AttachedTable *table, const text *key)
{
	MemoryContext caller = MemoryContextSwitchTo(statement->guard->context);
	AttachedDecision *decision;
	int			len = VARSIZE_ANY_EXHDR(key);

	if (statement->ndecisions == statement->capacity)
	{
		statement->capacity = Max(64, statement->capacity * 2);
		statement->decisions = statement->decisions == NULL ?
			palloc(sizeof(AttachedDecision) * statement->capacity) :
			repalloc_huge(statement->decisions, sizeof(AttachedDecision) * statement->capacity);
	}
	decision = &statement->decisions[statement->ndecisions++];
	memset(decision, 0, sizeof(AttachedDecision));
	decision->table = table;
	decision->key = pnstrdup(VARDATA_ANY(key), len);
	decision->keylen = len;
	MemoryContextSwitchTo(caller);
	return decision;
}

static bool
is_of(const AttachedDecision *decision, const AttachedTable *table, const text *key,
	  uint64 content)
{
	int			len = VARSIZE_ANY_EXHDR(key);

	return !decision->is_recorded && decision->table->attachment_id == table->attachment_id &&
		decision->keylen == len && memcmp(decision->key, VARDATA_ANY(key), len) == 0 &&
		decision->content == content;
}

/* Rows are recorded in the order in which they were decided, those that were not stored left out. */
AttachedDecision *
attached_statement_find(AttachedStatement *statement, const AttachedTable *table, const text *key,
						uint64 content)
{
	for (int i = 0; i < statement->ndecisions; i++)
	{
		int			place = (statement->next + i) % statement->ndecisions;

		if (is_of(&statement->decisions[place], table, key, content))
		{
			statement->next = (place + 1) % statement->ndecisions;
			return &statement->decisions[place];
		}
	}
	return NULL;
}

bool
attached_statement_inserts(const AttachedStatement *statement, const AttachedTable *table,
						   const text *key)
{
	int			len = VARSIZE_ANY_EXHDR(key);

	for (int i = 0; i < statement->ndecisions; i++)
	{
		const AttachedDecision *decision = &statement->decisions[i];

		if (decision->table->attachment_id == table->attachment_id && decision->keylen == len &&
			memcmp(decision->key, VARDATA_ANY(key), len) == 0)
			return true;
	}
	return false;
}
