/*
 * normalize.c
 *	  The form in which strings of policies and jobs are compared.
 *
 * Sources: Unicode Standard Annex #15 (normalisation forms, the stream-safe
 * text format); DerivedCoreProperties.txt (Default_Ignorable_Code_Point, which
 * has the bidirectional controls in it); PropList.txt (White_Space).
 */
#include "postgres.h"

#include "common/unicode_norm.h"
#include "mb/pg_wchar.h"

#include "language/normalize.h"
#include "language/pattern.h"

/* UAX #15, D3: text with longer runs of non-starters is not stream-safe. */
#define MAX_COMBINING_RUN 30

/* No code point below this one combines with what precedes it. */
#define FIRST_COMBINING 0x0300

/* COMBINING GREEK YPOGEGRAMMENI: nothing has a higher combining class. */
#define LAST_IN_ORDER 0x0345

/* Control characters and default-ignorable code points, sorted. */
static const PolicyCharRange removed_ranges[] = {
	{0x0000, 0x001F}, {0x007F, 0x009F}, {0x00AD, 0x00AD}, {0x034F, 0x034F},
	{0x061C, 0x061C}, {0x115F, 0x1160}, {0x17B4, 0x17B5}, {0x180B, 0x180F},
	{0x200B, 0x200F}, {0x202A, 0x202E}, {0x2060, 0x206F}, {0x3164, 0x3164},
	{0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFF8},
	{0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF}
};

static bool
is_removed(pg_wchar c)
{
	int			low = 0;
	int			high = lengthof(removed_ranges) - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;

		if (c < removed_ranges[middle].first)
			high = middle - 1;
		else if (c > removed_ranges[middle].last)
			low = middle + 1;
		else
			return true;
	}
	return false;
}

static bool
is_white_space(pg_wchar c)
{
	return (c >= 0x0009 && c <= 0x000D) || c == 0x0020 || c == 0x0085 ||
		c == 0x00A0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
		c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
		c == 0x3000;
}

/*
 * Whether c has a non-zero combining class.  The classes themselves are not
 * exported, but putting text in canonical order is: c moves before the one that
 * comes last in that order exactly where it combines.
 */
static bool
is_combining(pg_wchar c)
{
	pg_wchar	pair[3] = {LAST_IN_ORDER, c, 0};

	if (c < FIRST_COMBINING)
		return false;
	return c == LAST_IN_ORDER || unicode_normalize(UNICODE_NFD, pair)[0] != LAST_IN_ORDER;
}

/* The zero-terminated text has no run of combining characters that is too long. */
static bool
is_stream_safe(const pg_wchar *text)
{
	int			candidates = 0;
	int			combining = 0;
	const pg_wchar *c;

	for (c = text; *c && candidates <= MAX_COMBINING_RUN; c++)
		candidates = (*c >= FIRST_COMBINING) ? candidates + 1 : 0;
	if (candidates <= MAX_COMBINING_RUN)
		return true;

	for (c = text; *c && combining <= MAX_COMBINING_RUN; c++)
		combining = is_combining(*c) ? combining + 1 : 0;
	return combining <= MAX_COMBINING_RUN;
}

/* Decodes, leaving out what is always removed; zero-terminated. */
static pg_wchar *
decode(const char *src, int len)
{
	pg_wchar   *text = palloc((len + 1) * sizeof(pg_wchar));
	pg_wchar   *to = text;
	const unsigned char *from = (const unsigned char *) src;
	const unsigned char *end = from + len;

	while (from < end)
	{
		pg_wchar	c = utf8_to_unicode(from);

		from += pg_utf_mblen(from);
		if (!is_removed(c))
			*to++ = c;
	}
	*to = 0;
	return text;
}

static bool
same_text(const pg_wchar *a, const pg_wchar *b)
{
	while (*a && *a == *b)
	{
		a++;
		b++;
	}
	return *a == *b;
}

static void
remove_ignorable(pg_wchar *text)
{
	pg_wchar   *to = text;

	for (; *text; text++)
	{
		if (!is_removed(*text))
			*to++ = *text;
	}
	*to = 0;
}

/* Encodes with ASCII letters lowered; *outlen in bytes. */
static char *
encode(const pg_wchar *text, const pg_wchar *end, int *outlen)
{
	char	   *result = palloc((end - text) * 4 + 1);
	char	   *to = result;

	for (; text < end; text++)
	{
		pg_wchar	c = *text;

		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		unicode_to_utf8(c, (unsigned char *) to);
		to += pg_utf_mblen((unsigned char *) to);
	}
	*outlen = to - result;
	return result;
}

static bool
normalize_unicode(const char *src, int len, int trim,
				  const char **out, int *outlen)
{
	pg_wchar   *text = decode(src, len);
	pg_wchar   *end;

	for (;;)
	{
		pg_wchar   *composed;

		if (!is_stream_safe(text))
			return false;
		composed = unicode_normalize(UNICODE_NFKC, text);
		remove_ignorable(composed);
		if (same_text(text, composed))
			break;
		text = composed;
	}

	if (trim & POLICY_TRIM_LEFT)
	{
		while (is_white_space(*text))
			text++;
	}
	for (end = text; *end; end++)
		 /* to the end */ ;
	if (trim & POLICY_TRIM_RIGHT)
	{
		while (end > text && is_white_space(end[-1]))
			end--;
	}
	*out = encode(text, end, outlen);
	return true;
}

#define EACH_BYTE(b) (UINT64CONST(0x0101010101010101) * (b))

/* Whether a byte of eight is no printable ASCII character. */
static bool
has_other(uint64 bytes)
{
	uint64		del = bytes ^ EACH_BYTE(0x7F);

	return ((bytes | ((bytes - EACH_BYTE(0x20)) & ~bytes) |
			 ((del - EACH_BYTE(0x01)) & ~del)) & EACH_BYTE(0x80)) != 0;
}

/* Whether a byte of eight, all of them ASCII, is a capital letter. */
static bool
has_upper(uint64 bytes)
{
	return ((bytes + EACH_BYTE(0x80 - 'A')) & ~(bytes + EACH_BYTE(0x7F - 'Z')) &
			EACH_BYTE(0x80)) != 0;
}

/* Looks through a string, eight bytes at a time; false where it is not all printable ASCII. */
static bool
is_printable(const char *src, int len, bool *upper)
{
	uint64		bytes;
	int			i = 0;

	for (; i + (int) sizeof(bytes) <= len; i += sizeof(bytes))
	{
		memcpy(&bytes, src + i, sizeof(bytes));
		if (has_other(bytes))
			return false;
		*upper = *upper || has_upper(bytes);
	}
	for (; i < len; i++)
	{
		unsigned char c = (unsigned char) src[i];

		if (c < 0x20 || c > 0x7E)
			return false;
		*upper = *upper || (c >= 'A' && c <= 'Z');
	}
	return true;
}

bool
policy_normalize(const char *src, int len, int trim,
				 const char **out, int *outlen)
{
	bool		upper = false;

	if (!is_printable(src, len, &upper))
		return normalize_unicode(src, len, trim, out, outlen);

	if (trim & POLICY_TRIM_LEFT)
	{
		for (; len > 0 && src[0] == ' '; len--)
			src++;
	}
	if (trim & POLICY_TRIM_RIGHT)
	{
		while (len > 0 && src[len - 1] == ' ')
			len--;
	}
	if (upper)
	{
		char	   *copy = palloc(len + 1);

		for (int i = 0; i < len; i++)
			copy[i] = (src[i] >= 'A' && src[i] <= 'Z') ? src[i] + ('a' - 'A') : src[i];
		src = copy;
	}
	*out = src;
	*outlen = len;
	return true;
}
