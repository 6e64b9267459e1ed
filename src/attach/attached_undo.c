/*
 * attached_undo.c
 *	  What a client's claim has done beside a start that was refused, undone.
 *
 * A claim may lock a queue's row in the same statement as the job's: that is done by the
 * statement's end, and so is undone there.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "attach/attached_undo.h"

/* The row as jsonb, its columns as text. */
static Jsonb *
row_object(AttachedTable *table, HeapTuple row)
{
	AttrNumber *columns = palloc(sizeof(AttrNumber) * table->tupdesc->natts);
	int			count = 0;

	for (int i = 0; i < table->tupdesc->natts; i++)
	{
		if (!TupleDescAttr(table->tupdesc, i)->attisdropped)
			columns[count++] = i + 1;
	}
	return attached_columns_object(table, row, columns, count);
}

void
attached_undo_later(AttachedStatement *statement, AttachedTable *table, HeapTuple row)
{
	MemoryContext caller;

	if (table->undo == NULL)
		return;
	caller = MemoryContextSwitchTo(statement->guard->context);
	statement->undoing = table;
	statement->undone = lappend(statement->undone, row_object(table, row));
	MemoryContextSwitchTo(caller);
}

void
attached_undo(AttachedStatement *statement)
{
	Oid			type = JSONBOID;
	List	   *undone = statement->undone;
	ListCell   *cell;

	if (undone == NIL)
		return;
	statement->undone = NIL;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	foreach(cell, undone)
	{
		Datum		row = JsonbPGetDatum(lfirst(cell));

		if (SPI_execute_with_args(statement->undoing->undo, 1, &type, &row, NULL, false, 0) < 0)
			elog(ERROR, "could not run \"%s\"", statement->undoing->undo);
	}
	SPI_finish();
}
