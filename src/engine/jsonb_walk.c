/*
 * jsonb_walk.c
 *	  One pass over a jsonb object or array.
 *
 * The layout is utils/jsonb.h's: the entries, keys first in an object, then their
 * data in the same order.
 */
#include "postgres.h"

#include "engine/jsonb_walk.h"

static void
begin(JsonbWalk *walk, JsonbContainer *container, uint32 nentries)
{
	walk->container = container;
	walk->base = (const char *) &container->children[nentries];
	walk->count = JsonContainerSize(container);
	walk->next = 0;
	walk->key_offset = 0;
	walk->value_offset = 0;
}

void
jsonb_walk_object(JsonbWalk *walk, JsonbContainer *object)
{
	begin(walk, object, JsonContainerSize(object) * 2);
	for (uint32 i = 0; i < walk->count; i++)
		JBE_ADVANCE_OFFSET(walk->value_offset, object->children[i]);
}

void
jsonb_walk_array(JsonbWalk *walk, JsonbContainer *array)
{
	begin(walk, array, JsonContainerSize(array));
}

/* The length of an entry's data, which begins at offset. */
static uint32
entry_length(JEntry entry, uint32 offset)
{
	return JBE_HAS_OFF(entry) ? JBE_OFFLENFLD(entry) - offset : JBE_OFFLENFLD(entry);
}

static void
fill_value(const JsonbWalk *walk, JEntry entry, uint32 offset, JsonbValue *value)
{
	uint32		aligned = INTALIGN(offset);

	if (JBE_ISSTRING(entry))
	{
		value->type = jbvString;
		value->val.string.val = unconstify(char *, walk->base) + offset;
		value->val.string.len = entry_length(entry, offset);
	}
	else if (JBE_ISNUMERIC(entry))
	{
		value->type = jbvNumeric;
		value->val.numeric = (Numeric) (walk->base + aligned);
	}
	else if (JBE_ISBOOL(entry))
	{
		value->type = jbvBool;
		value->val.boolean = JBE_ISBOOL_TRUE(entry);
	}
	else if (JBE_ISNULL(entry))
		value->type = jbvNull;
	else
	{
		value->type = jbvBinary;
		value->val.binary.data = (JsonbContainer *) (walk->base + aligned);
		value->val.binary.len = entry_length(entry, offset) - (aligned - offset);
	}
}

bool
jsonb_walk_pair(JsonbWalk *walk, const char **key, int *keylen, JsonbValue *value)
{
	JEntry		key_entry;
	JEntry		value_entry;

	if (walk->next == walk->count)
		return false;
	key_entry = walk->container->children[walk->next];
	value_entry = walk->container->children[walk->count + walk->next];
	*key = walk->base + walk->key_offset;
	*keylen = entry_length(key_entry, walk->key_offset);
	fill_value(walk, value_entry, walk->value_offset, value);
	JBE_ADVANCE_OFFSET(walk->key_offset, key_entry);
	JBE_ADVANCE_OFFSET(walk->value_offset, value_entry);
	walk->next++;
	return true;
}

bool
jsonb_walk_element(JsonbWalk *walk, JsonbValue *value)
{
	JEntry		entry;

	if (walk->next == walk->count)
		return false;
	entry = walk->container->children[walk->next++];
	fill_value(walk, entry, walk->value_offset, value);
	JBE_ADVANCE_OFFSET(walk->value_offset, entry);
	return true;
}
