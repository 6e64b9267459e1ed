/*
 * attached_statement.h
 *	  What the guards of attached tables know of one statement.
 */
#ifndef POLICY_ATTACHED_STATEMENT_H
#define POLICY_ATTACHED_STATEMENT_H

#include "commands/trigger.h"

#include "attach/attached_table.h"
#include "attach/guarded.h"
#include "dispatch/statement.h"

/* What was decided of a row before it was stored, for when it is. */
typedef struct AttachedDecision
{
	AttachedTable *table;
	const char *key;
	int			keylen;
	HeapTupleHeader row;		/* the row as it was formed; NULL: its content
								 * is known */
	uint32		rowlen;
	uint64		content;		/* attached_content() of it */
	int			decided;		/* the statement's place of what was decided */
	bool		is_recorded;
	bool		has_ended;		/* nothing was decided: it came in at its end */
	GuardedJob *guarded;		/* what is to be kept; NULL: nothing, it is
								 * plainly allowed */
	JobApprovals *approvals;	/* that it had before; NULL: none were read */
} AttachedDecision;

typedef struct AttachedStatement
{
	GuardStatement *guard;
	MemoryContextCallback release;
	List	   *tables;			/* in use */
	bool		is_flushed;		/* a trigger at its end writes */
	const AttachedTable *undoing;	/* the table of starts that were refused */
	List	   *undone;			/* their rows, as jsonb */
	AttachedDecision *decisions;
	int			ndecisions;
	int			capacity;
	int			next;			/* where the next one to be recorded is likely */
	int			nsummed;		/* whose content is known: the first ones */
	Size		kept;			/* bytes of the rows that are kept */
	HeapTuple	given;			/* the last row that was inserted, as it came */
	HeapTuple	formed;			/* and as it was formed; NULL: the same */
} AttachedStatement;

/* The statement of a trigger's call. */
extern AttachedStatement *attached_statement(FunctionCallInfo fcinfo);

/* The attachment of the trigger's relation. */
extern AttachedTable *attached_statement_table(AttachedStatement *statement, TriggerData *trigger);

/* A new decision, its key copied, that policy_statement_keep() has just kept. */
extern AttachedDecision *attached_statement_add(AttachedStatement *statement,
												AttachedTable *table, const text *key);

/* Remembers the row that the last decision is of, which is shown, as it was formed. */
extern void attached_statement_form(AttachedStatement *statement, HeapTuple row);

/*
 * The decision of a row as it was stored that was not recorded yet; NULL where there is
 * none of its key and content.
 */
extern AttachedDecision *attached_statement_find(AttachedStatement *statement,
												 AttachedTable *table, HeapTuple row);

/* Whether the statement inserts, or has tried to, a row of that key. */
extern bool attached_statement_inserts(const AttachedStatement *statement,
									   const AttachedTable *table, const text *key);

#endif							/* POLICY_ATTACHED_STATEMENT_H */
