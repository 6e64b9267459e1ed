/*
 * yaml_source.c
 *	  The text that libyaml is given, and places in it.
 *
 * JSON writes a character beyond U+FFFF as two escapes, "\ud83d\ude00"; in YAML
 * each escape is a character of its own, and half a pair is none.  NEL, LS and PS
 * are characters of a string in JSON, and end a line in YAML 1.1, so that a blank
 * takes their place.  So that every JSON document is accepted and means what JSON
 * says, such pairs become \UXXXXXXXX first, and such breaks \N, \L and \P.  Only
 * where the whole text has JSON's tokens is it certain that what looks like a
 * string to us is one to libyaml too: anything else is left as it is.
 */
#include "postgres.h"

#include "language/yaml_source.h"

/* The length of two \uXXXX. */
#define PAIR_LENGTH 12

/* The longest that anything is rewritten to, \UXXXXXXXX, and a NUL. */
#define REWRITTEN_SIZE 11

/* The last token before the one that is being looked at. */
typedef enum TokenKind
{
	TOKEN_STRING,
	TOKEN_WORD,					/* a number, true, false, null */
	TOKEN_OPENING,				/* { [ , : after any of which a value comes */
	TOKEN_CLOSING
} TokenKind;

void
policy_cursor_init(PolicyCursor *cursor, const char *text, int len)
{
	cursor->text = text;
	cursor->len = len;
	cursor->offset = 0;
	cursor->index = 0;
	cursor->line = 0;
	cursor->column = 0;
}

static int
utf8_length(unsigned char first)
{
	if (first < 0xC0)
		return 1;
	return first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* NEL, LS and PS end a line in YAML 1.1, as CR and LF do. */
static bool
is_wide_break(const char *p, int size)
{
	return (size == 2 && memcmp(p, "\xC2\x85", 2) == 0) ||
		(size == 3 && (memcmp(p, "\xE2\x80\xA8", 3) == 0 ||
					   memcmp(p, "\xE2\x80\xA9", 3) == 0));
}

void
policy_cursor_step(PolicyCursor *cursor)
{
	const char *p = cursor->text + cursor->offset;
	int			size = Min(utf8_length((unsigned char) *p),
						   cursor->len - cursor->offset);
	bool		line_end;

	if (*p == '\r')
		line_end = !(cursor->offset + 1 < cursor->len && p[1] == '\n');
	else
		line_end = *p == '\n' || is_wide_break(p, size);

	cursor->offset += size;
	cursor->index++;
	if (line_end)
	{
		cursor->line++;
		cursor->column = 0;
	}
	else if (*p != '\r')
		cursor->column++;
}

void
policy_cursor_seek(PolicyCursor *cursor, size_t index)
{
	if (index < cursor->index)
		policy_cursor_init(cursor, cursor->text, cursor->len);
	while (cursor->index < index && !policy_cursor_at_end(cursor))
		policy_cursor_step(cursor);
}

/* Passes a string, the cursor being on its opening quote. */
static bool
skip_string(PolicyCursor *cursor)
{
	policy_cursor_step(cursor);
	while (!policy_cursor_at_end(cursor))
	{
		char		c = policy_cursor_peek(cursor);

		policy_cursor_step(cursor);
		if (c == '"')
			return true;
		if (c == '\\' && !policy_cursor_at_end(cursor))
			policy_cursor_step(cursor);
	}
	return false;
}

static bool
is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
}

/*
 * Passes one token, *last being the kind of the one before, and sets *last to
 * its kind.  Returns false where no JSON text goes on like this.
 */
static bool
skip_json_token(PolicyCursor *cursor, TokenKind *last)
{
	char		c = policy_cursor_peek(cursor);

	if (c == '"' || is_word_char(c))
	{
		if (*last != TOKEN_OPENING)
			return false;
		*last = c == '"' ? TOKEN_STRING : TOKEN_WORD;
		if (c == '"')
			return skip_string(cursor);
		while (is_word_char(policy_cursor_peek(cursor)))
			policy_cursor_step(cursor);
		return true;
	}
	if (c == ':' && *last != TOKEN_STRING)
		return false;
	if (c == '{' || c == '[' || c == ',' || c == ':')
		*last = TOKEN_OPENING;
	else if (c == '}' || c == ']')
		*last = TOKEN_CLOSING;
	else
		return false;
	policy_cursor_step(cursor);
	return true;
}

static void
skip_json_blanks(PolicyCursor *cursor)
{
	for (;;)
	{
		char		c = policy_cursor_peek(cursor);

		if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
			return;
		policy_cursor_step(cursor);
	}
}

static bool
is_json_like(const char *text, int len)
{
	PolicyCursor cursor;
	TokenKind	last = TOKEN_OPENING;

	policy_cursor_init(&cursor, text, len);
	skip_json_blanks(&cursor);
	if (policy_cursor_peek(&cursor) != '{')
		return false;
	while (!policy_cursor_at_end(&cursor))
	{
		if (!skip_json_token(&cursor, &last))
			return false;
		skip_json_blanks(&cursor);
	}
	return true;
}

/* The four hexadecimal digits of a \uXXXX at p, or -1 where none is there. */
static int
unicode_escape(const char *p, const char *end)
{
	int			value = 0;

	if (end - p < PAIR_LENGTH / 2 || p[0] != '\\' || p[1] != 'u')
		return -1;
	for (int i = 2; i < PAIR_LENGTH / 2; i++)
	{
		char		c = p[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			value = value * 16 + (c - 'A' + 10);
		else
			return -1;
	}
	return value;
}

/* The character that a pair of surrogate escapes at p stands for, or 0. */
static uint32
surrogate_pair(const char *p, const char *end)
{
	int			high = unicode_escape(p, end);
	int			low;

	if (high < 0xD800 || high > 0xDBFF)
		return 0;
	low = unicode_escape(p + PAIR_LENGTH / 2, end);
	if (low < 0xDC00 || low > 0xDFFF)
		return 0;
	return 0x10000 + ((uint32) (high - 0xD800) << 10) + (uint32) (low - 0xDC00);
}

/*
 * How what is at p has to be written for libyaml; the number of characters that it
 * takes there, or 0 where it stays as it is.
 */
static int
rewritten(const char *p, const char *end, char *out)
{
	int			size = Min(utf8_length((unsigned char) *p), (int) (end - p));
	uint32		pair = surrogate_pair(p, end);

	if (pair != 0)
	{
		snprintf(out, REWRITTEN_SIZE, "\\U%08X", pair);
		return PAIR_LENGTH;
	}
	if (!is_wide_break(p, size))
		return 0;
	strcpy(out, size == 2 ? "\\N" : p[2] == '\xA8' ? "\\L" : "\\P");
	return 1;
}

/* In JSON a backslash is in a string, so there is no need to look for those. */
static int
count_rewrites(const char *text, int len)
{
	const char *end = text + len;
	int			count = 0;

	for (const char *p = text; p < end;)
	{
		char		ignored[REWRITTEN_SIZE];
		int			taken = 0;

		if (*p == '\\' || *p == '\xC2' || *p == '\xE2')
			taken = rewritten(p, end, ignored);
		count += taken > 0;
		p += taken > 1 ? taken : *p == '\\' ? 2 : 1;
	}
	return count;
}

static void
rewrite(PolicySource *source, int count)
{
	PolicyCursor cursor;
	PolicyCursor written;
	char	   *out = palloc(source->len + 1);
	int			outlen = 0;
	int			shift = 0;

	source->rewrites = palloc(count * sizeof(PolicyRewrite));
	policy_cursor_init(&cursor, source->text, source->len);
	policy_cursor_init(&written, out, 0);
	while (!policy_cursor_at_end(&cursor))
	{
		const char *p = cursor.text + cursor.offset;
		int			start = cursor.offset;
		int			line = written.line;
		char		escape[REWRITTEN_SIZE];
		int			taken = source->nrewrites < count ?
		rewritten(p, cursor.text + cursor.len, escape) : 0;
		int			steps = taken > 0 ? taken : *p == '\\' ? 2 : 1;
		PolicyRewrite *place;
		int			length;

		for (int i = 0; i < steps && !policy_cursor_at_end(&cursor); i++)
			policy_cursor_step(&cursor);
		if (taken == 0)
		{
			memcpy(out + outlen, p, cursor.offset - start);
			outlen += cursor.offset - start;
			continue;
		}

		length = sprintf(out + outlen, "%s", escape);
		outlen += length;
		written.len = outlen;
		while (!policy_cursor_at_end(&written))
			policy_cursor_step(&written);
		shift = (written.line == line ? shift : 0) + taken - length;
		place = &source->rewrites[source->nrewrites++];
		place->line = written.line;
		place->column = written.column;
		place->shift = shift;
	}
	source->text = out;
	source->len = outlen;
}

void
policy_source_init(PolicySource *source, const char *text, int len)
{
	int			count;

	source->rewrites = NULL;
	source->nrewrites = 0;
	if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
	{
		text += 3;
		len -= 3;
	}
	source->text = text;
	source->len = len;

	count = count_rewrites(text, len);
	if (count > 0 && is_json_like(text, len))
		rewrite(source, count);
}

/* How many rewrites end at or before a place. */
static int
rewrites_before(const PolicySource *source, int line, int column)
{
	int			low = 0;
	int			high = source->nrewrites;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		const PolicyRewrite *rewrite = &source->rewrites[middle];

		if (rewrite->line < line ||
			(rewrite->line == line && rewrite->column <= column))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

PolicyMark
policy_source_mark(const PolicySource *source, size_t line, size_t column)
{
	PolicyMark	mark;
	int			rewrites = rewrites_before(source, (int) line, (int) column);

	mark.line = (int) line + 1;
	mark.column = (int) column + 1;
	if (rewrites > 0 && source->rewrites[rewrites - 1].line == (int) line)
		mark.column += source->rewrites[rewrites - 1].shift;
	return mark;
}
