/*
 * row_writer.h
 *	  Rows of the extension's own tables, written in bulk.
 */
#ifndef POLICY_ROW_WRITER_H
#define POLICY_ROW_WRITER_H

#include "access/htup.h"
#include "access/tupdesc.h"

/*
 * Rows waiting to be written to one table, in one memory context of their own
 * under the one that was current at its making.
 */
typedef struct RowBatch
{
	MemoryContext context;
	const char *table;			/* in the schema policy */
	TupleDesc	tupdesc;
	int			ncolumns;		/* of a row that is added: the table's first */
	HeapTuple  *rows;
	int			nrows;
	struct EvidenceCaller *caller;	/* policy_record()'s */
} RowBatch;

/* As many rows are written at a time. */
#define ROW_BATCH_SIZE 1000

/*
 * For rows of that many columns, of these types.  Raises
 * object_not_in_prerequisite_state where the table's first columns are others.
 */
extern RowBatch *row_batch_create(const char *table, const Oid *types, int ncolumns);

/* Adds a row, copying it; writes what has come together once the batch is full. */
extern void row_batch_add(RowBatch *batch, Datum *values, bool *nulls);

/*
 * Writes what is there, to the partitions that it belongs to, with their indexes.
 * No trigger fires and no right is asked for: the rows are the engine's own.
 */
extern void row_batch_write(RowBatch *batch);

#endif							/* POLICY_ROW_WRITER_H */
