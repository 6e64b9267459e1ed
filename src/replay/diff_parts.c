/*
 * diff_parts.c
 *	  The words of which a comparison's rows are made.
 *
 * What documents say is shown on one line, cut, and in quotes where it is more than
 * a plain word.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "replay/diff.h"

#define MAX_PLAIN_BYTES 80

static bool
is_plain(const char *word, int len)
{
	for (int i = 0; i < len; i++)
	{
		char		c = word[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			  (c != '\0' && strchr("._:/*?@$[]-", c) != NULL)))
			return false;
	}
	return len > 0 && len <= MAX_PLAIN_BYTES;
}

char *
diff_word(const char *text)
{
	int			len = strlen(text);

	return is_plain(text, len) ? pstrdup(text) :
		psprintf("\"%s\"", policy_shown(text, len, MAX_PLAIN_BYTES));
}

char *
diff_time_word(TimestampTz at)
{
	static const int utc = 0;
	char		text[MAXDATELEN + 1];

	if (TIMESTAMP_NOT_FINITE(at))
		return pstrdup("none");
	return pstrdup(JsonEncodeDateTime(text, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc));
}

void
diff_add_part(StringInfo out, const char *fmt,...)
{
	int			needed;

	appendStringInfoString(out, out->len > 0 ? "; " : "");
	for (;;)
	{
		va_list		args;

		va_start(args, fmt);
		needed = appendStringInfoVA(out, fmt, args);
		va_end(args);
		if (needed == 0)
			return;
		enlargeStringInfo(out, needed);
	}
}

void
diff_add_change(StringInfo out, const char *name, const char *from, const char *to)
{
	if (from != NULL && to != NULL && strcmp(from, to) == 0)
		return;
	if (from != NULL && to != NULL)
		diff_add_part(out, "%s: %s -> %s", name, from, to);
	else if (to != NULL)
		diff_add_part(out, "%s: %s", name, to);
	else if (from != NULL)
		diff_add_part(out, "%s: no longer %s", name, from);
}

void
diff_add_text(StringInfo out, const char *name, const char *from, const char *to)
{
	diff_add_change(out, name, from != NULL ? diff_word(from) : NULL, to != NULL ? diff_word(to) : NULL);
}

void
diff_add_number(StringInfo out, const char *name, int64 from, int64 to)
{
	if (from != to)
		diff_add_part(out, "%s: " INT64_FORMAT " -> " INT64_FORMAT, name, from, to);
}
