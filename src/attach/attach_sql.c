/*
 * attach_sql.c
 *	  What policy_attach asks of its arguments, and the room's initialisation.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"

#include "attach/attach.h"
#include "attach/attached_table.h"
#include "attach/expression.h"
#include "dispatch/settle.h"

PG_FUNCTION_INFO_V1(policy_check_attached);
PG_FUNCTION_INFO_V1(policy_outer_role);

void
policy_attach_init(void)
{
	attached_table_init();
	policy_attached_settle = attached_approval_changed;
	policy_attached_peek = attached_peek;
}

/* policy.outer_role() */
Datum
policy_outer_role(PG_FUNCTION_ARGS)
{
	PG_RETURN_OID(GetOuterUserId());
}

/* The column that an expression is for. */
static Form_pg_attribute
column_of(Relation relation, const char *name)
{
	TupleDesc	tupdesc = RelationGetDescr(relation);

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (attribute->attisdropped || strcmp(NameStr(attribute->attname), name) != 0)
			continue;
		if (attribute->attgenerated != '\0')
			ereport(ERROR,
					(errcode(ERRCODE_GENERATED_ALWAYS),
					 errmsg("column \"%s\" is generated and cannot be set", name)));
		return attribute;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" does not exist", name)));
}

/* A statement over a row, $1. */
static void
check_statement(const char *source)
{
	Oid			type = JSONBOID;
	int			level = attach_set_search_path();

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_prepare(source, 1, &type) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" cannot be prepared", source)));
	SPI_finish();
	AtEOXact_GUC(true, level);
}

static void
check_expression(Relation relation, const char *kind, const char *target, const char *source)
{
	if (strcmp(kind, "undo") == 0)
		check_statement(source);
	else if (target != NULL)
	{
		Form_pg_attribute attribute = column_of(relation, target);

		attach_expression_check(relation, source, ATTACH_NEW, attribute->atttypid,
								attribute->atttypmod);
	}
	else if (strcmp(kind, "job") == 0)
		attach_expression_check(relation, source, ATTACH_NEW, JSONBOID, -1);
	else if (strcmp(kind, "job_key") == 0)
		attach_expression_check(relation, source, ATTACH_NEW, TEXTOID, -1);
	else if (strcmp(kind, "notify") == 0)
		attach_expression_check(relation, source, ATTACH_NEW, VOIDOID, -1);
	else
		attach_expression_check(relation, source, ATTACH_OLD_AND_NEW, BOOLOID, -1);
}

/* policy.check_attached(job_table regclass, kind text, target text, source text) */
Datum
policy_check_attached(PG_FUNCTION_ARGS)
{
	Relation	relation;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(3))
		PG_RETURN_VOID();
	relation = table_open(PG_GETARG_OID(0), AccessShareLock);
	check_expression(relation, text_to_cstring(PG_GETARG_TEXT_PP(1)),
					 PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)),
					 text_to_cstring(PG_GETARG_TEXT_PP(3)));
	table_close(relation, NoLock);
	PG_RETURN_VOID();
}
