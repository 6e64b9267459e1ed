/*
 * attached_undo.h
 *	  What a client's claim has done beside a start that was refused, undone.
 */
#ifndef POLICY_ATTACHED_UNDO_H
#define POLICY_ATTACHED_UNDO_H

#include "attach/attached_row.h"
#include "attach/attached_statement.h"

/* Remembers a row whose start was refused, for the statement's end. */
extern void attached_undo_later(AttachedStatement *statement, AttachedTable *table,
								HeapTuple row);

/* Undoes what was remembered: runs the attachment's undo once a row, as who claims. */
extern void attached_undo(AttachedStatement *statement);

#endif							/* POLICY_ATTACHED_UNDO_H */
