/*
 * table.c
 *	  The extension's own tables, found by name.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "storage/proc.h"
#include "utils/lsyscache.h"
#include "utils/relcache.h"

#include "columns.h"
#include "store/table.h"

Oid
policy_relation_oid(const char *name)
{
	Oid			schema = get_namespace_oid(POLICY_SCHEMA, false);
	Oid			relid = get_relname_relid(name, schema);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist", POLICY_SCHEMA, name),
				 errhint("Create the extension policy_engine in this database.")));
	return relid;
}

Oid
policy_relation_known(PolicyRelation *relation)
{
	LocalTransactionId lxid = policy_current_lxid();
	CommandId	command = GetCurrentCommandId(false);

	if (!OidIsValid(relation->oid) || relation->lxid != lxid || relation->command != command)
	{
		relation->oid = policy_relation_oid(relation->name);
		relation->lxid = lxid;
		relation->command = command;
	}
	return relation->oid;
}

Relation
policy_table_open(const char *name)
{
	return table_open(policy_relation_oid(name), AccessShareLock);
}

/*
 * The primary key under the name that it was made with, or NULL where that is not it:
 * a new session's first list of a table's indexes takes as long as opening one.
 */
static Relation
open_named_key(Relation relation)
{
	char	   *name = psprintf("%s_pkey", RelationGetRelationName(relation));
	Oid			oid = get_relname_relid(name, RelationGetNamespace(relation));
	Relation	index;

	pfree(name);
	if (!OidIsValid(oid) || get_rel_relkind(oid) != RELKIND_INDEX)
		return NULL;
	index = index_open(oid, AccessShareLock);
	if (index->rd_index->indrelid == RelationGetRelid(relation) &&
		index->rd_index->indisprimary && index->rd_index->indisvalid)
		return index;
	index_close(index, AccessShareLock);
	return NULL;
}

Relation
policy_primary_key_open(Relation relation)
{
	Relation	named = relation->rd_indexvalid ? NULL : open_named_key(relation);
	Oid			index;

	if (named != NULL)
		return named;
	RelationGetIndexList(relation);
	index = relation->rd_pkindex;
	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has lost its primary key", POLICY_SCHEMA,
						RelationGetRelationName(relation))));
	return index_open(index, AccessShareLock);
}

Relation
policy_index_open(const char *name)
{
	return index_open(policy_relation_oid(name), AccessShareLock);
}

void
policy_check_columns(const char *name, TupleDesc tupdesc, const Oid *types, int ncolumns)
{
	if (policy_has_columns(tupdesc, types, ncolumns))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the columns of \"%s.%s\" have been altered", POLICY_SCHEMA, name),
			 errhint("Take back what was altered: the extension's tables are its own; keep what is yours in the job's extra, or in a table beside.")));
}

void
policy_check_trigger_table(Relation relation, PolicyRelation *expected)
{
	if (RelationGetRelid(relation) != policy_relation_known(expected))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a trigger of \"%s.%s\" was called for \"%s\"", POLICY_SCHEMA,
						expected->name, RelationGetRelationName(relation)),
				 errhint("The extension's triggers are made by CREATE EXTENSION alone.")));
}

void
policy_table_close(Relation relation, Relation index)
{
	index_close(index, NoLock);
	table_close(relation, NoLock);
}
