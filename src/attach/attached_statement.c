/*
 * attached_statement.c
 *	  What the guards of attached tables know of one statement.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "attach/attached_row.h"
#include "attach/attached_statement.h"
#include "errors.h"

/* Past this a statement's rows are not kept from BEFORE to AFTER, only their checksums. */
#define MAX_KEPT (16 * 1024 * 1024)

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
attached_statement_add(AttachedStatement *statement, AttachedTable *table, const text *key)
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

void
attached_statement_form(AttachedStatement *statement, HeapTuple row)
{
	GuardStatement *guard = statement->guard;
	AttachedDecision *decision = &statement->decisions[statement->ndecisions - 1];

	if (statement->kept >= MAX_KEPT)
	{
		decision->content = attached_content(decision->table);
		return;
	}
	decision->row = policy_arena_copy(&guard->arena, row->t_data, row->t_len);
	decision->rowlen = row->t_len;
	statement->kept += row->t_len;
}

/*
 * Whether a row is stored byte by byte as it was formed.  The header tells the columns
 * apart: their number, and which of them are NULL.
 */
static bool
is_stored_as(const AttachedDecision *decision, const AttachedTable *table, HeapTuple row)
{
	const Size	header = offsetof(HeapTupleHeaderData, t_hoff);
	HeapTupleHeader stored = row->t_data;

	return decision->row != NULL && !decision->is_recorded && decision->table == table &&
		decision->rowlen == row->t_len &&
		HeapTupleHeaderGetNatts(decision->row) == HeapTupleHeaderGetNatts(stored) &&
		((decision->row->t_infomask ^ stored->t_infomask) & HEAP_HASNULL) == 0 &&
		memcmp((char *) decision->row + header, (char *) stored + header,
			   row->t_len - header) == 0;
}

/* Lets checksums stand for the rows that are kept. */
static void
sum_rows(AttachedStatement *statement)
{
	for (; statement->nsummed < statement->ndecisions; statement->nsummed++)
	{
		AttachedDecision *decision = &statement->decisions[statement->nsummed];
		HeapTupleData row;

		if (decision->row == NULL || decision->is_recorded)
			continue;
		row.t_len = decision->rowlen;
		row.t_tableOid = decision->table->relid;
		row.t_data = decision->row;
		ItemPointerSetInvalid(&row.t_self);
		attached_show(decision->table, &row);
		decision->content = attached_content(decision->table);
		decision->row = NULL;
	}
}

/* Where generated columns or other triggers have changed the row, or not all were stored. */
static AttachedDecision *
find_summed(AttachedStatement *statement, AttachedTable *table, HeapTuple row)
{
	const		text *key;
	uint64		content;

	sum_rows(statement);
	attached_show(table, row);
	key = attached_key(table);
	content = attached_content(table);
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

/* Rows are recorded in the order in which they were decided, those that were not stored left out. */
AttachedDecision *
attached_statement_find(AttachedStatement *statement, AttachedTable *table, HeapTuple row)
{
	if (statement->next < statement->ndecisions &&
		is_stored_as(&statement->decisions[statement->next], table, row))
		return &statement->decisions[statement->next++];
	return find_summed(statement, table, row);
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
