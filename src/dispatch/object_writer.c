/*
 * object_writer.c
 *	  A jsonb object written byte by byte, as PostgreSQL writes it (utils/jsonb.h).
 */
#include "postgres.h"

#include "utils/numeric.h"

#include "dispatch/object_writer.h"

static void
set_part(ObjectPart *part, JEntry type, const char *data, Size size, bool aligned)
{
	part->type = type;
	part->data = data;
	part->size = size;
	part->aligned = aligned;
}

void
object_part_null(ObjectPart *part)
{
	set_part(part, JENTRY_ISNULL, NULL, 0, false);
}

void
object_part_bool(ObjectPart *part, bool value)
{
	set_part(part, value ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE, NULL, 0, false);
}

void
object_part_text(ObjectPart *part, text *value)
{
	set_part(part, JENTRY_ISSTRING, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), false);
}

static void
set_scalar_part(ObjectPart *part, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			object_part_null(part);
			break;
		case jbvBool:
			object_part_bool(part, value->val.boolean);
			break;
		case jbvNumeric:
			set_part(part, JENTRY_ISNUMERIC, (const char *) value->val.numeric,
					 VARSIZE_ANY(value->val.numeric), true);
			break;
		default:
			set_part(part, JENTRY_ISSTRING, value->val.string.val, value->val.string.len,
					 false);
			break;
	}
}

void
object_part_jsonb(ObjectPart *part, Datum value)
{
	Jsonb	   *jsonb = DatumGetJsonbP(value);
	JsonbValue	scalar;

	if (JB_ROOT_IS_SCALAR(jsonb) && JsonbExtractScalar(&jsonb->root, &scalar))
		set_scalar_part(part, &scalar);
	else
		set_part(part, JENTRY_ISCONTAINER, (const char *) &jsonb->root,
				 VARSIZE(jsonb) - VARHDRSZ, true);
}

Jsonb *
object_write(const ObjectPart *parts, int count)
{
	Size		start = VARHDRSZ + sizeof(uint32) + 2 * count * sizeof(JEntry);
	Size		most = start;
	Jsonb	   *object;
	JEntry	   *entries;
	char	   *at;

	Assert(count <= OBJECT_MAX_PARTS);
	for (int i = 0; i < count; i++)
		most += parts[i].namelen + parts[i].size + sizeof(uint32) - 1;
	if (most > JENTRY_OFFLENMASK)
		return NULL;
	object = palloc(most);
	object->root.header = count | JB_FOBJECT;
	entries = object->root.children;
	at = (char *) object + start;
	for (int i = 0; i < count; i++)
	{
		memcpy(at, parts[i].name, parts[i].namelen);
		at += parts[i].namelen;
		entries[i] = JENTRY_ISSTRING | parts[i].namelen;
	}
	for (int i = 0; i < count; i++)
	{
		char	   *begin = at;

		for (; parts[i].aligned && (at - (char *) object) % sizeof(uint32) != 0; at++)
			*at = '\0';
		if (parts[i].size > 0)
			memcpy(at, parts[i].data, parts[i].size);
		at += parts[i].size;
		entries[count + i] = parts[i].type | (JEntry) (at - begin);
	}
	if (count > 0)
		entries[0] |= JENTRY_HAS_OFF;
	SET_VARSIZE(object, at - (char *) object);
	return object;
}
