/*
 * attached_row.h
 *	  A row of an attached table: the job that it is, and the forms that it is put in.
 *
 * What expressions give is in the table's own memory, good until the next row is shown.
 */
#ifndef POLICY_ATTACHED_ROW_H
#define POLICY_ATTACHED_ROW_H

#include "attach/attached_table.h"
#include "datatype/timestamp.h"

/* Shows a row to the expressions of one row. */
extern void attached_show(AttachedTable *table, HeapTuple row);

/* Shows an update's two rows, or a deletion's one (new: NULL), to those of two. */
extern void attached_show_change(AttachedTable *table, HeapTuple old, HeapTuple new);

/* The job of the row that is shown; a job that is NULL is the JSON null. */
extern Jsonb *attached_job(AttachedTable *table);

/* Its key; raises not_null_violation where that is NULL. */
extern text *attached_key(AttachedTable *table);

/* Whether the change that is shown is true of the expression; NULL expressions are not. */
extern bool attached_holds(AttachedTable *table, ExprState *condition);

/* Whether a row has come to its end, as its client says. */
extern bool attached_has_ended(AttachedTable *table, HeapTuple row);

/* Both, of the row that is shown. */
extern const AttachedComing *attached_coming(AttachedTable *table, HeapTuple row);

/* Whether a row comes in as one that runs. */
extern bool attached_comes_started(AttachedTable *table, HeapTuple row);

/* A checksum of what the job, its key and the guarded columns are made of. */
extern uint64 attached_content(AttachedTable *table);

/* The names that forms use; they must stay as long as forms are evaluated. */
extern void attached_set_names(AttachedTable *table, const TimestampTz *retry_at, text *reason,
							   Jsonb *constraints);

/* The row that is shown, in one of the forms; the same tuple where that sets nothing. */
extern HeapTuple attached_form(AttachedTable *table, AttachedFormKind kind, HeapTuple row);

/* Whether the two rows differ in one of the columns. */
extern bool attached_differ(AttachedTable *table, HeapTuple a, HeapTuple b,
							const AttrNumber *columns, int ncolumns);

/* The same for a set of columns. */
extern bool attached_differ_in(AttachedTable *table, HeapTuple a, HeapTuple b,
							   const Bitmapset *columns);

/* Columns of a row by name, each as text or null. */
extern Jsonb *attached_columns_object(AttachedTable *table, HeapTuple row,
									  const AttrNumber *columns, int ncolumns);

/* The guarded columns of a row, likewise. */
extern Jsonb *attached_wanted(AttachedTable *table, HeapTuple row);

/* The row with its guarded columns as attached_wanted() gave them; NULL: as they are. */
extern HeapTuple attached_restore(AttachedTable *table, HeapTuple row, Jsonb *wanted);

/* The columns of a, but the guarded columns of b. */
extern HeapTuple attached_keep(AttachedTable *table, HeapTuple a, HeapTuple b);

/* The primary key by name, each column as text. */
extern Jsonb *attached_row_key(AttachedTable *table, HeapTuple row);

#endif							/* POLICY_ATTACHED_ROW_H */
