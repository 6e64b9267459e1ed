/*
 * key_table.h
 *	  A hash table of keys that rules are filed under: values and literal prefixes,
 *	  each of one dimension.
 *
 * Open addressing.  A look-up goes through three arrays, each larger and further
 * from the processor than the one before: a filter of bits, in which most look-ups
 * end, since most find nothing; tags, a byte of each slot's hash, 0 where it is
 * free; and the slots, a cache line each, with the bytes of all but long keys.
 */
#ifndef POLICY_KEY_TABLE_H
#define POLICY_KEY_TABLE_H

/* What a rule can be filed under. */
typedef struct RuleKey
{
	const char *bytes;			/* borrowed */
	int			len;
	uint32		hash;
	int			dimension:31;
	bool		prefix:1;		/* a literal prefix, else the whole value */
} RuleKey;

#define KEY_BYTES 40

typedef struct KeySlot
{
	uint32		hash;
	int			len;
	int			dimension:31;
	bool		prefix:1;
	int			count;			/* how often it was entered: rules filed here */
	int			first;			/* the one rule; where more begin among the
								 * postings; of a label's name: the label's
								 * dimension */
	int			open;			/* of these, those that may not apply */
	union
	{
		char		here[KEY_BYTES];
		const char *elsewhere;	/* of a longer key: borrowed */
	}			bytes;
} KeySlot;

typedef struct KeyTable
{
	KeySlot    *slots;
	uint8	   *tags;
	uint64	   *filter;
	uint32		mask;
} KeyTable;

#define POLICY_CACHE_LINE 64

/* Asks for memory that is to be read soon. */
static inline void
policy_prefetch(const void *start, Size size)
{
#if defined(__GNUC__)
	for (Size at = 0; at < size; at += POLICY_CACHE_LINE)
		__builtin_prefetch((const char *) start + at);
#endif
}

/* The filter has so many bits a slot. */
#define FILTER_BITS 8

/*
 * The hash of a string's prefixes, in ascending order, and of the whole: words of
 * eight bytes are mixed in once, and what is left over at each prefix's end.  Whoever
 * writes jobs can find keys, but not enter any: it need not be hard to collide.
 */
typedef struct KeyHash
{
	uint64		state;
	int			words;			/* that are mixed in */
} KeyHash;

static inline uint64
key_hash_mix(uint64 hash, uint64 word)
{
	hash = (hash ^ word) * UINT64CONST(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

/* What is past the last whole word of the first len bytes; none of it from beyond. */
static inline uint64
key_hash_rest(const char *bytes, int len)
{
	uint64		word;
	uint32		halves[2];

	if (len % 8 == 0)
		return 0;
	if (len > 8)
	{
		memcpy(&word, bytes + len - 8, sizeof(word));
		return word;
	}
	if (len >= 4)
	{
		memcpy(&halves[0], bytes, sizeof(uint32));
		memcpy(&halves[1], bytes + len - 4, sizeof(uint32));
		return (uint64) halves[1] << 32 | halves[0];
	}
	return (unsigned char) bytes[0] | (unsigned char) bytes[len / 2] << 8 |
		(unsigned char) bytes[len - 1] << 16;
}

/* The hash of the first len bytes, at least as many as the time before. */
static inline uint32
key_hash(KeyHash *hash, const char *bytes, int len, int dimension, bool prefix)
{
	uint64		end = (uint64) len << 32 | (uint32) (dimension * 2 + prefix);

	for (; hash->words < len / 8; hash->words++)
	{
		uint64		word;

		memcpy(&word, bytes + hash->words * 8, sizeof(word));
		hash->state = key_hash_mix(hash->state, word);
	}
	return (uint32) key_hash_mix(key_hash_mix(hash->state, key_hash_rest(bytes, len)), end);
}

extern RuleKey key_make(int dimension, const char *bytes, int len, bool prefix);

/* Makes an empty table for so many keys, in the current memory context. */
extern void key_table_init(KeyTable *table, int64 capacity);

/* The key's slot, made where it is new; counts. */
extern KeySlot *key_table_enter(KeyTable *table, const RuleKey *key);

/* The key's slot, NULL where there is none; once it has passed the filter. */
extern KeySlot *key_table_search(const KeyTable *table, const RuleKey *key);

static inline uint32
key_filter_bit(const KeyTable *table, uint32 hash)
{
	return (hash >> 5) & (table->mask * FILTER_BITS + FILTER_BITS - 1);
}

/* Whether a key of that hash may be there. */
static inline bool
key_table_may_have(const KeyTable *table, uint32 hash)
{
	uint32		bit = key_filter_bit(table, hash);

	return (table->filter[bit / 64] & (UINT64CONST(1) << (bit % 64))) != 0;
}

/* The key's slot, or NULL. */
static inline KeySlot *
key_table_find(const KeyTable *table, const RuleKey *key)
{
	return key_table_may_have(table, key->hash) ? key_table_search(table, key) : NULL;
}

#endif							/* POLICY_KEY_TABLE_H */
