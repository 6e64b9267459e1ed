/*
 * attached_move.h
 *	  Rows of attached tables, locked and written with the rights of who attached them.
 */
#ifndef POLICY_ATTACHED_MOVE_H
#define POLICY_ATTACHED_MOVE_H

#include "attach/attached_row.h"
#include "dispatch/approvals.h"

/* Who a scope has taken the place of. */
typedef struct AttachedScope
{
	Oid			user;
	int			security_context;
	int			settings_level; /* 0: what is set in it stays set */
} AttachedScope;

/* Between these two the user is who rows are moved as (attached_table_mover), and SPI is connected. */
extern void attached_scope_begin(AttachedScope *scope, Oid mover);

/* For verbs: the table's triggers can put nothing off, and set nothing that stays. */
extern void attached_scope_begin_confined(AttachedScope *scope, Oid mover);
extern void attached_scope_end(const AttachedScope *scope);

typedef enum AttachedLock
{
	ATTACHED_READ,
	ATTACHED_LOCK,
	ATTACHED_LOCK_SKIP			/* not where somebody else has locked it */
} AttachedLock;

/*
 * The row of a primary key, copied into the current memory context; NULL where it is
 * gone.  Inside a scope.
 */
extern HeapTuple attached_find_row(AttachedTable *table, Jsonb *row_key, AttachedLock lock);

/*
 * Writes the columns in which a row differs from what is stored, past the guard.  Raises
 * triggered_data_change_violation where something keeps it from being written.  In a
 * scope of its own.
 */
extern void attached_write_row(AttachedTable *table, const PolicyJobKey *key, HeapTuple stored,
							   HeapTuple row);

/* Whether that is what writes this row now. */
extern bool attached_is_written(const AttachedTable *table, const PolicyJobKey *key);

#endif							/* POLICY_ATTACHED_MOVE_H */
