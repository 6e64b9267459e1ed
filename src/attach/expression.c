/*
 * expression.c
 *	  The SQL expressions of an attachment, over the rows of its table.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "attach/expression.h"

const Oid	attach_name_types[ATTACH_NNAMES + 1] = {
	[ATTACH_RETRY_AT] = TIMESTAMPTZOID,
	[ATTACH_REASON] = TEXTOID,
	[ATTACH_CONSTRAINTS] = JSONBOID
};

static const char *const names[ATTACH_NNAMES + 1] = {
	[ATTACH_RETRY_AT] = "retry_at",
	[ATTACH_REASON] = "reason",
	[ATTACH_CONSTRAINTS] = "constraints"
};

static void
refuse_source(const char *source)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("\"%s\" is not one expression", source)));
}

/* The one expression that the source is. */
static Node *
read_source(const char *source)
{
	/* A comment at the source's end must not hide the parenthesis. */
	List	   *statements = raw_parser(psprintf("SELECT (%s\n)", source), RAW_PARSE_DEFAULT);
	SelectStmt *select;
	ResTarget  *target;

	if (list_length(statements) != 1)
		refuse_source(source);
	select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;
	if (!IsA(select, SelectStmt) || list_length(select->targetList) != 1)
		refuse_source(source);
	target = linitial_node(ResTarget, select->targetList);
	select->targetList = NIL;
	if (!equal(select, makeNode(SelectStmt)) || target->name != NULL)
		refuse_source(source);
	return target->val;
}

static Node *
make_param(int name, int location)
{
	Param	   *param = makeNode(Param);

	param->paramkind = PARAM_EXTERN;
	param->paramid = name;
	param->paramtype = attach_name_types[name];
	param->paramtypmod = -1;
	param->paramcollid = name == ATTACH_REASON ? DEFAULT_COLLATION_OID : InvalidOid;
	param->location = location;
	return (Node *) param;
}

/* A name that is no column's. */
static Node *
resolve_name(ParseState *pstate, ColumnRef *reference, Node *column)
{
	if (column != NULL || list_length(reference->fields) != 1 ||
		!IsA(linitial(reference->fields), String))
		return NULL;
	for (int i = 1; i <= ATTACH_NNAMES; i++)
	{
		if (strcmp(strVal(linitial(reference->fields)), names[i]) == 0)
			return make_param(i, reference->location);
	}
	return NULL;
}

static Node *
resolve_number(ParseState *pstate, ParamRef *reference)
{
	if (reference->number < 1 || reference->number > ATTACH_NNAMES)
		return NULL;
	return make_param(reference->number, reference->location);
}

static void
add_row(ParseState *pstate, Relation relation, const char *name, bool plain)
{
	ParseNamespaceItem *item =
	addRangeTableEntryForRelation(pstate, relation, AccessShareLock,
								  makeAlias(name, NIL), false, false);

	addNSItemToQuery(pstate, item, false, true, plain);
}

static void
check_columns(Relation relation, Node *expression, int varno)
{
	Bitmapset  *columns = NULL;
	int			member = -1;

	pull_varattnos(expression, varno, &columns);
	while ((member = bms_next_member(columns, member)) >= 0)
	{
		AttrNumber	attnum = member + FirstLowInvalidHeapAttributeNumber;

		if (attnum < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
					 errmsg("system columns are not known where a row is decided")));
		if (attnum > 0 && TupleDescAttr(RelationGetDescr(relation), attnum - 1)->attgenerated != '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
					 errmsg("generated column \"%s\" is not known where a row is decided",
							NameStr(TupleDescAttr(RelationGetDescr(relation), attnum - 1)->attname)),
					 errhint("Say what it is generated from.")));
	}
}

static Node *
coerce(ParseState *pstate, Node *expression, Oid type, int32 typmod)
{
	Node	   *coerced = coerce_to_target_type(pstate, expression, exprType(expression), type,
												typmod, COERCION_ASSIGNMENT,
												COERCE_IMPLICIT_CAST, -1);

	if (coerced == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("an expression of type %s was given where %s is needed",
						format_type_be(exprType(expression)), format_type_be(type))));
	return coerced;
}

static Expr *
analyze(Relation relation, const char *source, AttachRows rows, Oid type, int32 typmod)
{
	ParseState *pstate = make_parsestate(NULL);
	Node	   *expression = read_source(source);

	pstate->p_post_columnref_hook = resolve_name;
	pstate->p_paramref_hook = resolve_number;
	if (rows == ATTACH_OLD_AND_NEW)
		add_row(pstate, relation, "old", false);
	add_row(pstate, relation, "new", rows == ATTACH_NEW);
	expression = transformExpr(pstate, expression, EXPR_KIND_TRIGGER_WHEN);
	expression = coerce(pstate, expression, type, typmod);
	assign_expr_collations(pstate, expression);
	check_columns(relation, expression, 1);
	if (rows == ATTACH_OLD_AND_NEW)
	{
		check_columns(relation, expression, 2);
		ChangeVarNodes(expression, PRS2_OLD_VARNO, INNER_VAR, 0);
		ChangeVarNodes(expression, PRS2_NEW_VARNO, OUTER_VAR, 0);
	}
	free_parsestate(pstate);
	return (Expr *) expression;
}

int
attach_set_search_path(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
attach_expression_check(Relation relation, const char *source, AttachRows rows, Oid type,
						int32 typmod)
{
	int			level = attach_set_search_path();

	(void) analyze(relation, source, rows, type, typmod);
	AtEOXact_GUC(true, level);
}

Expr *
attach_expression_parse(Relation relation, const char *source, AttachRows rows, Oid type,
						int32 typmod)
{
	int			level = attach_set_search_path();
	Expr	   *expression = expression_planner(analyze(relation, source, rows, type, typmod));

	AtEOXact_GUC(true, level);
	return expression;
}

Bitmapset *
attach_expression_columns(Expr *expression, int varno)
{
	Bitmapset  *found = NULL;
	Bitmapset  *columns = NULL;
	int			member = -1;

	pull_varattnos((Node *) expression, varno, &found);
	while ((member = bms_next_member(found, member)) >= 0)
		columns = bms_add_member(columns, member + FirstLowInvalidHeapAttributeNumber);
	return columns;
}
