/*
 * glob_walk.c
 *	  The automata of patterns, side by side.  See glob_find.h for the method.
 *
 * A pattern of n characters (a `*` is none) has the positions 0 to n; a `*` is a
 * loop at the position where it stands.  A joint state has a bit for each position
 * that each pattern can be at.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "engine/glob_walk.h"
#include "language/normalize.h"

#define WORD_BITS 64

/* The bounds of one search; states are powers of two. */
#define FIRST_STATES 64
#define MAX_STATES 4096
#define MAX_SYMBOLS 320
#define MAX_WORDS 128

/* A state's flags. */
#define STATE_BEGUN UINT64CONST(1)	/* something was read */
#define STATE_BLANK UINT64CONST(2)	/* and ended in white space */

typedef struct SearchPattern
{
	const SearchGlob *glob;
	int			first_word;
	int			nwords;
	int			end;			/* the last position */
} SearchPattern;

/* A demand: patterns first .. first + count - 1, one of which must match. */
typedef struct SearchGroup
{
	int			first;
	int			count;
} SearchGroup;

typedef struct SearchState
{
	int			from;			/* the state before; -1: the first */
	int			symbol;			/* what led here */
} SearchState;

typedef struct Search
{
	PolicyWork *work;
	SearchPattern *patterns;
	int			npatterns;
	SearchGroup *groups;
	int			ngroups;
	int			first_not;		/* the patterns from here on must not match */
	int			nwords;			/* of a state; the last has its flags */
	pg_wchar	symbols[MAX_SYMBOLS];
	bool		blank[MAX_SYMBOLS]; /* white space: not at a value's ends */
	int			nsymbols;
	uint64	   *accepts;		/* by symbol, nwords each: positions that it
								 * leads on from */
	uint64	   *loops;			/* positions with a `*` */
	SearchState *states;
	uint64	   *bits;			/* by state, nwords each */
	int			nstates;
	int			capacity;		/* in states, a power of two */
	int		   *slots;			/* twice as many: states by hash; -1: free */
	bool		unsure;			/* what was found would not stay as it is */
} Search;

bool
glob_is_value(const char *value, int len)
{
	const char *normal;
	int			normal_len;

	return len > 0 && policy_normalize(value, len, POLICY_TRIM, &normal, &normal_len) &&
		normal_len == len && memcmp(normal, value, len) == 0;
}

bool
glob_class_accepts(const PolicyPatternToken *token, pg_wchar c)
{
	for (int i = 0; i < token->nranges; i++)
	{
		if (c >= token->ranges[i].first && c <= token->ranges[i].last)
			return !token->negated;
	}
	return token->negated;
}

bool
glob_are_apart(const SearchGlob *a, const SearchGlob *b)
{
	const char *left;
	const char *right;
	int			left_len;
	int			right_len;
	bool		left_whole;
	bool		right_whole;

	glob_literal_prefix(&a->glob, &left, &left_len, &left_whole);
	glob_literal_prefix(&b->glob, &right, &right_len, &right_whole);
	return memcmp(left, right, Min(left_len, right_len)) != 0 ||
		(left_whole && right_len > left_len) || (right_whole && left_len > right_len);
}

static int
count_globs(const GlobList *list)
{
	int			count = 0;

	for (; list != NULL; list = list->next)
		count += list->count;
	return count;
}

static int
count_characters(const PolicyPattern *pattern)
{
	int			count = 0;

	for (int i = 0; i < pattern->ntokens; i++)
	{
		const PolicyPatternToken *token = &pattern->tokens[i];

		if (token->kind == POLICY_TOKEN_LITERAL)
		{
			for (int at = 0; at < token->len;
				 at += pg_utf_mblen((const unsigned char *) token->bytes + at))
				count++;
		}
		else if (token->kind != POLICY_TOKEN_ANY_RUN)
			count++;
	}
	return count;
}

/* Adds a pattern; false where that is one too many. */
static bool
add_pattern(Search *search, const SearchGlob *glob)
{
	SearchPattern *pattern = &search->patterns[search->npatterns];

	pattern->glob = glob;
	pattern->first_word = search->nwords;
	pattern->end = count_characters(glob->pattern);
	pattern->nwords = (pattern->end + WORD_BITS) / WORD_BITS;
	search->nwords += pattern->nwords;
	search->npatterns++;
	return search->nwords <= MAX_WORDS;
}

/* The patterns of a list as one group, those left out that cannot match with pivot. */
static bool
add_group(Search *search, const SearchGlob *pivot, const GlobList *list)
{
	SearchGroup *group = &search->groups[search->ngroups++];

	group->first = search->npatterns;
	for (int i = 0; i < list->count; i++)
	{
		if ((pivot == NULL || !glob_are_apart(&list->globs[i], pivot)) &&
			!add_pattern(search, &list->globs[i]))
			return false;
	}
	group->count = search->npatterns - group->first;
	return true;
}

static bool
add_patterns(Search *search, const SearchGlob *pivot, const GlobList *some,
			 const GlobList *none)
{
	GlobList	alone = {pivot, 1, NULL};
	int			most = count_globs(some) + count_globs(none) + 1;
	int			lists = 1;

	for (const GlobList *list = some; list != NULL; list = list->next)
		lists++;
	search->patterns = palloc(sizeof(SearchPattern) * most);
	search->groups = palloc(sizeof(SearchGroup) * lists);
	if (pivot != NULL && !add_group(search, NULL, &alone))
		return false;
	for (; some != NULL; some = some->next)
	{
		/* The list that the pivot was taken from holds wherever it does. */
		if (pivot != NULL && pivot >= some->globs && pivot < some->globs + some->count)
			continue;
		if (!add_group(search, pivot, some))
			return false;
	}
	search->first_not = search->npatterns;
	for (; none != NULL; none = none->next)
	{
		for (int i = 0; i < none->count; i++)
		{
			if ((pivot == NULL || !glob_are_apart(&none->globs[i], pivot)) &&
				!add_pattern(search, &none->globs[i]))
				return false;
		}
	}
	return true;
}

static bool
add_symbol(Search *search, pg_wchar c)
{
	for (int i = 0; i < search->nsymbols; i++)
	{
		if (search->symbols[i] == c)
			return true;
	}
	if (search->nsymbols == MAX_SYMBOLS)
		return false;
	search->symbols[search->nsymbols++] = c;
	return true;
}

static bool
add_symbols_of(Search *search, const PolicyPattern *pattern)
{
	for (int i = 0; i < pattern->ntokens; i++)
	{
		const PolicyPatternToken *token = &pattern->tokens[i];
		const unsigned char *c = (const unsigned char *) token->bytes;

		for (; token->kind == POLICY_TOKEN_LITERAL &&
			 c < (const unsigned char *) token->bytes + token->len; c += pg_utf_mblen(c))
		{
			if (!add_symbol(search, utf8_to_unicode(c)))
				return false;
		}
		for (int r = 0; r < token->nranges; r++)
		{
			for (pg_wchar w = token->ranges[r].first; w <= token->ranges[r].last; w++)
			{
				if (!add_symbol(search, w))
					return false;
			}
		}
	}
	return true;
}

/*
 * One that stands for every character that no pattern names, put first: letters,
 * digits, then ideographs, of which there are more than symbols.
 */
static void
add_other_symbol(Search *search)
{
	static const char preferred[] = "xzqkywvjunabcdefghilmoprst0123456789";
	pg_wchar	c = 0x4E00;
	bool		named = true;

	for (int i = 0; preferred[i] != '\0' && named; i++)
	{
		c = (unsigned char) preferred[i];
		named = false;
		for (int j = 0; j < search->nsymbols; j++)
			named = named || search->symbols[j] == c;
	}
	for (pg_wchar ideograph = 0x4E00; named; ideograph++)
	{
		c = ideograph;
		named = false;
		for (int j = 0; j < search->nsymbols; j++)
			named = named || search->symbols[j] == c;
	}
	memmove(search->symbols + 1, search->symbols, sizeof(pg_wchar) * search->nsymbols);
	search->symbols[0] = c;
	search->nsymbols++;
}

static bool
add_symbols(Search *search)
{
	for (int i = 0; i < search->npatterns; i++)
	{
		if (!add_symbols_of(search, search->patterns[i].glob->pattern))
			return false;
	}
	if (search->nsymbols == MAX_SYMBOLS)
		return false;
	add_other_symbol(search);
	for (int i = 0; i < search->nsymbols; i++)
	{
		unsigned char utf8[MAX_MULTIBYTE_CHAR_LEN + 1];
		const char *normal;
		int			len;

		unicode_to_utf8(search->symbols[i], utf8);
		search->blank[i] = policy_normalize((char *) utf8, pg_utf_mblen(utf8), POLICY_TRIM,
											&normal, &len) && len == 0;
	}
	return true;
}

static void
set_bit(uint64 *words, int bit)
{
	words[bit / WORD_BITS] |= UINT64CONST(1) << (bit % WORD_BITS);
}

static bool
has_bit(const uint64 *words, int bit)
{
	return (words[bit / WORD_BITS] >> (bit % WORD_BITS)) & 1;
}

/* Enters what every symbol does at one position. */
static void
set_accepts(Search *search, const SearchPattern *pattern, int position,
			const PolicyPatternToken *token, pg_wchar literal)
{
	for (int s = 0; s < search->nsymbols; s++)
	{
		pg_wchar	c = search->symbols[s];

		if (token->kind == POLICY_TOKEN_LITERAL ? c == literal :
			token->kind == POLICY_TOKEN_ANY_CHAR || glob_class_accepts(token, c))
			set_bit(search->accepts + s * search->nwords + pattern->first_word, position);
	}
}

static void
set_tables(Search *search, const SearchPattern *pattern)
{
	int			position = 0;

	for (int i = 0; i < pattern->glob->pattern->ntokens; i++)
	{
		const PolicyPatternToken *token = &pattern->glob->pattern->tokens[i];
		const unsigned char *c = (const unsigned char *) token->bytes;

		if (token->kind == POLICY_TOKEN_ANY_RUN)
			set_bit(search->loops + pattern->first_word, position);
		else if (token->kind != POLICY_TOKEN_LITERAL)
			set_accepts(search, pattern, position++, token, 0);
		for (; token->kind == POLICY_TOKEN_LITERAL &&
			 c < (const unsigned char *) token->bytes + token->len; c += pg_utf_mblen(c))
			set_accepts(search, pattern, position++, token, utf8_to_unicode(c));
	}
}

static bool
is_at_end(const Search *search, const uint64 *bits, int pattern)
{
	return has_bit(bits + search->patterns[pattern].first_word,
				   search->patterns[pattern].end);
}

/* Whether the joint state can still become what is asked for. */
static bool
is_alive(const Search *search, const uint64 *bits)
{
	for (int g = 0; g < search->ngroups; g++)
	{
		const SearchGroup *group = &search->groups[g];
		uint64		any = 0;

		for (int i = group->first; i < group->first + group->count; i++)
		{
			for (int w = 0; w < search->patterns[i].nwords; w++)
				any |= bits[search->patterns[i].first_word + w];
		}
		if (any == 0)
			return false;
	}
	for (int i = search->first_not; i < search->npatterns; i++)
	{
		/* One that ends with a `*` matches whatever follows. */
		if (is_at_end(search, bits, i) && is_at_end(search, search->loops, i))
			return false;
	}
	return true;
}

static bool
is_wanted(const Search *search, const uint64 *bits)
{
	if (bits[search->nwords - 1] != STATE_BEGUN)
		return false;
	for (int g = 0; g < search->ngroups; g++)
	{
		const SearchGroup *group = &search->groups[g];
		bool		any = false;

		for (int i = group->first; i < group->first + group->count && !any; i++)
			any = is_at_end(search, bits, i);
		if (!any)
			return false;
	}
	for (int i = search->first_not; i < search->npatterns; i++)
	{
		if (is_at_end(search, bits, i))
			return false;
	}
	return true;
}

/* The states after one more character. */
static void
step(const Search *search, const uint64 *from, int symbol, uint64 *to)
{
	const uint64 *accepts = search->accepts + symbol * search->nwords;

	for (int p = 0; p < search->npatterns; p++)
	{
		const SearchPattern *pattern = &search->patterns[p];
		uint64		carry = 0;

		for (int w = pattern->first_word; w < pattern->first_word + pattern->nwords; w++)
		{
			uint64		moving = from[w] & accepts[w];

			to[w] = (moving << 1) | carry | (from[w] & search->loops[w]);
			carry = moving >> (WORD_BITS - 1);
		}
	}
	to[search->nwords - 1] = STATE_BEGUN | (search->blank[symbol] ? STATE_BLANK : 0);
}

static uint64 *
bits_of(const Search *search, int state)
{
	return search->bits + (Size) state * search->nwords;
}

/* The slot of a state: its own, that of an equal one, or a free one. */
static int *
slot_of(const Search *search, int state)
{
	Size		size = sizeof(uint64) * search->nwords;
	const uint64 *bits = bits_of(search, state);
	uint32		mask = 2 * search->capacity - 1;
	uint32		slot = hash_bytes((const unsigned char *) bits, (int) size) & mask;

	while (search->slots[slot] >= 0 &&
		   memcmp(bits_of(search, search->slots[slot]), bits, size) != 0)
		slot = (slot + 1) & mask;
	return &search->slots[slot];
}

/* Makes room for states; there is always one place more than states. */
static void
set_capacity(Search *search, int capacity)
{
	Size		bytes = sizeof(uint64) * search->nwords * capacity;

	if (search->capacity == 0)
	{
		search->states = palloc(sizeof(SearchState) * capacity);
		search->bits = palloc(bytes);
	}
	else
	{
		search->states = repalloc(search->states, sizeof(SearchState) * capacity);
		search->bits = repalloc(search->bits, bytes);
		pfree(search->slots);
	}
	search->capacity = capacity;
	search->slots = palloc(sizeof(int) * 2 * capacity);
	memset(search->slots, 0xFF, sizeof(int) * 2 * capacity);
	for (int state = 0; state < search->nstates; state++)
		*slot_of(search, state) = state;
}

/* Enters the state in the place after the last, where it is new; false if there is no room. */
static bool
enter_state(Search *search, int from, int symbol)
{
	int		   *slot = slot_of(search, search->nstates);

	if (*slot >= 0)
		return true;
	if (search->nstates == MAX_STATES - 1)
		return false;
	*slot = search->nstates;
	search->states[search->nstates].from = from;
	search->states[search->nstates].symbol = symbol;
	search->nstates++;
	if (search->nstates == search->capacity)
		set_capacity(search, search->capacity * 2);
	return true;
}

/* What was read on the way to a state; palloc'd in context. */
static char *
read_value(const Search *search, int state, MemoryContext context, int *len)
{
	int			count = 0;
	pg_wchar   *characters;
	char	   *value;

	for (int s = state; search->states[s].from >= 0; s = search->states[s].from)
		count++;
	characters = palloc(sizeof(pg_wchar) * (count + 1));
	value = MemoryContextAlloc(context, count * MAX_MULTIBYTE_CHAR_LEN + 1);
	for (int s = state, i = count; i > 0; s = search->states[s].from)
		characters[--i] = search->symbols[search->states[s].symbol];
	*len = 0;
	for (int i = 0; i < count; i++)
	{
		unicode_to_utf8(characters[i], (unsigned char *) value + *len);
		*len += pg_utf_mblen((unsigned char *) value + *len);
	}
	return value;
}

/* Whether a state is what is asked for, reached by something that a field can have. */
static bool
take_state(Search *search, int state, MemoryContext context, const char **value, int *len)
{
	if (!is_wanted(search, bits_of(search, state)))
		return false;
	*value = read_value(search, state, context, len);
	if (glob_is_value(*value, *len))
		return true;
	search->unsure = true;
	return false;
}

/* Begins with every pattern at its first position. */
static void
begin_walk(Search *search)
{
	Size		symbol_words = (Size) search->nwords * search->nsymbols;

	search->accepts = palloc0(sizeof(uint64) * symbol_words);
	search->loops = palloc0(sizeof(uint64) * search->nwords);
	set_capacity(search, FIRST_STATES);
	memset(search->bits, 0, sizeof(uint64) * search->nwords);
	for (int p = 0; p < search->npatterns; p++)
	{
		set_tables(search, &search->patterns[p]);
		set_bit(search->bits + search->patterns[p].first_word, 0);
	}
	enter_state(search, -1, 0);
}

/* Walks the joint states, nearest first. */
static PolicyFinding
walk(Search *search, MemoryContext context, const char **value, int *len)
{
	begin_walk(search);
	for (int state = 0; state < search->nstates; state++)
	{
		CHECK_FOR_INTERRUPTS();
		search->work->left -= (int64) search->nsymbols * (search->nwords + 2);
		if (search->work->left < 0)
			return POLICY_GAVE_UP;
		if (take_state(search, state, context, value, len))
			return POLICY_FOUND;
		for (int symbol = 0; symbol < search->nsymbols; symbol++)
		{
			uint64	   *to = bits_of(search, search->nstates);

			if (state == 0 && search->blank[symbol])
				continue;
			step(search, bits_of(search, state), symbol, to);
			if (is_alive(search, to) && !enter_state(search, state, symbol))
				return POLICY_GAVE_UP;
		}
	}
	return search->unsure ? POLICY_GAVE_UP : POLICY_IMPOSSIBLE;
}

PolicyFinding
glob_walk(const SearchGlob *pivot, const GlobList *some, const GlobList *none,
		  PolicyWork *work, const char **value, int *len)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "glob search",
												  ALLOCSET_DEFAULT_SIZES);
	PolicyFinding finding = POLICY_GAVE_UP;
	Search	   *search;

	MemoryContextSwitchTo(context);
	search = palloc0(sizeof(Search));
	search->work = work;
	if (add_patterns(search, pivot, some, none) && add_symbols(search))
	{
		search->nwords++;
		finding = walk(search, caller, value, len);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return finding;
}
