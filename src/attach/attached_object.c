/*
 * attached_object.c
 *	  A job that an expression makes by jsonb_build_object(), made without it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "attach/attached_object.h"
#include "dispatch/object_writer.h"

typedef struct Field
{
	const char *name;
	int			namelen;
	Oid			type;
	ExprState  *value;
} Field;

struct AttachedObject
{
	int			nfields;
	Field		fields[OBJECT_MAX_PARTS];
};

static bool
is_written(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || type == BOOLOID || type == JSONBOID;
}

/* A key's name; false where it is no constant string. */
static bool
read_name(Node *key, Field *field)
{
	Const	   *constant = (Const *) key;

	if (!IsA(key, Const) || constant->constisnull)
		return false;
	if (constant->consttype == UNKNOWNOID)
		field->name = pstrdup(DatumGetCString(constant->constvalue));
	else if (constant->consttype == TEXTOID)
		field->name = TextDatumGetCString(constant->constvalue);
	else
		return false;
	field->namelen = strlen(field->name);
	return true;
}

/* As jsonb orders keys. */
static int
compare_fields(const void *a, const void *b)
{
	const Field *left = a;
	const Field *right = b;

	if (left->namelen != right->namelen)
		return left->namelen < right->namelen ? -1 : 1;
	return memcmp(left->name, right->name, left->namelen);
}

static bool
has_twins(const AttachedObject *object)
{
	for (int i = 1; i < object->nfields; i++)
	{
		if (compare_fields(&object->fields[i - 1], &object->fields[i]) == 0)
			return true;
	}
	return false;
}

AttachedObject *
attached_object_make(Expr *expression, ParamListInfo names)
{
	FuncExpr   *call = (FuncExpr *) expression;
	AttachedObject *object;

	if (!IsA(expression, FuncExpr) || call->funcid != F_JSONB_BUILD_OBJECT_ANY ||
		call->funcvariadic || list_length(call->args) % 2 != 0 ||
		list_length(call->args) > 2 * OBJECT_MAX_PARTS)
		return NULL;
	object = palloc0(sizeof(AttachedObject));
	for (int i = 0; i < list_length(call->args); i += 2)
	{
		Field	   *field = &object->fields[object->nfields++];
		Node	   *value = list_nth(call->args, i + 1);

		field->type = exprType(value);
		if (!read_name(list_nth(call->args, i), field) || !is_written(field->type))
			return NULL;
		field->value = ExecInitExprWithParams((Expr *) value, names);
	}
	qsort(object->fields, object->nfields, sizeof(Field), compare_fields);
	return has_twins(object) ? NULL : object;
}

static void
read_field(const Field *field, ExprContext *econtext, ObjectPart *part)
{
	bool		isnull;
	Datum		value = ExecEvalExpr(field->value, econtext, &isnull);

	part->name = field->name;
	part->namelen = field->namelen;
	if (isnull)
		object_part_null(part);
	else if (field->type == BOOLOID)
		object_part_bool(part, DatumGetBool(value));
	else if (field->type == JSONBOID)
		object_part_jsonb(part, value);
	else
		object_part_text(part, DatumGetTextPP(value));
}

Jsonb *
attached_object_build(const AttachedObject *object, ExprContext *econtext)
{
	ObjectPart	parts[OBJECT_MAX_PARTS];

	for (int i = 0; i < object->nfields; i++)
		read_field(&object->fields[i], econtext, &parts[i]);
	return object_write(parts, object->nfields);
}
