/*
 * shim_json.c
 *	  jsonb outside the server, after the format that utils/jsonb.h describes: a
 *	  builder, readers and an iterator; and numbers that keep their text.
 *
 * A number here is a varlena with its digits in it; two are compared as long
 * doubles.  That is less than numeric, and the same for both sides.
 */
#include "shim.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#define MAX_DEPTH 64

/* Numbers */

static char *
number_text(Datum number)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(number);

	return pnstrdup(VARDATA(value), VARSIZE(value) - VARHDRSZ);
}

static Datum
make_number(const char *digits, int len)
{
	struct varlena *value = palloc(VARHDRSZ + len);

	SET_VARSIZE(value, VARHDRSZ + len);
	memcpy(VARDATA(value), digits, len);
	return PointerGetDatum(value);
}

static long double
number_value(Datum number)
{
	return strtold(number_text(number), NULL);
}

Datum
numeric_in(PG_FUNCTION_ARGS)
{
	char	   *digits = PG_GETARG_CSTRING(0);

	return make_number(digits, strlen(digits));
}

Numeric
int64_to_numeric(int64 value)
{
	char	   *digits = psprintf(INT64_FORMAT, value);

	return DatumGetNumeric(make_number(digits, strlen(digits)));
}

Datum
numeric_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(number_text(PG_GETARG_DATUM(0)));
}

Datum
numeric_cmp(PG_FUNCTION_ARGS)
{
	long double a = number_value(PG_GETARG_DATUM(0));
	long double b = number_value(PG_GETARG_DATUM(1));

	PG_RETURN_INT32((a > b) - (a < b));
}

Datum
hash_numeric(PG_FUNCTION_ARGS)
{
	double		value = (double) number_value(PG_GETARG_DATUM(0));

	if (value == 0)
		value = 0;				/* -0 equals 0 */
	PG_RETURN_UINT32(hash_bytes((const unsigned char *) &value, sizeof(value)));
}

static Datum
call(PGFunction function, int nargs, const Datum *args)
{
	LOCAL_FCINFO(fcinfo, 3);

	memset(fcinfo, 0, SizeForFunctionCallInfo(3));
	fcinfo->nargs = nargs;
	for (int i = 0; i < nargs; i++)
		fcinfo->args[i].value = args[i];
	return function(fcinfo);
}

Datum
DirectFunctionCall1Coll(PGFunction func, Oid collation, Datum arg1)
{
	return call(func, 1, &arg1);
}

Datum
DirectFunctionCall2Coll(PGFunction func, Oid collation, Datum arg1, Datum arg2)
{
	Datum		args[] = {arg1, arg2};

	return call(func, 2, args);
}

Datum
DirectFunctionCall3Coll(PGFunction func, Oid collation, Datum arg1, Datum arg2, Datum arg3)
{
	Datum		args[] = {arg1, arg2, arg3};

	return call(func, 3, args);
}

/* Building: a tree of values first, its bytes when it is complete */

typedef struct Item
{
	JsonbValue	value;
	struct Item *items;			/* jbvArray: elements; jbvObject: key, value,
								 * ... */
	int			count;
} Item;

struct JsonbParseState;

typedef struct Build
{
	Item	   *stack[MAX_DEPTH];
	int			depth;
} Build;

static Item *
append(Item *parent)
{
	if ((parent->count & (parent->count - 1)) == 0)
	{
		Item	   *grown = palloc0(sizeof(Item) * Max(parent->count * 2, 1));

		if (parent->count > 0)
			memcpy(grown, parent->items, sizeof(Item) * parent->count);
		parent->items = grown;
	}
	return &parent->items[parent->count++];
}

static int
compare_keys(const JsonbValue *a, const JsonbValue *b)
{
	if (a->val.string.len != b->val.string.len)
		return a->val.string.len - b->val.string.len;
	return memcmp(a->val.string.val, b->val.string.val, a->val.string.len);
}

/* Sorts an object's keys; of equal ones the last stays. */
static void
sort_object(Item *object)
{
	int			count = 0;

	for (int i = 0; i < object->count; i += 2)
	{
		Item		key = object->items[i];
		Item		value = object->items[i + 1];
		int			at = count;

		while (at > 0 && compare_keys(&object->items[at - 2].value, &key.value) > 0)
			at -= 2;
		if (at > 0 && compare_keys(&object->items[at - 2].value, &key.value) == 0)
		{
			object->items[at - 1] = value;
			continue;
		}
		memmove(&object->items[at + 2], &object->items[at], sizeof(Item) * (count - at));
		object->items[at] = key;
		object->items[at + 1] = value;
		count += 2;
	}
	object->count = count;
}

static void push_container(JsonbParseState **state, JsonbContainer *container);

static void
open_item(Build *build, JsonbIteratorToken token)
{
	Item	   *item;

	if (build->depth == MAX_DEPTH)
		abort();
	item = build->depth == 0 ? palloc0(sizeof(Item)) : append(build->stack[build->depth - 1]);
	memset(item, 0, sizeof(Item));
	item->value.type = token == WJB_BEGIN_ARRAY ? jbvArray : jbvObject;
	build->stack[build->depth++] = item;
}

JsonbValue *
pushJsonbValue(JsonbParseState **pstate, JsonbIteratorToken seq, JsonbValue *jbval)
{
	Build	   *build = (Build *) *pstate;

	if (build == NULL)
		*pstate = (JsonbParseState *) (build = palloc0(sizeof(Build)));
	switch (seq)
	{
		case WJB_BEGIN_ARRAY:
		case WJB_BEGIN_OBJECT:
			open_item(build, seq);
			return NULL;
		case WJB_END_ARRAY:
		case WJB_END_OBJECT:
			build->depth--;
			if (seq == WJB_END_OBJECT)
				sort_object(build->stack[build->depth]);
			return &build->stack[build->depth]->value;
		case WJB_KEY:
		case WJB_VALUE:
		case WJB_ELEM:
			if (jbval->type == jbvBinary)
				push_container(pstate, jbval->val.binary.data);
			else
				append(build->stack[build->depth - 1])->value = *jbval;
			return NULL;
		case WJB_DONE:
			break;
	}
	abort();
}

static void
push_container(JsonbParseState **state, JsonbContainer *container)
{
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
		pushJsonbValue(state, token, token < WJB_BEGIN_ARRAY ? &value : NULL);
}

static void
align(StringInfo buffer)
{
	while (buffer->len % 4 != 0)
		appendStringInfoChar(buffer, '\0');
}

static void write_container(StringInfo buffer, const Item *item);

/* Writes a value; returns its JEntry's type bits. */
static uint32
write_value(StringInfo buffer, const Item *item)
{
	const JsonbValue *value = &item->value;

	switch (value->type)
	{
		case jbvNull:
			return JENTRY_ISNULL;
		case jbvBool:
			return value->val.boolean ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE;
		case jbvString:
			appendBinaryStringInfo(buffer, value->val.string.val, value->val.string.len);
			return JENTRY_ISSTRING;
		case jbvNumeric:
			align(buffer);
			appendBinaryStringInfo(buffer, (char *) value->val.numeric,
								   VARSIZE(value->val.numeric));
			return JENTRY_ISNUMERIC;
		case jbvArray:
		case jbvObject:
			align(buffer);
			write_container(buffer, item);
			return JENTRY_ISCONTAINER;
		default:
			abort();
	}
}

/* An object's keys come first, then its values; every 32nd entry is an offset. */
static void
write_container(StringInfo buffer, const Item *item)
{
	bool		object = item->value.type == jbvObject;
	uint32		header = (object ? JB_FOBJECT | (item->count / 2) : JB_FARRAY | item->count);
	int			entries = buffer->len + 4;
	int			data = entries + 4 * item->count;
	int			pairs = item->count / 2;

	appendBinaryStringInfo(buffer, (char *) &header, 4);
	for (int i = 0; i < item->count; i++)
		appendBinaryStringInfo(buffer, "\0\0\0", 4);
	for (int i = 0; i < item->count; i++)
	{
		int			from = !object ? i : i < pairs ? 2 * i : 2 * (i - pairs) + 1;
		int			start = buffer->len;
		uint32		entry = write_value(buffer, &item->items[from]);

		if (i % JB_OFFSET_STRIDE == 0)
			entry |= JENTRY_HAS_OFF | (buffer->len - data);
		else
			entry |= buffer->len - start;
		memcpy(buffer->data + entries + 4 * i, &entry, 4);
	}
}

Jsonb *
JsonbValueToJsonb(JsonbValue *val)
{
	StringInfoData buffer;
	Item		root = {0};

	initStringInfo(&buffer);
	appendBinaryStringInfo(&buffer, "\0\0\0", VARHDRSZ);
	if (val->type == jbvBinary)
	{
		JsonbParseState *state = NULL;

		push_container(&state, val->val.binary.data);
		val = &((Build *) state)->stack[0]->value;
	}
	if (val->type != jbvArray && val->type != jbvObject)
		abort();
	root = *(Item *) val;
	write_container(&buffer, &root);
	align(&buffer);
	SET_VARSIZE(buffer.data, buffer.len);
	return (Jsonb *) buffer.data;
}

/* Reading */

static uint32
entry_start(const JsonbContainer *container, int index)
{
	uint32		offset = 0;

	for (int i = index - 1; i >= 0; i--)
	{
		offset += JBE_OFFLENFLD(container->children[i]);
		if (JBE_HAS_OFF(container->children[i]))
			break;
	}
	return offset;
}

static uint32
entry_length(const JsonbContainer *container, int index)
{
	if (JBE_HAS_OFF(container->children[index]))
		return JBE_OFFLENFLD(container->children[index]) - entry_start(container, index);
	return JBE_OFFLENFLD(container->children[index]);
}

static void
read_entry(JsonbContainer *container, int nentries, int index, JsonbValue *result)
{
	JEntry		entry = container->children[index];
	char	   *base = (char *) &container->children[nentries];
	uint32		start = entry_start(container, index);
	uint32		length = entry_length(container, index);

	if (JBE_ISNULL(entry))
		result->type = jbvNull;
	else if (JBE_ISSTRING(entry))
	{
		result->type = jbvString;
		result->val.string.val = base + start;
		result->val.string.len = length;
	}
	else if (JBE_ISNUMERIC(entry))
	{
		result->type = jbvNumeric;
		result->val.numeric = (Numeric) (base + INTALIGN(start));
	}
	else if (JBE_ISBOOL(entry))
	{
		result->type = jbvBool;
		result->val.boolean = JBE_ISBOOL_TRUE(entry);
	}
	else
	{
		result->type = jbvBinary;
		result->val.binary.data = (JsonbContainer *) (base + INTALIGN(start));
		result->val.binary.len = length - (INTALIGN(start) - start);
	}
}

static int
count_entries(const JsonbContainer *container)
{
	return JsonContainerSize(container) * (JsonContainerIsObject(container) ? 2 : 1);
}

JsonbValue *
getKeyJsonValueFromContainer(JsonbContainer *container, const char *keyVal, int keyLen,
							 JsonbValue *res)
{
	int			count = JsonContainerSize(container);

	for (int i = 0; i < count; i++)
	{
		JsonbValue	key;

		read_entry(container, 2 * count, i, &key);
		if (key.val.string.len != keyLen || memcmp(key.val.string.val, keyVal, keyLen) != 0)
			continue;
		if (res == NULL)
			res = palloc(sizeof(JsonbValue));
		read_entry(container, 2 * count, count + i, res);
		return res;
	}
	return NULL;
}

JsonbValue *
getIthJsonbValueFromContainer(JsonbContainer *container, uint32 i)
{
	JsonbValue *result;

	if (i >= JsonContainerSize(container))
		return NULL;
	result = palloc(sizeof(JsonbValue));
	read_entry(container, count_entries(container), i, result);
	return result;
}

JsonbIterator *
JsonbIteratorInit(JsonbContainer *container)
{
	JsonbIterator *iterator = palloc0(sizeof(JsonbIterator));

	iterator->container = container;
	iterator->nElems = JsonContainerSize(container);
	iterator->state = JsonContainerIsObject(container) ? JBI_OBJECT_START : JBI_ARRAY_START;
	return iterator;
}

/* Gives a value, or goes into it where it is a container and is not skipped. */
static JsonbIteratorToken
give_value(JsonbIterator **it, JsonbValue *val, int index, JsonbIteratorToken token,
		   bool skipNested)
{
	JsonbIterator *iterator = *it;

	read_entry(iterator->container, count_entries(iterator->container), index, val);
	if (val->type != jbvBinary || skipNested)
		return token;
	*it = JsonbIteratorInit(val->val.binary.data);
	(*it)->parent = iterator;
	return JsonbIteratorNext(it, val, skipNested);
}

JsonbIteratorToken
JsonbIteratorNext(JsonbIterator **it, JsonbValue *val, bool skipNested)
{
	JsonbIterator *iterator = *it;

	if (iterator == NULL)
		return WJB_DONE;
	switch (iterator->state)
	{
		case JBI_ARRAY_START:
			iterator->state = JBI_ARRAY_ELEM;
			val->type = jbvArray;
			return WJB_BEGIN_ARRAY;
		case JBI_OBJECT_START:
			iterator->state = JBI_OBJECT_KEY;
			val->type = jbvObject;
			return WJB_BEGIN_OBJECT;
		case JBI_ARRAY_ELEM:
			if (iterator->curIndex < iterator->nElems)
				return give_value(it, val, iterator->curIndex++, WJB_ELEM, skipNested);
			*it = iterator->parent;
			return WJB_END_ARRAY;
		case JBI_OBJECT_KEY:
			if (iterator->curIndex < iterator->nElems)
			{
				iterator->state = JBI_OBJECT_VALUE;
				read_entry(iterator->container, 2 * iterator->nElems, iterator->curIndex, val);
				return WJB_KEY;
			}
			*it = iterator->parent;
			return WJB_END_OBJECT;
		case JBI_OBJECT_VALUE:
			iterator->state = JBI_OBJECT_KEY;
			return give_value(it, val, iterator->nElems + iterator->curIndex++, WJB_VALUE, skipNested);
	}
	abort();
}

/* JSON text */

typedef struct Reader
{
	const char *at;
	const char *end;
	JsonbParseState *state;
	int			depth;
} Reader;

static void
skip_blank(Reader *reader)
{
	while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) != NULL)
		reader->at++;
}

static bool
read_word(Reader *reader, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (reader->end - reader->at) < len || memcmp(reader->at, word, len) != 0)
		return false;
	reader->at += len;
	return true;
}

/* Escapes but for \u, which the inputs can do without. */
static bool
read_string(Reader *reader, JsonbValue *value)
{
	char	   *to;

	if (!read_word(reader, "\""))
		return false;
	value->type = jbvString;
	value->val.string.val = to = palloc(reader->end - reader->at + 1);
	while (reader->at < reader->end && *reader->at != '"')
	{
		if (*reader->at == '\\' && (++reader->at == reader->end || *reader->at == 'u'))
			return false;
		*to++ = *reader->at++;
	}
	value->val.string.len = to - value->val.string.val;
	return read_word(reader, "\"");
}

static bool
read_number(Reader *reader, JsonbValue *value)
{
	const char *start = reader->at;

	while (reader->at < reader->end && strchr("+-.eE0123456789", *reader->at) != NULL)
		reader->at++;
	if (reader->at == start || reader->at - start > 64)
		return false;
	value->type = jbvNumeric;
	value->val.numeric = DatumGetNumeric(make_number(start, reader->at - start));
	return true;
}

static bool read_container(Reader *reader);

static bool
read_value(Reader *reader, JsonbIteratorToken token)
{
	JsonbValue	value;

	skip_blank(reader);
	if (reader->at == reader->end)
		return false;
	if (*reader->at == '{' || *reader->at == '[')
		return read_container(reader);
	if (*reader->at == '"')
	{
		if (!read_string(reader, &value))
			return false;
	}
	else if (read_word(reader, "null"))
		value.type = jbvNull;
	else if (read_word(reader, "true") || read_word(reader, "false"))
	{
		value.type = jbvBool;
		value.val.boolean = reader->at[-2] == 'u';
	}
	else if (!read_number(reader, &value))
		return false;
	pushJsonbValue(&reader->state, token, &value);
	return true;
}

static bool
read_member(Reader *reader)
{
	JsonbValue	key;

	skip_blank(reader);
	if (!read_string(reader, &key))
		return false;
	skip_blank(reader);
	if (!read_word(reader, ":"))
		return false;
	pushJsonbValue(&reader->state, WJB_KEY, &key);
	return read_value(reader, WJB_VALUE);
}

static bool
read_container(Reader *reader)
{
	bool		object = *reader->at++ == '{';
	const char *close = object ? "}" : "]";

	if (++reader->depth >= MAX_DEPTH / 2)
		return false;
	pushJsonbValue(&reader->state, object ? WJB_BEGIN_OBJECT : WJB_BEGIN_ARRAY, NULL);
	skip_blank(reader);
	if (!read_word(reader, close))
	{
		do
		{
			if (!(object ? read_member(reader) : read_value(reader, WJB_ELEM)))
				return false;
			skip_blank(reader);
		} while (read_word(reader, ","));
		if (!read_word(reader, close))
			return false;
	}
	reader->depth--;
	pushJsonbValue(&reader->state, object ? WJB_END_OBJECT : WJB_END_ARRAY, NULL);
	return true;
}

Jsonb *
shim_json(const char *text, int len)
{
	Reader		reader = {.at = text, .end = text + len};

	skip_blank(&reader);
	if (reader.at == reader.end || (*reader.at != '{' && *reader.at != '['))
		return NULL;
	if (!read_container(&reader))
		return NULL;
	skip_blank(&reader);
	if (reader.at != reader.end)
		return NULL;
	return JsonbValueToJsonb(&((Build *) reader.state)->stack[0]->value);
}
