/*
 * canonical.c
 *	  The canonical text of a job, which hashes are of.
 *
 * It is what jsonb's output function gives, byte for byte, so that anybody can check
 * a hash by sha256(convert_to(job::text, 'UTF8')).  Every decision takes one, and a
 * walk that copies strings in runs takes a third of the time of the server's own,
 * which looks at each character by itself.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "dispatch/canonical.h"
#include "engine/jsonb_walk.h"

static void append_container(StringInfo text, JsonbContainer *container);

static bool
needs_escape(unsigned char c)
{
	return c < ' ' || c == '"' || c == '\\';
}

static void
append_escape(StringInfo text, unsigned char c)
{
	static const char short_escapes[] = "\bb\ff\nn\rr\tt\"\"\\\\";

	for (int i = 0; i < (int) sizeof(short_escapes) - 1; i += 2)
	{
		if (c == (unsigned char) short_escapes[i])
		{
			appendStringInfoChar(text, '\\');
			appendStringInfoChar(text, short_escapes[i + 1]);
			return;
		}
	}
	appendStringInfo(text, "\\u%04x", (int) c);
}

#define EACH_BYTE(c) (UINT64CONST(0x0101010101010101) * (c))
#define ZERO_BYTES(word) (((word) - EACH_BYTE(0x01)) & ~(word) & EACH_BYTE(0x80))

/*
 * Whether one of eight bytes must be escaped: "Determine if a word has a byte less
 * than n, equal to n" of Bit Twiddling Hacks (S. E. Anderson).
 */
static bool
word_needs_escape(const char *bytes)
{
	uint64		word;

	memcpy(&word, bytes, sizeof(word));
	return (((word - EACH_BYTE(' ')) & ~word & EACH_BYTE(0x80)) |
			ZERO_BYTES(word ^ EACH_BYTE('"')) | ZERO_BYTES(word ^ EACH_BYTE('\\'))) != 0;
}

/* Makes room for so many bytes more, and for what ends the text. */
static void
make_room(StringInfo text, int bytes)
{
	if (text->maxlen - text->len <= bytes)
		enlargeStringInfo(text, bytes);
}

static void
append_two(StringInfo text, char first, char second)
{
	make_room(text, 2);
	text->data[text->len++] = first;
	text->data[text->len++] = second;
}

/* Copies what is plain from the string's beginning; returns how many bytes that is. */
static int
copy_plain(char *at, const char *string, int len)
{
	int			run = 0;

	while (run + (int) sizeof(uint64) <= len && !word_needs_escape(string + run))
	{
		memcpy(at + run, string + run, sizeof(uint64));
		run += sizeof(uint64);
	}
	while (run < len && !needs_escape(string[run]))
	{
		at[run] = string[run];
		run++;
	}
	return run;
}

static void
append_string(StringInfo text, const char *string, int len)
{
	make_room(text, len + 2);
	text->data[text->len++] = '"';
	for (;;)
	{
		int			run = copy_plain(text->data + text->len, string, len);

		text->len += run;
		if (run == len)
			break;
		append_escape(text, string[run++]);
		string += run;
		len -= run;
		make_room(text, len + 1);
	}
	text->data[text->len++] = '"';
}

static void
append_value(StringInfo text, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			appendBinaryStringInfo(text, "null", 4);
			break;
		case jbvBool:
			appendStringInfoString(text, value->val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			appendStringInfoString(text,
								   DatumGetCString(DirectFunctionCall1(numeric_out,
																	   NumericGetDatum(value->val.numeric))));
			break;
		case jbvString:
			append_string(text, value->val.string.val, value->val.string.len);
			break;
		case jbvBinary:
			append_container(text, value->val.binary.data);
			break;
		default:
			elog(ERROR, "unexpected type of jsonb: %d", (int) value->type);
	}
}

static void
append_array(StringInfo text, JsonbContainer *container)
{
	JsonbWalk	walk;
	JsonbValue	value;

	jsonb_walk_array(&walk, container);
	for (bool first = true; jsonb_walk_element(&walk, &value); first = false)
	{
		if (!first)
			append_two(text, ',', ' ');
		append_value(text, &value);
	}
}

static void
append_object(StringInfo text, JsonbContainer *container)
{
	JsonbWalk	walk;
	JsonbValue	value;
	const char *key;
	int			len;

	jsonb_walk_object(&walk, container);
	for (bool first = true; jsonb_walk_pair(&walk, &key, &len, &value); first = false)
	{
		if (!first)
			append_two(text, ',', ' ');
		append_string(text, key, len);
		append_two(text, ':', ' ');
		append_value(text, &value);
	}
}

static void
append_container(StringInfo text, JsonbContainer *container)
{
	check_stack_depth();
	if (JsonContainerIsScalar(container))
		append_array(text, container);
	else if (JsonContainerIsArray(container))
	{
		appendStringInfoCharMacro(text, '[');
		append_array(text, container);
		appendStringInfoCharMacro(text, ']');
	}
	else
	{
		appendStringInfoCharMacro(text, '{');
		append_object(text, container);
		appendStringInfoCharMacro(text, '}');
	}
}

void
canonical_text(StringInfo text, Jsonb *job)
{
	make_room(text, VARSIZE(job));
	append_container(text, &job->root);
	text->data[text->len] = '\0';
}
