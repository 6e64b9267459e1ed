/*
 * diagnostics.c
 *	  What is wrong with a document: collected, ordered, raised, worded.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "errors.h"
#include "language/diagnostics.h"

/* Errors that PE001 lists in its DETAIL. */
#define MAX_DETAIL_LINES 20

/* What an excerpt keeps, in characters. */
#define MAX_EXCERPT_CHARS 60
#define ELLIPSIS "..."

/* \U and eight digits */
#define LONGEST_SHOWN 10

/* A longer word is nothing that anyone meant to be one of our keys. */
#define MAX_NEAREST_LENGTH 64
#define MAX_NEAREST_DISTANCE 2

/* Not a code point: what decode_utf8 gives for a byte that begins none. */
#define INVALID_CODE_POINT 0xFFFFFFFF

#define GENERAL_HINT \
	"SELECT * FROM policy_validate(...) lists every error with its position."

/* Invisible, or able to reorder what is printed: shown by number. */
static const struct
{
	uint32		first;
	uint32		last;
}			hidden_ranges[] =
{
	{0x00AD, 0x00AD}, {0x034F, 0x034F}, {0x061C, 0x061C}, {0x115F, 0x1160},
	{0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x200B, 0x200F}, {0x2028, 0x202E},
	{0x2060, 0x206F}, {0x3164, 0x3164}, {0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF},
	{0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB}, {0xE0000, 0xE0FFF}
};

void
policy_diagnostics_init(PolicyDiagnostics *diags)
{
	diags->context = CurrentMemoryContext;
	diags->items = NULL;
	diags->count = 0;
	diags->capacity = 0;
	diags->nerrors = 0;
	diags->truncated = false;
}

static PolicyDiagnostic *
next_item(PolicyDiagnostics *diags)
{
	if (diags->count == diags->capacity)
	{
		diags->capacity = Max(16, diags->capacity * 2);
		if (diags->items == NULL)
			diags->items = palloc(diags->capacity * sizeof(PolicyDiagnostic));
		else
			diags->items = repalloc(diags->items,
									diags->capacity * sizeof(PolicyDiagnostic));
	}
	return &diags->items[diags->count];
}

static char *format_message(const char *fmt, va_list args) pg_attribute_printf(1, 0);

static char *
format_message(const char *fmt, va_list args)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (;;)
	{
		va_list		copy;
		int			needed;

		va_copy(copy, args);
		needed = appendStringInfoVA(&buf, fmt, copy);
		va_end(copy);
		if (needed == 0)
			return buf.data;
		enlargeStringInfo(&buf, needed);
	}
}

void
policy_diagnose(PolicyDiagnostics *diags, PolicyMark mark,
				PolicySeverity severity, const char *code,
				const char *hint, const char *fmt,...)
{
	PolicyDiagnostic *item;
	MemoryContext caller;
	va_list		args;

	if (severity == POLICY_SEVERITY_ERROR)
		diags->nerrors++;
	if (diags->count >= POLICY_MAX_DIAGNOSTICS)
	{
		diags->truncated = true;
		return;
	}

	caller = MemoryContextSwitchTo(diags->context);
	item = next_item(diags);
	item->mark = mark;
	item->severity = severity;
	item->code = code;
	item->hint = hint ? pstrdup(hint) : NULL;
	va_start(args, fmt);
	item->message = format_message(fmt, args);
	va_end(args);
	diags->count++;
	MemoryContextSwitchTo(caller);
}

static int
compare_diagnostics(const PolicyDiagnostic *a, const PolicyDiagnostic *b)
{
	if (a->mark.line != b->mark.line)
		return a->mark.line < b->mark.line ? -1 : 1;
	if (a->mark.column != b->mark.column)
		return a->mark.column < b->mark.column ? -1 : 1;
	if (a->severity != b->severity)
		return a->severity < b->severity ? -1 : 1;
	return 0;
}

/* Insertion: stable, and what comes is few and nearly in order. */
void
policy_diagnostics_sort(PolicyDiagnostics *diags)
{
	for (int i = 1; i < diags->count; i++)
	{
		PolicyDiagnostic item = diags->items[i];
		int			j = i;

		while (j > 0 && compare_diagnostics(&diags->items[j - 1], &item) > 0)
		{
			diags->items[j] = diags->items[j - 1];
			j--;
		}
		diags->items[j] = item;
	}
}

static void
append_position(StringInfo buf, PolicyMark mark)
{
	if (mark.line > 0)
		appendStringInfo(buf, "%d:%d: ", mark.line, mark.column);
}

static char *
detail_lines(const PolicyDiagnostics *diags)
{
	StringInfoData buf;
	int			listed = 0;

	initStringInfo(&buf);
	for (int i = 0; i < diags->count && listed < MAX_DETAIL_LINES; i++)
	{
		const PolicyDiagnostic *item = &diags->items[i];

		if (item->severity != POLICY_SEVERITY_ERROR)
			continue;
		if (listed > 0)
			appendStringInfoChar(&buf, '\n');
		append_position(&buf, item->mark);
		appendStringInfoString(&buf, item->message);
		if (item->hint)
			appendStringInfo(&buf, " (%s)", item->hint);
		listed++;
	}
	if (diags->nerrors > listed)
		appendStringInfo(&buf, "\n... and %d more", diags->nerrors - listed);
	return buf.data;
}

void
policy_diagnostics_raise(PolicyDiagnostics *diags)
{
	PolicyDiagnostic *first = NULL;
	StringInfoData message;

	for (int i = 0; i < diags->count && first == NULL; i++)
	{
		if (diags->items[i].severity == POLICY_SEVERITY_ERROR)
			first = &diags->items[i];
	}
	if (first == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_POLICY_INVALID_DOCUMENT),
				 errmsg("invalid policy document"),
				 errhint(GENERAL_HINT)));

	initStringInfo(&message);
	append_position(&message, first->mark);
	appendStringInfoString(&message, first->message);
	ereport(ERROR,
			(errcode(ERRCODE_POLICY_INVALID_DOCUMENT),
			 errmsg("invalid policy document: %s", message.data),
			 errdetail_internal("%s", detail_lines(diags)),
			 errhint("%s", first->hint ? first->hint : GENERAL_HINT)));
}

/*
 * The code point at text, and its length in bytes.  A byte that begins no valid
 * sequence (overlong, surrogate, cut off) is one byte long and INVALID.
 */
static uint32
decode_utf8(const unsigned char *text, int len, int *size)
{
	static const uint32 least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32		c = text[0];
	int			n;

	*size = 1;
	if (c < 0x80)
		return c;
	n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
	if (c < 0xC2 || c > 0xF4 || n > len)
		return INVALID_CODE_POINT;

	c &= 0xFF >> (n + 1);
	for (int i = 1; i < n; i++)
	{
		if ((text[i] & 0xC0) != 0x80)
			return INVALID_CODE_POINT;
		c = (c << 6) | (text[i] & 0x3F);
	}
	if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return INVALID_CODE_POINT;
	*size = n;
	return c;
}

static bool
is_hidden(uint32 c)
{
	for (int i = 0; i < (int) lengthof(hidden_ranges); i++)
	{
		if (c >= hidden_ranges[i].first && c <= hidden_ranges[i].last)
			return true;
	}
	return false;
}

/* Writes one character of an excerpt; returns how many bytes that took. */
static int
show_character(char *out, const unsigned char *text, uint32 c, int size)
{
	if (c == INVALID_CODE_POINT)
		return sprintf(out, "\\x%02X", *text);
	if (c < 0x20 || (c >= 0x7F && c <= 0x9F))
		return sprintf(out, "\\x%02X", c);
	if (is_hidden(c))
		return sprintf(out, c > 0xFFFF ? "\\U%08X" : "\\u%04X", c);
	memcpy(out, text, size);
	return size;
}

char *
policy_shown(const char *text, int len, int max_chars)
{
	StringInfoData shown;
	int			at = 0;

	initStringInfo(&shown);
	for (int chars = 0; at < len && chars < max_chars; chars++)
	{
		const unsigned char *p = (const unsigned char *) text + at;
		char		piece[LONGEST_SHOWN + 1];
		int			size;
		uint32		c = decode_utf8(p, len - at, &size);

		appendBinaryStringInfo(&shown, piece, show_character(piece, p, c, size));
		at += size;
	}
	if (at < len)
		appendStringInfoString(&shown, ELLIPSIS);
	return shown.data;
}

char *
policy_excerpt(const char *text, int len)
{
	return policy_shown(text, len, MAX_EXCERPT_CHARS);
}

/* Case, and which of '-' and '_' was written, make no difference. */
static char
fold(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c + ('a' - 'A');
	return c == '-' ? '_' : c;
}

/* Levenshtein distance; both are at most MAX_NEAREST_LENGTH long. */
static int
edit_distance(const char *a, int alen, const char *b, int blen)
{
	int			row[MAX_NEAREST_LENGTH + 1];

	for (int j = 0; j <= blen; j++)
		row[j] = j;
	for (int i = 1; i <= alen; i++)
	{
		int			diagonal = row[0];

		row[0] = i;
		for (int j = 1; j <= blen; j++)
		{
			int			above = row[j];
			int			change = diagonal + (fold(a[i - 1]) != fold(b[j - 1]));

			row[j] = Min(change, Min(above, row[j - 1]) + 1);
			diagonal = above;
		}
	}
	return row[blen];
}

const char *
policy_nearest(const char *word, int len,
			   const char *const *candidates, int ncandidates)
{
	const char *nearest = NULL;
	int			least = MAX_NEAREST_DISTANCE + 1;

	if (len > MAX_NEAREST_LENGTH)
		return NULL;
	for (int i = 0; i < ncandidates; i++)
	{
		int			candidate_len = (int) strlen(candidates[i]);
		int			distance;

		if (candidate_len > MAX_NEAREST_LENGTH ||
			abs(candidate_len - len) > MAX_NEAREST_DISTANCE)
			continue;
		distance = edit_distance(word, len, candidates[i], candidate_len);
		if (distance < least && 2 * distance < Max(len, candidate_len))
		{
			least = distance;
			nearest = candidates[i];
		}
	}
	return nearest;
}
