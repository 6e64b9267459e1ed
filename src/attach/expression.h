/*
 * expression.h
 *	  The SQL expressions of an attachment, over the rows of its table.
 *
 * Names in them are looked up in pg_catalog alone.  They have the row's columns, plain
 * or as new.column (those over two rows as old.column and new.column), and the names
 * below, which a column of the same name hides, and $1 to $3, which nothing hides.
 */
#ifndef POLICY_ATTACH_EXPRESSION_H
#define POLICY_ATTACH_EXPRESSION_H

#include "nodes/primnodes.h"
#include "utils/rel.h"

typedef enum AttachName
{
	ATTACH_RETRY_AT = 1,		/* timestamptz: when a throttled row may go on */
	ATTACH_REASON,				/* text: the decision's */
	ATTACH_CONSTRAINTS			/* jsonb: what it may run with; NULL where no
								 * rule sets any */
} AttachName;

#define ATTACH_NNAMES ATTACH_CONSTRAINTS

/* The types of the names, by AttachName. */
extern const Oid attach_name_types[ATTACH_NNAMES + 1];

/* What an expression is over. */
typedef enum AttachRows
{
	ATTACH_NEW,					/* one row: the scan tuple */
	ATTACH_OLD_AND_NEW			/* the inner tuple and the outer one */
} AttachRows;

/*
 * Parses an expression, coerces it to a type and plans it.  Raises what parsing raises,
 * and invalid_column_reference for generated and system columns, which are not known
 * where a row is decided.  relation is open and locked.
 */
extern Expr *attach_expression_parse(Relation relation, const char *source, AttachRows rows,
									 Oid type, int32 typmod);

/*
 * Parses it, and raises what that raises, but runs nothing of it: planning would run
 * immutable functions, with the rights of whoever only looks at somebody else's.
 */
extern void attach_expression_check(Relation relation, const char *source, AttachRows rows,
									Oid type, int32 typmod);

/* Where SQL of attachments looks names up, from here to AtEOXact_GUC(true, level). */
extern int	attach_set_search_path(void);

/* The columns of a row that an expression reads: attribute numbers, 0 for all. */
extern Bitmapset *attach_expression_columns(Expr *expression, int varno);

#endif							/* POLICY_ATTACH_EXPRESSION_H */
