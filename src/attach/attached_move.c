/*
 * attached_move.c
 *	  Rows of attached tables, locked and written with the rights of who attached them, or
 *	  of their owner.
 *
 * Statements here qualify what they name: they run under whatever search_path the
 * session has.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "attach/attached_move.h"

/* The row that is being written; what a trigger of its does with others is not. */
typedef struct Writing
{
	Oid			root;
	const char *key;
} Writing;

static const Writing *writing = NULL;

void
attached_scope_begin(AttachedScope *scope, Oid mover)
{
	GetUserIdAndSecContext(&scope->user, &scope->security_context);
	SetUserIdAndSecContext(mover, scope->security_context | SECURITY_LOCAL_USERID_CHANGE);
	scope->settings_level = 0;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/*
 * Whoever votes or maintains has not touched the table: nothing that its triggers put
 * off or set may outlast the scope and then be done as them.
 */
void
attached_scope_begin_confined(AttachedScope *scope, Oid mover)
{
	int			security_context;
	Oid			user;

	attached_scope_begin(scope, mover);
	if (mover == GetOuterUserId())
		return;
	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(user, security_context | SECURITY_RESTRICTED_OPERATION);
	scope->settings_level = NewGUCNestLevel();
}

void
attached_scope_end(const AttachedScope *scope)
{
	if (scope->settings_level > 0)
		AtEOXact_GUC(false, scope->settings_level);
	SPI_finish();
	SetUserIdAndSecContext(scope->user, scope->security_context);
}

static char *
root_name(const AttachedTable *table)
{
	char	   *name = get_rel_name(table->root);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("attached table %s is gone", table->job_table),
				 errhint("SELECT * FROM policy_attachments shows what is left of it.")));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table->root)), name);
}

/* Adds ` WHERE key = $n AND ...`; the keys are the arguments from first on. */
static void
add_condition(StringInfo query, const AttachedTable *table, int first)
{
	for (int i = 0; i < table->nkey; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(table->tupdesc, table->key_columns[i] - 1);

		appendStringInfo(query, "%s t.%s OPERATOR(pg_catalog.=) $%d", i == 0 ? " WHERE" : " AND",
						 quote_identifier(NameStr(attribute->attname)), first + i);
	}
}

static Datum
key_datum(const AttachedTable *table, int column, Jsonb *row_key)
{
	Form_pg_attribute attribute = TupleDescAttr(table->tupdesc, column - 1);
	JsonbValue	space;
	JsonbValue *value = getKeyJsonValueFromContainer(&row_key->root, NameStr(attribute->attname),
													 strlen(NameStr(attribute->attname)), &space);
	Oid			input;
	Oid			parameter;

	if (value == NULL || value->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the primary key of %s is not what it was", table->job_table),
				 errdetail("What is kept of the job has no \"%s\".", NameStr(attribute->attname)),
				 errhint("Detach the table and attach it again.")));
	getTypeInputInfo(attribute->atttypid, &input, &parameter);
	return OidInputFunctionCall(input, pnstrdup(value->val.string.val, value->val.string.len),
								parameter, attribute->atttypmod);
}

/* The tuple of a composite value, in the current context. */
static HeapTuple
tuple_of(Datum composite)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(composite);
	HeapTupleData tuple;

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	return heap_copytuple(&tuple);
}

HeapTuple
attached_find_row(AttachedTable *table, Jsonb *row_key, AttachedLock lock)
{
	MemoryContext caller = CurrentMemoryContext;
	StringInfoData query;
	Oid		   *types = palloc(sizeof(Oid) * table->nkey);
	Datum	   *values = palloc(sizeof(Datum) * table->nkey);
	HeapTuple	found = NULL;
	bool		isnull;

	initStringInfo(&query);
	appendStringInfo(&query, "SELECT t FROM %s t", root_name(table));
	add_condition(&query, table, 1);
	if (lock != ATTACHED_READ)
		appendStringInfoString(&query, lock == ATTACHED_LOCK ? " FOR UPDATE" :
							   " FOR UPDATE SKIP LOCKED");
	for (int i = 0; i < table->nkey; i++)
	{
		types[i] = TupleDescAttr(table->tupdesc, table->key_columns[i] - 1)->atttypid;
		values[i] = key_datum(table, table->key_columns[i], row_key);
	}
	if (SPI_execute_with_args(query.data, table->nkey, types, values, NULL, lock == ATTACHED_READ,
							  2) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", query.data);
	if (SPI_processed == 1)
	{
		MemoryContextSwitchTo(caller);
		found = tuple_of(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	MemoryContextSwitchTo(caller);
	return found;
}

/* A statement that sets some columns of the row of a key. */
typedef struct RowUpdate
{
	StringInfoData query;
	int			nargs;
	Oid		   *types;
	Datum	   *values;
	char	   *nulls;
} RowUpdate;

static void
add_argument(RowUpdate *update, Form_pg_attribute attribute, Datum value, bool isnull)
{
	update->types[update->nargs] = attribute->atttypid;
	update->values[update->nargs] = value;
	update->nulls[update->nargs] = isnull ? 'n' : ' ';
	update->nargs++;
}

/* Returns whether there is anything to set. */
static bool
make_update(RowUpdate *update, AttachedTable *table, HeapTuple stored, HeapTuple row)
{
	int			natts = table->tupdesc->natts;
	bool		isnull;

	initStringInfo(&update->query);
	update->nargs = 0;
	update->types = palloc(sizeof(Oid) * (natts + table->nkey));
	update->values = palloc(sizeof(Datum) * (natts + table->nkey));
	update->nulls = palloc(natts + table->nkey);
	appendStringInfo(&update->query, "UPDATE %s t SET", root_name(table));
	for (int i = 1; i <= natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(table->tupdesc, i - 1);
		AttrNumber	column = i;
		Datum		value;

		if (attribute->attisdropped || attribute->attgenerated != '\0' ||
			!attached_differ(table, stored, row, &column, 1))
			continue;
		value = heap_getattr(row, i, table->tupdesc, &isnull);
		add_argument(update, attribute, value, isnull);
		appendStringInfo(&update->query, "%s %s = $%d", update->nargs > 1 ? "," : "",
						 quote_identifier(NameStr(attribute->attname)), update->nargs);
	}
	if (update->nargs == 0)
		return false;
	add_condition(&update->query, table, update->nargs + 1);
	for (int i = 0; i < table->nkey; i++)
	{
		Datum		value = heap_getattr(stored, table->key_columns[i], table->tupdesc, &isnull);

		add_argument(update, TupleDescAttr(table->tupdesc, table->key_columns[i] - 1), value,
					 isnull);
	}
	return true;
}

static void
run_update(const RowUpdate *update, const AttachedTable *table, const PolicyJobKey *key)
{
	if (SPI_execute_with_args(update->query.data, update->nargs, update->types, update->values,
							  update->nulls, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not run \"%s\"", update->query.data);
	if (SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("job %s of %s could not be moved", key->key, key->table),
				 errhint("A trigger or a policy of row security keeps its row from being updated by \"%s\", as whom rows of the table are moved.",
						 GetUserNameFromId(table->mover, false))));
}

void
attached_write_row(AttachedTable *table, const PolicyJobKey *key, HeapTuple stored, HeapTuple row)
{
	const Writing *outer = writing;
	Writing		mine = {table->root, key->key};
	AttachedScope scope;
	RowUpdate	update;

	if (row == stored || !make_update(&update, table, stored, row))
		return;
	attached_scope_begin(&scope, table->mover);
	writing = &mine;
	PG_TRY();
	{
		run_update(&update, table, key);
	}
	PG_FINALLY();
	{
		writing = outer;
	}
	PG_END_TRY();
	attached_scope_end(&scope);
}

bool
attached_is_written(const AttachedTable *table, const PolicyJobKey *key)
{
	return writing != NULL && writing->root == table->root && strcmp(writing->key, key->key) == 0;
}
