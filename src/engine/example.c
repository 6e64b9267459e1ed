/*
 * example.c
 *	  A made job as jsonb, and as JSON text.
 *
 * Both are written from one list of keys, in an order that reads well.
 */
#include "postgres.h"

#include "engine/example.h"

/* A job's keys, by what is under them. */
typedef struct ExampleKey
{
	const char *key;
	PolicyField field;
} ExampleKey;

static const ExampleKey top_keys[] = {
	{"tenant_id", POLICY_FIELD_TENANT},
	{"topic", POLICY_FIELD_TOPIC},
	{"capability", POLICY_FIELD_CAPABILITY},
	{"pack_id", POLICY_FIELD_PACK_ID},
	{"actor_id", POLICY_FIELD_ACTOR_ID},
	{"actor_type", POLICY_FIELD_ACTOR_TYPE},
};

static const ExampleKey set_keys[] = {
	{"actor_roles", POLICY_FIELD_ACTOR_ROLES},
	{"risk_tags", POLICY_FIELD_RISK_TAGS},
	{"requires", POLICY_FIELD_REQUIRES},
};

static const ExampleKey mcp_keys[] = {
	{"server", POLICY_FIELD_MCP_SERVER},
	{"tool", POLICY_FIELD_MCP_TOOL},
	{"resource", POLICY_FIELD_MCP_RESOURCE},
	{"action", POLICY_FIELD_MCP_ACTION},
};

/* Where a job is written to: one of the two. */
typedef struct Writer
{
	StringInfo	text;
	JsonbParseState *parse;
	JsonbValue *result;
	bool		first;			/* nothing in this container yet */
} Writer;

static void
append_string(StringInfo out, const char *data, int len)
{
	appendStringInfoChar(out, '"');
	for (int i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) data[i];

		if (c == '"' || c == '\\')
			appendStringInfoChar(out, '\\');
		if (c < 0x20)
			appendStringInfo(out, "\\u%04x", c);
		else
			appendStringInfoChar(out, (char) c);
	}
	appendStringInfoChar(out, '"');
}

static void
write_string(Writer *writer, JsonbIteratorToken token, const char *data, int len)
{
	JsonbValue	value;

	if (writer->text != NULL)
	{
		if (token != WJB_VALUE && !writer->first)
			appendStringInfoString(writer->text, ", ");
		append_string(writer->text, data, len);
		if (token == WJB_KEY)
			appendStringInfoString(writer->text, ": ");
		writer->first = false;
		return;
	}
	value.type = jbvString;
	value.val.string.val = unconstify(char *, data);
	value.val.string.len = len;
	writer->result = pushJsonbValue(&writer->parse, token, &value);
}

static void
write_key(Writer *writer, const char *key)
{
	write_string(writer, WJB_KEY, key, strlen(key));
}

/* The beginning or the end of an object or an array. */
static void
write_bracket(Writer *writer, JsonbIteratorToken token)
{
	if (writer->text == NULL)
	{
		writer->result = pushJsonbValue(&writer->parse, token, NULL);
		return;
	}
	appendStringInfoChar(writer->text, token == WJB_BEGIN_OBJECT ? '{' :
						 token == WJB_END_OBJECT ? '}' : token == WJB_BEGIN_ARRAY ? '[' : ']');
	writer->first = token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY;
}

static void
write_true(Writer *writer, const char *key)
{
	JsonbValue	value;

	write_key(writer, key);
	if (writer->text != NULL)
	{
		appendStringInfoString(writer->text, "true");
		return;
	}
	value.type = jbvBool;
	value.val.boolean = true;
	pushJsonbValue(&writer->parse, WJB_VALUE, &value);
}

static void
write_fields(Writer *writer, const PolicyExample *example, const ExampleKey *keys, int nkeys)
{
	for (int i = 0; i < nkeys; i++)
	{
		const ExampleString *value = &example->fields[keys[i].field];

		if (value->data == NULL)
			continue;
		write_key(writer, keys[i].key);
		write_string(writer, WJB_VALUE, value->data, value->len);
	}
}

static void
write_sets(Writer *writer, const PolicyExample *example)
{
	for (int i = 0; i < (int) lengthof(set_keys); i++)
	{
		const ExampleSet *set = &example->sets[set_keys[i].field - POLICY_FIRST_SET];

		if (set->count == 0)
			continue;
		write_key(writer, set_keys[i].key);
		write_bracket(writer, WJB_BEGIN_ARRAY);
		for (int j = 0; j < set->count; j++)
			write_string(writer, WJB_ELEM, set->items[j].data, set->items[j].len);
		write_bracket(writer, WJB_END_ARRAY);
	}
}

static bool
has_mcp(const PolicyExample *example)
{
	for (int i = 0; i < (int) lengthof(mcp_keys); i++)
	{
		if (example->fields[mcp_keys[i].field].data != NULL)
			return true;
	}
	return false;
}

static void
write_job(Writer *writer, const PolicyExample *example)
{
	write_bracket(writer, WJB_BEGIN_OBJECT);
	write_fields(writer, example, top_keys, lengthof(top_keys));
	write_sets(writer, example);
	if (example->nlabels > 0)
	{
		write_key(writer, "labels");
		write_bracket(writer, WJB_BEGIN_OBJECT);
		for (int i = 0; i < example->nlabels; i++)
		{
			const ExampleLabel *label = &example->labels[i];

			write_string(writer, WJB_KEY, label->name.data, label->name.len);
			write_string(writer, WJB_VALUE, label->value.data, label->value.len);
		}
		write_bracket(writer, WJB_END_OBJECT);
	}
	if (has_mcp(example))
	{
		write_key(writer, "mcp");
		write_bracket(writer, WJB_BEGIN_OBJECT);
		write_fields(writer, example, mcp_keys, lengthof(mcp_keys));
		write_bracket(writer, WJB_END_OBJECT);
	}
	if (example->secrets_present)
		write_true(writer, "secrets_present");
	write_bracket(writer, WJB_END_OBJECT);
}

Jsonb *
policy_example_job(const PolicyExample *example)
{
	Writer		writer = {0};

	write_job(&writer, example);
	return JsonbValueToJsonb(writer.result);
}

char *
policy_example_text(const PolicyExample *example)
{
	StringInfoData text;
	Writer		writer = {.text = &text};

	initStringInfo(&text);
	write_job(&writer, example);
	return text.data;
}
