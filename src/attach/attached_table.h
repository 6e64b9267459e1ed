/*
 * attached_table.h
 *	  An attachment, ready to be used on the rows of one relation by one user.
 *
 * Its expressions are made once a session, relation and user, and made again where the
 * relation, or a function, changes.  They run as the user that they were made by, and
 * keep the rights that were checked then.  One statement has one at a time.
 */
#ifndef POLICY_ATTACHED_TABLE_H
#define POLICY_ATTACHED_TABLE_H

#include "access/htup.h"
#include "nodes/execnodes.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#include "attach/attached_object.h"
#include "attach/expression.h"

/* What is set in a row that a decision keeps from running, or lets run. */
typedef enum AttachedFormKind
{
	ATTACHED_HOLD,
	ATTACHED_DENY,
	ATTACHED_THROTTLE,
	ATTACHED_ALLOW,
	ATTACHED_RELEASE
} AttachedFormKind;

#define ATTACHED_NFORMS (ATTACHED_RELEASE + 1)

typedef struct AttachedColumn
{
	AttrNumber	attnum;
	ExprState  *value;
} AttachedColumn;

typedef struct AttachedForm
{
	int			ncolumns;
	AttachedColumn *columns;
} AttachedForm;

#define ATTACHED_COMING_COLUMNS 4
#define ATTACHED_COMING_SIZE 32

/*
 * What starts and ends say of a row that comes in: they read few columns of it, which
 * are mostly the last row's, byte by byte.
 */
typedef struct AttachedComing
{
	bool		has_ended;
	bool		is_started;
	bool		is_repeated;	/* the same columns say the same */
	bool		is_known;		/* of the columns below */
	int			ncolumns;
	AttrNumber	columns[ATTACHED_COMING_COLUMNS];
	bool		nulls[ATTACHED_COMING_COLUMNS];
	Size		sizes[ATTACHED_COMING_COLUMNS];
	char		bytes[ATTACHED_COMING_COLUMNS][ATTACHED_COMING_SIZE];
} AttachedComing;

typedef struct AttachedTable
{
	MemoryContext context;
	bool		in_use;
	bool		is_stale;
	Oid			relid;			/* the table, or a partition of it */
	Oid			user;
	int64		attachment_id;
	char	   *job_table;		/* as evidence has it */
	Oid			root;			/* what was attached */
	Oid			mover;			/* who its rows are moved as */
	bool		raises;			/* on_deny => raise */
	char	   *notify;			/* a channel; NULL where notification is, or
								 * none */
	TupleDesc	tupdesc;
	ExprContext *econtext;
	TupleTableSlot *row;		/* what expressions of one row are over */
	TupleTableSlot *old;
	TupleTableSlot *new;
	ExprState  *job;
	AttachedObject *object;		/* the same, faster; NULL: not so */
	ExprState  *key;
	ExprState  *starts;
	ExprState  *ends;			/* NULL: none is given */
	AttachedComing coming;		/* what both say of the last row that came in */
	ExprState  *notification;	/* an expression that notifies; NULL: none */
	AttachedForm forms[ATTACHED_NFORMS];
	int			nguarded;		/* the columns that hold, deny and throttle
								 * set */
	AttrNumber *guarded;
	int			nmaterial;
	AttrNumber *material;
	int			nkey;			/* the primary key's columns */
	AttrNumber *key_columns;
	int			nidentity;		/* these, and those that job_key reads */
	AttrNumber *identity;
	Bitmapset  *job_columns;	/* what the job is made of */
	Bitmapset  *content;		/* columns that the job, its key and its forms
								 * are made of */
	char	   *undo;			/* a statement for a start that was refused;
								 * or NULL */
} AttachedTable;

/*
 * The attachment of that id on a relation that is open and locked, for the current
 * user.  Give it back with attached_table_release().
 */
extern AttachedTable *attached_table_acquire(Relation relation, int64 attachment_id);
extern void attached_table_release(AttachedTable *table);

/* It in use, given back with the current memory context where an error leaves that. */
typedef struct AttachedHold
{
	MemoryContextCallback release;
	AttachedTable *table;		/* NULL: it was given back */
} AttachedHold;

extern AttachedHold *attached_table_hold(AttachedTable *table);
extern void attached_table_unhold(AttachedHold *hold);

/*
 * The id of the attachment of a table by the name that evidence has, and the table;
 * false where it is not attached.
 */
extern bool attached_table_find(const char *job_table, int64 *attachment_id, Oid *root);

/*
 * Who rows of a table are moved as: who attached it, or, where that is a superuser, the
 * table's owner, whose triggers then run.  Raises undefined_object where there is no such
 * attachment.
 */
extern Oid	attached_table_mover(int64 attachment_id);

/* The table that an attachment is of; raises undefined_object where there is none. */
extern Oid	attached_table_relation(int64 attachment_id);

extern void attached_table_init(void);

#endif							/* POLICY_ATTACHED_TABLE_H */
