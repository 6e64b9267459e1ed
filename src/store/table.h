/*
 * table.h
 *	  The extension's own tables, found by name and read by index without SPI.
 */
#ifndef POLICY_TABLE_H
#define POLICY_TABLE_H

#include "utils/rel.h"

#include "compat.h"

#define POLICY_SCHEMA "policy"

/* The oid of a relation of the schema policy; raises undefined_table. */
extern Oid	policy_relation_oid(const char *name);

/* A relation whose oid is kept for as long as one command runs. */
typedef struct PolicyRelation
{
	const char *name;
	Oid			oid;
	LocalTransactionId lxid;
	CommandId	command;
} PolicyRelation;

extern Oid	policy_relation_known(PolicyRelation *relation);

/* Opens a table in AccessShareLock, kept until the transaction ends. */
extern Relation policy_table_open(const char *name);

/* Its primary key, likewise. */
extern Relation policy_primary_key_open(Relation relation);

/* An index by name, likewise. */
extern Relation policy_index_open(const char *name);

/*
 * Raises object_not_in_prerequisite_state where a table's first columns are not of the
 * types that it was made with (columns.h).
 */
extern void policy_check_columns(const char *name, TupleDesc tupdesc, const Oid *types,
								 int ncolumns);

/* Raises trigger_protocol_violated where a trigger is hung on another table than its own. */
extern void policy_check_trigger_table(Relation relation, PolicyRelation *expected);

/* Closes a table and an index of it; the locks stay, as a query's would. */
extern void policy_table_close(Relation relation, Relation index);

#endif							/* POLICY_TABLE_H */
